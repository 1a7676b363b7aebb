"""`genai_config.json` of an onnxruntime-genai model folder."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any

from build.findings import Findings

NAME = "genai_config.json"

# What onnxruntime-genai 0.18 runs with one decoder graph from token ids to logits; tested
# against the installed runtime.
DECODER_TYPES = frozenset(
    (
        "chatglm",
        "decoder",
        "ernie4_5",
        "gemma",
        "gemma2",
        "gemma3_text",
        "gemma4_text",
        "gptoss",
        "granite",
        "granitemoehybrid",
        "hunyuandensev1",
        "internlm2",
        "lfm2",
        "lfm2_moe",
        "llama",
        "mistral",
        "mistral3_text",
        "nemotron",
        "olmo",
        "phi",
        "phi3",
        "phi3small",
        "phimoe",
        "qwen2",
        "qwen2_5_vl_text",
        "qwen3",
        "qwen3_5_text",
        "qwen3_vl_text",
        "smollm3",
    )
)
_OTHER_PARTS = ("encoder", "vision", "speech", "embedding", "joiner")
_CPU = "cpu"
# The names that the runtime assumes where the file gives none.
_KEY_NAMES, _VALUE_NAMES = "past_key_values.%d.key", "past_key_values.%d.value"


@dataclass(frozen=True, slots=True)
class GenaiConfig:
    """The part of the file that the factory reads.

    `filenames` are all files it names, by their place in it; `head_size` is in elements;
    `key_names`, `value_names` are patterns with `%d` for the layer.
    """

    model_type: str
    decoder: str
    context_length: int
    eos_ids: tuple[int, ...]
    vocab_size: int
    head_size: int
    kv_heads: int
    layers: int
    key_names: str
    value_names: str
    input_ids: str
    logits: str
    filenames: Mapping[str, str] = field(default_factory=dict)
    search: Mapping[str, Any] = field(default_factory=dict)


def read(folder: Path, findings: Findings) -> GenaiConfig | None:
    """Read and check the file; None where it is unusable, with the problems in `findings`."""
    try:
        data = json.loads((folder / NAME).read_text("utf-8"))
    except (OSError, ValueError) as error:
        findings.problems.append(f"{NAME} is not JSON: {error}")
        return None
    model = _section(data, "model")
    decoder = _section(model, "decoder")
    problems = [
        *_kind_problems(model),
        *_number_problems(model, decoder),
        *_provider_problems(decoder),
    ]
    findings.problems += problems
    filenames = dict(_filenames(model, "model"))
    findings.problems += _filename_problems(folder, filenames)
    return _config(data, model, decoder, filenames) if _is_readable(model, decoder) else None


def _config(
    data: Mapping[str, Any],
    model: Mapping[str, Any],
    decoder: Mapping[str, Any],
    filenames: Mapping[str, str],
) -> GenaiConfig:
    inputs, outputs = _section(decoder, "inputs"), _section(decoder, "outputs")
    return GenaiConfig(
        model_type=str(model.get("type", "")),
        decoder=str(decoder.get("filename") or ""),
        context_length=model["context_length"],
        eos_ids=_eos_ids(model),
        vocab_size=model["vocab_size"],
        head_size=decoder["head_size"],
        kv_heads=decoder["num_key_value_heads"],
        layers=decoder["num_hidden_layers"],
        key_names=str(inputs.get("past_key_names", _KEY_NAMES)),
        value_names=str(inputs.get("past_value_names", _VALUE_NAMES)),
        input_ids=str(inputs.get("input_ids", "input_ids")),
        logits=str(outputs.get("logits", "logits")),
        filenames=filenames,
        search=_section(data, "search"),
    )


def _kind_problems(model: Mapping[str, Any]) -> Iterator[str]:
    kind = model.get("type")
    parts = [part for part in _OTHER_PARTS if part in model]
    if parts:
        yield (
            f"{NAME}: model has {' and '.join(parts)} beside its decoder; only text models with "
            "a single decoder graph are served"
        )
    elif not isinstance(kind, str) or kind not in DECODER_TYPES:
        expected = ", ".join(sorted(DECODER_TYPES))
        yield f"{NAME}: model.type is {kind!r}, expected a text decoder: {expected}"


_POSITIVE = (
    ("model", "context_length"),
    ("model", "vocab_size"),
    ("decoder", "head_size"),
    ("decoder", "num_key_value_heads"),
    ("decoder", "num_hidden_layers"),
)


def _number_problems(model: Mapping[str, Any], decoder: Mapping[str, Any]) -> Iterator[str]:
    sections = {"model": model, "decoder": decoder}
    for section, key in _POSITIVE:
        value = sections[section].get(key)
        if not _is_positive(value):
            where = key if section == "model" else f"{section}.{key}"
            yield f"{NAME}: model.{where} is {value!r}, expected a whole number above 0"
    if not isinstance(decoder.get("filename"), str) or not decoder["filename"]:
        value = decoder.get("filename")
        yield f"{NAME}: model.decoder.filename is {value!r}, expected the name of an .onnx file"
    yield from _eos_problems(model)


def _eos_problems(model: Mapping[str, Any]) -> Iterator[str]:
    ids, size = _eos_ids(model), model.get("vocab_size")
    if not ids:
        value = model.get("eos_token_id")
        yield (
            f"{NAME}: model.eos_token_id is {value!r}, expected a token id or a list of them; "
            "no answer would end"
        )
    outside = [token for token in ids if _is_positive(size) and not 0 <= token < int(str(size))]
    if outside:
        yield f"{NAME}: model.eos_token_id {outside} lies outside the vocabulary of {size}"


def _provider_problems(decoder: Mapping[str, Any]) -> Iterator[str]:
    options = _section(decoder, "session_options").get("provider_options")
    entries = options if isinstance(options, list) else []
    named = [name for entry in entries if isinstance(entry, Mapping) for name in entry]
    foreign = [name for name in named if name.lower() != _CPU]
    if foreign:
        yield (
            f"{NAME}: the model is made for {', '.join(foreign)} (provider_options); the appliance "
            "has a CPU only: export or download the model's CPU variant"
        )


def _filename_problems(folder: Path, filenames: Mapping[str, str]) -> Iterator[str]:
    for where, name in filenames.items():
        if leaves(name):
            yield f"{NAME}: {where} is {name!r}, which leaves the model's folder"
        elif not (folder / name).is_file():
            yield f"{NAME}: {where} names {name!r}, which is not in the model's folder"


def leaves(name: str) -> bool:
    """Whether the relative path `name` points out of its folder (or is not relative)."""
    path = PurePosixPath(name.replace("\\", "/"))
    return path.is_absolute() or ".." in path.parts or name[1:2] == ":"


def _filenames(node: object, where: str) -> Iterator[tuple[str, str]]:
    """Every `filename` of the tree and its place, also those of a pipeline's stages."""
    children = node.items() if isinstance(node, Mapping) else ()
    if isinstance(node, list):
        children = {str(index): child for index, child in enumerate(node)}.items()
    for key, child in children:
        place = f"{where}.{key}"
        if str(key).endswith("filename") and isinstance(child, str) and child:
            yield place, child
        else:
            yield from _filenames(child, place)


def _is_readable(model: Mapping[str, Any], decoder: Mapping[str, Any]) -> bool:
    sections = {"model": model, "decoder": decoder}
    return all(_is_positive(sections[section].get(key)) for section, key in _POSITIVE)


def _eos_ids(model: Mapping[str, Any]) -> tuple[int, ...]:
    value = model.get("eos_token_id")
    ids = value if isinstance(value, list) else [value]
    return tuple(token for token in ids if type(token) is int)


def _is_positive(value: object) -> bool:
    return type(value) is int and value > 0


def _section(data: object, key: str) -> Mapping[str, Any]:
    value = data.get(key) if isinstance(data, Mapping) else None
    return value if isinstance(value, Mapping) else {}
