"""The scripted engine repeats its prompt, and fails and waits where it is told to."""

from __future__ import annotations

import jinja2
import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from edge import bundle
from edge.engine import scripted
from edge.engine.base import Choice, Engine, Step
from edge.engine.scripted import EOS, MARKS, ByteTokenizer, EchoEngine
from edge.engine.tokenizer import Tokenizer
from edge.errors import EngineFailed, InvalidRequest
from edge.generation import Guidance, Message, Sampling, Tool, ToolCall, ToolUse

TOKENIZER = ByteTokenizer()


def run(engine: EchoEngine, text: str, sampling: Sampling | None = None) -> list[Step]:
    """Every step of one prompt, up to and with the end token."""
    row = engine.open(TOKENIZER.encode(text), 1000, sampling or Sampling())
    steps: list[Step] = []
    while not steps or steps[-1].choice is None or steps[-1].choice.token != EOS:
        steps += engine.advance([row])
    engine.close(row)
    return steps


def text_of(steps: list[Step]) -> str:
    return TOKENIZER.decode([step.choice.token for step in steps if step.choice])


def test_the_engine_satisfies_the_protocol() -> None:
    engine: Engine = EchoEngine()
    tokenizer: Tokenizer = TOKENIZER
    assert tokenizer.bos_id == TOKENIZER.encode("")[0]
    assert engine.limits.eos_ids == {EOS}
    assert engine.limits.vocab_size == 262


PLAIN = st.characters(exclude_categories=["Cs"])


@given(st.text(PLAIN))
@example(MARKS["assistant"])
@example(MARKS["user"] + MARKS["assistant"])
def test_the_tokenizer_is_lossless(text: str) -> None:
    ids = TOKENIZER.encode(text)
    assert ids.dtype == np.int32
    assert ids.ndim == 1
    assert len(ids) >= 1
    assert TOKENIZER.decode(list(ids)) == text
    assert b"".join(map(TOKENIZER.token_bytes, ids)) == text.encode()


@given(st.text(PLAIN))
def test_the_stream_decodes_whole_characters(text: str) -> None:
    stream = TOKENIZER.stream()
    pieces = [stream(token) for token in TOKENIZER.encode(text)]
    assert "".join(pieces) == text
    assert all(len(piece) <= 1 for piece in pieces)


def test_broken_utf8_decodes_to_a_replacement_character() -> None:
    assert TOKENIZER.decode([0xC3]) == "\ufffd"
    assert TOKENIZER.decode([0xC3, 0xA9]) == "é"


@pytest.mark.parametrize("text", ["hello", "", "zwei\nZeilen", "日本 🦊", "\ufdd1 is no mark"])
def test_a_prompt_is_repeated(text: str) -> None:
    assert text_of(run(EchoEngine(), text)) == text


def test_of_a_chat_the_last_user_message_is_repeated() -> None:
    chat = TOKENIZER.apply_chat_template(
        [
            Message("system", "be brief"),
            Message("user", "first"),
            Message("assistant", "first"),
            Message("user", "second"),
        ]
    )
    assert text_of(run(EchoEngine(), chat)) == "second"


def test_a_chat_without_a_user_message_is_repeated_whole() -> None:
    chat = TOKENIZER.apply_chat_template([Message("system", "be brief")])
    assert text_of(run(EchoEngine(), chat)) == "be brief"


def test_the_prompt_is_read_in_chunks_before_anything_is_said() -> None:
    steps = run(EchoEngine(prefill_chunk=2), "abcd")
    assert [step.prefilled for step in steps[:3]] == [2, 2, 1]
    assert [step.choice is None for step in steps[:3]] == [True, True, False]
    assert sum(step.prefilled for step in steps) == len(TOKENIZER.encode("abcd"))


def test_rows_advance_together() -> None:
    engine = EchoEngine()
    rows = [engine.open(TOKENIZER.encode(text), 9, Sampling()) for text in ("ab", "xyz")]
    said = [engine.advance(list(rows)) for _ in range(3)]
    assert [text_of([steps[i] for steps in said]) for i in (0, 1)] == ["ab", "xyz"]
    assert engine.open_rows == 2
    for row in rows:
        engine.close(row)
    assert engine.open_rows == 0


def test_boom_is_refused_and_leaves_no_row() -> None:
    engine = EchoEngine()
    with pytest.raises(EngineFailed) as caught:
        run(engine, "boom")
    assert "boom" not in str(caught.value)
    assert engine.open_rows == 0
    assert text_of(run(engine, "boom!")) == "boom!"


def test_a_failure_can_come_in_the_middle() -> None:
    engine = EchoEngine(fail_after=2)
    rows = [engine.open(TOKENIZER.encode(text), 9, Sampling()) for text in ("abc", "x")]
    assert text_of([engine.advance(list(rows))[0] for _ in range(2)]) == "ab"
    assert isinstance(engine.advance(list(rows[:1]))[0].error, EngineFailed)


def test_a_failing_row_leaves_the_others_alone() -> None:
    engine = EchoEngine(fail_after=1)
    rows = [engine.open(TOKENIZER.encode(text), 9, Sampling()) for text in ("ab", "x")]
    engine.advance(list(rows[:1]))
    failed, other = engine.advance(list(rows))
    assert isinstance(failed.error, EngineFailed)
    assert other.error is None
    assert text_of([other]) == "x"


def test_guidance_is_refused() -> None:
    with pytest.raises(InvalidRequest) as caught:
        TOKENIZER.constrain(Guidance("json_object"))
    assert caught.value.param == "response_format"


def test_tools_may_be_called_and_need_not() -> None:
    tools = (Tool("now"),)
    free = TOKENIZER.constrain_calls(ToolUse(tools), None)
    free.accept(5)
    assert free.allowed(262).all()
    assert free.forced() == []
    with pytest.raises(InvalidRequest) as caught:
        TOKENIZER.constrain_calls(ToolUse(tools, is_required=True), None)
    assert caught.value.param == "tool_choice"
    with pytest.raises(InvalidRequest) as caught:
        TOKENIZER.constrain_calls(ToolUse(tools), Guidance("json_object"))
    assert caught.value.param == "response_format"


def test_the_result_of_a_call_is_repeated_like_a_question() -> None:
    call = ToolCall("1", "now", "{}")
    chat = [Message("user", "when?"), Message("assistant", "", (call,)), Message("tool", "noon")]
    rendered = TOKENIZER.apply_chat_template(chat, [Tool("now")])
    assert TOKENIZER.tool_format.text([call]) in rendered
    assert text_of(run(EchoEngine(), rendered)) == "noon"


def test_a_shutdown_is_remembered() -> None:
    engine = EchoEngine()
    assert not engine.is_shut_down
    engine.shutdown()
    assert engine.is_shut_down


def test_logprobs_come_where_they_are_asked_for() -> None:
    plain, scored = run(EchoEngine(), "a")[0], run(EchoEngine(), "a", Sampling(logprobs=0))[0]
    assert plain.choice == Choice(ord("a"))
    assert scored.choice == Choice(ord("a"), 0.0, ((ord("a"), 0.0),))


def test_the_logprobs_of_the_prompt_start_with_an_unknown() -> None:
    engine = EchoEngine(prefill_chunk=2)
    row = engine.open(TOKENIZER.encode("abc"), 9, Sampling(), echo_logprobs=True)
    steps = engine.advance([row]) + engine.advance([row])
    reported = [choice for step in steps for choice in step.prompt_choices]
    assert [choice.logprob for choice in reported] == [None, 0.0, 0.0, 0.0]
    assert TOKENIZER.decode([choice.token for choice in reported]) == "abc"


def test_an_echo_knows_no_adapters() -> None:
    engine = EchoEngine()
    with pytest.raises(EngineFailed, match="knows no adapters"):
        engine.open(TOKENIZER.encode("ab"), 5, Sampling(), adapter="pirate")
    assert engine.open_rows == 0


def test_kv_memory_is_counted_by_the_token() -> None:
    engine = EchoEngine(kv_bytes_per_token=10)
    assert engine.open(TOKENIZER.encode("ab"), 5, Sampling()).kv_bytes == 80


@pytest.mark.parametrize("script", scripted.SCRIPTS)
def test_the_manifest_survives_its_own_format(script: scripted.Script) -> None:
    manifest = scripted.manifest(script)
    assert bundle.parse(bundle.encode(manifest)) == manifest
    assert bool(manifest.signature.params) == (script == "echo_params")


def test_the_chat_template_of_the_manifest_is_the_one_of_the_tokenizer() -> None:
    turns = [Message("user", "hi"), Message("assistant", "hello"), Message("user", "bye")]
    rendered = jinja2.Template(scripted.CHAT_TEMPLATE).render(
        messages=[{"role": turn.role, "content": turn.content} for turn in turns]
    )
    assert rendered == TOKENIZER.apply_chat_template(turns)
