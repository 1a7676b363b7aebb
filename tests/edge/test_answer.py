"""Answers with tools, delta by delta: a scripted engine says exactly what the test wants."""

from __future__ import annotations

import queue

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edge import admission, service
from edge.admission import Rules
from edge.answer import Answering, Generation
from edge.bundle import Defaults
from edge.engine.base import Choice
from edge.engine.scripted import ByteTokenizer, EchoEngine
from edge.engine.tool_format import TAGGED
from edge.errors import InvalidRequest
from edge.generation import (
    CallDelta,
    Delta,
    Finish,
    Guidance,
    Message,
    Prompt,
    Request,
    Sampling,
    Tool,
    ToolCall,
    ToolUse,
)
from edge.scheduler.ticket import Event
from tests.edge.engine.tool_samples import ANY, CALLS, TOOLS

TOKENIZER = ByteTokenizer()
RULES = Rules(TOKENIZER, EchoEngine().limits, Defaults(max_tokens=1000), 1 << 40, 100, 30.0)
NOW = ToolCall("", "now", "{}")
ADD = ToolCall("", "get_weather", '{"city": "Rome"}')


def request(use=ANY, **fields):
    prompt = Prompt(messages=(Message("user", "x"),), tools=TOOLS)
    return Request("chat", (prompt,), tool_use=use, **fields)


class Said:
    """One answer, said byte by byte; `deltas` are what came of it."""

    def __init__(self, text, finish=Finish.STOP, asked=None):
        self.asked = asked or request()
        (ticket,) = admission.tickets(self.asked, RULES, queue.SimpleQueue())
        self.answer = Answering(ticket, TOKENIZER, self.asked)
        self.deltas = []
        for byte in text.encode():
            logprob = -1.0 if self.asked.sampling.logprobs is not None else None
            self.deltas += self.answer.take(Event(ticket, Choice(byte, logprob)))
            if self.answer.finish is not None:
                return
        self.deltas += self.answer.take(Event(ticket, finish=finish))

    @property
    def text(self):
        return "".join(delta.text for delta in self.deltas)

    @property
    def calls(self):
        """(name, arguments) of every call."""
        found = []
        for piece in (call for delta in self.deltas for call in delta.calls):
            if piece.name:
                found.append((piece.name, ""))
            found[-1] = (found[-1][0], found[-1][1] + piece.arguments)
        return found


def test_words_alone():
    said = Said("no tools needed")
    assert (said.text, said.calls, said.answer.finish) == ("no tools needed", [], Finish.STOP)
    assert [delta.text for delta in said.deltas[:3]] == ["n", "o", " t"]


def test_a_call_alone():
    said = Said(TAGGED.text([ADD]))
    assert (said.text, said.calls) == ("", [("get_weather", '{"city": "Rome"}')])
    assert said.answer.finish == Finish.TOOL_CALLS
    head, *rest, last = said.deltas
    assert head.calls[0].name == "get_weather"
    assert head.calls[0].id.startswith("call_")
    assert head.calls[0].arguments == ""
    assert [delta.calls for delta in rest] == [
        (CallDelta(0, arguments=letter),) for letter in '{"city": "Rome"}'
    ]
    assert last == Delta(0, finish=Finish.TOOL_CALLS)


def test_words_and_calls():
    said = Said("Let me see.\n\n" + TAGGED.text([ADD, NOW]))
    assert said.text == "Let me see."
    assert said.calls == [("get_weather", '{"city": "Rome"}'), ("now", "{}")]
    assert said.answer.said == "Let me see.\n\n" + TAGGED.text([ADD, NOW])
    ids = [call.id for delta in said.deltas for call in delta.calls if call.id]
    assert len(set(ids)) == 2


def test_an_answer_that_breaks_off_in_its_arguments():
    text = TAGGED.text([ADD])
    said = Said(text[: text.index("Ro") + 2], Finish.LENGTH)
    assert said.calls == [("get_weather", '{"city": "Ro')]
    assert said.answer.finish == Finish.LENGTH
    assert said.deltas[-1].finish == Finish.LENGTH


def test_an_answer_that_breaks_off_in_the_name():
    said = Said('Hm. <tool_call>\n{"name": "get_w', Finish.LENGTH)
    assert (said.text, said.calls, said.answer.finish) == ("Hm.", [], Finish.LENGTH)


def test_a_marker_that_was_only_said():
    said = Said("The marker is <tool_call> indeed")
    assert (said.text, said.calls) == ("The marker is <tool_call> indeed", [])
    assert said.answer.finish == Finish.STOP
    said = Said("It is <tool_call>")
    assert (said.text, said.answer.finish) == ("It is <tool_call>", Finish.STOP)


def test_a_tool_that_may_not_be_called_is_text():
    use = ToolUse((Tool("now"),))
    said = Said(TAGGED.text([ADD]), asked=request(use))
    assert (said.text, said.calls) == (TAGGED.text([ADD]), [])


def test_where_nothing_may_be_called_a_call_is_text():
    said = Said(TAGGED.text([ADD]), asked=request(None))
    assert (said.text, said.calls) == (TAGGED.text([ADD]), [])
    assert said.answer.finish == Finish.STOP


def test_a_stop_string_ends_words_and_no_arguments():
    asked = request(stop=("Rome", "}"))
    said = Said("To R" + TAGGED.text([ADD]), asked=asked)
    assert (said.text, said.calls) == ("To R", [("get_weather", '{"city": "Rome"}')])
    assert said.answer.finish == Finish.TOOL_CALLS
    said = Said("To Rome " + TAGGED.text([ADD]), asked=asked)
    assert (said.text, said.calls, said.answer.finish) == ("To ", [], Finish.STOP)


def test_log_probabilities_are_those_of_the_words():
    said = Said("Hm. " + TAGGED.text([NOW]), asked=request(sampling=Sampling(logprobs=0)))
    scores = [score for delta in said.deltas for score in delta.logprobs]
    assert "".join(score.text for score in scores) == "Hm."
    assert said.answer.tokens == len("Hm. " + TAGGED.text([NOW]))


def test_beside_a_format_a_call_is_told_by_the_beginning():
    """The echo follows no grammar, so that the answer is made without admission here."""
    asked = request(sampling=Sampling(guidance=Guidance("json_object")))
    (ticket,) = admission.tickets(request(), RULES, queue.SimpleQueue())
    for text, calls in (('{"a": "<tool_call>"}', 0), (TAGGED.text([NOW]), 1)):
        answer = Answering(ticket, TOKENIZER, asked)
        deltas = [delta for byte in text.encode() for delta in answer.take(
            Event(ticket, Choice(byte))
        )]  # fmt: skip
        assert len([call for delta in deltas for call in delta.calls if call.id]) == calls
        assert "".join(delta.text for delta in deltas) == ("" if calls else text)


@settings(max_examples=150)
@given(
    st.text(st.characters(exclude_categories=["Cs"], exclude_characters="<"), max_size=20),
    st.lists(CALLS, max_size=3),
)
def test_any_words_and_any_calls(words, calls):
    said = Said(words + (TAGGED.text(calls) if calls else ""))
    assert said.text == (words.rstrip() if calls else words)
    assert len(said.calls) == len(calls)
    assert [name for name, _ in said.calls] == [call.name for call in calls]
    whole = TAGGED.text([ToolCall("", *call) for call in said.calls]) if calls else ""
    assert whole == (TAGGED.text(calls) if calls else "")
    assert said.answer.finish == (Finish.TOOL_CALLS if calls else Finish.STOP)


def test_a_scripted_model_cannot_be_made_to_call():
    for asked, param in (
        (request(ToolUse(TOOLS, is_required=True)), "tool_choice"),
        (request(sampling=Sampling(guidance=Guidance("json_object"))), "response_format"),
    ):
        with pytest.raises(InvalidRequest) as caught:
            admission.tickets(asked, RULES, queue.SimpleQueue())
        assert caught.value.param == param


def test_whole_calls_are_put_together():
    deltas = [
        Delta(1, calls=(CallDelta(0, "b", "now"),)),
        Delta(0, "Hm."),
        Delta(0, calls=(CallDelta(0, "a", "get_weather"), CallDelta(0, arguments='{"city"'))),
        Delta(1, calls=(CallDelta(0, arguments="{}"),), finish=Finish.TOOL_CALLS),
        Delta(0, calls=(CallDelta(0, arguments=': "Rome"}'), CallDelta(1, "c", "now"))),
        Delta(0, calls=(CallDelta(1, arguments="{}"),)),
        Delta(0, finish=Finish.TOOL_CALLS),
    ]
    first, second = service.collect(Scripted(deltas)).choices
    assert (first.text, first.finish) == ("Hm.", Finish.TOOL_CALLS)
    assert first.calls == (
        ToolCall("a", "get_weather", '{"city": "Rome"}'),
        ToolCall("c", "now", "{}"),
    )
    assert second.calls == (ToolCall("b", "now", "{}"),)


class Scripted(Generation):
    """Deltas out of a list."""

    def __init__(self, deltas):
        self._list = deltas

    def __iter__(self):
        return iter(self._list)
