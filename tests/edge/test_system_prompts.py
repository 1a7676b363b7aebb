"""System prompts that are known before the first request."""

from __future__ import annotations

import json

import numpy as np
import pytest

from edge import system_prompts
from edge.engine.scripted import ByteTokenizer, EchoEngine
from edge.errors import EngineFailed, StartupError
from edge.generation import Message


class Remembers(EchoEngine):
    """Notes what it is asked to preload; fails on prompts that say `boom`."""

    def __init__(self, **settings):
        super().__init__(**settings)
        self.preloaded = []

    def preload(self, prompt):
        if b"boom" in bytes(prompt[prompt < 256].astype(np.uint8)):
            raise EngineFailed("no")
        self.preloaded.append(prompt.tolist())


def preload(engine, *texts, kv_limit_bytes=1 << 30):
    return system_prompts.preload(engine, ByteTokenizer(), texts, kv_limit_bytes=kv_limit_bytes)


def test_the_head_is_what_every_chat_under_the_prompt_begins_with():
    engine, tokenizer = Remembers(), ByteTokenizer()
    tokens = preload(engine, "Be kind.")
    (head,) = engine.preloaded
    assert tokens == len(head)
    for turn in ("Hello", "a", "1", "What?"):
        messages = [Message("system", "Be kind."), Message("user", turn)]
        ids = tokenizer.encode(tokenizer.apply_chat_template(messages)).tolist()
        assert ids[: len(head)] == head
    assert tokenizer.decode(head).endswith("Be kind.")


def test_what_fails_is_left_out_and_the_rest_is_run(caplog):
    engine = Remembers()
    tokens = preload(engine, "first", "boom", "second")
    assert len(engine.preloaded) == 2
    assert tokens == sum(map(len, engine.preloaded))
    assert [record.number for record in caplog.records] == [1]


def test_memory_bounds_what_is_kept(caplog):
    engine = Remembers(kv_bytes_per_token=10)
    preload(engine, "a" * 50, "b" * 50, "c" * 10, kv_limit_bytes=900)
    assert [len(head) > 40 for head in engine.preloaded] == [True, False]
    assert "do not fit" in caplog.records[0].reason


def test_a_prompt_beyond_the_context(caplog):
    engine = Remembers(context_length=40)
    assert preload(engine, "a" * 50) == 0
    assert engine.preloaded == []
    assert caplog.records[0].number == 0


def test_a_file_is_a_list_of_texts(tmp_path):
    path = tmp_path / "prompts.json"
    path.write_text(json.dumps(["Be kind.", "Sé breve."]))
    assert system_prompts.read(path) == ("Be kind.", "Sé breve.")
    assert system_prompts.read(None) == ()


@pytest.mark.parametrize("content", ["", "[1]", '"text"', '[""]', "{"])
def test_a_file_that_holds_something_else(tmp_path, content):
    path = tmp_path / "prompts.json"
    path.write_text(content)
    with pytest.raises(StartupError, match="EDGE_SYSTEM_PROMPTS_FILE") as caught:
        system_prompts.read(path)
    assert str(tmp_path) not in str(caught.value)


def test_a_file_that_is_not_there(tmp_path):
    with pytest.raises(StartupError, match="cannot be read"):
        system_prompts.read(tmp_path / "none.json")
