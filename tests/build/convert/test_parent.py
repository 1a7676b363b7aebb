"""The model before its conversion, run by transformers in a process of its own."""

from __future__ import annotations

import importlib
import io
import json
import shutil

import pytest

from tests.build.convert.conftest import SPAIN

pytestmark = pytest.mark.torch
ASKED = f"<|user|>\n{SPAIN}<|end|>\n<|assistant|>\n"
MADRID = "The capital of Spain is Madrid.<|end|>"


TERMS = {"threads": 1, "dtype": "float32", "eos_ids": [4, 0], "context_length": 2048}


def test_it_says_what_runs_it(parent):
    assert parent.engine == "transformers in float32"
    assert parent.context_length == 2048


def test_special_tokens_in_a_text_count_as_such(parent):
    assert parent.encode("<|user|>")[0] == 2
    assert len(parent.encode("<|user|>\n<|end|>")) == 3


def test_a_chat_is_wrapped_in_the_template_and_answered_up_to_its_end(parent):
    answer = parent.answer(SPAIN, 24, is_chat=True)
    assert list(answer.prompt) == parent.encode(ASKED)
    assert list(answer.tokens) == parent.encode(MADRID)


def test_an_answer_stops_at_its_limit(parent):
    whole = parent.answer(SPAIN, 24, is_chat=True)
    assert parent.answer(SPAIN, 3, is_chat=True).tokens == whole.tokens[:3]


def test_a_bare_prompt_is_gone_on_with_as_it_stands(parent):
    bare = parent.answer(ASKED, 24, is_chat=False)
    assert bare == parent.answer(SPAIN, 24, is_chat=True)


def test_every_position_but_the_first_is_judged(parent):
    ids = parent.encode(ASKED + MADRID)
    start = len(parent.encode(ASKED))
    scored = parent.score(ids)
    assert len(scored.logprobs) == len(scored.likeliest) == len(ids) - 1
    assert list(scored.likeliest[start - 1 :]) == ids[start:]
    assert -0.5 < min(scored.logprobs[start - 1 :]) <= max(scored.logprobs[start - 1 :]) <= 0
    assert min(scored.logprobs) < -3  # the question could have been any


@pytest.fixture
def replies(monkeypatch, capsys):
    """`replies(folder)` is what the process would say of that folder, and its status.

    It is run within this one, which spares a second import of torch.
    """
    module = importlib.import_module("build.convert.parent")

    def run(folder):
        monkeypatch.setattr(module.sys, "argv", ["parent", str(folder), ""])
        monkeypatch.setattr(module.sys, "stdin", io.StringIO(json.dumps(TERMS) + "\n"))
        status = module.main()
        return status, [json.loads(line) for line in capsys.readouterr().out.splitlines()]

    return run


def test_weights_that_are_cut_short_are_told_of(weights, tmp_path, replies):
    broken = shutil.copytree(weights, tmp_path / "weights")
    data = (broken / "model.safetensors").read_bytes()
    (broken / "model.safetensors").write_bytes(data[: len(data) // 2])
    status, (said,) = replies(broken)
    assert status == 1
    assert said["problem"].startswith("SafetensorError: ")


def test_pickled_weights_and_code_are_never_loaded(weights, tmp_path, replies):
    pickled = shutil.copytree(weights, tmp_path / "weights")
    (pickled / "model.safetensors").rename(pickled / "pytorch_model.bin")
    config = json.loads((pickled / "config.json").read_text())
    (pickled / "config.json").write_text(
        json.dumps({**config, "auto_map": {"AutoModelForCausalLM": "evil.Evil"}})
    )
    mark = tmp_path / "mark"
    (pickled / "evil.py").write_text(f"open({str(mark)!r}, 'w')\nclass Evil: ...\n")
    status, (said,) = replies(pickled)
    assert status == 1
    assert "safetensors" in said["problem"]
    assert not mark.exists()
