"""Runs over the arena: right logits, written in place, nothing else touched, and ended at will."""

from __future__ import annotations

import shutil
import threading
import time
import tracemalloc
import weakref

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edge.engine import ort
from edge.engine.decoder import graph
from edge.engine.decoder.arena import Arena
from edge.engine.decoder.runs import Runs
from edge.engine.ort import OrtError, Terminated
from tests.edge.engine.decoder.driving import Reference, limits_of, prompt_of

SLOTS = 5
NEAR = 1e-4  # of logits: float activations, whatever the cut


def opened(folder, context=None):
    """Runs over an arena of their own."""
    found = graph.read(folder)
    session = ort.Session(found.model, threads=1, spin=False)
    limits = limits_of(folder)
    sizes = graph.shape(found, session.inputs, session.outputs, context or limits.context_length)
    return Runs(session, found, Arena(sizes, SLOTS))


@pytest.fixture(scope="module")
def limits(exact_model):
    return limits_of(exact_model)


@pytest.fixture(scope="module")
def reference(exact_model):
    return Reference(exact_model)


@pytest.fixture
def runs(exact_model):
    made = opened(exact_model)
    yield made
    made.close()


def feed(runs, slot, prompt, chunk=512, seen=0):
    """Prefill by chunks; the logits after the last token."""
    logits = None
    for start in range(seen, len(prompt), chunk):
        logits = runs.prefill(slot, prompt[start : start + chunk], start)
    return logits


def everything(runs):
    """The whole arena, shape (layers, 2, slots, heads, context, head size); a view."""
    return runs._arena._view


@pytest.mark.parametrize("slot", [0, 3])
@pytest.mark.parametrize("chunk", [1, 7, 64, 512])
def test_logits_are_those_of_a_bare_loop_bit_for_bit(runs, reference, limits, slot, chunk):
    prompt = prompt_of(100, limits)
    (expected,) = reference.logits(prompt, [0], chunk)
    assert np.array_equal(feed(runs, slot, prompt, chunk), expected)


def test_the_model_in_the_box_gives_the_same_bits_too(demo_model, limits):
    runs, reference = opened(demo_model), Reference(demo_model)
    prompt = prompt_of(90, limits)
    said = [int(token) for token in prompt_of(20, limits, seed=1)]
    expected = list(reference.logits(prompt, said, chunk=40))
    assert np.array_equal(feed(runs, 0, prompt, 40), expected[0])
    for place, token in enumerate(said[:-1]):
        found = runs.decode(np.array([token]), np.array([90 + place]))
        assert np.array_equal(found[0], expected[place + 1])
    runs.close()


@pytest.mark.torch
@pytest.mark.parametrize("chunk", [1, 7, 100])
def test_of_logits_for_every_position_the_last_counts(exports, chunk):
    folder = exports / "whole"
    runs, reference = opened(folder), Reference(folder)
    prompt = prompt_of(100, limits_of(folder))
    (expected,) = reference.logits(prompt, [0], chunk)
    assert np.array_equal(feed(runs, 2, prompt, chunk), expected)
    runs.close()


@pytest.mark.torch
def test_half_precision_logits_come_as_floats(exports):
    runs = opened(exports / "half")
    prompt = prompt_of(30, limits_of(exports / "half"))
    logits = feed(runs, 1, prompt)
    assert (logits.dtype, runs._arena.shape.dtype) == (np.float32, np.float16)
    (expected,) = Reference(exports / "half").logits(prompt, [0])
    # onnxruntime-genai converts them as well.
    assert np.allclose(logits, expected, atol=NEAR)
    runs.close()


@given(
    lengths=st.lists(st.integers(1, 60), min_size=1, max_size=SLOTS),
    steps=st.integers(1, 5),
    chunk=st.integers(1, 64),
    seed=st.integers(0, 99),
)
@settings(max_examples=25, deadline=None)
def test_rows_of_any_lengths_decode_as_each_would_alone(
    exact_model, reference, limits, lengths, steps, chunk, seed
):
    runs = opened(exact_model)
    prompts = [prompt_of(length, limits, seed + n) for n, length in enumerate(lengths)]
    said = [prompt_of(steps + 1, limits, seed + 50 + n) for n in range(len(lengths))]
    for slot, prompt in enumerate(prompts):
        feed(runs, slot, prompt, chunk)
    expected = [
        list(reference.logits(prompt, own.tolist()))
        for prompt, own in zip(prompts, said, strict=True)
    ]
    for step in range(steps):
        tokens = np.array([own[step] for own in said], dtype=np.int64)
        found = runs.decode(tokens, np.array(lengths) + step)
        assert found.shape == (len(lengths), limits.vocab_size)
        for row, own in zip(found, expected, strict=True):
            assert np.allclose(row, own[step + 1], atol=NEAR)
    runs.close()


def test_a_prefill_writes_its_tokens_in_its_slot_and_nothing_else(runs, limits):
    before = np.random.default_rng(0).normal(size=everything(runs).shape).astype(np.float32)
    everything(runs)[:] = before
    runs.prefill(2, prompt_of(9, limits), 0)
    runs.prefill(2, prompt_of(4, limits), 9)
    changed = (everything(runs) != before).any(axis=(0, 1, 3, 5))  # slot, token
    assert np.argwhere(changed).tolist() == [[2, token] for token in range(13)]
    assert (everything(runs)[:, :, 2, :, :13] != before[:, :, 2, :, :13]).all(axis=-1).all()


def test_a_decode_writes_one_token_of_each_row_and_nothing_else(runs, limits):
    before = np.random.default_rng(0).normal(size=everything(runs).shape).astype(np.float32)
    everything(runs)[:] = before
    runs.decode(np.array([7, 8, 9]), np.array([4, 0, 100]))
    changed = (everything(runs) != before).any(axis=(0, 1, 3, 5))
    assert np.argwhere(changed).tolist() == [[0, 4], [1, 0], [2, 100]]


def test_what_lies_beyond_a_rows_length_does_not_matter(runs, reference, limits):
    """The rests of those that were there before, even where they are no numbers."""
    everything(runs)[:] = np.nan
    prompts = [prompt_of(length, limits, length) for length in (30, 3, 77)]
    for slot, prompt in enumerate(prompts):
        (expected,) = reference.logits(prompt, [0], 20)
        assert np.array_equal(feed(runs, slot, prompt, 20), expected)
    found = runs.decode(np.array([5, 6, 7]), np.array([30, 3, 77]))
    for row, prompt, token in zip(found, prompts, (5, 6, 7), strict=True):
        expected = list(reference.logits(prompt, [token, 0]))[1]
        assert np.allclose(row, expected, atol=NEAR)


def test_a_moved_row_goes_on_as_if_it_had_not_moved(runs, reference, limits):
    prompt = prompt_of(50, limits)
    feed(runs, 4, prompt)
    runs._arena.move(4, 0, 50)
    everything(runs)[:, :, 1:] = np.nan
    expected = list(reference.logits(prompt, [11, 0]))[1]
    assert np.array_equal(runs.decode(np.array([11]), np.array([50]))[0], expected)


def test_a_full_slot_is_full(runs, reference, limits):
    prompt = prompt_of(limits.context_length - 1, limits)
    (expected,) = reference.logits(prompt, [0], 700)
    assert np.array_equal(feed(runs, 1, prompt, 700), expected)
    feed(runs, 0, prompt, 700)
    assert np.isfinite(runs.decode(np.array([3]), np.array([len(prompt)]))).all()
    with pytest.raises(OrtError):
        runs.decode(np.array([3]), np.array([len(prompt) + 1]))


def test_what_the_runtime_refuses_leaves_it_usable(runs, reference, limits):
    prompt = prompt_of(20, limits)
    feed(runs, 0, prompt)
    with pytest.raises(OrtError):
        runs.prefill(1, prompt, limits.context_length - 19)
    with pytest.raises(OrtError):
        runs.decode(np.array([5, 6]), np.array([20, limits.context_length]))
    expected = list(reference.logits(prompt, [5, 0]))[1]
    assert np.array_equal(runs.decode(np.array([5]), np.array([20]))[0], expected)


@pytest.mark.torch
def test_a_binding_that_is_kept_holds_no_logits(exports):
    """Logits of every position of a chunk: 400 x 3072 floats for each slot."""
    runs = opened(exports / "whole")
    prompt = prompt_of(400, limits_of(exports / "whole"))
    tracemalloc.start()
    for slot in range(SLOTS):
        runs.prefill(slot, prompt, 0)
    kept_bytes = tracemalloc.get_traced_memory()[0]
    tracemalloc.stop()
    assert kept_bytes < 400 * 3072 * 4 // 4
    runs.close()


def test_logits_outlive_the_runs_that_follow(runs, limits):
    """Rows are sampled after the run, and an echoed row's logits wait for its next chunk."""
    first = runs.prefill(0, prompt_of(9, limits), 0)
    copy = first.copy()
    runs.prefill(0, prompt_of(5, limits, seed=1), 9)
    runs.decode(np.array([1]), np.array([14]))
    assert np.array_equal(first, copy)


def test_after_the_end_there_are_no_runs(exact_model):
    runs = opened(exact_model)
    runs.close()
    runs.close()
    with pytest.raises(OrtError):
        runs.prefill(0, np.array([1], dtype=np.int32), 0)


@pytest.fixture
def long_prompt(limits):
    return prompt_of(limits.context_length - 50, limits, seed=9)


@pytest.fixture
def whole_s(runs, long_prompt):
    """How long the long prompt takes undisturbed."""
    start = time.perf_counter()
    runs.prefill(0, long_prompt, 0)
    return time.perf_counter() - start


def interrupted(runs, prompt, after_s, slot=0, seen=0):
    """Seconds that a prefill ran which was interrupted after `after_s`; did it come to its end?"""
    timer = threading.Timer(after_s, runs.interrupt)
    timer.start()
    start = time.perf_counter()
    try:
        runs.prefill(slot, prompt[seen:], seen)
        is_through = True
    except Terminated:
        is_through = False
    spent_s = time.perf_counter() - start
    timer.join()
    return spent_s, is_through


def test_an_interrupt_ends_a_prefill_early(runs, long_prompt, whole_s):
    spent_s, is_through = interrupted(runs, long_prompt, whole_s / 10)
    assert not is_through
    # Two runs on one machine; the fraction leaves room for a busy one.
    assert spent_s < 0.8 * whole_s


def test_after_an_interrupt_nothing_runs_until_it_is_lifted(runs, limits):
    prompt = prompt_of(8, limits)
    runs.interrupt()
    for _ in range(2):
        with pytest.raises(Terminated):
            runs.prefill(0, prompt, 0)
        with pytest.raises(Terminated):
            runs.decode(np.array([1]), np.array([3]))
    runs.resume()
    assert np.isfinite(runs.prefill(0, prompt, 0)).all()


def test_an_interrupt_that_comes_too_late_waits_for_the_next_run(runs, limits):
    runs.prefill(0, prompt_of(8, limits), 0)
    runs.interrupt()
    runs.resume()
    assert np.isfinite(runs.decode(np.array([1]), np.array([8]))).all()


def test_a_chunk_that_was_cut_can_be_fed_again(runs, reference, limits, long_prompt, whole_s):
    """At any moment: what the cut run left behind lies beyond the row's length."""
    seen = 300
    feed(runs, 3, long_prompt[:seen], 100)
    (expected,) = reference.logits(long_prompt[:seen], [0], 100)
    neighbour = prompt_of(40, limits)
    feed(runs, 2, neighbour)
    cuts = 0
    for part in np.linspace(0.0, 0.9, 10):
        _, is_through = interrupted(runs, long_prompt, part * whole_s, slot=3, seen=seen)
        runs.resume()
        cuts += not is_through
        # The row as it was before the cut run, and the row beside it.
        again = runs.prefill(3, long_prompt[seen - 100 : seen], seen - 100)
        assert np.array_equal(again, expected)
    assert cuts >= 3
    rest = list(reference.logits(long_prompt, [4, 0], chunk=512))
    assert np.allclose(feed(runs, 3, long_prompt, 512, seen), rest[0], atol=NEAR)
    expected = list(reference.logits(neighbour, [6, 0]))[1]
    found = runs.decode(np.array([0, 0, 6]), np.array([0, 0, 40]))
    assert np.allclose(found[2], expected, atol=NEAR)


@pytest.mark.parametrize("chunk", [7, 512])
def test_a_row_goes_on_with_other_threads_as_if_nothing_had_changed(runs, reference, limits, chunk):
    """The graph is loaded anew; what the rows have seen lies in the arena."""
    prompt = prompt_of(60, limits)
    said = [int(token) for token in prompt_of(9, limits, seed=1)]
    expected = list(reference.logits(prompt, said, chunk))
    assert np.array_equal(feed(runs, 0, prompt, chunk), expected[0])
    for place, token in enumerate(said[:-1]):
        if place % 3 == 1:
            runs.rethread(1 + place % 2)
        found = runs.decode(np.array([token]), np.array([60 + place]))
        assert np.array_equal(found[0], expected[place + 1])


def test_the_old_session_is_freed_when_its_runs_are_over(runs, limits):
    prompt = prompt_of(20, limits)
    runs.prefill(0, prompt, 0)
    old = weakref.ref(runs._session)
    runs.rethread(2)
    assert old() is None
    assert runs._session.threads == 2
    assert np.isfinite(runs.prefill(0, prompt, 0)).all()


def test_a_run_that_is_under_way_ends_on_the_session_it_began_on(runs, long_prompt, whole_s):
    """And other threads are given in the middle of it, many times."""
    expected = runs.prefill(0, long_prompt, 0)
    found = []
    worker = threading.Thread(target=lambda: found.append(runs.prefill(0, long_prompt, 0)))
    worker.start()
    while worker.is_alive():
        runs.rethread(1)
    worker.join()
    assert np.array_equal(found[0], expected)


def test_a_graph_that_is_gone_leaves_the_session_that_there_is(exact_model, limits, tmp_path):
    folder = tmp_path / "model"
    shutil.copytree(exact_model, folder)
    runs = opened(folder)
    before = runs.prefill(0, prompt_of(8, limits), 0)
    (folder / "model.onnx").unlink()
    with pytest.raises(OrtError):
        runs.rethread(2)
    assert np.array_equal(runs.prefill(0, prompt_of(8, limits), 0), before)
    runs.close()
