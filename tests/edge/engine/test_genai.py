"""The engine on a real model: the tokens of a bare loop, whatever happens beside a row."""

from __future__ import annotations

import random
import shutil
import threading
import time

import numpy as np
import onnx
import pytest

from edge import cpu
from edge.engine import genai, oga, scripted
from edge.engine.base import Step
from edge.engine.pace import Pace
from edge.errors import EngineFailed, InvalidRequest, StartupError
from edge.generation import Sampling

GREEDY = Sampling(temperature=0)
# Natural logarithms. Whole prompts and single tokens go through different kernels, whose int4
# products are rounded differently.
NEAR = 0.1


def prompt_of(length, limits, seed=0):
    """Random ids, none of which ends a text."""
    draw = random.Random(seed)
    ids = [token for token in range(limits.vocab_size) if token not in limits.eos_ids]
    return np.array([draw.choice(ids) for _ in range(length)], dtype=np.int32)


class Fixed(Pace):
    """Chunks of one length."""

    def __init__(self, tokens):
        super().__init__(1.0)
        self._fixed = tokens

    @property
    def tokens(self):
        return self._fixed


def run(engine, rows, max_tokens, limits):
    """Advance `rows` together; the ids of each, the end token included, rows closed at theirs."""
    said = {id(row): [] for row in rows}
    left = list(rows)
    while left:
        for row, step in zip(list(left), engine.advance(left), strict=True):
            assert step.error is None
            if step.choice is None:
                continue
            ids = said[id(row)]
            ids.append(step.choice.token)
            if ids[-1] in limits.eos_ids or len(ids) == max_tokens:
                engine.close(row)
                left.remove(row)
    return [said[id(row)] for row in rows]


@pytest.mark.parametrize("chunk", [1, 3, 8, 64, 512])
@pytest.mark.parametrize("length", [1, 2, 7, 64, 130])
def test_greedy_tokens_are_those_of_a_bare_loop(engine, bare, limits, chunk, length):
    engine._pace = Fixed(chunk)
    prompt = prompt_of(length, limits, seed=length)
    (ids,) = run(engine, [engine.open(prompt, 24, GREEDY)], 24, limits)
    assert ids == bare.greedy(prompt, 24, chunk)


def test_rows_side_by_side_do_not_disturb_each_other(engine, bare, limits):
    engine._pace = Fixed(5)
    prompts = [prompt_of(length, limits, seed) for seed, length in enumerate((3, 40, 11, 1, 23))]
    rows = [engine.open(prompt, 20, GREEDY) for prompt in prompts]
    assert run(engine, rows, 20, limits) == [bare.greedy(prompt, 20, 5) for prompt in prompts]


def test_rows_that_join_and_leave_do_not_disturb_the_others(engine, bare, limits):
    """A seeded mess: rows open, are dropped halfway and end, eight at a time at most."""
    engine._pace = Fixed(6)
    draw = random.Random(4)
    running, checked = [], 0
    for number in range(300):
        if len(running) < 8 and draw.random() < 0.3:
            prompt = prompt_of(draw.randint(1, 30), limits, seed=number)
            running.append([engine.open(prompt, 15, GREEDY), prompt, []])
        if running and draw.random() < 0.03:
            engine.close(running.pop(draw.randrange(len(running)))[0])
        for entry, step in zip(
            list(running), engine.advance([row for row, _, _ in running]), strict=True
        ):
            row, prompt, ids = entry
            if step.choice is not None:
                ids.append(step.choice.token)
            if ids and (ids[-1] in limits.eos_ids or len(ids) == 15):
                assert ids == bare.greedy(prompt, 15, 6)
                engine.close(row)
                running.remove(entry)
                checked += 1
    for row, _, _ in running:
        engine.close(row)
    assert checked > 10


def test_a_prompt_goes_in_by_chunks_one_row_at_a_time(engine, limits):
    engine._pace = Fixed(4)
    rows = [engine.open(prompt_of(10, limits, seed), 5, GREEDY) for seed in (1, 2)]
    prefilled = []
    for _ in range(6):
        prefilled.append([step.prefilled for step in engine.advance(rows)])
    assert prefilled == [[4, 0], [4, 0], [2, 0], [0, 4], [0, 4], [0, 2]]
    for row in rows:
        engine.close(row)


def test_prefill_calls_are_short_only_beside_a_decoding_row(engine, limits):
    engine._pace = Fixed(4)
    rows = [engine.open(prompt_of(4, limits, seed), 30, GREEDY) for seed in (1, 2)]
    patience = []
    for _ in range(3):
        engine.advance(rows)
        patience.append(engine._pace.is_patient)
    assert patience == [True, False, False]
    for row in rows:
        engine.close(row)


def test_a_long_prefill_lets_decoding_rows_through(engine, limits):
    engine._pace = Fixed(4)
    short = engine.open(prompt_of(2, limits), 30, GREEDY)
    engine.advance([short])
    long = engine.open(prompt_of(40, limits), 5, GREEDY)
    for _ in range(9):
        first, second = engine.advance([short, long])
        assert first.choice is not None
        assert second.prefilled == 4
        assert second.choice is None
    engine.close(short)
    engine.close(long)


def test_log_probabilities_of_the_answer(engine, bare, limits):
    prompt = prompt_of(9, limits)
    row = engine.open(prompt, 4, Sampling(temperature=0, logprobs=3))
    so_far = list(prompt)
    for _ in range(4):
        choice = engine.advance([row])[0].choice
        expected = bare.logprobs(so_far)
        assert choice.logprob == pytest.approx(expected[choice.token], abs=NEAR)
        assert choice.top[0][1] == pytest.approx(expected.max(), abs=NEAR)
        for token, logprob in choice.top:
            assert logprob == pytest.approx(expected[token], abs=NEAR)
        so_far.append(choice.token)
    engine.close(row)


@pytest.mark.parametrize("chunk", [1, 4, 64])
def test_echoed_log_probabilities_of_the_prompt(engine, bare, limits, chunk):
    engine._pace = Fixed(chunk)
    prompt = prompt_of(11, limits)
    row = engine.open(prompt, 0, Sampling(logprobs=2), echo_logprobs=True)
    scores, steps = [], []
    while not steps or steps[-1].choice is None:
        steps += engine.advance([row])
        scores += steps[-1].prompt_choices
    engine.close(row)
    assert [score.token for score in scores] == prompt.tolist()
    assert (scores[0].logprob, scores[0].top) == (None, ())
    for place in range(1, len(prompt)):
        expected = bare.logprobs(prompt[:place])
        assert scores[place].logprob == pytest.approx(expected[prompt[place]], abs=NEAR)
        assert len(scores[place].top) == 2
        assert scores[place].top[0][1] == pytest.approx(expected.max(), abs=NEAR)


def test_an_echo_does_not_change_the_answer(engine, bare, limits):
    prompt = prompt_of(20, limits)
    row = engine.open(prompt, 10, Sampling(temperature=0, logprobs=0), echo_logprobs=True)
    assert run(engine, [row], 10, limits) == [bare.greedy(prompt, 10, 1)]


def test_a_seed_repeats_the_answer_and_sampling_really_samples(engine, limits):
    prompt = prompt_of(6, limits)

    def answer(seed):
        sampling = Sampling(temperature=1.5, seed=seed)
        return tuple(run(engine, [engine.open(prompt, 12, sampling)], 12, limits)[0])

    assert answer(-5) == answer(-5)
    assert len({answer(seed) for seed in range(6)}) > 1


def test_the_kv_memory_is_that_of_prompt_and_answer(engine, limits):
    row = engine.open(prompt_of(10, limits), 7, GREEDY)
    assert row.kv_bytes == 17 * limits.kv_bytes_per_token
    engine.close(row)


def test_an_answer_may_fill_the_context(engine, limits):
    prompt = prompt_of(limits.context_length - 3, limits)
    engine._pace = Fixed(512)
    (ids,) = run(engine, [engine.open(prompt, 3, GREEDY)], 3, limits)
    assert 1 <= len(ids) <= 3


def test_it_knows_no_adapters(engine, limits):
    """A bundle with adapters never gets here: `edge.adapters.forbid`."""
    with pytest.raises(EngineFailed, match="knows no adapters"):
        engine.open(prompt_of(2, limits), 2, GREEDY, adapter="pirate")


@pytest.mark.parametrize("token", [-1, 1 << 30])
def test_a_bias_for_a_token_that_is_none(engine, limits, token):
    with pytest.raises(InvalidRequest) as caught:
        engine.open(prompt_of(2, limits), 2, Sampling(logit_bias={token: 1.0}))
    assert caught.value.param == "logit_bias"


def test_a_bias_steers_the_answer(engine, limits):
    token = int(prompt_of(1, limits, seed=99)[0])
    sampling = Sampling(temperature=0, logit_bias={token: 100.0})
    row = engine.open(prompt_of(5, limits), 4, sampling)
    assert run(engine, [row], 4, limits) == [[token] * 4]


def test_what_the_runtime_refuses_is_the_engines_failure(engine, limits):
    """More than the context: the service would have refused it."""
    with pytest.raises(EngineFailed) as caught:
        engine.open(prompt_of(4, limits), limits.context_length * 2, GREEDY)
    assert "/" not in str(caught.value)


def test_a_row_that_fails_fails_alone(engine, bare, limits):
    prompts = [prompt_of(8, limits, seed) for seed in (1, 2)]
    good = engine.open(prompts[0], 10, GREEDY)
    bad = engine.open(prompts[1], 1, GREEDY)
    said = []
    failed: Step | None = None
    for _ in range(11):
        rows = [good, bad] if failed is None else [good]
        steps = engine.advance(rows)
        if steps[0].choice and len(said) < 10:
            said.append(steps[0].choice.token)
        if failed is None and steps[1].error is not None:
            failed = steps[1]
            engine.close(bad)
        if said and said[-1] in limits.eos_ids:
            break
    # The second row had room for one token more than its prompt, and was asked for others.
    assert failed is not None
    assert isinstance(failed.error, EngineFailed)
    assert failed.choice is None
    assert said == bare.greedy(prompts[0], 10)[: len(said)]
    engine.close(good)


def test_a_constraint_that_fails_ends_its_row_alone(engine, limits):
    class Hopeless:
        def allowed(self, vocab_size):
            raise EngineFailed("too complex")

        def accept(self, token):
            raise AssertionError

    row = engine.open(prompt_of(3, limits), 3, GREEDY, constraint=Hopeless())
    other = engine.open(prompt_of(3, limits), 3, GREEDY)
    steps = [engine.advance([row, other]) for _ in range(2)]
    assert str(steps[0][0].error) == "too complex"
    assert any(step[1].choice for step in steps)
    engine.close(row)
    engine.close(other)


def test_closing_twice_does_no_harm(engine, limits):
    row = engine.open(prompt_of(3, limits), 3, GREEDY)
    engine.close(row)
    engine.close(row)


def test_memory_is_given_back(engine, limits):
    """A hundred sequences, half of them closed before their first step, leave nothing behind."""
    engine._pace = Fixed(512)

    def some(count):
        for number in range(count):
            row = engine.open(prompt_of(200, limits, number % 5), 300, GREEDY)
            if number % 2:
                engine.advance([row])
            engine.close(row)

    some(20)
    before = cpu.resident_bytes()
    some(100)
    assert cpu.resident_bytes() - before < 64 << 20


def test_other_threads_run_during_a_prefill(engine, limits):
    """The interpreter is free while the model works: a ticker keeps ticking."""
    engine._pace = Fixed(100_000)
    row = engine.open(prompt_of(limits.context_length - 10, limits), 5, GREEDY)
    ticks, is_over = [], threading.Event()

    def tick():
        while not is_over.is_set():
            ticks.append(time.perf_counter())
            time.sleep(0.001)

    thread = threading.Thread(target=tick)
    thread.start()
    began = time.perf_counter()
    engine.advance([row])
    ended = time.perf_counter()
    is_over.set()
    thread.join()
    engine.close(row)
    inside = [moment for moment in ticks if began < moment < ended]
    # Held, there would be none at all; the bound leaves room for a busy machine.
    assert len(inside) >= 3


@pytest.fixture(scope="module")
def whole_logits(demo_model, tmp_path_factory):
    """The model as exports without `prune_lm_head` are: logits for every position of a chunk."""
    folder = tmp_path_factory.mktemp("models") / "whole"
    shutil.copytree(demo_model, folder)
    path = folder / "model.onnx"
    graph = onnx.load(path, load_external_data=False)
    pruned = next(node for node in graph.graph.node if "prune/Gather" in node.output[0])
    head = next(node for node in graph.graph.node if "logits" in node.output)
    head.input[0] = pruned.input[0]
    shape = next(out for out in graph.graph.output if out.name == "logits").type.tensor_type.shape
    shape.dim[1].dim_param = "sequence_length"
    path.unlink()
    onnx.save(graph, path)
    return folder


@pytest.mark.parametrize("chunk", [1, 5, 64])
def test_exports_with_logits_for_every_position(whole_logits, limits, bare, chunk):
    model = genai.load(whole_logits, threads=1, spin=False)
    engine = genai.GenaiEngine(model, limits, prefill_chunk_ms=100)
    engine._pace = Fixed(chunk)
    prompt = prompt_of(23, limits)
    (ids,) = run(engine, [engine.open(prompt, 12, GREEDY)], 12, limits)
    assert ids == bare.greedy(prompt, 12, chunk)
    engine.shutdown()


@pytest.mark.parametrize("name", ["missing", "empty", "broken"])
def test_a_folder_that_is_no_model_is_a_bad_start(tmp_path, name):
    folder = tmp_path / name
    if name != "missing":
        folder.mkdir()
    if name == "broken":
        (folder / "genai_config.json").write_text("{")
    with pytest.raises(StartupError) as caught:
        genai.load(folder, threads=1, spin=True)
    assert "model" in caught.value.problems[0]


def test_a_model_is_closed_once(demo_model):
    model = oga.Model(demo_model, "{}")
    model.close()
    model.close()


def test_limits_come_from_the_manifest_and_the_model(demo_model, limits):
    manifest = scripted.manifest("echo")
    found = genai.limits(manifest, demo_model)
    assert found.vocab_size == limits.vocab_size
    assert found.context_length == manifest.context_length
    assert found.eos_ids == frozenset(manifest.eos_ids)
