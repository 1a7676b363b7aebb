"""Tokenizers of a Hugging Face folder."""

import pytest

from build.pipeline import tokenizer


def test_the_demo_models(demo_weights, findings):
    tokenizer.check(demo_weights, findings)
    assert findings.problems == []
    assert tokenizer.eos_ids(demo_weights) == (0,)


def test_an_eos_token_written_out(hf_folder, change):
    path = hf_folder / "tokenizer_config.json"
    change(path, eos_token={"content": "<|end|>", "special": True})
    assert tokenizer.eos_ids(hf_folder) == (4,)
    change(path, eos_token="<|nothing|>")
    assert tokenizer.eos_ids(hf_folder) == ()
    path.unlink()
    assert tokenizer.eos_ids(hf_folder) == ()


def test_a_slow_tokenizer_is_refused_with_the_way_out(hf_folder, findings):
    (hf_folder / "tokenizer.json").rename(hf_folder / "tokenizer.model")
    tokenizer.check(hf_folder, findings)
    (problem,) = findings.problems
    assert "the tokenizer is a slow one (tokenizer.model, without tokenizer.json)" in problem
    assert "use_fast=True" in problem


def test_no_tokenizer_at_all(tmp_path, findings):
    tokenizer.check(tmp_path, findings)
    assert findings.problems == ["the model has no tokenizer.json: log it with its tokenizer"]


@pytest.mark.parametrize(
    ("text", "told"),
    [("{", "tokenizer.json is not JSON"), ("[]", "no JSON object"), ("{}", "no fast tokenizer")],
)
def test_a_tokenizer_that_is_none(hf_folder, findings, text, told):
    (hf_folder / "tokenizer.json").write_text(text)
    tokenizer.check(hf_folder, findings)
    assert told in findings.problems[0].replace("is not a JSON", "is no JSON")
