"""Chats with tools as the runtime renders them, with templates of many kinds."""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor

import pytest

from edge.engine import tool_format
from edge.engine.chat_template import ChatTemplate
from edge.engine.genai_tokenizer import GenaiTokenizer
from edge.errors import InvalidRequest
from edge.generation import Message, Tool, ToolCall
from tests.edge.engine import marked, templates

SCHEMA = {
    "type": "object",
    "properties": {"city": {"type": "string", "description": "Where"}, "days": {"type": "integer"}},
    "required": ["city"],
}
WEATHER = Tool("get_weather", "The weather of today.", json.dumps(SCHEMA))
TIME = Tool("get_time")
ASKED = [Message("system", "Be brief."), Message("user", "Rome?")]
CALL = ToolCall("call_abc", "get_weather", '{"city":"Rome"}')
OTHER = ToolCall("call_def", "get_time", "{}")
CALLED = [Message("user", "Rome?"), Message("assistant", "", (CALL,))]
ANSWERED = [*CALLED, Message("tool", "sunny", call_id="call_abc")]


@pytest.fixture(scope="module")
def speak(demo_model):
    """A tokenizer with a template."""
    return lambda template: GenaiTokenizer(demo_model, template)


def listed(rendered):
    """The tools that a text lists as JSON, one a line or as one list."""
    found = []
    for line in rendered.splitlines():
        if line.startswith('{"type": "function"') or line.startswith('{"name": "get_'):
            found.append(json.loads(line))
    return found


def test_a_template_that_takes_tools_gets_them_whole(speak):
    rendered = speak(templates.TAGGED).apply_chat_template(ASKED, [WEATHER, TIME])
    functions = [entry["function"] for entry in listed(rendered)]
    assert functions == [
        {"name": "get_weather", "description": "The weather of today.", "parameters": SCHEMA},
        {"name": "get_time", "description": "", "parameters": {"type": "object", "properties": {}}},
    ]
    assert "You can call" not in rendered
    assert rendered.endswith("<|assistant|>\n")


def test_tools_are_not_rewritten_whatever_the_template_calls_them(speak):
    """The runtime turns schemas into types unless the template names its variable `tool`."""
    template = templates.TAGGED.replace("for tool in", "for entry in").replace(
        "tool | tojson", "entry | tojson"
    )
    rendered = speak(template).apply_chat_template(ASKED, [WEATHER])
    assert listed(rendered)[0]["function"]["parameters"] == SCHEMA


def test_calls_and_results_in_a_template_that_knows_them(speak):
    rendered = speak(templates.TAGGED).apply_chat_template(ANSWERED, [WEATHER])
    assert '<tool_call>\n{"name": "get_weather", "arguments": {"city": "Rome"}}\n</tool_call>' in (
        rendered
    )
    assert "<|user|>\n<tool_response>\nsunny\n</tool_response><|end|>\n<|assistant|>" in rendered


def test_a_chat_that_called_can_go_on_without_tools(speak):
    rendered = speak(templates.TAGGED).apply_chat_template(ANSWERED)
    assert "# Tools" not in rendered
    assert "sunny" in rendered
    assert '"arguments": {"city": "Rome"}' in rendered


def test_a_plain_template_is_helped_out(speak):
    tokenizer = speak(templates.PLAIN)
    rendered = tokenizer.apply_chat_template([*ASKED, *ANSWERED[1:]], [WEATHER, TIME])
    assert tokenizer.tool_format == tool_format.DEFAULT
    turns = rendered.split("<|end|>\n")
    assert turns[0].startswith("<|system|>\nBe brief.\n\nYou can call these functions.")
    assert [tool["name"] for tool in listed(turns[0])] == ["get_weather", "get_time"]
    assert tool_format.DEFAULT.begin in turns[0]
    assert turns[1] == "<|user|>\nRome?"
    assert turns[2] == f"<|assistant|>\n{tool_format.DEFAULT.text([CALL])}"
    assert turns[3] == "<|user|>\n<tool_response>\nsunny\n</tool_response>"
    assert turns[4] == "<|assistant|>\n"


def test_without_a_system_message_there_is_one(speak):
    rendered = speak(templates.PLAIN).apply_chat_template([Message("user", "hi")], [TIME])
    assert rendered.startswith("<|system|>\nYou can call these functions.")
    assert "<|user|>\nhi<|end|>" in rendered


def test_a_template_without_system_messages_has_the_text_in_the_first_turn(speak):
    chat = [*ANSWERED, Message("user", "And Oslo?")]
    rendered = speak(templates.STRICT).apply_chat_template(chat, [WEATHER])
    first, called, last = rendered.split("<assistant>")[0], *rendered.split("<assistant>")[1:], ""
    assert first.startswith("<user>Rome?\n\nYou can call these functions.")
    # Result and next question share a turn: this template refuses two of the user's in a row.
    assert "</tool_response>\nAnd Oslo?" in called
    assert last == ""


def test_words_beside_a_call_are_kept(speak):
    chat = [Message("user", "Rome?"), Message("assistant", "Let me see.", (CALL,)), *ANSWERED[2:]]
    for template in (templates.PLAIN, templates.TAGGED):
        rendered = speak(template).apply_chat_template(chat, [WEATHER])
        assert "<|assistant|>\nLet me see." in rendered
        assert rendered.index("Let me see.") < rendered.index('"arguments": {"city"')


def test_several_results_of_a_plain_template_are_one_turn(speak):
    chat = [
        Message("user", "Rome?"),
        Message("assistant", "", (CALL, OTHER)),
        Message("tool", "sunny", call_id="call_abc"),
        Message("tool", "noon", call_id="call_def"),
    ]
    rendered = speak(templates.PLAIN).apply_chat_template(chat, [WEATHER, TIME])
    assert "sunny\n</tool_response>\n<tool_response>\nnoon" in rendered
    assert rendered.count("<|user|>") == 2


def test_tools_within_the_system_message(demo_model, tmp_path):
    markers = {"<|tool_call|>": False, "<|/tool_call|>": False}
    tokenizer = marked.load(tmp_path / "m", demo_model, markers, templates.IN_MESSAGE)
    assert tokenizer.tool_format == tool_format.ENCLOSED_LIST
    rendered = tokenizer.apply_chat_template([*ASKED, *ANSWERED[1:]], [WEATHER])
    start, end = rendered.index("<|tool|>") + len("<|tool|>"), rendered.index("<|/tool|>")
    assert [tool["parameters"] for tool in json.loads(rendered[start:end])] == [SCHEMA]
    assert rendered.startswith("<|system|>Be brief.<|tool|>")
    # Its calls are text, and its results go through the template as they are.
    assert f"<|assistant|>{tool_format.ENCLOSED_LIST.text([CALL])}<|end|>" in rendered
    assert "<|tool|>sunny<|end|>" in rendered
    silent = tokenizer.apply_chat_template([Message("user", "hi")], [WEATHER])
    assert silent.startswith("<|system|><|tool|>[")


def test_ids_are_short_and_the_name_of_the_call_stands_with_its_result(speak):
    tokenizer = speak(templates.BRACKETED)
    assert tokenizer.tool_format == tool_format.BRACKETED_LIST
    rendered = tokenizer.apply_chat_template(ANSWERED, [WEATHER])
    assert (
        '[TOOL_CALLS][{"name": "get_weather", "arguments": {"city": "Rome"}, "id": "call00000"}]'
        in (rendered)
    )
    assert "[TOOL_RESULTS]sunny|call00000|get_weather[/TOOL_RESULTS]" in rendered


def test_the_same_chat_has_the_same_text_whatever_its_ids(speak):
    def renamed(chat, name):
        return [
            Message(
                m.role,
                m.content,
                tuple(ToolCall(name, c.name, c.arguments) for c in m.calls),
                name if m.role == "tool" else "",
            )
            for m in chat
        ]

    tokenizer = speak(templates.BRACKETED)
    texts = {tokenizer.apply_chat_template(renamed(ANSWERED, name)) for name in ("a", "call_9z")}
    assert len(texts) == 1


def test_a_template_for_one_call_at_a_time_allows_one(speak):
    tokenizer = speak(templates.BARE)
    form = tokenizer.tool_format
    assert (form.before_arguments, form.joint) == ('", "parameters": ', "")
    assert "<|ipython|>\nsunny<|end|>" in tokenizer.apply_chat_template(ANSWERED, [WEATHER])
    with pytest.raises(InvalidRequest) as caught:
        tokenizer.apply_chat_template(
            [Message("user", "x"), Message("assistant", "", (CALL, OTHER))], [WEATHER]
        )
    assert caught.value.param == "messages"
    tagged = speak(templates.TAGGED).tool_format
    assert tagged.joint
    guarded = templates.TAGGED.replace(
        "{%- for call in",
        "{%- if m.tool_calls[1] %}{{- raise_exception('no') }}{%- endif %}{%- for call in",
    )
    assert speak(guarded).tool_format.joint == ""


def test_a_notation_unknown_here_is_not_used(speak):
    """Such a template teaches the model what the grammar would then not let it say."""
    tokenizer = speak(templates.FOREIGN)
    assert tokenizer.tool_format == tool_format.DEFAULT
    rendered = tokenizer.apply_chat_template(ANSWERED, [WEATHER])
    assert "You can call these functions." in rendered
    assert "<arg>" not in rendered
    assert tool_format.DEFAULT.text([CALL]) in rendered


@pytest.mark.parametrize("template", [templates.PLAIN, templates.TAGGED, templates.BARE])
def test_text_without_tools_is_as_it_was(speak, template):
    bare = speak(template)
    before = bare.apply_chat_template(ASKED)
    bare.apply_chat_template(ASKED, [WEATHER])
    assert bare.apply_chat_template(ASKED) == before
    assert "Tools" not in before
    assert "functions" not in before


def test_what_no_text_can_hold_is_refused(speak):
    for tool in (Tool("f", "a\0b"), Tool("f", "\ud800")):
        with pytest.raises(InvalidRequest):
            speak(templates.PLAIN).apply_chat_template(ASKED, [tool])


def test_odd_names_and_texts_come_through(speak):
    odd = Tool("f-1_X", 'He said "hi" \\ {{ messages }} {% if %} é😀\n', json.dumps(SCHEMA))
    for template in (templates.PLAIN, templates.TAGGED):
        rendered = speak(template).apply_chat_template(ASKED, [odd])
        assert json.dumps(odd.description, ensure_ascii=False)[1:-1] in rendered


def test_a_template_that_fails_for_tools_says_so(speak):
    broken = speak("{% if tools %}{{ raise_exception('no tools') }}{% endif %}{{ 'x' }}")
    rendered = broken.apply_chat_template(ASKED, [WEATHER])
    assert rendered == "x"  # it knows no tools, and shows no system text either


def test_probing_happens_once():
    calls = []

    def render(turns, tools):
        calls.append(turns)
        return json.dumps(turns) + (tools or "")

    template = ChatTemplate(render, "", ())
    template.apply(ASKED)
    assert len(calls) == 1
    template.apply(ASKED, [WEATHER])
    probed = len(calls)
    template.apply(ANSWERED, [WEATHER])
    assert len(calls) <= probed + 2
    before = len(calls)
    template.apply(ANSWERED, [WEATHER])
    assert len(calls) == before + 1


def test_many_threads(speak):
    tokenizer = speak(templates.TAGGED)
    with ThreadPoolExecutor(8) as pool:
        texts = set(
            pool.map(lambda _: tokenizer.apply_chat_template(ANSWERED, [WEATHER]), range(40))
        )
    assert len(texts) == 1
