"""The signature of a pipeline: MLflow's `llm/v1/...`, or a column of texts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, Literal

from build import signature
from build.findings import Findings
from build.mlmodel import MlModel
from build.pipeline.flavor import CHAT, COMPLETIONS, Flavor
from build.signature import PROMPT_SIGNATURE, SERVED, WHOLE
from edge.bundle import Signature

_FIELDS = {CHAT: "messages", COMPLETIONS: "prompt"}
_KINDS: Mapping[str, Literal["chat", "completions"]] = {CHAT: "chat", COMPLETIONS: "completions"}
_SWITCH = frozenset(("boolean",))
_SERVED = {
    **SERVED,
    "max_new_tokens": WHOLE,
    "do_sample": _SWITCH,
    "return_full_text": _SWITCH,
}

Said = Mapping[str, Any]


def read(
    described: MlModel | None, flavor: Flavor, findings: Findings
) -> tuple[Signature, Mapping[str, Any]]:
    """The signature, and the default of every parameter that it names, served or not.

    What is unusable is a problem, with a stand-in; a model without a signature takes prompts.
    """
    raw = described.signature if described else {}
    if not raw.get("inputs"):
        findings.shims.append("the model has no signature: prompt: string -> string is assumed")
        return PROMPT_SIGNATURE, {}
    try:
        inputs, outputs, told = (
            signature.entries(raw, key) for key in ("inputs", "outputs", "params")
        )
    except ValueError as error:
        findings.problems.append(f"signature: {error}")
        return PROMPT_SIGNATURE, {}
    columns = tuple(map(signature.column, inputs)), tuple(map(signature.column, outputs))
    params = tuple(signature.params(told, findings, _SERVED))
    defaults = {str(entry.get("name")): entry.get("default") for entry in told}
    if flavor.task in _KINDS:
        findings.problems += _field_problems(flavor.task, inputs)
        return Signature(_KINDS[flavor.task], *columns, params), defaults
    findings.problems += _text_problems(inputs, outputs)
    return Signature("prompt", *columns, params), defaults


def with_reply(signed: Signature, is_pipeline: bool, config: Said, params: Said) -> Signature:
    """What a reply holds: MLflow's pipeline repeats the prompt unless `return_full_text` is false.

    Without a pipeline around it, as for a bare folder, it is the new text.
    """
    if signed.kind != "prompt" or not is_pipeline:
        return signed
    chosen = (values.get("return_full_text") for values in (params, config))
    is_full = next((value for value in chosen if value is not None), True)
    return replace(signed, reply="full" if is_full else "stripped")


def _field_problems(task: str, inputs: Sequence[Mapping[str, Any]]) -> list[str]:
    if any(entry.get("name") == _FIELDS[task] for entry in inputs):
        return []
    return [f"signature is {signature.show(inputs)}, expected the columns of {task}"]


def _text_problems(
    inputs: Sequence[Mapping[str, Any]], outputs: Sequence[Mapping[str, Any]]
) -> list[str]:
    takes, gives = ([entry.get("type") for entry in side] for side in (inputs, outputs))
    if takes == ["string"] and gives in (["string"], []):
        return []
    return [
        f"signature is {signature.show(inputs)} -> {signature.show(outputs)}, expected one column "
        "of strings -> string, llm/v1/chat or llm/v1/completions"
    ]
