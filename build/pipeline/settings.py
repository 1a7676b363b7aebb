"""The generation settings of a pipeline, gathered as MLflow's own pyfunc would apply them.

From the strongest to the weakest: the flags of the export, the defaults of the signature's
parameters, the `model_config` (which MLflow hands to the pipeline as keyword arguments),
generation_config.json, and what `transformers.TextGenerationPipeline` takes where nobody says
anything: it samples, with a temperature of 0.7 and from the 50 likeliest tokens, and ends after
256. A `do_sample` of false makes it greedy, whatever temperature stands beside it.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from build import defaults
from build.findings import Findings
from build.options import Options
from build.pipeline.config import GENERATION_CONFIG
from edge.bundle import Defaults

PIPELINE = "text-generation pipeline"
PIPELINE_DEFAULTS: Mapping[str, Any] = {"max_tokens": 256, "temperature": 0.7, "top_k": 50}
_SAMPLING = ("temperature", "top_p", "top_k")
_SERVED = (*_SAMPLING, "max_tokens", "max_new_tokens", "max_length", "repetition_penalty", "stop")
# What neither changes the text nor is for the appliance to decide.
_SILENT = frozenset(
    (
        *("do_sample", "bos_token_id", "eos_token_id", "pad_token_id", "decoder_start_token_id"),
        *("use_cache", "cache_implementation", "transformers_version", "_from_model_config"),
        *("return_full_text", "return_tensors", "return_text", "batch_size", "num_workers"),
        *("output_attentions", "output_hidden_states", "output_scores", "output_logits"),
        *("return_dict_in_generate", "clean_up_tokenization_spaces", "seed"),
    )
)
# A setting with this value does nothing.
_OFF: Mapping[str, tuple[Any, ...]] = {
    "num_beams": (1,),
    "num_return_sequences": (1,),
    "length_penalty": (1.0,),
    "typical_p": (1.0,),
}


def gather(
    options: Options,
    params: Mapping[str, Any],
    config: Mapping[str, Any],
    generation_config: Mapping[str, Any],
    findings: Findings,
    otherwise: Mapping[str, Any] = PIPELINE_DEFAULTS,
) -> Defaults:
    """The settings, each with its origin among the facts; bad values are problems.

    `params` are the defaults of the signature's parameters, `otherwise` what holds where nobody
    says anything.
    """
    flags = dict(options.generation)
    if options.prompt_format:
        flags["prompt_format"] = options.prompt_format
    said = {
        "signature": dict(params),
        "model_config": dict(config),
        GENERATION_CONFIG: dict(generation_config),
    }
    voices = [(origin, _plain(origin, values, findings)) for origin, values in said.items()]
    greedy = _greedy(said.items())
    if greedy:
        voices = [(origin, _without(_SAMPLING, values)) for origin, values in voices]
        voices.append((greedy, {"temperature": 0.0}))
    last = _without(_SAMPLING, otherwise) if greedy else otherwise
    return defaults.choose([("flag", flags), *voices, (PIPELINE, last)], findings)


def _greedy(said: Iterable[tuple[str, Mapping[str, Any]]]) -> str:
    """Who asks for greedy decoding: the strongest that says `do_sample`; empty where none does."""
    for origin, values in said:
        chosen = values.get("do_sample")
        if chosen is not None:
            return "" if chosen else f"{origin}: do_sample is false"
    return ""


def _plain(origin: str, values: Mapping[str, Any], findings: Findings) -> Mapping[str, Any]:
    """The settings that the appliance has, by its names; what it has not is noted."""
    strange = [
        f"{name} {value!r}"
        for name, value in values.items()
        if name not in (*_SERVED, *_SILENT) and value is not None and value not in _off(name)
    ]
    if strange and origin != "signature":  # whose own check says so
        findings.shims.append(
            f"{origin}: {', '.join(strange)} mean{'s' * (len(strange) == 1)} nothing to the "
            "appliance: left out"
        )
    found = {name: value for name, value in values.items() if name in (*_SERVED, "prompt_format")}
    new = found.pop("max_new_tokens", None)
    if found.get("max_tokens") is None and new is not None:
        found["max_tokens"] = new
    return defaults.renamed(origin, {k: v for k, v in found.items() if _counts(k, v)}, findings)


def _off(name: str) -> Iterator[Any]:
    yield from (*_OFF.get(name, ()), False, 0, [], {}, "")


def _counts(name: str, value: Any) -> bool:
    """An unused penalty says nothing."""
    return not (name == "repetition_penalty" and value == 1)


def _without(names: Iterable[str], values: Mapping[str, Any]) -> Mapping[str, Any]:
    return {name: value for name, value in values.items() if name not in names}
