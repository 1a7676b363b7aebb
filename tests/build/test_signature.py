"""Signatures that can be served, with MLflow's own JSON of them."""

import numpy as np
import pytest
from mlflow.models import ModelSignature, infer_signature
from mlflow.types import ColSpec, ParamSchema, ParamSpec, Schema
from mlflow.types.llm import CHAT_MODEL_INPUT_SCHEMA, CHAT_MODEL_OUTPUT_SCHEMA

from build import signature
from build.mlmodel import MlModel
from edge.bundle import Column, Defaults, Param

STANDARD = ["max_tokens", "temperature", "top_p", "top_k", "stop", "seed"]


def model_of(signed, **fields):
    raw = signed.to_dict() if isinstance(signed, ModelSignature) else signed
    return MlModel(flavors=("python_function",), signature=raw, **fields)


def test_the_notebooks_signature(findings):
    signed = infer_signature({"prompt": "Hello"}, ["Run"])
    found = signature.read(model_of(signed), findings)
    assert found.kind == "prompt"
    assert found.inputs == (Column("prompt", "string"),)
    assert found.outputs == (Column("", "string"),)
    assert (found.params, findings.problems, findings.shims) == ((), [], [])


def test_params_with_defaults(findings):
    params = {"max_tokens": 40, "temperature": 0.5, "stop": ["a", "b"]}
    signed = infer_signature({"prompt": "Hello"}, ["Run"], params)
    found = signature.read(model_of(signed), findings)
    assert found.params == (
        Param("max_tokens", "long", 40),
        Param("temperature", "double", 0.5),
        Param("stop", "string", ["a", "b"], is_list=True),
    )
    assert findings.problems == []


def test_a_parameter_without_default(findings):
    schema = ParamSchema([ParamSpec("seed", "long", None)])
    signed = ModelSignature(Schema([ColSpec("string", "prompt")]), None, schema)
    assert signature.read(model_of(signed), findings).params == (Param("seed", "long"),)


def test_chat_by_its_schema(findings):
    signed = ModelSignature(CHAT_MODEL_INPUT_SCHEMA, CHAT_MODEL_OUTPUT_SCHEMA)
    found = signature.read(model_of(signed), findings)
    assert found.kind == "chat"
    assert found.inputs[0] == Column("messages", "array")
    assert Column("temperature", "double", required=False) in found.inputs
    assert findings.problems == []


def test_chat_by_its_task(findings):
    signed = ModelSignature(Schema([ColSpec("string", "text")]), Schema([ColSpec("string")]))
    model = model_of(signed, metadata={"task": "llm/v1/chat"})
    assert signature.read(model, findings).kind == "chat"


@pytest.mark.parametrize(
    ("inputs", "outputs", "shown"),
    [
        (Schema([ColSpec("string", "question")]), Schema([ColSpec("string")]), "question: string"),
        (Schema([ColSpec("long", "prompt")]), Schema([ColSpec("string")]), "prompt: long"),
        (Schema([ColSpec("string")]), Schema([ColSpec("string")]), "unnamed: string"),
        (
            Schema([ColSpec("string", "prompt")]),
            Schema([ColSpec("double")]),
            "-> [unnamed: double]",
        ),
        (
            Schema([ColSpec("string", "prompt"), ColSpec("long", "n", required=False)]),
            Schema([ColSpec("string")]),
            "n: long (optional)",
        ),
    ],
)
def test_other_signatures(findings, inputs, outputs, shown):
    signature.read(model_of(ModelSignature(inputs, outputs)), findings)
    assert len(findings.problems) == 1
    assert shown in findings.problems[0]
    assert "expected prompt: string (required) -> string, or llm/v1/chat" in findings.problems[0]


def test_tensors_are_no_prompts(findings):
    signature.read(model_of(infer_signature(np.zeros((1, 3)), np.zeros(1))), findings)
    assert "unnamed: tensor" in findings.problems[0]


@pytest.mark.parametrize("raw", [{"inputs": "["}, {"inputs": '{"a": 1}'}, {"inputs": "[1]"}])
def test_broken_schemas(findings, raw):
    assert signature.read(model_of(raw), findings).kind == "prompt"
    assert findings.problems[0].startswith("signature: ")


@pytest.mark.parametrize("model", [None, model_of({}), model_of({"inputs": None})])
def test_no_signature_is_assumed_to_be_a_prompt(findings, model):
    found = signature.read(model, findings)
    assert (found.kind, found.inputs) == ("prompt", (Column("prompt", "string"),))
    assert findings.shims == ["the model has no signature: prompt: string -> string is assumed"]


def test_parameters_that_mean_nothing_or_have_the_wrong_type(findings):
    params = ParamSchema([ParamSpec("beams", "long", 1), ParamSpec("temperature", "string", "hot")])
    signed = ModelSignature(Schema([ColSpec("string", "prompt")]), None, params)
    assert signature.read(model_of(signed), findings).params == ()
    assert findings.shims == ["parameter 'beams' means nothing to the appliance: left out"]
    assert "parameter 'temperature' has type 'string', expected double or" in findings.problems[0]


def test_the_standard_parameters_are_supplied_with_the_defaults(findings):
    bare = signature.read(model_of(infer_signature({"prompt": "x"}, ["y"])), findings)
    defaults = Defaults(max_tokens=7, temperature=0.5, stop=("a",))
    found = signature.complete(bare, defaults, {}, findings)
    assert [param.name for param in found.params] == STANDARD
    values = {param.name: param.default for param in found.params}
    assert values["max_tokens"] == 7
    assert values["temperature"] == 0.5
    assert values["stop"] == ["a"]
    assert values["seed"] is None
    assert "the signature has no parameters: max_tokens, " in findings.shims[0]


def test_a_flag_wins_over_a_parameters_default(findings):
    signed = infer_signature({"prompt": "x"}, ["y"], {"max_tokens": 40, "stop": ["a"]})
    before = signature.read(model_of(signed), findings)
    told = {"max_tokens": 9, "stop": ("b",), "seed": 3}
    found = signature.complete(before, Defaults(), told, findings)
    assert found.params == (
        Param("max_tokens", "long", 9),
        Param("stop", "string", ["b"], is_list=True),
    )
    assert findings.shims == []


def test_chats_get_no_parameters(findings):
    signed = ModelSignature(CHAT_MODEL_INPUT_SCHEMA, CHAT_MODEL_OUTPUT_SCHEMA)
    before = signature.read(model_of(signed), findings)
    assert signature.complete(before, Defaults(), {}, findings) == before
    assert findings.shims == []
