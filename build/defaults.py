"""The generation settings of a bundle, gathered from all who have a say.

From the strongest to the weakest: the flags of the export, the defaults of the signature's
parameters (MLflow passes these to a model whenever a caller names none), the `model_config`,
the `search` section of genai_config.json.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import fields, replace
from typing import Any

from build.findings import Findings
from build.genai_config import NAME, GenaiConfig
from build.options import Options
from edge.bundle import Defaults, Signature

_FORMATS = ("auto", "chat", "raw")
_WHOLE = ("max_tokens", "top_k", "seed")
_LIMITS: Mapping[str, tuple[float, float]] = {
    "max_tokens": (1, 2**31 - 1),
    "temperature": (0, 2),
    "top_p": (0, 1),
    "top_k": (0, 2**31 - 1),
    "repetition_penalty": (0.01, 10),
    "seed": (-(2**63), 2**63 - 1),
}
# Names under which a model_config may keep the limit of an answer's length.
MAX_TOKENS_NAMES = ("max_tokens", "max_new_tokens", "max_length")

Said = list[tuple[str, Mapping[str, Any]]]


def gather(
    options: Options,
    signature: Signature,
    config: Mapping[str, Any],
    genai: GenaiConfig,
    findings: Findings,
) -> Defaults:
    """The settings, each with its origin among the facts; bad values are problems."""
    flags = dict(options.generation)
    if options.prompt_format:
        flags["prompt_format"] = options.prompt_format
    said: Said = [
        ("flag", flags),
        ("signature", {param.name: param.default for param in signature.params}),
        ("model_config", renamed("model_config", config, findings)),
        (NAME, _search(genai.search)),
    ]
    return choose(said, findings)


def choose(said: Said, findings: Findings) -> Defaults:
    """The first in `said` to name a setting has it; facts and problems as `gather` does."""
    chosen: dict[str, Any] = {}
    for item in fields(Defaults):
        origin, value = _first(said, item.name)
        if value is None:
            continue
        problem = _problem(item.name, value)
        if problem:
            findings.problems.append(f"{origin}: {problem}")
            continue
        chosen[item.name] = _typed(item.name, value)
        findings.facts[item.name] = f"{_shown(value)} ({origin})"
    return replace(Defaults(), **chosen)


def _first(said: Said, name: str) -> tuple[str, Any]:
    """The strongest origin that says anything; an empty list of stop strings says nothing."""
    for origin, values in said:
        value = values.get(name)
        if value is not None and value != []:
            return origin, value
    return "", None


def renamed(origin: str, config: Mapping[str, Any], findings: Findings) -> Mapping[str, Any]:
    """`config` with `max_tokens` for what it calls otherwise, which is noted."""
    named = next((name for name in MAX_TOKENS_NAMES if config.get(name) is not None), "")
    if named in ("", "max_tokens"):
        return config
    findings.shims.append(f"{origin}: {named} {config[named]!r} is taken as max_tokens")
    return {**config, "max_tokens": config[named]}


def _search(search: Mapping[str, Any]) -> dict[str, Any]:
    """The runtime's own defaults: without `do_sample` it is greedy, whatever else is said."""
    found: dict[str, Any] = {}
    penalty = search.get("repetition_penalty")
    if penalty not in (None, 1):
        found["repetition_penalty"] = penalty
    if not search.get("do_sample"):
        return {**found, "temperature": 0.0}
    sampling = {key: search.get(key) for key in ("temperature", "top_p", "top_k")}
    return {**found, **sampling}


def _problem(name: str, value: Any) -> str:
    expected = next(_unmet(name, value), "")
    return f"{name} is {value!r}, expected {expected}" if expected else ""


def _unmet(name: str, value: Any) -> Iterator[str]:
    if name == "prompt_format":
        if value not in _FORMATS:
            yield ", ".join(_FORMATS)
    elif name == "stop":
        texts = [value] if isinstance(value, str) else value
        if not isinstance(texts, list | tuple) or not all(_is_text(text) for text in texts):
            yield "a list of strings that are not empty"
    else:
        least, most = _LIMITS[name]
        is_number = type(value) is int or (type(value) is float and name not in _WHOLE)
        if not is_number or not least <= value <= most:
            noun = "whole number" if name in _WHOLE else "number"
            yield f"a {noun} from {least:g} to {most:g}"


def _is_text(value: object) -> bool:
    return isinstance(value, str) and bool(value)


def _typed(name: str, value: Any) -> Any:
    if name == "stop":
        return (value,) if isinstance(value, str) else tuple(value)
    return value if name in (*_WHOLE, "prompt_format") else float(value)


def _shown(value: Any) -> str:
    return ", ".join(map(repr, value)) if isinstance(value, list | tuple) else str(value)
