from pathlib import Path

import pytest

from tests.bench import workload
from tests.bench.client import BadAnswer, Stream
from tests.bench.sides import Bare, Served
from tests.bench.subject import Subject
from tests.bench.workload import Bench, Plan, batch_rate

SUBJECT = Subject(Path("bundle"), "toy", "a toy", 1000, 100, 4096, (7, 9))
PLAN = Plan(rounds=3, clients=(1, 2), short_prompt_tokens=4, long_prompt_tokens=16, new_tokens=5)


@pytest.fixture(autouse=True)
def no_pauses(monkeypatch):
    monkeypatch.setattr(workload, "SETTLE_S", 0)


class FakeBare:
    """A bare loop whose first token takes a second, the others half of one."""

    def __init__(self, calls):
        self.calls = calls
        self.tasks = []

    def run(self, task):
        self.calls.append("bare")
        self.tasks.append(task)
        return {"first_s": 1.0, "total_s": 1.0 + 0.5 * (task["new_tokens"] - 1)}


class FakeAddress:
    """A server that is twice as slow; it ends answers early unless their ends are suppressed."""

    def __init__(self, calls, *, ends_early=False, obeys=True):
        self.calls, self.ends_early, self.obeys = calls, ends_early, obeys
        self.bodies = []

    def unary(self, bodies):
        self.calls.append("served")
        self.bodies += bodies
        return [1.25] * len(bodies)

    def streams(self, bodies):
        self.calls.append("served")
        self.bodies += bodies
        return [self._stream(body) for body in bodies]

    def _stream(self, body):
        ends = self.ends_early and not (self.obeys and "logit_bias" in body)
        tokens = 1 if ends else body["max_tokens"]
        moments = tuple(2.0 + i for i in range(tokens))
        return Stream(moments, tokens, "stop" if ends else "length")


def bench(plan=PLAN, **behaviour):
    calls = []
    bare, address = FakeBare(calls), FakeAddress(calls, **behaviour)
    return Bench(plan, bare, Served(None, address, 0.0), SUBJECT), bare, address, calls


def test_every_round_gives_a_sample_of_everything():
    running, *_ = bench()
    rounds = []
    samples = running.run(rounds.append)
    assert rounds == [1, 2, 3]
    assert samples.request_s.bare == [1.0] * 3
    assert samples.request_s.served == [1.25] * 3
    assert set(samples.loads) == {1, 2}
    for clients, load in samples.loads.items():
        assert load.decode.bare == [clients * 2.0] * 3
        assert load.decode.served == [clients * 1.0] * 3
        assert load.prefill.bare == [clients * 16.0] * 3
        assert load.prefill.served == [clients * 8.0] * 3
        assert load.first_s.served == load.long_first_s.served == [2.0] * 3
        assert load.gap_s == [1.0] * 3


def test_the_sides_take_turns_at_going_first():
    running, _, _, calls = bench(Plan(rounds=2, clients=(1,), new_tokens=5, requests=1))
    running.run(lambda _: None)
    probe, warm_up, measured = calls[:1], calls[1:3], calls[3:]
    assert probe == ["served"]
    assert sorted(warm_up) == ["bare", "served"]
    assert measured == ["bare", "served"] * 3 + ["served", "bare"] * 3


def test_both_sides_get_the_same_prompts_and_never_twice():
    running, bare, address, _ = bench()
    running.run(lambda _: None)
    to_bare = [tuple(prompt) for task in bare.tasks for prompt in task["prompts"]]
    to_server = [tuple(body["prompt"]) for body in address.bodies]
    assert set(to_bare) < set(to_server)
    assert len(set(to_bare)) == len(to_bare)
    assert {len(prompt) for prompt in to_bare} == {4, 16}
    assert not {token for prompt in to_server for token in prompt} & set(SUBJECT.eos_ids)
    assert max(max(prompt) for prompt in to_server) < SUBJECT.vocab_size


def test_a_model_that_runs_to_the_limit_is_left_alone():
    running, bare, address, _ = bench()
    running.run(lambda _: None)
    assert not running.is_endless
    assert not any("logit_bias" in body for body in address.bodies)
    assert not any(task["is_endless"] for task in bare.tasks)
    assert all(body["temperature"] == 0 for body in address.bodies)


def test_early_ends_are_suppressed_on_both_sides():
    running, bare, address, _ = bench(ends_early=True)
    samples = running.run(lambda _: None)
    assert running.is_endless
    assert all(task["is_endless"] for task in bare.tasks)
    biased = [body for body in address.bodies if "logit_bias" in body]
    assert {tuple(body["logit_bias"].items()) for body in biased} == {(("7", -100), ("9", -100))}
    assert samples.loads[1].decode.served == [1.0] * 3


def test_answers_that_end_early_all_the_same_are_no_measurement():
    running, *_ = bench(ends_early=True, obeys=False)
    with pytest.raises(BadAnswer, match="expected 5"):
        running.run(lambda _: None)


def test_a_batch_is_rated_without_its_first_tokens():
    assert batch_rate({"first_s": 1.0, "total_s": 3.0}, rows=4, new_tokens=11) == 20.0


def test_the_fakes_stand_for_what_is_really_there():
    assert callable(Bare.run)
    assert {"process", "address", "start_s"} == set(Served.__slots__)
