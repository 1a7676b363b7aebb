"""The tokenizer of a transformers folder says what transformers says, and streams it."""

from __future__ import annotations

import shutil
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from transformers import AutoTokenizer

from edge.engine.pipeline.tokenizer import PipelineTokenizer
from edge.errors import InvalidRequest, StartupError
from edge.generation import Guidance, Message, Tool

TEXT = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=30)
EOS = (4, 0)


@pytest.fixture(scope="module")
def folder(repository):
    return repository / "build" / "demo" / "weights"


@pytest.fixture(scope="module")
def tokenizer(folder):
    return PipelineTokenizer(folder, (folder / "chat_template.jinja").read_text(), EOS)


@pytest.fixture(scope="module")
def reference(folder):
    return AutoTokenizer.from_pretrained(folder, local_files_only=True)


@settings(max_examples=60)
@given(text=TEXT)
def test_any_text_comes_back(tokenizer, reference, text):
    ids = tokenizer.encode(text)
    assert ids.dtype == np.int32
    assert ids.tolist() == reference(text)["input_ids"]
    assert tokenizer.decode(ids.tolist()) == text
    assert b"".join(map(tokenizer.token_bytes, ids.tolist())) == text.encode()


@settings(max_examples=60)
@given(text=TEXT)
def test_the_stream_says_the_same_as_the_whole(tokenizer, text):
    stream = tokenizer.stream()
    pieces = [stream(token) for token in tokenizer.encode(text).tolist()]
    assert "".join(pieces) == text
    assert all("\ufffd" not in piece for piece in pieces if "\ufffd" not in text)


@pytest.mark.parametrize(
    "messages",
    [
        [Message("user", "What is the capital of Spain?")],
        [Message("system", "Be brief."), Message("user", "Hello")],
        [Message("user", "Hi"), Message("assistant", "Hello."), Message("user", "<|end|> {{x}}")],
    ],
    ids=["question", "system", "turns"],
)
def test_a_chat_is_what_the_library_makes_of_it(tokenizer, reference, messages):
    turns = [{"role": message.role, "content": message.content} for message in messages]
    wanted = reference.apply_chat_template(turns, add_generation_prompt=True, tokenize=False)
    assert tokenizer.apply_chat_template(messages) == wanted
    ids = reference.apply_chat_template(turns, add_generation_prompt=True)["input_ids"]
    assert tokenizer.encode(wanted, is_chat=True).tolist() == ids


def test_tools_reach_the_model_by_its_own_template(folder, reference):
    """A template that takes tools gets them as the library gives them."""
    template = (
        "{% for tool in tools or [] %}[{{ tool | tojson }}]{% endfor %}"
        "{% for m in messages %}{{ m.role }}:{{ m.content }}"
        "{% for c in m.tool_calls or [] %}<tool_call>{{ c.function | tojson }}</tool_call>"
        "{% endfor %}\n{% endfor %}"
    )
    tool = Tool("look", "Looks.", '{"type": "object", "properties": {"at": {"type": "string"}}}')
    tokenizer = PipelineTokenizer(folder, template, EOS)
    text = tokenizer.apply_chat_template([Message("user", "Where?")], [tool])
    assert text.startswith('[{"type": "function", "function": {"name": "look"')
    assert text.endswith("]user:Where?")


def test_a_template_without_tools_is_helped_out(tokenizer):
    tool = Tool("look", "Looks.", '{"type": "object"}')
    text = tokenizer.apply_chat_template([Message("user", "Where?")], [tool])
    assert '"name": "look"' in text
    assert "Where?" in text


def test_what_a_template_refuses_is_the_caller_s_to_mend(folder):
    template = "{{ raise_exception('no systems') if messages[0].role == 'system' }}ok"
    tokenizer = PipelineTokenizer(folder, template, EOS)
    assert tokenizer.apply_chat_template([Message("user", "Hi")]) == "ok"
    with pytest.raises(InvalidRequest) as raised:
        tokenizer.apply_chat_template([Message("system", "Be."), Message("user", "Hi")])
    assert raised.value.param == "messages"


def test_a_model_without_a_template_takes_no_chats(folder):
    with pytest.raises(InvalidRequest, match="no chat template"):
        PipelineTokenizer(folder, "", EOS).apply_chat_template([Message("user", "Hi")])


@pytest.mark.parametrize("text", ["a\0b", "\ud800"])
def test_text_that_is_none_is_refused(tokenizer, text):
    with pytest.raises(InvalidRequest):
        tokenizer.encode(text)


def test_a_grammar_is_followed_to_its_end(tokenizer, reference):
    constraint = tokenizer.constrain(Guidance("regex", "(yes|no)"))
    vocabulary = len(reference)
    for token in tokenizer.encode("yes").tolist():
        assert constraint.allowed(vocabulary)[token]
        constraint.accept(token)
    assert set(np.flatnonzero(constraint.allowed(vocabulary)).tolist()) <= set(EOS)


def test_special_tokens(tokenizer):
    assert {"<|user|>", "<|end|>"} <= tokenizer.special_tokens
    assert tokenizer.bos_id == 0


def test_many_threads_encode_alike(tokenizer):
    texts = [f"Number {place} of many. " * (place % 7 + 1) for place in range(200)]
    wanted = [tokenizer.encode(text).tolist() for text in texts]
    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(lambda text: tokenizer.encode(text).tolist(), texts))
    assert found == wanted


def test_a_folder_without_a_fast_tokenizer_ends_the_start(folder, tmp_path):
    bare = shutil.copytree(folder, tmp_path / "model")
    (bare / "tokenizer.json").write_text("{")
    with pytest.raises(StartupError, match="tokenizer"):
        PipelineTokenizer(bare, "", EOS)


def test_the_same_notation_of_calls_as_in_an_onnx_folder(tokenizer, repository):
    from edge.engine.genai_tokenizer import GenaiTokenizer

    model = repository / "build" / "demo" / "model"
    other = GenaiTokenizer(model, (model / "chat_template.jinja").read_text())
    assert tokenizer.tool_format == other.tool_format
