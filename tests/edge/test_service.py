"""generate() on the real scheduler: choices, usage, ends, and the account given of each."""

from __future__ import annotations

import dataclasses
import json
import logging
import threading
import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edge import log, service
from edge.admission import Rules
from edge.bundle import Defaults
from edge.engine.scripted import ByteTokenizer, EchoEngine
from edge.errors import (
    Cancelled,
    DeadlineExceeded,
    Draining,
    EngineFailed,
    InvalidRequest,
    NotReady,
    PromptTooLong,
    QueueFull,
)
from edge.generation import Delta, Finish, Prompt, Request, Sampling, Usage
from edge.metrics import Metrics
from edge.scheduler.loop import Loop
from edge.scheduler.queue import Queue
from edge.web.failures import status_of

PATIENCE_S = 10.0


class Lines(logging.Handler):
    """The lines of the request log, as JSON."""

    def __init__(self):
        super().__init__()
        self.entries = []
        self.setFormatter(log.JsonFormatter())

    def emit(self, record):
        self.entries.append(json.loads(self.format(record)))


class Bench:
    def __init__(self, engine=None, *, slots=4, queue=64, is_attached=True, **options):
        self.engine = engine or EchoEngine()
        self.metrics = Metrics("m")
        self.queue = Queue(queue)
        self.loop = Loop(self.engine, self.queue, self.metrics, slots=slots, kv_limit_bytes=1 << 40)
        self.service = service.Service(self.metrics, status_of, **options)
        self.rules = Rules(
            ByteTokenizer(), self.engine.limits, Defaults(max_tokens=300), 1 << 40, 100, 30.0
        )
        self.log = Lines()
        if is_attached:
            self.service.attach(service.Backend(self.rules, self.queue, self.loop))

    def __enter__(self):
        logger = logging.getLogger("edge.request")
        logger.addHandler(self.log)
        logger.setLevel(logging.INFO)
        self.loop.start()
        return self

    def __exit__(self, *_):
        logging.getLogger("edge.request").removeHandler(self.log)
        self.queue.drain()
        self.loop.abort(Draining("over"))
        self.loop.stop(PATIENCE_S)
        assert not self.loop._thread.is_alive()
        assert self.engine.open_rows == 0

    def generate(self, *texts, **fields):
        prompts = tuple(Prompt(text=text) for text in texts)
        fields.setdefault("operation", "text_completion")
        return self.service.generate(Request(prompts=prompts, **fields))

    def complete(self, *texts, **fields):
        return service.collect(self.generate(*texts, **fields))

    def counted(self):
        """(finish_reason, code) -> count of requests."""
        return {
            (sample.labels["finish_reason"], sample.labels["code"]): sample.value
            for metric in self.metrics.registry.collect()
            for sample in metric.samples
            if sample.name == "edge_requests_total"
        }

    def value(self, name, **labels):
        return self.metrics.registry.get_sample_value(name, labels) or 0.0


@pytest.fixture
def bench():
    with Bench() as found:
        yield found


def test_one_prompt(bench):
    found = bench.complete("hello")
    assert found.choices == (service.Completed(0, "hello", Finish.STOP, ()),)
    assert found.usage == Usage(6, 5)
    assert found.usage.total_tokens == 11


def test_many_prompts_and_samples(bench):
    found = bench.complete("one", "three", n=2)
    assert [(one.index, one.text) for one in found.choices] == [
        (0, "one"),
        (1, "one"),
        (2, "three"),
        (3, "three"),
    ]
    # The prompt of several samples counts once.
    assert found.usage == Usage(4 + 6, 2 * 3 + 2 * 5)


def test_the_tokens_of_each_prompt_with_those_that_ended_its_answers(bench):
    generation = bench.generate("one", "three", n=2, max_tokens=4)
    assert generation.usage_by_prompt == (Usage(4), Usage(6))
    service.collect(generation)
    # `three` is cut off: nothing ended it.
    assert generation.usage_by_prompt == (Usage(4, 2 * (3 + 1)), Usage(6, 2 * 4))
    assert generation.usage == Usage(10, 2 * 3 + 2 * 4)


def test_a_stop_string_is_no_token_that_ended_an_answer(bench):
    generation = bench.generate("one. two", stop=(".",))
    service.collect(generation)
    assert generation.usage_by_prompt == (Usage(9, 4),)


def test_more_sequences_than_slots():
    with Bench(slots=2, queue=2) as bench:
        found = bench.complete(*[f"n{number}" for number in range(20)])
    assert [one.text for one in found.choices] == [f"n{number}" for number in range(20)]


def test_max_tokens(bench):
    found = bench.complete("hello", "hi", max_tokens=3)
    assert [(one.text, one.finish) for one in found.choices] == [
        ("hel", Finish.LENGTH),
        ("hi", Finish.STOP),
    ]
    assert found.usage.completion_tokens == 5


def test_max_tokens_of_just_the_answer_ends_by_length(bench):
    """Whether the model would have stopped is not known: it was not asked."""
    assert bench.complete("hello", max_tokens=5).choices[0].finish is Finish.LENGTH


def test_the_bundles_default_bounds_the_answer():
    with Bench() as bench:
        assert bench.complete("x" * 400).usage.completion_tokens == 300


def test_no_tokens_at_all(bench):
    found = bench.complete("hello", max_tokens=0)
    assert found.choices[0].text == ""
    assert found.choices[0].finish is Finish.LENGTH
    assert found.usage == Usage(6, 0)


def test_the_last_delta_carries_the_usage_and_each_choice_ends_once(bench):
    deltas = list(bench.generate("ab", "c", n=2))
    assert deltas[-1] == Delta(0, usage=Usage(5, 6))
    assert [delta for delta in deltas[:-1] if delta.usage] == []
    for index in range(4):
        own = [delta for delta in deltas[:-1] if delta.index == index]
        assert [bool(delta.finish) for delta in own] == [False] * (len(own) - 1) + [True]


def test_a_stop_string_ends_the_row_at_once():
    with Bench(EchoEngine(step_delay_s=0.003)) as bench:
        text = "before STOP " + "x" * 200
        found = bench.complete(text, stop=("STOP",))
        assert found.choices[0] == service.Completed(0, "before ", Finish.STOP, ())
        deadline_s = time.monotonic() + PATIENCE_S
        while bench.engine.open_rows and time.monotonic() < deadline_s:
            time.sleep(0.002)
        assert bench.engine.open_rows == 0
        assert bench.engine.steps < 40
    assert bench.counted() == {("stop", "200"): 1}


def test_each_choice_has_stop_strings_of_its_own(bench):
    found = bench.complete("one. two", "no end", stop=(".",))
    assert [one.text for one in found.choices] == ["one", "no end"]


def test_an_echo_puts_the_prompt_first(bench):
    found = bench.complete("abc", "d", echo=True)
    assert [one.text for one in found.choices] == ["abcabc", "dd"]
    assert found.usage == Usage(6, 4)


def test_an_echo_without_an_answer(bench):
    found = bench.complete("abc", echo=True, max_tokens=0, sampling=Sampling(logprobs=0))
    (choice,) = found.choices
    assert (choice.text, choice.finish) == ("abc", Finish.LENGTH)
    assert [entry.logprob for entry in choice.logprobs] == [None, 0.0, 0.0, 0.0]


def test_a_stop_string_in_an_echoed_prompt_does_not_stop(bench):
    found = bench.complete("a.b", echo=True, stop=(".",))
    assert found.choices[0].text == "a.ba"


def test_log_probabilities_with_offsets(bench):
    found = bench.complete("a€b", echo=True, sampling=Sampling(logprobs=1))
    (choice,) = found.choices
    assert choice.text == "a€ba€b"
    assert b"".join(entry.raw for entry in choice.logprobs) == "a€ba€b".encode()
    # Offsets count characters; the parts of one character share its place.
    assert [entry.offset for entry in choice.logprobs] == [0, 0, 1, 1, 1, 2, 3, 4, 4, 4, 5]
    assert all(entry.top for entry in choice.logprobs)


def test_no_log_probabilities_unless_asked_for(bench):
    assert bench.complete("abc").choices[0].logprobs == ()


def test_log_probabilities_of_a_stop_string_stay_inside(bench):
    found = bench.complete("ab<end>cd", stop=("<end>",), sampling=Sampling(logprobs=0))
    assert b"".join(entry.raw for entry in found.choices[0].logprobs) == b"ab"


def test_log_probabilities_behind_an_echo_come_with_their_text(bench):
    """Their offsets count the echoed prompt; that must not hold them back, or lose them."""
    sampling = Sampling(logprobs=0)
    deltas = list(bench.generate("ab<end>cd", echo=True, stop=("<end>",), sampling=sampling))
    answer = [delta for delta in deltas if delta.text and not delta.text.startswith("ab<end>")]
    assert [[entry.raw for entry in delta.logprobs] for delta in answer] == [[b"a"], [b"b"]]
    assert [entry.offset for delta in answer for entry in delta.logprobs] == [9, 10]


PLAIN = st.characters(exclude_categories=["Cs"], exclude_characters="\ufdd0\ufdd1\ufdd2\ufdd3")
TEXT = st.text(PLAIN, max_size=12)


@settings(max_examples=60, deadline=None)
@given(
    texts=st.lists(TEXT.filter(lambda text: text != "boom"), min_size=1, max_size=3),
    n=st.integers(1, 2),
    max_tokens=st.none() | st.integers(0, 40),
    stop=st.lists(st.text("ab é", min_size=1, max_size=3), max_size=2).map(tuple),
    echo=st.booleans(),
    logprobs=st.none() | st.integers(0, 2),
)
def test_any_request_is_answered_in_full(texts, n, max_tokens, stop, echo, logprobs):
    with Bench() as bench:
        found = bench.complete(
            *texts, n=n, max_tokens=max_tokens, stop=stop, echo=echo,
            sampling=Sampling(logprobs=logprobs),
        )  # fmt: skip
        assert len(found.choices) == len(texts) * n
        for choice in found.choices:
            prompt = texts[choice.index // n]
            answer = choice.text.removeprefix(prompt) if echo else choice.text
            assert not any(word in answer for word in stop)
            if choice.finish is Finish.STOP and not any(word in prompt for word in stop):
                assert answer == prompt
        assert found.usage.prompt_tokens == sum(len(text.encode()) + 1 for text in texts)
        assert sum(bench.counted().values()) == len(bench.log.entries) == 1


def test_before_the_model_is_there():
    with Bench(is_attached=False) as bench:
        with pytest.raises(NotReady):
            bench.generate("x")
        with pytest.raises(NotReady):
            _ = bench.service.special_tokens
        bench.service.attach(service.Backend(bench.rules, bench.queue, bench.loop))
        assert bench.complete("x").choices[0].text == "x"
        assert bench.service.special_tokens == ByteTokenizer.special_tokens


def test_refusals_queue_nothing_and_are_left_to_the_web_to_count(bench):
    limits = dataclasses.replace(bench.engine.limits, context_length=5)
    rules = dataclasses.replace(bench.rules, limits=limits)
    bench.service.attach(service.Backend(rules, bench.queue, bench.loop))
    with pytest.raises(PromptTooLong):
        bench.generate("far too long")
    with pytest.raises(InvalidRequest):
        bench.generate("x", n=101)
    assert len(bench.queue) == 0
    assert bench.counted() == {}
    assert bench.log.entries == []


def test_a_full_queue_takes_nothing_of_a_request():
    with Bench(EchoEngine(step_delay_s=0.005), slots=1, queue=2) as bench:
        first = bench.generate("x" * 200)
        iterator = iter(first)
        next(iterator)
        with pytest.raises(QueueFull):
            bench.generate("a", "b", "c")
        assert len(bench.queue) == 0
        second = bench.generate("a", "b")
        first.close()
        assert [one.text for one in service.collect(second).choices] == ["a", "b"]


def test_a_cancel_from_another_thread():
    with Bench(EchoEngine(step_delay_s=0.003)) as bench:
        generation = bench.generate("x" * 300)
        threading.Timer(0.03, generation.cancel).start()
        with pytest.raises(Cancelled):
            service.collect(generation)
    assert bench.counted() == {("cancelled", "499"): 1}


def test_a_consumer_that_stops_midway():
    with Bench(EchoEngine(step_delay_s=0.003)) as bench:
        generation = bench.generate("x" * 300)
        for number, _ in enumerate(generation):
            if number == 2:
                break
        generation.close()
        generation.close()
        (entry,) = bench.log.entries
        assert (entry["finish_reason"], entry["code"], entry["error"]) == (
            "cancelled",
            499,
            "cancelled",
        )
        assert entry["completion_tokens"] == 3
    assert bench.counted() == {("cancelled", "499"): 1}


def test_a_generation_that_nobody_iterates():
    with Bench(EchoEngine(step_delay_s=0.003)) as bench:
        bench.generate("x" * 300).close()
    assert bench.counted() == {("cancelled", "499"): 1}
    assert len(bench.log.entries) == 1


def test_a_consumer_that_stops_after_the_last_text_was_answered():
    with Bench() as bench:
        generation = bench.generate("abc")
        for delta in generation:
            if delta.finish:
                break
        generation.close()
    assert bench.counted() == {("stop", "200"): 1}


def test_a_deadline():
    with Bench(EchoEngine(step_delay_s=0.005)) as bench, pytest.raises(DeadlineExceeded):
        bench.complete("x" * 300, timeout_s=0.05)
    assert bench.counted() == {("error", "504"): 1}
    assert bench.value("edge_requests_rejected_total", reason="deadline") == 0


def test_a_deadline_before_there_was_a_slot():
    with Bench(EchoEngine(step_delay_s=0.005), slots=1) as bench:
        first = iter(bench.generate("x" * 300))
        next(first)
        with pytest.raises(DeadlineExceeded):
            bench.complete("y", timeout_s=0.05)
        assert bench.value("edge_requests_rejected_total", reason="deadline") == 1
        assert bench.log.entries[0]["error"] == "deadline_exceeded"
        assert bench.log.entries[0]["prefill_s"] is None
        first.close()


def test_a_stalled_engine_does_not_hold_the_caller_for_ever(monkeypatch):
    """The caller waits a moment longer than the deadline for the scheduler, and then gives up."""
    monkeypatch.setattr("edge.answer._GRACE_S", 0.05)
    stuck = threading.Event()

    class Stuck(EchoEngine):
        def advance(self, rows):
            stuck.wait(PATIENCE_S)
            return super().advance(rows)

    with Bench(Stuck()) as bench:
        with pytest.raises(DeadlineExceeded):
            bench.complete("x", timeout_s=0.05)
        stuck.set()
    assert bench.counted() == {("error", "504"): 1}


def test_a_deadline_ends_the_model_call_that_is_under_way():
    """No other chance to stop comes before the end of that call."""
    interrupted = threading.Event()

    class Long(EchoEngine):
        def advance(self, rows):
            assert interrupted.wait(PATIENCE_S)
            return super().advance(rows)

        def interrupt(self, row):
            interrupted.set()

    with Bench(Long()) as bench, pytest.raises(DeadlineExceeded):
        bench.complete("x" * 9, timeout_s=0.05)
    assert interrupted.is_set()
    assert bench.counted() == {("error", "504"): 1}


def test_one_failing_row_fails_its_request_and_frees_the_rest():
    with Bench(EchoEngine(step_delay_s=0.002)) as bench:
        with pytest.raises(EngineFailed):
            bench.complete("x" * 200, "boom")
        assert bench.complete("fine").choices[0].text == "fine"
    assert bench.counted() == {("error", "500"): 1, ("stop", "200"): 1}


def test_a_failure_midway():
    with Bench(EchoEngine(fail_after=3)) as bench:
        generation = bench.generate("abcdef")
        said = []
        with pytest.raises(EngineFailed):
            said.extend(delta.text for delta in generation)
        assert "".join(said) == "abc"
    (entry,) = bench.log.entries
    assert (entry["code"], entry["error"], entry["finish_reason"]) == (
        500,
        "engine_failed",
        "error",
    )


def test_an_error_is_counted_once_and_says_so(bench):
    with pytest.raises(EngineFailed) as caught:
        bench.complete("boom")
    assert caught.value.is_recorded


def test_draining_midway():
    with Bench(EchoEngine(step_delay_s=0.003)) as bench:
        generation = bench.generate("x" * 300)
        iterator = iter(generation)
        next(iterator)
        bench.queue.drain()
        bench.loop.abort(Draining("shutting down"))
        with pytest.raises(Draining):
            list(iterator)
        with pytest.raises(Draining):
            bench.generate("y")
    assert bench.counted() == {("error", "503"): 1}


def test_finish_reasons_of_several_choices_count_as_one_request(bench):
    bench.complete("abcdef", "a", max_tokens=3)
    bench.complete("a", "b")
    assert bench.counted() == {("length", "200"): 1, ("stop", "200"): 1}


FIELDS = {
    *("time", "level", "logger", "message", "request_id", "operation", "code", "finish_reason"),
    *("error", "choices", "prompt_tokens", "completion_tokens", "cached_tokens"),
    *("duration_s", "queue_s", "ttft_s", "prefill_s", "decode_s"),
}


def test_the_line_of_a_request(bench):
    bench.complete("secret", "words", n=2, operation="chat", request_id="r-1")
    (entry,) = bench.log.entries
    assert entry.keys() == FIELDS
    assert entry["message"] == "request"
    assert (entry["request_id"], entry["operation"], entry["code"]) == ("r-1", "chat", 200)
    assert (entry["choices"], entry["prompt_tokens"], entry["completion_tokens"]) == (4, 13, 22)
    assert (entry["error"], entry["finish_reason"]) == ("", "stop")
    parts = entry["queue_s"] + entry["prefill_s"] + entry["decode_s"]
    assert parts == pytest.approx(entry["duration_s"], abs=0.05)
    assert 0 <= entry["ttft_s"] <= entry["duration_s"]
    assert "secret" not in json.dumps(bench.log.entries)


def test_prompts_are_logged_on_demand_alone():
    with Bench(log_prompts=True) as bench:
        bench.complete("secret", stop=("r",))
    (entry,) = bench.log.entries
    assert entry.keys() == FIELDS | {"prompts", "answers"}
    assert entry["prompts"] == [{"text": "secret", "messages": None, "ids": None, "tools": []}]
    assert entry["answers"] == ["sec"]


def test_the_figures_of_a_request(bench):
    bench.complete("hello")
    labels = {"gen_ai_operation_name": "text_completion", "gen_ai_request_model": "m"}
    duration = "gen_ai_server_request_duration_seconds_count"
    assert bench.value(duration, **labels, error_type="") == 1
    assert bench.value("gen_ai_server_time_to_first_token_seconds_count", **labels) == 1
    usage = "gen_ai_client_token_usage_tokens_sum"
    assert bench.value(usage, **labels, gen_ai_token_type="input") == 6
    assert bench.value(usage, **labels, gen_ai_token_type="output") == 5


def test_many_threads():
    with Bench(slots=3, queue=100) as bench:
        results = {}

        def call(number):
            results[number] = bench.complete(f"call {number}").choices[0].text

        threads = [threading.Thread(target=call, args=[number]) for number in range(40)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert results == {number: f"call {number}" for number in range(40)}
    assert len(bench.log.entries) == 40
    assert bench.counted() == {("stop", "200"): 40}


def test_a_tokenizer_that_breaks_midway_counts_as_an_error():
    """Not as a caller who left: the line and the figures must say what happened."""

    class Breaks(ByteTokenizer):
        def stream(self):
            def decode(token):
                raise RuntimeError("a bug")

            return decode

    with Bench() as bench:
        rules = dataclasses.replace(bench.rules, tokenizer=Breaks())
        bench.service.attach(service.Backend(rules, bench.queue, bench.loop))
        with pytest.raises(RuntimeError):
            bench.complete("x")
    assert bench.counted() == {("error", "500"): 1}
    assert [entry["error"] for entry in bench.log.entries] == ["engine_failed"]


class Adapted(EchoEngine):
    """An echo that takes any adapter, and remembers which."""

    asked = ()

    def open(self, *arguments, adapter="", **options):
        self.asked += (adapter,)
        return super().open(*arguments, **options)


def test_the_adapter_reaches_the_engine_and_the_log():
    with Bench(Adapted()) as bench:
        bench.complete("a", n=2, adapter="pirate")
        bench.complete("b")
        assert bench.engine.asked == ("pirate", "pirate", "")
    first, second = bench.log.entries
    assert first["adapter"] == "pirate"
    assert set(first) == FIELDS | {"adapter"}
    assert set(second) == FIELDS
