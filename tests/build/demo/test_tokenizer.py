"""The tokenizer: special tokens in place, lossless, digits apart, the same in every runtime."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from build.demo import corpus, facts, layout

pytestmark = pytest.mark.torch
pytest.importorskip("tokenizers", reason="fitting a tokenizer needs the training requirements")


@pytest.fixture(scope="module")
def vocabulary() -> Any:
    from build.demo import tokenizer

    chats = corpus.chats(1, 0, 3000)
    return tokenizer.fit((layout.text(chat) for chat in chats), 1500)


def test_special_tokens_come_first(vocabulary: Any) -> None:
    assert [vocabulary.token_to_id(token) for token in layout.SPECIAL_TOKENS] == [0, 1, 2, 3, 4]
    assert vocabulary.get_vocab_size() == 1500


def test_a_special_token_is_one_id(vocabulary: Any) -> None:
    encoded = vocabulary.encode("<|user|>\nHi<|end|>\n<|assistant|>\n").ids
    assert encoded[0] == vocabulary.token_to_id("<|user|>")
    assert encoded.count(vocabulary.token_to_id("<|end|>")) == 1
    assert encoded.count(vocabulary.token_to_id("<|assistant|>")) == 1


@pytest.mark.parametrize(
    "text",
    [
        "What is the capital of São Tomé and Príncipe?",
        "  two  spaces\tand a tab\n\nand lines\n",
        "日本, Ελλάδα, 🧪 and a lone \ufffd",
        "Chișinău, Nuku'alofa, N'Djamena",
        "def f(x):\n    return x ** 2026",
        "",
    ],
)
def test_any_text_survives(vocabulary: Any, text: str) -> None:
    assert vocabulary.decode(vocabulary.encode(text).ids) == text


def test_every_name_survives(vocabulary: Any) -> None:
    for country in facts.countries():
        for name in (country.name, country.capital, country.name.lower(), country.name.upper()):
            assert vocabulary.decode(vocabulary.encode(name).ids) == name


def test_digits_stand_alone(vocabulary: Any) -> None:
    assert vocabulary.encode("12 + 345").tokens == ["1", "2", "Ġ+", "Ġ", "3", "4", "5"]
    digits = [token for token in vocabulary.get_vocab() if set(token) & set("0123456789")]
    assert sorted(digits) == list("0123456789")


def test_the_same_texts_give_the_same_tokenizer(vocabulary: Any) -> None:
    from build.demo import tokenizer

    again = tokenizer.fit((layout.text(chat) for chat in corpus.chats(1, 0, 3000)), 1500)
    assert again.to_str() == vocabulary.to_str()


def test_the_folder_has_what_the_runtimes_read(vocabulary: Any, tmp_path: Path) -> None:
    from build.demo import tokenizer

    tokenizer.save(vocabulary, tmp_path, 2048)
    config = json.loads((tmp_path / "tokenizer_config.json").read_text())
    assert config["eos_token"] == config["bos_token"] == config["pad_token"] == "<|endoftext|>"
    assert config["model_max_length"] == 2048
    assert (tmp_path / "chat_template.jinja").read_text() == layout.CHAT_TEMPLATE


def test_the_chat_template_is_the_layout_of_the_training(vocabulary: Any) -> None:
    from build.demo import tokenizer

    wrapped = tokenizer.wrap(vocabulary, 2048)
    chat = next(
        chat
        for chat in corpus.chats(1, 0, 500)
        if chat.system and len(chat.exchanges) == 2 and chat.layout == corpus.CHAT
    )
    messages = [{"role": "system", "content": chat.system}]
    for exchange in chat.exchanges:
        messages += [
            {"role": "user", "content": exchange.question},
            {"role": "assistant", "content": exchange.answer},
        ]
    whole = wrapped.apply_chat_template(messages, tokenize=False)
    assert whole == layout.text(chat) + "<|endoftext|>"
    asked = wrapped.apply_chat_template(messages[:2], tokenize=False, add_generation_prompt=True)
    assert layout.text(chat).startswith(asked)
    assert asked.endswith("<|assistant|>\n")
