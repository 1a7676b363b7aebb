"""Tool calls and their results as a chat brings them back."""

from __future__ import annotations

import pytest
from openai.types.chat import ChatCompletionMessage

from edge.errors import InvalidRequest
from edge.generation import Message, ToolCall
from edge.protocol import openai_messages

ASKED = {"role": "user", "content": "Rome?"}
CALL = ToolCall("call_1", "get_weather", '{"city": "Rome"}')


def call(id="call_1", name="get_weather", arguments='{"city": "Rome"}', **more):
    function = {"name": name, "arguments": arguments}
    return {"id": id, "type": "function", "function": function, **more}


def called(*calls, content=None, **more):
    return {"role": "assistant", "content": content, "tool_calls": list(calls), **more}


def result(id="call_1", content="sunny", **more):
    return {"role": "tool", "tool_call_id": id, "content": content, **more}


def refusal(*messages) -> InvalidRequest:
    with pytest.raises(InvalidRequest) as caught:
        openai_messages.read(list(messages))
    return caught.value


def test_a_call_and_its_result():
    assert openai_messages.read([ASKED, called(call()), result()]) == (
        Message("user", "Rome?"),
        Message("assistant", "", (CALL,)),
        Message("tool", "sunny", call_id="call_1"),
    )


def test_an_answer_can_be_sent_back_as_the_client_keeps_it():
    kept = ChatCompletionMessage.model_validate(called(call(), content="Let me see."))
    for message in (kept.model_dump(), kept.model_dump(exclude_none=True)):
        read = openai_messages.read([ASKED, message, result()])
        assert read[1] == Message("assistant", "Let me see.", (CALL,))


def test_content_may_be_left_out_beside_calls():
    silent = called(call())
    del silent["content"]
    assert openai_messages.read([ASKED, silent, result()])[1].content == ""
    assert openai_messages.read([ASKED, called(call(), content=""), result()])[1].content == ""


def test_parts_of_a_result_are_joined():
    parts = [{"type": "text", "text": "sunny"}, {"type": "text", "text": "warm"}]
    read = openai_messages.read([ASKED, called(call()), result(content=parts)])
    assert read[2].content == "sunny\nwarm"


def test_several_calls_have_their_results_in_any_order():
    chat = [ASKED, called(call("a"), call("b")), result("b"), result("a"), ASKED]
    read = openai_messages.read(chat)
    assert [message.call_id for message in read] == ["", "", "b", "a", ""]
    assert [one.id for one in read[1].calls] == ["a", "b"]


def test_an_id_may_come_again_in_a_later_turn():
    turn = [ASKED, called(call()), result()]
    assert len(openai_messages.read([*turn, *turn])) == 6


def test_an_index_from_a_stream_is_no_harm():
    assert openai_messages.read([ASKED, called(call(index=0)), result()])[1].calls == (CALL,)


@pytest.mark.parametrize("text", ["", " ", "{}"])
def test_no_arguments(text):
    read = openai_messages.read([ASKED, called(call(arguments=text)), result()])
    assert read[1].calls[0].arguments == "{}"


@pytest.mark.parametrize(
    ("item", "param"),
    [
        (3, ""),
        ({"type": "function"}, ".function"),
        (call(id=None), ".id"),
        (call(id=""), ".id"),
        (call(id=3), ".id"),
        (call(id="\ud800"), ".id"),
        ({**call(), "type": None}, ".type"),
        ({**call(), "type": "custom"}, ".type"),
        ({**call(), "function": []}, ".function"),
        (call(name=None), ".function.name"),
        (call(name="a b"), ".function.name"),
        (call(arguments=None), ".function.arguments"),
        (call(arguments={"city": "Rome"}), ".function.arguments"),
        (call(arguments="{"), ".function.arguments"),
        (call(arguments="[1]"), ".function.arguments"),
        (call(arguments='{"a": NaN}'), ".function.arguments"),
        (call(arguments="[" * 100_000), ".function.arguments"),
        (call(arguments='{"a": ' * 101 + "1" + "}" * 101), ".function.arguments"),
        (call(more=1), ".more"),
    ],
)
def test_the_call_at_fault_is_named(item, param):
    error = refusal(ASKED, called(item), result())
    assert error.param == f"messages[1].tool_calls[0]{param}"


def test_calls_are_a_list_of_different_ones():
    assert refusal(ASKED, {**called(), "tool_calls": "x"}).param == "messages[1].tool_calls"
    twice = refusal(ASKED, called(call(), call()), result())
    assert twice.param == "messages[1].tool_calls[1].id"


@pytest.mark.parametrize(
    ("messages", "param"),
    [
        ([result()], "messages[0].tool_call_id"),
        ([ASKED, result()], "messages[1].tool_call_id"),
        ([ASKED, called(call()), result("other")], "messages[2].tool_call_id"),
        ([ASKED, called(call()), result(), result()], "messages[3].tool_call_id"),
        ([ASKED, called(call()), result(), ASKED, result()], "messages[4].tool_call_id"),
        ([ASKED, called(call())], "messages[1].tool_calls[0]"),
        ([ASKED, called(call()), ASKED], "messages[1].tool_calls[0]"),
        ([ASKED, called(call("a"), call("b")), result("a")], "messages[1].tool_calls[1]"),
        ([ASKED, called(call("a")), called(call("b"))], "messages[1].tool_calls[0]"),
        ([ASKED, called(call()), {**result(), "tool_call_id": None}], "messages[2].tool_call_id"),
        ([ASKED, called(call()), result("")], "messages[2].tool_call_id"),
        ([ASKED, called(call()), result(content=None)], "messages[2].content"),
        ([ASKED, called(call()), result(tool_calls=[call()])], "messages[2].tool_calls"),
        ([{**ASKED, "tool_calls": [call()]}], "messages[0].tool_calls"),
        ([{**ASKED, "tool_call_id": "x"}], "messages[0].tool_call_id"),
        ([ASKED, {"role": "assistant", "content": None, "tool_calls": []}], "messages[1].content"),
    ],
)
def test_calls_and_results_belong_together(messages, param):
    assert refusal(*messages).param == param


def test_a_result_without_its_call_shows_the_id():
    error = str(refusal(ASKED, called(call()), result("call_9")))
    assert error == (
        'messages[2].tool_call_id is "call_9", expected the id of an open call before it'
    )
    assert "role tool" in str(refusal(ASKED, called(call())))


def test_errors_hold_no_arguments():
    for text in ("secret", '"secret"', '{"a": secret}'):
        assert "secret" not in str(refusal(ASKED, called(call(arguments=text)), result()))
