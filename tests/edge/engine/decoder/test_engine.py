"""Rows that join, leave, fail and are cut beside others: each answers as if it were alone."""

from __future__ import annotations

import gc
import json
import random
import threading
import time
import tracemalloc

import numpy as np
import pytest

from edge import cpu
from edge.engine import genai
from edge.engine.decoder.row import DecoderRow
from edge.engine.ort import OrtError
from edge.errors import EngineFailed, InvalidRequest
from edge.generation import Guidance, Sampling
from tests.edge.engine.decoder.driving import (
    GREEDY,
    SLOTS,
    Fixed,
    check_slots,
    limits_of,
    load,
    prompt_of,
    run,
)

NEAR = 1e-4  # of log-probabilities
MIB = 1 << 20


class Track:
    """Rows in an engine and what they have said so far."""

    def __init__(self, engine, reference):
        self._engine = engine
        self._reference = reference
        self.rows = {}  # row: prompt, tokens; in the order of opening

    def open(self, length, seed, max_tokens=200, sampling=GREEDY):
        prompt = prompt_of(length, self._engine.limits, seed)
        row = self._engine.open(prompt, max_tokens, sampling)
        self.rows[row] = (prompt, [])
        return row

    def advance(self, times=1):
        for _ in range(times):
            for row, step in zip(self.rows, self._engine.advance(list(self.rows)), strict=True):
                assert step.error is None
                if step.choice is not None:
                    self.rows[row][1].append(step.choice.token)
            check_slots(self._engine)

    def close(self, row):
        self._engine.close(row)
        check_slots(self._engine)
        return self.rows.pop(row)

    def check_all(self, least=0):
        """Close every row; all have said the right thing, `least` tokens or more."""
        for row in list(self.rows):
            prompt, tokens = self.close(row)
            assert len(tokens) >= least
            assert max(self._reference.gaps(prompt, tokens), default=0) <= NEAR


@pytest.fixture
def track(fast, exact):
    """Rows on the model in the box. End tokens do not end them, so that they stay."""
    return Track(fast, exact.reference)


@pytest.fixture
def logits_of(monkeypatch):
    """Every chunk's and step's logits go through the function that a test puts here."""
    changes = []
    plain = DecoderRow.choose

    def chosen(row, logits, *others):
        for change in changes:
            logits = change(row, logits)
        return plain(row, logits, *others)

    monkeypatch.setattr(DecoderRow, "choose", chosen)
    return changes


# Joining and leaving


@pytest.mark.parametrize("gone", range(SLOTS))
@pytest.mark.parametrize("decoding", [0, 1, 3, SLOTS])
def test_the_others_go_on_when_a_row_leaves(track, fast, decoding, gone):
    """Some decode, one is in the midst of its prompt, the rest wait; any of them leaves."""
    fast._pace = Fixed(40)
    rows = [track.open(10 + place, place) for place in range(decoding)]
    track.advance(decoding + 2)
    rows += [track.open(90 + place, place) for place in range(decoding, SLOTS)]
    track.advance(2)
    assert [row.is_prefilling for row in rows] == [False] * decoding + [True] * (SLOTS - decoding)
    track.close(rows[gone])
    track.open(33, 50)
    track.advance(3 * SLOTS + 12)
    track.check_all(least=8)


@pytest.mark.parametrize("seed", range(3))
def test_rows_leave_in_any_order_and_others_take_their_places(track, fast, seed):
    fast._pace = Fixed(25)
    draw = random.Random(seed)
    for number in range(40):
        if len(track.rows) == SLOTS or (track.rows and draw.random() < 0.4):
            track.close(draw.choice(list(track.rows)))
        else:
            track.open(draw.randint(1, 60), number)
        track.advance(draw.randint(0, 3))
    track.advance(20)
    track.check_all(least=1)


def test_prompts_go_in_by_chunks_in_the_order_of_their_coming(track, fast):
    fast._pace = Fixed(4)
    rows = [track.open(10, seed) for seed in (1, 2)]
    prefilled = [[step.prefilled for step in fast.advance(rows)] for _ in range(6)]
    assert prefilled == [[4, 0], [4, 0], [2, 0], [0, 4], [0, 4], [0, 2]]
    for row in rows:
        fast.close(row)


def test_a_prompt_that_has_begun_is_finished_first(track, fast):
    """Whoever leaves meanwhile: the place in a queue is not a matter of slots."""
    fast._pace = Fixed(10)
    short = [track.open(5, seed) for seed in range(3)]
    track.advance(3)
    waiting = [track.open(35, seed) for seed in range(3, SLOTS)]
    order = []
    for turn in range(12):
        if turn in (1, 3, 6):
            track.close(short.pop())
        steps = fast.advance(list(track.rows))
        order += [
            waiting.index(row)
            for row, step in zip(track.rows, steps, strict=True)
            if step.prefilled
        ]
        check_slots(fast)
    assert order == [0] * 4 + [1] * 4 + [2] * 4
    for row in list(track.rows):
        track.close(row)


def test_running_rows_are_not_held_up_by_a_long_prompt(track, fast):
    fast._pace = Fixed(8)
    short = track.open(3, 0)
    track.advance()
    long = track.open(200, 1)
    for _ in range(24):
        first, second = fast.advance([short, long])
        assert first.choice is not None
        assert (second.prefilled, second.choice) == (8, None)
    assert not fast._pace.is_patient
    track.close(short)
    fast.advance([long])
    assert fast._pace.is_patient
    track.close(long)


def test_slots_run_out(track, fast):
    for seed in range(SLOTS):
        track.open(4, seed)
    with pytest.raises(EngineFailed, match="slot"):
        track.open(4, 9)
    track.advance(10)
    track.close(next(iter(track.rows)))
    track.open(7, 9)
    track.advance(10)
    track.check_all(least=9)


def test_a_row_is_closed_once(track, fast):
    rows = [track.open(5, seed) for seed in range(3)]
    track.advance(5)
    track.close(rows[1])
    for _ in range(2):
        fast.close(rows[1])
    track.advance(5)
    assert len(fast._placement.rows) == 2
    track.check_all(least=8)


def test_a_sequence_is_no_longer_than_a_slot(exact_model):
    engine = load(exact_model, slots=2, row_tokens=50)
    with pytest.raises(EngineFailed, match="longer than a slot"):
        engine.open(prompt_of(30, engine.limits), 21, GREEDY)
    assert len(run(engine, [engine.open(prompt_of(30, engine.limits), 20, GREEDY)], 20)[0]) == 20
    engine.shutdown()


def test_the_kv_memory_is_that_of_prompt_and_answer(fast):
    row = fast.open(prompt_of(10, fast.limits), 7, GREEDY)
    assert row.kv_bytes == 17 * fast.limits.kv_bytes_per_token
    fast.close(row)


# What is asked of a row


@pytest.mark.parametrize("token", [-1, 3072, 1 << 30])
def test_a_bias_for_a_token_that_is_none(fast, token):
    with pytest.raises(InvalidRequest) as caught:
        fast.open(prompt_of(2, fast.limits), 2, Sampling(logit_bias={token: 1.0}))
    assert caught.value.param == "logit_bias"
    assert "0 to 3071" in str(caught.value)
    assert fast._placement.rows == []


def test_a_bias_steers_its_own_row_only(track, fast):
    token = int(prompt_of(1, fast.limits, seed=99)[0])
    steered = fast.open(
        prompt_of(5, fast.limits), 10, Sampling(temperature=0, logit_bias={token: 100.0})
    )
    for seed in range(2):
        track.open(12, seed)
    rows = [steered, *track.rows]
    said = [[], [], []]
    for _ in range(12):
        for tokens, step in zip(said, fast.advance(rows), strict=True):
            tokens += [step.choice.token] if step.choice else []
    assert set(said[0]) == {token}
    for (_, tokens), found in zip(track.rows.values(), said[1:], strict=True):
        tokens += found
    fast.close(steered)
    track.check_all(least=9)


@pytest.mark.parametrize("chunk", [1, 4, 64])
def test_echoed_log_probabilities_are_those_of_the_engine_that_it_stands_in_for(
    fast, limits, exact_model, chunk
):
    sampling = Sampling(temperature=0, logprobs=3)
    model = genai.load(exact_model, threads=1, spin=False)
    plain = genai.GenaiEngine(model, limits, prefill_chunk_ms=100)
    scores, answers = [], []
    for engine in (fast, plain):
        engine._pace = Fixed(chunk)
        rows = [
            engine.open(prompt_of(length, limits, length), 5, sampling, echo_logprobs=length == 11)
            for length in (11, 6)
        ]
        said, choices = [], []
        for _ in range(20):
            for row, step in zip(rows, engine.advance(rows), strict=True):
                said += step.prompt_choices
                choices += [(rows.index(row), step.choice)] if step.choice else []
        for row in rows:
            engine.close(row)
        scores.append(said)
        answers.append([choice for place, choice in choices if place == 0][:5])
    model.close()
    assert [score.token for score in scores[0]] == prompt_of(11, limits, 11).tolist()
    assert (scores[0][0].logprob, scores[0][0].top) == (None, ())
    for ours, theirs in zip(scores[0][1:] + answers[0], scores[1][1:] + answers[1], strict=True):
        assert ours.token == theirs.token
        assert ours.logprob == pytest.approx(theirs.logprob, abs=NEAR)
        assert len(ours.top) == 3
        assert [token for token, _ in ours.top] == [token for token, _ in theirs.top]
        assert [value for _, value in ours.top] == pytest.approx(
            [value for _, value in theirs.top], abs=NEAR
        )


def test_seeded_answers_do_not_depend_on_the_company(fast):
    """Hot sampling with every knob, alone and among others that come and go."""
    prompt = prompt_of(20, fast.limits, seed=3)
    sampling = Sampling(
        temperature=1.3,
        seed=77,
        top_p=0.95,
        repetition_penalty=1.1,
        presence_penalty=0.2,
        frequency_penalty=0.1,
    )
    (alone,) = run(fast, [fast.open(prompt, 40, sampling)], 40)
    for others in (1, 3, SLOTS - 1):
        beside = [
            fast.open(prompt_of(7 + n, fast.limits, n), 40, Sampling(temperature=1.5, seed=n))
            for n in range(others)
        ]
        rows = [*beside[:2], fast.open(prompt, 40, sampling), *beside[2:]]
        said = []
        for turn in range(60):
            if beside and turn % 7 == 3:
                gone = beside.pop()
                rows.remove(gone)
                fast.close(gone)
            for row, step in zip(rows, fast.advance(rows), strict=True):
                if step.choice and row.prompt is prompt:
                    said.append(step.choice.token)
        for row in rows:
            fast.close(row)
        assert said[: len(alone)] == alone


def test_guided_rows_beside_free_ones(track, fast, tokenizer):
    schema = {
        "type": "object",
        "properties": {"x": {"type": "integer", "minimum": 0, "maximum": 99}},
        "required": ["x"],
        "additionalProperties": False,
    }
    guidance = Guidance("json_schema", json.dumps(schema))
    for seed in range(2):
        track.open(15, seed)
    guided = [
        fast.open(
            tokenizer.encode("n"),
            60,
            Sampling(temperature=1.5, seed=seed),
            constraint=tokenizer.constrain(guidance),
        )
        for seed in range(3)
    ]
    texts = dict.fromkeys(guided, b"")
    running = list(guided)
    for _ in range(70):
        rows = [*track.rows, *running]
        for row, step in zip(rows, fast.advance(rows), strict=True):
            assert step.error is None
            if step.choice is None:
                continue
            if row in track.rows:
                track.rows[row][1].append(step.choice.token)
            elif step.choice.token in fast.limits.eos_ids:
                fast.close(row)
                running.remove(row)
            else:
                texts[row] += tokenizer.token_bytes(step.choice.token)
    assert running == []
    assert all(0 <= json.loads(text)["x"] <= 99 for text in texts.values())
    track.check_all(least=60)


# Failures


def test_a_failure_of_the_runtime_in_a_prompt_ends_its_row_alone(track, fast, caplog):
    good = [track.open(10, seed) for seed in range(2)]
    track.advance(3)
    bad = fast.open(prompt_of(10, fast.limits), 5, GREEDY)
    bad.length = fast._runs._arena.shape.context - 4  # no room for the chunk that is fed next
    bad.prompt = np.resize(bad.prompt, bad.length + 5)
    steps = fast.advance([*good, bad])
    assert [step.error is None for step in steps] == [True, True, False]
    assert isinstance(steps[2].error, EngineFailed)
    assert "/" not in str(steps[2].error)
    assert caplog.records[-1].error  # the runtime's own words
    for row, step in zip(good, steps, strict=False):
        track.rows[row][1].append(step.choice.token)
    fast.close(bad)
    track.advance(10)
    track.check_all(least=12)


def test_a_failure_of_a_step_ends_the_rows_that_were_in_it(track, fast, monkeypatch):
    lost = [track.open(10, seed) for seed in range(2)]
    track.advance(4)
    waiting = [track.open(70, 5), track.open(10, 7)]
    with monkeypatch.context() as patch:

        def fail(*_):
            raise OrtError("no memory at /some/place")

        patch.setattr(fast._runs, "decode", fail)
        steps = fast.advance(list(track.rows))
    assert [step.error is None for step in steps] == [False, False, True, True]
    assert "/some" not in str(steps[0].error)
    assert steps[2].prefilled == 32
    for row in lost:
        track.close(row)
    track.open(20, 6)
    track.advance(20)
    assert all(row in track.rows for row in waiting)
    track.check_all(least=15)


@pytest.mark.parametrize("place", [0, 1, 2])
def test_logits_that_are_no_numbers_end_one_row_alone(track, fast, logits_of, place):
    rows = [track.open(8, seed) for seed in range(3)]
    track.advance(5)
    logits_of.append(
        lambda row, logits: np.full_like(logits, np.nan) if row is rows[place] else logits
    )
    steps = fast.advance(rows)
    assert [step.error is not None for step in steps] == [n == place for n in range(3)]
    for row, step in zip(rows, steps, strict=True):
        track.rows[row][1].extend([step.choice.token] if step.choice else [])
    track.close(rows[place])
    track.advance(8)
    track.check_all(least=8)


def test_a_constraint_that_fails_ends_its_row_alone(track, fast):
    class Hopeless:
        def allowed(self, vocab_size):
            raise EngineFailed("too complex")

        def accept(self, token):
            raise AssertionError

    track.open(3, 0)
    row = fast.open(prompt_of(3, fast.limits), 3, GREEDY, constraint=Hopeless())
    track.advance()
    (first, second) = fast.advance([*track.rows, row])
    assert str(second.error) == "too complex"
    next(iter(track.rows.values()))[1].append(first.choice.token)
    fast.close(row)
    track.advance(9)
    track.check_all(least=10)


# Interrupts


@pytest.fixture
def long_prompt(fast):
    return prompt_of(fast.limits.context_length - 100, fast.limits, seed=8)


def interrupt_soon(engine, row, after_s):
    """A thread that interrupts `row` once its chunk is under way."""

    def act():
        give_up_s = time.monotonic() + 10
        while engine._feeding is not row and time.monotonic() < give_up_s:
            time.sleep(0)
        time.sleep(after_s)
        engine.interrupt(row)

    thread = threading.Thread(target=act)
    thread.start()
    return thread


def test_an_interrupted_prompt_can_go_on_and_no_other_row_notices(track, fast, exact, long_prompt):
    for seed in range(2):
        track.open(10, seed)
    track.advance(4)
    fast._pace = Fixed(len(long_prompt))
    row = fast.open(long_prompt, 20, GREEDY)
    rows = [*track.rows, row]
    thread = interrupt_soon(fast, row, 0.01)
    steps = fast.advance(rows)
    thread.join()
    assert (steps[2].prefilled, steps[2].choice, steps[2].error) == (0, None, None)
    said = []
    for _ in range(8):
        for own, step in zip(track.rows, steps, strict=False):
            track.rows[own][1].append(step.choice.token)
        said += [steps[2].choice.token] if steps[2].choice else []
        steps = fast.advance(rows)
    assert len(said) >= 6
    assert max(exact.reference.gaps(long_prompt, said)) <= NEAR
    fast.close(row)
    track.check_all(least=10)


def test_an_interrupted_row_can_leave(track, fast, long_prompt):
    track.open(10, 0)
    track.advance(2)
    fast._pace = Fixed(700)
    row = fast.open(long_prompt, 20, GREEDY)
    for _ in range(2):
        thread = interrupt_soon(fast, row, 0.005)
        steps = fast.advance([*track.rows, row])
        thread.join()
        next(iter(track.rows.values()))[1].append(steps[0].choice.token)
    fast.close(row)
    fast._pace = Fixed(32)
    track.open(40, 3)
    track.advance(12)
    track.check_all(least=10)


def test_an_interrupt_of_a_row_that_is_not_being_fed_does_nothing(track, fast):
    rows = [track.open(40, seed) for seed in range(2)]
    for row in rows:
        fast.interrupt(row)
    track.advance(2)
    for row in rows:
        fast.interrupt(row)
    track.advance(10)
    fast.interrupt(track.open(5, 7))
    track.advance(10)
    track.check_all(least=9)


def test_interrupts_at_any_moment_cost_nobody_a_token(track, fast):
    """A thread that interrupts whatever there is, as fast as it can."""
    fast._pace = Fixed(30)
    is_over = threading.Event()

    def pester():
        while not is_over.is_set():
            for row in list(track.rows):
                fast.interrupt(row)
            time.sleep(0.001)

    thread = threading.Thread(target=pester)
    thread.start()
    for number in range(12):
        track.open(80, number)
        track.advance(8)
        if len(track.rows) == SLOTS:
            track.close(next(iter(track.rows)))
    is_over.set()
    thread.join()
    track.advance(20)
    track.check_all(least=1)


# Memory and the end


def test_memory_is_given_back(exact_model):
    """Thousands of short requests, half of them cut off, and now and then a long one."""
    engine = load(exact_model, slots=8)
    engine._pace = Fixed(256)  # the runtime keeps what its largest run took
    bytes_per_token = 2 * 4 * 4 * 64 * 4  # layers, heads, head size, float32
    draw = random.Random(1)

    def churn(count):
        running = []
        opened = 0
        while opened < count or running:
            while opened < count and len(running) < 8:
                length = draw.choice([1, 5, 9, 20, 40] * 40 + [1500])
                tokens = draw.randint(1, 6)
                prompt = prompt_of(length, engine.limits, opened % 50)
                running.append([engine.open(prompt, tokens, GREEDY), tokens, draw.randint(1, 12)])
                opened += 1
            steps = engine.advance([row for row, _, _ in running])
            for entry, step in zip(list(running), steps, strict=True):
                assert step.error is None
                entry[1] -= step.choice is not None
                entry[2] -= 1
                if entry[1] == 0 or entry[2] == 0:
                    engine.close(entry[0])
                    running.remove(entry)

    warm = engine.open(prompt_of(1500, engine.limits, 0), 1, GREEDY)
    while engine.advance([warm])[0].choice is None:
        pass
    engine.close(warm)
    churn(300)
    gc.collect()
    before = cpu.resident_bytes()
    churn(1700)
    gc.collect()
    grown = cpu.resident_bytes() - before
    assert grown < 4 * MIB
    rows = [engine.open(prompt_of(1500, engine.limits, n), 1, GREEDY) for n in range(8)]
    for _ in range(8 * 6):
        engine.advance(rows)
    kv_bytes = 8 * 1500 * bytes_per_token
    held = cpu.resident_bytes()
    assert held - before > kv_bytes // 2
    for row in rows:
        engine.close(row)
    assert held - cpu.resident_bytes() > 0.9 * kv_bytes
    assert engine._placement.rows == []
    engine.shutdown()


def test_a_row_that_moves_takes_no_memory_on_the_way(track, fast):
    """A copy of a long row's keys and values could be more than is left."""
    fast._pace = Fixed(512)
    rows = [track.open(length, length) for length in (5, 1500)]
    track.advance(5)
    tracemalloc.start()
    track.close(rows[0])
    peak_bytes = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak_bytes < MIB  # of 12 that moved
    track.advance(5)
    track.check_all(least=5)


def test_shutdown_frees_the_model(exact_model):
    def cycle():
        engine = load(exact_model, slots=4)
        run(engine, [engine.open(prompt_of(200, engine.limits), 5, GREEDY)], 5)
        engine.shutdown()
        engine.shutdown()
        return engine

    for _ in range(3):
        cycle()
    gc.collect()
    before = cpu.resident_bytes()
    for _ in range(10):
        engine = cycle()
    gc.collect()
    assert cpu.resident_bytes() - before < 8 * MIB
    row = engine.open(prompt_of(3, engine.limits), 1, GREEDY)
    assert engine.advance([row])[0].error is not None


def test_limits_are_those_it_was_given(fast, exact_model):
    assert fast.limits == limits_of(exact_model)
