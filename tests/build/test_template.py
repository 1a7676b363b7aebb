"""Chat templates, wherever a model keeps them."""

import json

import pytest

from build import template

JINJA = "{% for m in messages %}{{ m['content'] }}{% endfor %}"


@pytest.fixture
def folder(tmp_path):
    def make(config=None, jinja=None, tokenizer=None):
        for name, content in (
            ("tokenizer_config.json", None if config is None else json.dumps(config)),
            ("chat_template.jinja", jinja),
            ("tokenizer.json", None if tokenizer is None else json.dumps(tokenizer)),
        ):
            if content is not None:
                (tmp_path / name).write_text(content)
        return tmp_path

    return make


def test_the_demo_model(demo_model, findings):
    assert "messages" in template.read(demo_model, findings)
    tokens = template.special_tokens(demo_model)
    assert {"<|system|>", "<|user|>", "<|assistant|>", "<|end|>", "<|endoftext|>"} <= tokens


def test_in_the_configuration(folder, findings):
    assert template.read(folder({"chat_template": JINJA}), findings) == JINJA


def test_in_a_file_of_its_own_which_wins(folder, findings):
    assert template.read(folder({"chat_template": "old"}, jinja=JINJA), findings) == JINJA


def test_the_default_of_several(folder, findings):
    several = [{"name": "tool_use", "template": "x"}, {"name": "default", "template": JINJA}]
    assert template.read(folder({"chat_template": several}), findings) == JINJA


def test_several_without_a_default(folder, findings):
    several = [{"name": "tool_use", "template": "x"}]
    assert template.read(folder({"chat_template": several}), findings) == ""


@pytest.mark.parametrize("config", [None, {}, {"chat_template": None}, []])
def test_none(folder, findings, config):
    assert template.read(folder(config), findings) == ""
    assert findings.problems == []


def test_a_broken_configuration(tmp_path, findings):
    (tmp_path / "tokenizer_config.json").write_text("{")
    assert template.read(tmp_path, findings) == ""
    assert "tokenizer_config.json is not JSON" in findings.problems[0]


def test_special_tokens(folder):
    tokens = [{"content": "<|a|>", "special": True}, {"content": "b", "special": False}, "odd"]
    assert template.special_tokens(folder(tokenizer={"added_tokens": tokens})) == {"<|a|>"}


def test_special_tokens_of_a_broken_tokenizer(tmp_path):
    assert template.special_tokens(tmp_path) == frozenset()
    (tmp_path / "tokenizer.json").write_text("{")
    assert template.special_tokens(tmp_path) == frozenset()
