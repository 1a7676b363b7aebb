"""The scheduler's thread: every ticket gets exactly one end, whatever the engine does."""

from __future__ import annotations

import dataclasses
import queue as stdlib_queue
import threading
import time

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edge.engine.base import Choice, Limits, Step
from edge.engine.scripted import EOS, ByteTokenizer, EchoEngine
from edge.errors import DeadlineExceeded, Draining, EngineFailed, InvalidRequest, QueueFull
from edge.generation import Finish, Sampling
from edge.metrics import Metrics
from edge.scheduler.loop import Loop
from edge.scheduler.queue import Queue
from edge.scheduler.ticket import Ticket

TOKENIZER = ByteTokenizer()
PATIENCE_S = 10.0


class Bench:
    """A loop on an engine, started on demand and stopped at the end."""

    def __init__(self, engine=None, *, slots=4, queue=64, kv_limit=1 << 40):
        self.engine = engine or EchoEngine()
        self.metrics = Metrics("model")
        self.queue = Queue(queue)
        self.loop = Loop(
            self.engine, self.queue, self.metrics, slots=slots, kv_limit_bytes=kv_limit
        )
        self.outbox = stdlib_queue.SimpleQueue()

    def __enter__(self):
        self.loop.start()
        return self

    def __exit__(self, *_):
        self.queue.close()
        self.loop.abort(Draining("over"))
        self.loop.stop(PATIENCE_S)
        assert not self.loop._thread.is_alive()

    def ticket(self, text="hello", *, max_tokens=100, timeout_s=60.0, **fields):
        """A ticket whose events go to a queue of its own."""
        return Ticket(
            fields.pop("index", 0),
            TOKENIZER.encode(text),
            max_tokens,
            fields.pop("sampling", Sampling()),
            time.monotonic() + timeout_s,
            stdlib_queue.SimpleQueue(),
            **fields,
        )

    def admit(self, *several):
        self.queue.admit(list(several), retry_after_s=1.0)

    def send(self, text="hello", **fields):
        one = self.ticket(text, **fields)
        self.admit(one)
        return one

    def value(self, name, **labels):
        """A figure of the metrics, 0 where it was never counted."""
        return self.metrics.registry.get_sample_value(name, labels) or 0.0


def events_of(ticket):
    """Every event up to the end."""
    events = []
    while not events or events[-1].finish is None:
        events.append(ticket.outbox.get(timeout=PATIENCE_S))
    return events


def end_of(ticket):
    return events_of(ticket)[-1]


def text_of(events):
    return TOKENIZER.decode([event.choice.token for event in events if event.choice])


def eventually(condition, timeout_s=PATIENCE_S):
    deadline_s = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline_s, "did not come true"
        time.sleep(0.002)


def test_a_sequence_from_start_to_end():
    with Bench() as bench:
        one = bench.send("hi")
        events = events_of(one)
    assert text_of(events) == "hi"
    assert events[-1].finish is Finish.STOP
    assert events[-1].error is None
    assert one.tokens == 2
    assert one.prefilled == 3
    times = one.times
    assert 0 < times.admitted_s <= times.opened_s <= times.prefilled_s <= times.ended_s
    assert one.outbox.empty()


def test_the_last_token_allowed_ends_the_sequence():
    with Bench() as bench:
        events = events_of(bench.send("abcdef", max_tokens=3))
    assert text_of(events) == "abc"
    assert events[-1].finish is Finish.LENGTH


def test_max_tokens_zero_reads_the_prompt_and_says_nothing():
    with Bench() as bench:
        events = events_of(bench.send("abc", max_tokens=0, echo_logprobs=True))
        assert bench.value("edge_generated_tokens_total", model="model") == 0
    assert [len(event.prompt_choices) for event in events] == [4, 0]
    assert events[-1].finish is Finish.LENGTH


def test_first_come_first_served_through_one_slot():
    order = []

    class Ordered(EchoEngine):
        def open(self, prompt, *rest, **named):
            order.append(TOKENIZER.decode(prompt.tolist()))
            return super().open(prompt, *rest, **named)

    bench = Bench(Ordered(), slots=1)
    several = [bench.send(f"n{number}") for number in range(6)]
    with bench:
        for one in several:
            end_of(one)
    assert order == [f"n{number}" for number in range(6)]


def test_rows_run_side_by_side_up_to_the_slots():
    engine = EchoEngine(step_delay_s=0.005)
    with Bench(engine, slots=3) as bench:
        several = [bench.send("x" * 40) for _ in range(5)]
        eventually(lambda: bench.loop.running == 3)
        assert engine.open_rows == 3
        assert len(bench.queue) == 2
        assert all(end_of(one).finish is Finish.STOP for one in several)
    assert bench.value("edge_batch_size_bucket", le="4.0") > 0


def test_a_queue_of_zero_serves_one_after_another_for_ever():
    """The slot is on offer again before the end of the last sequence is known."""
    with Bench(slots=1, queue=0) as bench:
        for number in range(50):
            assert end_of(bench.send(f"n{number}")).finish is Finish.STOP


def test_a_failed_open_gives_its_slot_back():
    with Bench(slots=1, queue=0) as bench:
        for _ in range(20):
            assert end_of(bench.send("boom")).finish is Finish.ERROR
            assert end_of(bench.send("fine")).finish is Finish.STOP


def test_a_full_queue_refuses_while_the_slots_are_busy():
    with Bench(EchoEngine(step_delay_s=0.005), slots=1, queue=1) as bench:
        first = bench.send("x" * 2000, max_tokens=2000)
        eventually(lambda: bench.loop.running == 1)
        second = bench.send("y")
        with pytest.raises(QueueFull):
            bench.send("z")
        first.cancel()
        assert end_of(second).finish is Finish.STOP


def test_cancel_while_running_ends_within_a_step():
    engine = EchoEngine(step_delay_s=0.01)
    with Bench(engine) as bench:
        one = bench.send("x" * 1000, max_tokens=1000)
        one.outbox.get(timeout=PATIENCE_S)
        eventually(lambda: one.tokens >= 3)
        steps = engine.steps
        one.cancel()
        end = end_of(one)
        assert end.finish is Finish.CANCELLED
        assert end.error is None
        assert engine.steps - steps <= 3
        eventually(lambda: engine.open_rows == 0)
        assert bench.value("edge_cancel_latency_seconds_count", model="model") == 1
        assert bench.value("edge_discarded_tokens_total", model="model") <= 2


def test_cancel_in_the_middle_of_a_prefill():
    engine = EchoEngine(step_delay_s=0.01, prefill_chunk=4)
    with Bench(engine) as bench:
        one = bench.send("x" * 4000)
        eventually(lambda: one.prefilled > 8)
        one.cancel()
        assert end_of(one).finish is Finish.CANCELLED
    assert one.prefilled < 4000
    assert one.times.prefilled_s == 0


def test_cancel_while_waiting_never_opens_a_row():
    engine = EchoEngine(step_delay_s=0.01)
    with Bench(engine, slots=1) as bench:
        first = bench.send("x" * 300, max_tokens=300)
        eventually(lambda: bench.loop.running == 1)
        second = bench.send("y")
        second.cancel()
        assert end_of(second).finish is Finish.CANCELLED
        assert second.times.opened_s == 0
        first.cancel()
        end_of(first)


def test_a_deadline_while_running():
    with Bench(EchoEngine(step_delay_s=0.01)) as bench:
        end = end_of(bench.send("x" * 1000, max_tokens=1000, timeout_s=0.1))
    assert end.finish is Finish.ERROR
    assert isinstance(end.error, DeadlineExceeded)
    assert bench.engine.open_rows == 0


def test_a_deadline_while_waiting():
    with Bench(EchoEngine(step_delay_s=0.01), slots=1) as bench:
        first = bench.send("x" * 1000, max_tokens=1000)
        eventually(lambda: bench.loop.running == 1)
        second = bench.send("y", timeout_s=0.05)
        end = end_of(second)
        assert isinstance(end.error, DeadlineExceeded)
        assert second.times.opened_s == 0
        assert bench.loop.running == 1
        first.cancel()
        end_of(first)


def test_one_row_that_fails_leaves_the_others_alone():
    class FailsOne(EchoEngine):
        def advance(self, rows):
            steps = super().advance(rows)
            return [
                dataclasses.replace(step, choice=None, error=EngineFailed("this one"))
                if row.said == 3 and bytes(row.answer[:3]) == b"bad"
                else step
                for row, step in zip(rows, steps, strict=True)
            ]

    bench = Bench(FailsOne())
    good, bad, also = bench.send("good one"), bench.send("bad one"), bench.send("also good")
    with bench:
        assert text_of(events_of(good)) == "good one"
        end = end_of(bad)
        assert end.finish is Finish.ERROR
        assert str(end.error) == "this one"
        assert text_of(events_of(also)) == "also good"
    assert bench.engine.open_rows == 0


class Refuses(EchoEngine):
    """Raises `self.error` when a prompt starts with "no"."""

    def __init__(self, error):
        super().__init__()
        self.error = error

    def open(self, prompt, *rest, **named):
        if TOKENIZER.decode(prompt.tolist()).startswith("no"):
            raise self.error
        return super().open(prompt, *rest, **named)


@pytest.mark.parametrize(
    ("error", "told"),
    [
        (EngineFailed("no memory"), EngineFailed),
        (InvalidRequest("bad bias", param="logit_bias"), InvalidRequest),
        (ValueError("a fault of ours"), EngineFailed),
        (MemoryError(), EngineFailed),
        (RuntimeError("the runtime's words, with /a/path"), EngineFailed),
    ],
    ids=repr,
)
def test_an_open_that_raises_fails_only_that_ticket(error, told):
    bench = Bench(Refuses(error))
    several = [bench.send(text) for text in ("yes 1", "no 2", "yes 3", "no 4")]
    with bench:
        ends = [end_of(one) for one in several]
        assert [end.finish for end in ends] == [Finish.STOP, Finish.ERROR] * 2
        assert all(isinstance(end.error, told) for end in ends if end.error)
        assert all("/a/path" not in str(end.error) for end in ends)
        assert end_of(bench.send("afterwards")).finish is Finish.STOP
    assert bench.engine.open_rows == 0


@pytest.mark.parametrize("error", [EngineFailed("broken"), ValueError("bug"), KeyError("x")])
def test_an_advance_that_raises_fails_what_runs_and_nothing_later(error):
    class FailsOnce(EchoEngine):
        left = 1

        def advance(self, rows):
            if self.steps == 3 and self.left:
                self.left = 0
                raise error
            return super().advance(rows)

    bench = Bench(FailsOnce(), slots=2)
    several = [bench.send(f"{number} some text") for number in range(4)]
    with bench:
        ends = [end_of(one) for one in several]
        assert [end.finish for end in ends] == [Finish.ERROR] * 2 + [Finish.STOP] * 2
        assert all(isinstance(end.error, EngineFailed) for end in ends[:2])
        assert end_of(bench.send("afterwards")).finish is Finish.STOP
    assert bench.engine.open_rows == 0


def test_an_engine_that_always_fails_answers_everyone():
    class Dead(EchoEngine):
        def advance(self, rows):
            raise OSError("gone")

    with Bench(Dead(), slots=2) as bench:
        several = [bench.send("x") for _ in range(7)]
        assert all(isinstance(end_of(one).error, EngineFailed) for one in several)


def test_a_close_that_raises_still_ends_the_ticket():
    class Sticky(EchoEngine):
        def close(self, row):
            super().close(row)
            if bytes(row.answer).startswith(b"sticky"):
                raise RuntimeError("cannot free")

    with Bench(Sticky(), slots=3) as bench:
        for _ in range(3):
            several = [bench.send(text) for text in ("sticky 1", "sticky 2", "a much longer text")]
            ends = [end_of(one) for one in several]
            assert all(end.finish in (Finish.STOP, Finish.ERROR) for end in ends)
        assert end_of(bench.send("afterwards")).finish is Finish.STOP
    assert bench.engine.open_rows == 0


def test_an_engine_that_returns_too_few_steps_answers_everyone():
    class Short(EchoEngine):
        def advance(self, rows):
            return super().advance(rows)[:-1]

    with Bench(Short()) as bench:
        several = [bench.send("x") for _ in range(3)]
        assert all(end_of(one).finish in (Finish.STOP, Finish.ERROR) for one in several)


class Sized(EchoEngine):
    """Remembers the most KV memory that was ever reserved."""

    def __init__(self):
        super().__init__(kv_bytes_per_token=10, step_delay_s=0.001)
        self.most = 0

    def advance(self, rows):
        self.most = max(self.most, sum(row.kv_bytes for row in rows))
        return super().advance(rows)


def test_rows_wait_for_memory():
    """Each needs (6 + 14) * 10 bytes: two fit in 500."""
    bench = Bench(Sized(), slots=8, kv_limit=500)
    several = [bench.send("x" * 5, max_tokens=14) for _ in range(5)]
    with bench:
        assert all(end_of(one).finish is Finish.STOP for one in several)
    assert bench.engine.most == 400
    assert bench.loop.kv_used_bytes == 0


def test_a_row_that_is_larger_than_the_memory_runs_alone():
    """The service refuses such requests; a loop that waited for ever would be worse."""
    bench = Bench(Sized(), slots=8, kv_limit=50)
    several = [bench.send("x" * 5, max_tokens=14) for _ in range(3)]
    with bench:
        assert all(end_of(one).finish is Finish.STOP for one in several)
    assert bench.engine.most == 200


def test_memory_is_no_way_to_overtake():
    bench = Bench(Sized(), slots=8, kv_limit=500)
    large = [bench.send("x" * 5, max_tokens=34) for _ in range(2)]
    small = bench.send("y", max_tokens=2)
    with bench:
        for one in (*large, small):
            end_of(one)
    assert small.times.opened_s >= large[1].times.opened_s


def test_drain_lets_what_is_inside_end():
    with Bench(EchoEngine(step_delay_s=0.002), slots=1) as bench:
        several = [bench.send("some text") for _ in range(3)]
        bench.queue.drain()
        with pytest.raises(Draining):
            bench.send("late")
        assert all(end_of(one).finish is Finish.STOP for one in several)


def test_abort_ends_what_runs_and_what_waits():
    with Bench(EchoEngine(step_delay_s=0.005), slots=2) as bench:
        several = [bench.send("x" * 1000, max_tokens=1000) for _ in range(5)]
        eventually(lambda: bench.loop.running == 2)
        bench.queue.drain()
        reason = Draining("shutting down")
        bench.loop.abort(reason)
        ends = [end_of(one) for one in several]
        assert all(end.error is reason for end in ends)
        eventually(lambda: bench.engine.open_rows == 0)


def test_stop_ends_the_thread_and_the_engine():
    bench = Bench(EchoEngine(step_delay_s=0.002), slots=1)
    several = [bench.send("some text") for _ in range(2)]
    bench.loop.start()
    bench.loop.stop(PATIENCE_S)
    assert not bench.loop._thread.is_alive()
    assert all(len([e for e in events_of(one) if e.finish]) == 1 for one in several)
    assert bench.engine.is_shut_down


def test_stop_answers_those_who_were_never_opened():
    bench = Bench()
    one = bench.send("x")
    bench.queue.close()
    bench.loop.start()
    bench.loop.stop(PATIENCE_S)
    assert isinstance(end_of(one).error, Draining)


def test_stop_gives_up_waiting():
    with Bench(EchoEngine(step_delay_s=0.01)) as bench:
        bench.send("x" * 1000, max_tokens=1000)
        eventually(lambda: bench.loop.running == 1)
        bench.loop.stop(0.02)
        assert bench.loop._thread.is_alive()


def test_retry_after_follows_the_measured_speed():
    bench = Bench(EchoEngine(step_delay_s=0.001), slots=2)
    idle_s = bench.loop.retry_after_s
    several = [bench.send("y") for _ in range(60)]
    full_s = bench.loop.retry_after_s
    assert idle_s == 1.0
    assert full_s == 30.0  # 60 ahead, 2 at a time, one second each until it is measured
    with bench:
        for one in several:
            end_of(one)
        assert bench.loop.retry_after_s == 1.0
        assert bench.loop._seconds_per_sequence < 0.9


def test_retry_after_is_bounded():
    bench = Bench(slots=1, queue=10_000)
    bench.admit(*[bench.ticket("x") for _ in range(5000)])
    assert bench.loop.retry_after_s == 120.0


def test_the_counts_of_tokens_and_stages():
    bench = Bench(slots=2)
    several = [bench.send("four"), bench.send("sixsix", max_tokens=3)]
    with bench:
        for one in several:
            end_of(one)
    assert bench.value("edge_prompt_tokens_total", model="model") == 5 + 7
    # The end token was sampled too.
    assert bench.value("edge_generated_tokens_total", model="model") == 5 + 3
    for stage in ("queue", "prefill", "decode"):
        assert bench.value(f"edge_request_{stage}_seconds_count", model="model") == 2
    assert bench.value("edge_discarded_tokens_total", model="model") == 0
    assert bench.value("edge_cancel_latency_seconds_count", model="model") == 0


def test_batch_sizes_count_decoding_rows_only():
    class Fixed:
        """Two prefill steps, then tokens."""

        limits = Limits(100, frozenset({EOS}), 300)

        def open(self, prompt, max_tokens, sampling, **named):
            return type("Row", (), {"kv_bytes": 0, "steps": 0})()

        def advance(self, rows):
            steps = []
            for row in rows:
                row.steps += 1
                done = Step(prefilled=1, choice=Choice(65) if row.steps == 2 else None)
                steps.append(done if row.steps <= 2 else Step(choice=Choice(65)))
            return steps

        def interrupt(self, row):
            pass

        def close(self, row):
            pass

        def keep(self, most_bytes):
            pass

        def shutdown(self):
            pass

    bench = Bench(Fixed(), slots=2)
    several = [bench.send("ab", max_tokens=4) for _ in range(2)]
    with bench:
        for one in several:
            end_of(one)
    assert bench.value("edge_batch_size_count") == 3
    assert bench.value("edge_batch_size_sum") == 6


PLANS = st.lists(
    st.fixed_dictionaries(
        {
            "text": st.sampled_from(["", "a", "hello", "boom", "x" * 30, "fail", "é€"]),
            "max_tokens": st.integers(0, 40),
            "pause_ms": st.integers(0, 3),
            "cancel_ms": st.none() | st.integers(0, 8),
            "timeout_s": st.sampled_from([60.0, 60.0, 0.004, 0.0]),
        }
    ),
    min_size=1,
    max_size=25,
)


class Unreliable(EchoEngine):
    """Now and then `advance` raises, as a bug would."""

    def __init__(self, period):
        super().__init__(step_delay_s=0.0003, prefill_chunk=7, kv_bytes_per_token=1)
        self.period = period

    def advance(self, rows):
        if self.period and self.steps % self.period == self.period - 1:
            self.steps += 1
            raise RuntimeError("now and then")
        return super().advance(rows)


@settings(max_examples=40, deadline=None)
@given(
    plans=PLANS,
    slots=st.integers(1, 5),
    limit=st.integers(0, 12),
    kv_limit=st.sampled_from([1 << 30, 60]),
    period=st.sampled_from([0, 0, 5, 17]),
    ending=st.sampled_from(["wait", "drain", "abort", "stop"]),
)
def test_any_schedule_ends_with_one_end_each_and_no_open_row(
    plans, slots, limit, kv_limit, period, ending
):
    bench = Bench(Unreliable(period), slots=slots, queue=limit, kv_limit=kv_limit)
    admitted, timers = [], []
    with bench:
        for plan in plans:
            time.sleep(plan["pause_ms"] / 1000)
            one = bench.ticket(
                plan["text"], max_tokens=plan["max_tokens"], timeout_s=plan["timeout_s"]
            )
            try:
                bench.admit(one)
            except QueueFull:
                continue
            admitted.append(one)
            if plan["cancel_ms"] is not None:
                timers.append(threading.Timer(plan["cancel_ms"] / 1000, one.cancel))
                timers[-1].start()
        if ending != "wait":
            bench.queue.drain()
        if ending == "abort":
            bench.loop.abort(Draining("abort"))
        if ending == "stop":
            bench.loop.stop(PATIENCE_S)
        histories = [events_of(one) for one in admitted]
        for timer in timers:
            timer.join()
    for one, events in zip(admitted, histories, strict=True):
        assert [event for event in events if event.finish] == [events[-1]]
        assert one.outbox.empty()
        assert (events[-1].error is not None) == (events[-1].finish is Finish.ERROR)
        assert len([event for event in events if event.choice]) <= one.max_tokens
    assert bench.engine.open_rows == 0
    assert bench.loop.running == len(bench.queue) == bench.loop.kv_used_bytes == 0


def test_the_engine_is_touched_by_its_thread_alone():
    seen = set()

    class Watched(EchoEngine):
        def open(self, *arguments, **named):
            seen.add(threading.current_thread().name)
            return super().open(*arguments, **named)

        def advance(self, rows):
            seen.add(threading.current_thread().name)
            return super().advance(rows)

        def close(self, row):
            seen.add(threading.current_thread().name)
            super().close(row)

        def shutdown(self):
            seen.add(threading.current_thread().name)
            super().shutdown()

    with Bench(Watched()) as bench:
        one = bench.send("x" * 50)
        one.cancel()
        end_of(one)
        end_of(bench.send("y"))
    assert seen == {"engine"}


def test_prompts_are_handed_over_as_they_are():
    prompts = []

    class Keeps(EchoEngine):
        def open(self, prompt, max_tokens, sampling, **named):
            prompts.append((prompt, max_tokens, sampling, named))
            return super().open(prompt, max_tokens, sampling)

    sampling = Sampling(temperature=0.5, seed=3)
    with Bench(Keeps()) as bench:
        options = {"echo_logprobs": True, "adapter": "pirate"}
        end_of(bench.send("abc", max_tokens=7, sampling=sampling, **options))
    (prompt, max_tokens, asked, named), *rest = prompts
    assert rest == []
    assert prompt.dtype == np.int32
    assert TOKENIZER.decode(prompt.tolist()) == "abc"
    assert (max_tokens, asked) == (7, sampling)
    assert named == {"constraint": None, "echo_logprobs": True, "adapter": "pirate"}


class Stuck(EchoEngine):
    """Its first prefill lasts until it is interrupted."""

    def __init__(self):
        super().__init__()
        self.entered, self.cut = threading.Event(), threading.Event()

    def advance(self, rows):
        if self.cut.is_set():
            return super().advance(rows)
        self.entered.set()
        assert self.cut.wait(PATIENCE_S)
        return [Step() for _ in rows]

    def interrupt(self, row):
        self.cut.set()


def test_a_cancel_reaches_into_a_prefill():
    with Bench(Stuck()) as bench:
        one = bench.send("!long prompt")
        assert bench.engine.entered.wait(PATIENCE_S)
        began_s = time.monotonic()
        one.cancel()
        assert events_of(one)[-1].finish is Finish.CANCELLED
        assert time.monotonic() - began_s < PATIENCE_S / 2
        assert events_of(bench.send("next"))[-1].finish is Finish.STOP


def test_an_abort_reaches_into_a_prefill():
    with Bench(Stuck()) as bench:
        one = bench.send("!long prompt")
        assert bench.engine.entered.wait(PATIENCE_S)
        bench.queue.drain()
        bench.loop.abort(Draining("over"))
        assert isinstance(events_of(one)[-1].error, Draining)


def test_a_cancel_after_the_end_interrupts_nothing_of_others():
    with Bench() as bench:
        one = bench.send("short")
        events_of(one)
        one.cancel()
        assert events_of(bench.send("another"))[-1].finish is Finish.STOP


class Caches(EchoEngine):
    """Notes what it may keep, and says that each prompt was cached but for one token."""

    def __init__(self):
        super().__init__(kv_bytes_per_token=10)
        self.allowed = []

    def keep(self, most_bytes):
        self.allowed.append(most_bytes)

    def advance(self, rows):
        steps = super().advance(rows)
        return [
            dataclasses.replace(step, cached=step.prefilled - 1, prefilled=1)
            if step.prefilled
            else step
            for step in steps
        ]


def test_the_cache_may_hold_what_the_rows_leave():
    engine = Caches()
    with Bench(engine, slots=2, kv_limit=1000) as bench:
        end_of(bench.send("abc", max_tokens=6))
    # Before it is let in (4 prompt tokens and 6 more), and after its end.
    assert engine.allowed == [900, 1000]


def test_a_row_beyond_the_limit_leaves_nothing_to_the_cache():
    engine = Caches()
    with Bench(engine, slots=2, kv_limit=50) as bench:
        end_of(bench.send("abc", max_tokens=6))
    assert engine.allowed == [0, 50]


def test_cached_tokens_are_told_and_counted():
    with Bench(Caches(), slots=2) as bench:
        one = bench.send("abcdef", max_tokens=3)
        end_of(one)
        assert (one.prefilled, one.cached) == (1, 6)
        assert bench.value("edge_cached_prompt_tokens_total", model="model") == 6
        assert bench.value("edge_prompt_tokens_total", model="model") == 1
