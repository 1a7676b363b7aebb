"""The model's own tokenizer: bytes, streams, chat templates, many threads."""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edge.engine.genai_tokenizer import GenaiTokenizer
from edge.engine.tokenizer import Tokenizer
from edge.errors import InvalidRequest, StartupError
from edge.generation import Guidance, Message
from edge.text import Assembler

TEXT = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=30)


def test_it_satisfies_the_protocol(tokenizer):
    checked: Tokenizer = tokenizer
    assert isinstance(checked.bos_id, int)


def test_encoding_gives_one_row_of_int32(tokenizer):
    ids = tokenizer.encode("What is the capital of Spain?")
    assert ids.dtype == np.int32
    assert ids.ndim == 1
    assert tokenizer.decode(ids.tolist()) == "What is the capital of Spain?"


def test_an_empty_text(tokenizer):
    assert tokenizer.encode("").size == 0
    assert tokenizer.decode([]) == ""


@settings(max_examples=150)
@given(text=TEXT)
def test_any_text_comes_back(tokenizer, text):
    ids = tokenizer.encode(text).tolist()
    assert tokenizer.decode(ids) == text
    assert b"".join(map(tokenizer.token_bytes, ids)) == text.encode()


@settings(max_examples=150)
@given(text=TEXT)
def test_the_stream_says_the_same_as_the_whole(tokenizer, text):
    stream = tokenizer.stream()
    pieces = [stream(token) for token in tokenizer.encode(text).tolist()]
    assert all("\ufffd" not in piece for piece in pieces if "\ufffd" not in text)
    assert text.startswith("".join(pieces))


@settings(max_examples=200)
@given(data=st.data())
def test_the_assembler_on_any_ids_a_model_may_say(tokenizer, limits, data):
    """Random ids: broken UTF-8, special tokens, anything; text comes out and nothing raises.

    Only NUL is left out: the runtime's decoder speaks C strings and drops it.
    """
    ids = data.draw(st.lists(st.integers(0, limits.vocab_size - 1), max_size=25))
    ids = [token for token in ids if b"\0" not in tokenizer.token_bytes(token)]
    assembler = Assembler(tokenizer.stream(), tokenizer.decode, ["never in there"])
    shown = "".join(assembler.push(token).text for token in ids) + assembler.finish().text
    shown.encode()
    whole = tokenizer.decode(ids)
    if "\ufffd" not in whole:
        assert shown == whole


def test_a_nul_that_the_model_says_is_dropped(tokenizer, limits):
    """The text around it stays."""
    nul = [t for t in range(limits.vocab_size) if tokenizer.token_bytes(t) == b"\0"]
    stream = tokenizer.stream()
    assert [stream(token) for token in nul] == [""] * len(nul)
    assert "".join(stream(token) for token in tokenizer.encode("after").tolist()) == "after"


def test_ids_outside_of_the_vocabulary_have_no_text(tokenizer, limits):
    """Padded vocabularies: the model may say an id that the tokenizer does not know."""
    stream = tokenizer.stream()
    assert isinstance(stream(limits.vocab_size + 5), str)
    assert isinstance(tokenizer.decode([limits.vocab_size + 5]), str)
    assert isinstance(tokenizer.token_bytes(limits.vocab_size + 5), bytes)


def test_special_tokens(tokenizer):
    assert "<|user|>" in tokenizer.special_tokens
    assert "<|end|>" in tokenizer.special_tokens
    ids = tokenizer.encode("<|user|>\nhi<|end|>\n").tolist()
    assert len(tokenizer.encode("<|user|>")) == 1
    assert "<|" not in tokenizer.decode(ids)


@pytest.mark.parametrize("text", ["\0", "a\0b", "\ud800", "x\udfff"])
def test_what_the_runtime_cannot_hold_is_refused(tokenizer, text):
    with pytest.raises(InvalidRequest):
        tokenizer.encode(text)
    with pytest.raises(InvalidRequest):
        tokenizer.apply_chat_template([Message("user", text)])


def test_the_chat_template(tokenizer):
    prompt = tokenizer.apply_chat_template(
        [Message("system", "Be brief."), Message("user", 'Say "hi" \\ & é\n')]
    )
    assert prompt.index("Be brief.") < prompt.index('Say "hi" \\ & é')
    assert prompt.rstrip().endswith("<|assistant|>")


def test_a_model_without_a_chat_template(demo_model):
    plain = GenaiTokenizer(demo_model, "")
    with pytest.raises(InvalidRequest) as caught:
        plain.apply_chat_template([Message("user", "hi")])
    assert caught.value.param == "messages"


@pytest.mark.parametrize("template", ["{{ raise_exception('no') }}", "{% if %}"])
def test_a_template_that_refuses_is_the_callers_fault(demo_model, template):
    """Templates refuse what they were not written for, e.g. two user turns in a row."""
    broken = GenaiTokenizer(demo_model, template)
    with pytest.raises(InvalidRequest) as caught:
        broken.apply_chat_template([Message("user", "hi")])
    assert caught.value.param == "messages"


def test_many_threads_at_once(demo_model, tokenizer):
    fresh = GenaiTokenizer(demo_model, "{{ messages[0].content }}")
    texts = [f"number {number} " * (number % 7 + 1) for number in range(200)]

    def use(text):
        ids = fresh.encode(text).tolist()
        stream = fresh.stream()
        streamed = "".join(stream(token) for token in ids)
        raw = b"".join(map(fresh.token_bytes, ids))
        rendered = fresh.apply_chat_template([Message("user", text)])
        return fresh.decode(ids), streamed, raw.decode(), rendered

    with ThreadPoolExecutor(16) as pool:
        for text, results in zip(texts, pool.map(use, texts), strict=True):
            assert set(results) == {text}


def test_streams_do_not_share_their_state(tokenizer):
    first, second = tokenizer.stream(), tokenizer.stream()
    halves = tokenizer.encode("😀€é").tolist()
    said = ["", ""]
    for token in halves:
        said[0] += first(token)
        said[1] += second(token)
    assert said == ["😀€é"] * 2


def test_a_folder_without_a_tokenizer_is_a_bad_start(tmp_path):
    with pytest.raises(StartupError):
        GenaiTokenizer(tmp_path, "")


def test_a_schema_is_compiled_through_the_tokenizer(tokenizer, limits):
    guidance = Guidance("json_schema", json.dumps({"const": "yes"}))
    constraint = tokenizer.constrain(guidance)
    text = b""
    for _ in range(20):
        allowed = np.flatnonzero(constraint.allowed(limits.vocab_size))
        token = int(allowed[0])
        if token in limits.eos_ids:
            break
        constraint.accept(token)
        text += tokenizer.token_bytes(token)
    assert json.loads(text) == "yes"
