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

_WHOLE, _REAL = frozenset(("long", "integer")), frozenset(("double", "float"))
_NUMBER = _WHOLE | _REAL
_TEXT = frozenset(("string",))
# What a generation can be told, with the MLflow types that say it.
SERVED: Final[Mapping[str, frozenset[str]]] = {
    "max_tokens": _WHOLE,
    "temperature": _NUMBER,
    "top_p": _NUMBER,
    "top_k": _WHOLE,
    "stop": _TEXT,
    "seed": _WHOLE,
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
_PROMPT_SIGNATURE = Signature("prompt", (Column(PROMPT, "string"),), (Column("", "string"),))


def read(mlmodel: MlModel | None, findings: Findings) -> Signature:
    """The signature without shims; where it is unusable, a problem and a stand-in.

    A model without any signature gets `prompt -> string`, which is noted.
    """
    raw = mlmodel.signature if mlmodel else {}
    if not raw.get("inputs"):
        findings.shims.append("the model has no signature: prompt: string -> string is assumed")
        return _PROMPT_SIGNATURE
    try:
        inputs, outputs, params = (_entries(raw, key) for key in ("inputs", "outputs", "params"))
    except ValueError as error:
        findings.problems.append(f"signature: {error}")
        return _PROMPT_SIGNATURE
    is_chat = bool(mlmodel and mlmodel.metadata.get("task") == CHAT_TASK) or _is_chat(inputs)
    if not is_chat and not _is_prompt(inputs, outputs):
        findings.problems.append(
            f"signature is {_show(inputs)} -> {_show(outputs)}, expected {EXPECTED}"
        )
    return Signature(
        "chat" if is_chat else "prompt",
        tuple(map(_column, inputs)),
        tuple(map(_column, outputs)),
        tuple(_params(params, findings)),
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
        params = tuple(replace(p, default=_plain(getattr(defaults, p.name))) for p in _STANDARD)
        return replace(signature, params=params)
    params = tuple(
        replace(param, default=_plain(told[param.name])) if param.name in told else param
        for param in signature.params
    )
    return replace(signature, params=params)


def _entries(raw: Mapping[str, Any], key: str) -> list[Mapping[str, Any]]:
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


def _column(entry: Mapping[str, Any]) -> Column:
    return Column(
        str(entry.get("name") or ""), str(entry.get("type")), bool(entry.get("required", True))
    )


def _params(entries: Sequence[Mapping[str, Any]], findings: Findings) -> Iterator[Param]:
    for entry in entries:
        name, kind = str(entry.get("name")), str(entry.get("type"))
        if name not in SERVED:
            findings.shims.append(f"parameter {name!r} means nothing to the appliance: left out")
        elif kind not in SERVED[name]:
            expected = " or ".join(sorted(SERVED[name]))
            findings.problems.append(f"parameter {name!r} has type {kind!r}, expected {expected}")
        else:
            yield Param(name, kind, entry.get("default"), entry.get("shape") is not None)


def _show(entries: Sequence[Mapping[str, Any]]) -> str:
    columns = (
        f"{entry.get('name') or 'unnamed'}: {entry.get('type')}"
        + ("" if entry.get("required", True) else " (optional)")
        for entry in entries
    )
    return "[" + ", ".join(columns) + "]"


def _plain(value: Any) -> Any:
    return list(value) if isinstance(value, tuple) else value
