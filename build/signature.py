"""The model's signature: `prompt -> string` or MLflow's `llm/v1/chat`, and its parameters."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any, Final

from build.findings import Findings
from build.mlmodel import MlModel
from edge.bundle import Column, Defaults, Param, Signature

CHAT_TASK = "llm/v1/chat"
PROMPT = "prompt"
EXPECTED = "prompt: string (required) -> string, or llm/v1/chat"

WHOLE, _REAL = frozenset(("long", "integer")), frozenset(("double", "float"))
_NUMBER = WHOLE | _REAL
_TEXT = frozenset(("string",))
# What a generation can be told, with the MLflow types that say it.
SERVED: Final[Mapping[str, frozenset[str]]] = {
    "max_tokens": WHOLE,
    "temperature": _NUMBER,
    "top_p": _NUMBER,
    "top_k": WHOLE,
    "stop": _TEXT,
    "seed": WHOLE,
    "min_p": _NUMBER,
    "repetition_penalty": _NUMBER,
    "presence_penalty": _NUMBER,
    "frequency_penalty": _NUMBER,
}
_STANDARD = (
    Param("max_tokens", "long"),
    Param("temperature", "double"),
    Param("top_p", "double"),
    Param("top_k", "long"),
    Param("stop", "string", is_list=True),
    Param("seed", "long"),
)
PROMPT_SIGNATURE = Signature("prompt", (Column(PROMPT, "string"),), (Column("", "string"),))


def read(mlmodel: MlModel | None, findings: Findings) -> Signature:
    """The signature without shims; where it is unusable, a problem and a stand-in.

    A model without any signature gets `prompt -> string`, which is noted.
    """
    raw = mlmodel.signature if mlmodel else {}
    if not raw.get("inputs"):
        findings.shims.append("the model has no signature: prompt: string -> string is assumed")
        return PROMPT_SIGNATURE
    try:
        inputs, outputs, told = (entries(raw, key) for key in ("inputs", "outputs", "params"))
    except ValueError as error:
        findings.problems.append(f"signature: {error}")
        return PROMPT_SIGNATURE
    is_chat = bool(mlmodel and mlmodel.metadata.get("task") == CHAT_TASK) or _is_chat(inputs)
    if not is_chat and not _is_prompt(inputs, outputs):
        findings.problems.append(
            f"signature is {show(inputs)} -> {show(outputs)}, expected {EXPECTED}"
        )
    return Signature(
        "chat" if is_chat else "prompt",
        tuple(map(column, inputs)),
        tuple(map(column, outputs)),
        tuple(params(told, findings)),
    )


def complete(
    signature: Signature, defaults: Defaults, told: Mapping[str, Any], findings: Findings
) -> Signature:
    """Supply the standard parameters where there are none; let the flags `told` win.

    A parameter's default is what a caller who names none gets, so it must agree with `defaults`.
    """
    if not signature.params and signature.kind == "prompt":
        findings.shims.append(
            "the signature has no parameters: "
            + ", ".join(param.name for param in _STANDARD)
            + " are supplied"
        )
        standard = tuple(replace(p, default=_plain(getattr(defaults, p.name))) for p in _STANDARD)
        return replace(signature, params=standard)
    changed = tuple(
        replace(param, default=_plain(told[_meant(param)])) if _meant(param) in told else param
        for param in signature.params
    )
    return replace(signature, params=changed)


def _meant(param: Param) -> str:
    """The setting behind a parameter's name."""
    return "max_tokens" if param.name == "max_new_tokens" else param.name


def entries(raw: Mapping[str, Any], key: str) -> list[Mapping[str, Any]]:
    """The columns or parameters under `key`; raises `ValueError`."""
    text = raw.get(key)
    data = json.loads(text) if isinstance(text, str) else (text or [])
    if not isinstance(data, list) or not all(isinstance(entry, Mapping) for entry in data):
        raise ValueError(f"{key} is not a list of columns")
    return data


def _is_chat(inputs: Sequence[Mapping[str, Any]]) -> bool:
    """MLflow's chat input: `messages`, an array of objects with role and content."""
    messages = next((entry for entry in inputs if entry.get("name") == "messages"), {})
    items = messages.get("items")
    fields = items.get("properties") if isinstance(items, Mapping) else None
    return isinstance(fields, Mapping) and {"role", "content"} <= set(fields)


def _is_prompt(inputs: Sequence[Mapping[str, Any]], outputs: Sequence[Mapping[str, Any]]) -> bool:
    takes = [(entry.get("name"), entry.get("type")) for entry in inputs]
    gives = [entry.get("type") for entry in outputs]
    return takes == [(PROMPT, "string")] and gives in (["string"], [])


def column(entry: Mapping[str, Any]) -> Column:
    """A column as the manifest keeps it; one without a name has an empty one."""
    return Column(
        str(entry.get("name") or ""), str(entry.get("type")), bool(entry.get("required", True))
    )


def params(
    found: Sequence[Mapping[str, Any]],
    findings: Findings,
    served: Mapping[str, frozenset[str]] = SERVED,
) -> Iterator[Param]:
    """The parameters that the appliance serves, by name and type; others are noted."""
    for entry in found:
        name, kind = str(entry.get("name")), str(entry.get("type"))
        if name not in served:
            findings.shims.append(f"parameter {name!r} means nothing to the appliance: left out")
        elif kind not in served[name]:
            expected = " or ".join(sorted(served[name]))
            findings.problems.append(f"parameter {name!r} has type {kind!r}, expected {expected}")
        else:
            yield Param(name, kind, entry.get("default"), entry.get("shape") is not None)


def show(found: Sequence[Mapping[str, Any]]) -> str:
    """Columns for a message."""
    columns = (
        f"{entry.get('name') or 'unnamed'}: {entry.get('type')}"
        + ("" if entry.get("required", True) else " (optional)")
        for entry in found
    )
    return "[" + ", ".join(columns) + "]"


def _plain(value: Any) -> Any:
    return list(value) if isinstance(value, tuple) else value
