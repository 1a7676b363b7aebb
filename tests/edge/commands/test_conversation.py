"""A chat that goes on: what the model is given at each turn, and what remains of a broken one."""

from __future__ import annotations

import dataclasses

import pytest

from edge.commands import conversation
from edge.commands.conversation import Conversation
from edge.errors import EngineFailed, InvalidRequest, StartupError
from edge.generation import Delta, Finish, Usage


class Fake:
    """A generation that gives pieces of text, then ends or fails."""

    def __init__(self, pieces, end):
        self.pieces, self.end, self.is_closed = pieces, end, False

    def __iter__(self):
        for piece in self.pieces:
            yield Delta(0, piece)
        if isinstance(self.end, Exception):
            raise self.end
        yield Delta(0, "", finish=self.end)
        yield Delta(0, usage=Usage(1, 1))

    def close(self):
        self.is_closed = True


class Recorder:
    """A generator that keeps the requests and answers from a list."""

    def __init__(self, *ends):
        self.ends, self.requests, self.given = list(ends), [], []

    def generate(self, request):
        self.requests.append(request)
        end = self.ends.pop(0) if self.ends else Finish.STOP
        self.given.append(Fake([" Well", "", " said"], end))
        return self.given[-1]

    def turns(self, index):
        (prompt,) = self.requests[index].prompts
        return [(message.role, message.content) for message in prompt.messages]


def test_the_pieces_come_one_by_one(manifest):
    written = []
    finish = Conversation(Recorder(), manifest, {}).ask("hello", written.append)
    assert written == [" Well", " said"]
    assert finish is Finish.STOP


def test_every_turn_sees_those_before_it(manifest):
    recorder = Recorder()
    talk = Conversation(recorder, manifest, {}, "Be brief.")
    talk.ask("one", len)
    talk.ask("two", len)
    assert recorder.turns(0) == [("system", "Be brief."), ("user", "one")]
    assert recorder.turns(1) == [
        ("system", "Be brief."),
        ("user", "one"),
        ("assistant", " Well said"),
        ("user", "two"),
    ]


def test_forgetting_leaves_the_system_prompt(manifest):
    recorder = Recorder()
    talk = Conversation(recorder, manifest, {}, "Be brief.")
    talk.ask("one", len)
    talk.forget()
    talk.ask("two", len)
    assert recorder.turns(1) == [("system", "Be brief."), ("user", "two")]


def test_without_a_system_prompt_there_is_none(manifest):
    recorder = Recorder()
    Conversation(recorder, manifest, {}).ask("one", len)
    assert recorder.turns(0) == [("user", "one")]


def test_defaults_are_those_of_the_bundle_and_flags_win(manifest):
    own = dataclasses.replace(manifest.generation, temperature=0.3, top_k=5, stop=("x",), seed=4)
    manifest = dataclasses.replace(manifest, generation=own)
    recorder = Recorder()
    Conversation(recorder, manifest, {}).ask("one", len)
    Conversation(recorder, manifest, {"temperature": 0.0, "max_tokens": 7}).ask("one", len)
    first, second = recorder.requests
    assert (first.sampling.temperature, first.sampling.top_k, first.stop) == (0.3, 5, ("x",))
    assert (first.sampling.seed, first.max_tokens) == (4, None)
    assert (second.sampling.temperature, second.max_tokens) == (0.0, 7)


def test_a_model_without_a_template_continues_the_prompt_alone(manifest):
    recorder = Recorder()
    talk = Conversation(recorder, dataclasses.replace(manifest, chat_template=""), {}, "Be brief.")
    talk.ask("one", len)
    talk.ask("two", len)
    assert [request.prompts[0].text for request in recorder.requests] == ["one", "two"]
    assert recorder.requests[0].operation == "text_completion"


def interrupt(_):
    raise KeyboardInterrupt


def test_an_answer_that_was_stopped_stays_as_far_as_it_came(manifest):
    recorder = Recorder()
    talk = Conversation(recorder, manifest, {})
    with pytest.raises(KeyboardInterrupt):
        talk.ask("one", interrupt)
    assert recorder.given[0].is_closed
    talk.ask("two", len)
    assert recorder.turns(1)[:2] == [("user", "one"), ("assistant", " Well")]


def test_a_failure_is_passed_on(manifest):
    recorder = Recorder(EngineFailed("broken"))
    with pytest.raises(EngineFailed):
        Conversation(recorder, manifest, {}).ask("one", len)
    assert recorder.given[0].is_closed


def test_a_turn_that_was_refused_leaves_no_trace(manifest):
    recorder = Recorder()
    talk = Conversation(recorder, manifest, {})
    with pytest.raises(InvalidRequest):
        talk.ask("\ud800", len)
    talk.ask("two", len)
    assert recorder.turns(0) == [("user", "two")]


@pytest.mark.parametrize(
    ("asked", "problem"),
    [
        ({"temperature": 9.0}, "temperature is 9.0, expected a number from 0 to 2"),
        ({"temperature": float("nan")}, "temperature is not a finite number"),
        ({"max_tokens": 0}, "max_tokens is 0, expected a whole number from 1"),
    ],
)
def test_parameters_are_checked_before_anything_is_loaded(asked, problem):
    with pytest.raises(StartupError, match=problem):
        conversation.check(asked)


def test_good_parameters_pass():
    conversation.check({})
    conversation.check({"temperature": 0.0, "max_tokens": 1})
