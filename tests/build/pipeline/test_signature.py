"""Signatures of pipelines, as MLflow writes them."""

import json

import pytest
from mlflow.models import infer_signature
from mlflow.transformers.llm_inference_utils import _SIGNATURE_FOR_LLM_INFERENCE_TASK as OF_TASK
from mlflow.transformers.signature import _DEFAULT_SIGNATURE_FOR_TASK as DEFAULT

from build.mlmodel import MlModel
from build.pipeline import signature
from build.pipeline.flavor import CHAT, COMPLETIONS, TEXT, Flavor
from edge.bundle import Column, Signature


@pytest.fixture
def read(findings):
    def go(signed, task):
        described = MlModel(flavors=("transformers",), signature=signed.to_dict() if signed else {})
        return signature.read(described, Flavor(task=task), findings)

    return go


@pytest.mark.parametrize(("task", "kind"), [(CHAT, "chat"), (COMPLETIONS, "completions")])
def test_mlflows_own(read, findings, task, kind):
    found, params = read(OF_TASK[task], task)
    assert findings.problems == []
    assert (found.kind, found.params, params) == (kind, (), {})
    for side, columns in (("inputs", found.inputs), ("outputs", found.outputs)):
        written = json.loads(OF_TASK[task].to_dict()[side])
        assert [(c.name, c.type, c.required) for c in columns] == [
            (entry["name"], entry["type"], entry["required"]) for entry in written
        ]


def test_a_text_generation_pipeline_has_a_column_without_a_name(read, findings):
    found, _ = read(DEFAULT[TEXT], TEXT)
    assert found == Signature("prompt", (Column("", "string"),), (Column("", "string"),))
    assert findings.problems == []


def test_a_named_column_and_parameters(read, findings):
    params = {"max_new_tokens": 12, "temperature": 0.5, "num_beams": 2}
    signed = infer_signature({"question": "Why?"}, ["So."], params)
    found, defaults = read(signed, TEXT)
    assert found.inputs == (Column("question", "string"),)
    assert [(param.name, param.default) for param in found.params] == [
        ("max_new_tokens", 12),
        ("temperature", 0.5),
    ]
    assert defaults == params
    assert findings.shims == ["parameter 'num_beams' means nothing to the appliance: left out"]


def test_without_a_signature(read, findings):
    found, _ = read(None, TEXT)
    assert found.inputs == (Column("prompt", "string"),)
    assert findings.shims == ["the model has no signature: prompt: string -> string is assumed"]


@pytest.mark.parametrize(
    ("signed", "task", "told"),
    [
        (OF_TASK[COMPLETIONS], CHAT, "expected the columns of llm/v1/chat"),
        (infer_signature({"a": "x", "b": "y"}, ["z"]), TEXT, "expected one column of strings"),
        (infer_signature({"a": 1}, ["z"]), TEXT, "signature is [a: long] -> [unnamed: string]"),
        (infer_signature({"a": "x"}, ["z"], {"max_new_tokens": "many"}), TEXT, "has type 'string'"),
    ],
)
def test_what_is_refused(read, findings, signed, task, told):
    read(signed, task)
    assert told in findings.problems[0]


@pytest.mark.parametrize(
    ("config", "params", "reply"),
    [
        ({}, {}, "full"),
        ({"return_full_text": False}, {}, "stripped"),
        ({"return_full_text": False}, {"return_full_text": True}, "full"),
        ({}, {"return_full_text": None}, "full"),
    ],
)
def test_a_pipeline_repeats_the_prompt_unless_it_is_told_not_to(read, config, params, reply):
    found, _ = read(DEFAULT[TEXT], TEXT)
    assert signature.with_reply(found, True, config, params).reply == reply
    assert signature.with_reply(found, False, config, params).reply == "new"


def test_a_chat_replies_with_objects(read):
    found, _ = read(OF_TASK[CHAT], CHAT)
    assert signature.with_reply(found, True, {}, {}) == found
