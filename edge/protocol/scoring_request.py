"""From an `Invocation` to the request that the engine understands."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from edge.bundle import Defaults, Manifest
from edge.errors import InvalidRequest
from edge.generation import Message, Prompt, Request, Sampling
from edge.protocol.fields import check_integer, check_number, check_text, wrong
from edge.protocol.scoring import Invocation

MAX_TOKENS = 1 << 31
MAX_TEMPERATURE = 100.0
MAX_PENALTY = 100.0
MAX_SAMPLES = 128
# Names under which a params schema may declare a setting, beside the setting's own.
ALIASES = {"max_new_tokens": "max_tokens"}
SETTINGS = frozenset(
    (
        *("max_tokens", "temperature", "top_p", "top_k", "min_p", "seed", "stop", "n", "stream"),
        *("repetition_penalty", "presence_penalty", "frequency_penalty"),
        *("do_sample", "return_full_text"),
    )
)
# What a text-generation pipeline samples with where nothing else is said
# (`TextGenerationPipeline._default_generation_config`, transformers 5.20).
_SAMPLED_TEMPERATURE = 0.7


def to_request(
    invocation: Invocation,
    manifest: Manifest,
    special_tokens: frozenset[str] = frozenset(),
    *,
    request_id: str = "",
) -> Request:
    """The generation request of an invocation that has at least one row.

    A param that is null leaves the setting to the bundle; where that has none either, MLflow's
    own way is followed: greedy, because scoring is expected to be repeatable. Raises
    `InvalidRequest` for a value out of range, and for a declared param that this server does not
    know and that is not at its default.
    """
    settings = _settings(invocation.params, manifest)
    defaults = manifest.generation
    return Request(
        operation="invocations",
        prompts=tuple(_prompt(row, manifest, special_tokens) for row in invocation.rows),
        sampling=_sampling(settings, defaults),
        max_tokens=_integer(settings, "max_tokens", 1, MAX_TOKENS),
        stop=_stop(settings) or defaults.stop,
        n=_integer(settings, "n", 1, MAX_SAMPLES) or 1,
        request_id=request_id,
    )


def _settings(params: Mapping[str, Any], manifest: Manifest) -> dict[str, Any]:
    defaults = {param.name: param.default for param in manifest.signature.params}
    settings = {}
    for name, value in params.items():
        setting = ALIASES.get(name, name)
        if setting in SETTINGS:
            settings[setting] = value
        elif value is not None and value != defaults.get(name):
            raise InvalidRequest(
                f"{name} is declared by the model but cannot be changed here", param=name
            )
    return settings


def _prompt(
    row: str | tuple[Message, ...], manifest: Manifest, special_tokens: frozenset[str]
) -> Prompt:
    if not isinstance(row, str):
        return Prompt(messages=row)
    if _is_raw(row, manifest, special_tokens):
        return Prompt(text=row)
    return Prompt(messages=(Message("user", row),))


def _is_raw(text: str, manifest: Manifest, special_tokens: frozenset[str]) -> bool:
    style, signature = manifest.generation.prompt_format, manifest.signature
    if style != "auto":
        return style == "raw"
    if signature.kind == "completions" or signature.reply != "new":
        return True
    return not manifest.chat_template or any(token in text for token in special_tokens)


def _sampling(settings: Mapping[str, Any], defaults: Defaults) -> Sampling:
    top_p = _number(settings, "top_p", math.ulp(0.0), 1.0)
    top_k = _integer(settings, "top_k", 0, MAX_TOKENS)
    penalty = _number(settings, "repetition_penalty", math.ulp(0.0), MAX_PENALTY)
    return Sampling(
        temperature=_temperature(settings, defaults),
        top_p=_first(top_p, defaults.top_p, 1.0),
        top_k=_first(top_k, defaults.top_k, 0),
        min_p=_number(settings, "min_p", 0.0, 1.0) or 0.0,
        seed=_first(_seed(settings), defaults.seed, None),
        repetition_penalty=_first(penalty, defaults.repetition_penalty, 1.0),
        presence_penalty=_number(settings, "presence_penalty", -2.0, 2.0) or 0.0,
        frequency_penalty=_number(settings, "frequency_penalty", -2.0, 2.0) or 0.0,
    )


def _temperature(settings: Mapping[str, Any], defaults: Defaults) -> float:
    """As transformers has it, `do_sample` decides whether a temperature counts."""
    given = _number(settings, "temperature", 0.0, MAX_TEMPERATURE)
    does_sample = settings.get("do_sample")
    if does_sample is None:
        return float(_first(given, defaults.temperature, 0.0))
    return float((given or defaults.temperature or _SAMPLED_TEMPERATURE) if does_sample else 0.0)


def _first(value: Any, default: Any, otherwise: Any) -> Any:
    return next((item for item in (value, default) if item is not None), otherwise)


def _seed(settings: Mapping[str, Any]) -> int | None:
    return _integer(settings, "seed", -(1 << 63), (1 << 63) - 1)


def _integer(settings: Mapping[str, Any], name: str, low: int, high: int) -> int | None:
    value = settings.get(name)
    return None if value is None else check_integer(value, name, low, high)


def _number(settings: Mapping[str, Any], name: str, low: float, high: float) -> float | None:
    value = settings.get(name)
    return None if value is None else check_number(value, name, low, high)


def _stop(settings: Mapping[str, Any]) -> tuple[str, ...]:
    stops = settings.get("stop") or []
    if isinstance(stops, str):
        stops = [stops]
    for index, stop in enumerate(stops):
        if not stop:
            raise wrong(f"stop[{index}]", "empty", "a string with at least one character")
        check_text(stop, f"stop[{index}]")
    return tuple(stops)
