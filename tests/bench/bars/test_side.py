import pytest

from tests.bench.bars.side import Loop, Server
from tests.bench.client import BadAnswer, Stream
from tests.bench.sides import Served


class FakeAddress:
    """Answers with tokens half a second apart, `per_event` of them an event."""

    def __init__(self, tokens=None, per_event=1):
        self.tokens, self.per_event, self.bodies = tokens, per_event, []

    def streams(self, bodies):
        self.bodies += bodies
        return [self._stream(body) for body in bodies]

    def _stream(self, body):
        tokens = self.tokens or body["max_tokens"]
        moments = tuple(1.0 + 0.5 * i for i in range(tokens // self.per_event))
        return Stream(moments, tokens, "length", cached_tokens=3)


class FakeBare:
    def __init__(self):
        self.tasks = []

    def run(self, task):
        self.tasks.append(task)
        return {"first_s": 0.5, "total_s": 0.5 + 0.25 * (task["new_tokens"] - 1)}


def server(**behaviour):
    address = FakeAddress(**behaviour)
    return Server("it", Served(None, address, 0.0), {"temperature": 0}), address


def test_a_server_is_asked_with_its_own_body():
    side, address = server()
    assert side.decode([[1, 2]], 5) == 2.0
    assert address.bodies == [{"temperature": 0, "prompt": [1, 2], "max_tokens": 5}]
    assert side.first_s([3]) == 1.0
    assert address.bodies[1]["max_tokens"] == 1


def test_streams_add_up_and_events_of_several_tokens_count_them():
    side, _ = server()
    assert side.decode([[1]] * 4, 9) == 8.0
    side, _ = server(per_event=2)
    assert side.decode([[1]], 8) == 4.0


def test_the_cached_part_of_a_prompt_is_told():
    side, _ = server()
    assert side.stream([1, 2, 3, 4], 2).cached_tokens == 3


def test_a_short_answer_is_no_measurement():
    side, _ = server(tokens=2)
    with pytest.raises(BadAnswer, match=r"it: answers of \[2\] tokens, expected 5"):
        side.decode([[1]], 5)


def test_the_loop_runs_prompts_as_one_batch():
    bare = FakeBare()
    side = Loop("loop", bare)
    assert side.decode([[1, 2], [3, 4]], 5) == 8.0
    assert side.first_s([7]) == 0.5
    assert [(task["prompts"], task["new_tokens"]) for task in bare.tasks] == [
        ([[1, 2], [3, 4]], 5),
        ([[7]], 1),
    ]
