"""The parameters that both of OpenAI's generating operations share: sampling and stop."""

from __future__ import annotations

from edge.bundle import Defaults
from edge.errors import InvalidRequest
from edge.generation import Sampling
from edge.protocol import openai_guidance
from edge.protocol.fields import (
    Fields,
    check_integer,
    check_list,
    check_number,
    check_object,
    check_text,
    kind,
    shown,
    wrong,
)

MAX_STOPS = 4
MAX_TOP_K = 1_000_000
MAX_TOKEN_ID = 2**31 - 1
MAX_CHOICES = 128
MAX_LOGPROBS = 20
MAX_BIASES = 1024

KNOWN = openai_guidance.KNOWN | frozenset(
    {
        "frequency_penalty",
        "logit_bias",
        "min_p",
        "presence_penalty",
        "repetition_penalty",
        "seed",
        "temperature",
        "top_k",
        "top_p",
    }
)


def sampling(fields: Fields, defaults: Defaults, logprobs: int | None) -> Sampling:
    """Read how tokens are chosen: the request's word, the bundle's, then OpenAI's defaults."""
    temperature = _first(fields.number("temperature", 0, 2), defaults.temperature, 1.0)
    top_p = _first(fields.number("top_p", 0, 1), defaults.top_p, 1.0)
    if top_p == 0:
        # The smallest set of tokens that holds no mass at all is the best token alone.
        temperature, top_p = 0.0, 1.0
    penalty = fields.number("repetition_penalty", 0.1, 10)
    return Sampling(
        temperature=temperature,
        top_p=top_p,
        top_k=_top_k(fields, defaults),
        min_p=fields.number("min_p", 0, 1) or 0.0,
        seed=_seed(fields, defaults),
        repetition_penalty=_first(penalty, defaults.repetition_penalty, 1.0),
        presence_penalty=fields.number("presence_penalty", -2, 2) or 0.0,
        frequency_penalty=fields.number("frequency_penalty", -2, 2) or 0.0,
        logit_bias=_logit_bias(fields),
        logprobs=logprobs,
        guidance=openai_guidance.read(fields),
    )


def stop(fields: Fields, defaults: Defaults) -> tuple[str, ...]:
    """Read `stop`: one string or a list of at most four, none of them empty."""
    value, path = fields.raw("stop"), fields.path("stop")
    if value is None:
        return defaults.stop
    if isinstance(value, str):
        return (_stop_text(value, path),)
    items = check_list(value, path, "a string or a list of strings")
    if len(items) > MAX_STOPS:
        raise wrong(path, kind(items), f"at most {MAX_STOPS} strings")
    return tuple(_stop_text(item, f"{path}[{index}]") for index, item in enumerate(items))


def _first(asked: float | None, default: float | None, fallback: float) -> float:
    if asked is not None:
        return asked
    return fallback if default is None else default


def _top_k(fields: Fields, defaults: Defaults) -> int:
    asked = fields.integer("top_k", -1, MAX_TOP_K)
    if asked is None:
        return defaults.top_k or 0
    # Other servers write -1 for "off".
    return max(asked, 0)


def _seed(fields: Fields, defaults: Defaults) -> int | None:
    asked = fields.integer("seed", -(2**63), 2**63 - 1)
    return defaults.seed if asked is None else asked


def _logit_bias(fields: Fields) -> dict[int, float]:
    path = fields.path("logit_bias")
    value = fields.raw("logit_bias")
    biases = {} if value is None else check_object(value, path)
    if len(biases) > MAX_BIASES:
        raise wrong(path, f"an object of {len(biases)}", f"at most {MAX_BIASES} token ids")
    return {_token_id(key, path): _bias(key, bias, path) for key, bias in biases.items()}


def _token_id(key: str, path: str) -> int:
    digits = key if key.isascii() and key.isdecimal() and len(key) <= len(str(MAX_TOKEN_ID)) else ""
    if not digits or str(int(digits)) != digits:
        name = shown(key)
        raise InvalidRequest(
            f'{path} has the key {name}, expected a token id such as "42"', param=path
        )
    return check_integer(int(digits), f"{path}.{digits}", 0, MAX_TOKEN_ID)


def _bias(key: str, value: object, path: str) -> float:
    return check_number(value, f"{path}.{key}", -100, 100)


def _stop_text(value: object, path: str) -> str:
    text = check_text(value, path)
    if not text:
        raise wrong(path, "an empty string", "text to stop at")
    return text
