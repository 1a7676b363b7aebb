"""The decoder's ONNX file as the runtime needs it: inputs, outputs, KV cache, weight files.

Looked into without its weights. Format: onnx.proto3 of the ONNX project; external data as in
its `docs/ExternalData.md`.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import onnx
from google.protobuf.message import DecodeError
from onnx import ModelProto, TensorProto

from build import weights
from build.findings import Findings
from build.genai_config import NAME, GenaiConfig, leaves

_BYTES: dict[int, int] = {
    TensorProto.FLOAT: 4,
    TensorProto.FLOAT16: 2,
    TensorProto.BFLOAT16: 2,
    TensorProto.INT8: 1,
    TensorProto.UINT8: 1,
    TensorProto.FLOAT8E4M3FN: 1,
}
_SHOWN = 6


@dataclass(frozen=True, slots=True)
class Decoder:
    """`weight_files` maps each file with weights to the bytes it must have at least.

    `quantization` is a label such as `int4-b128` (4 bits in blocks of 128) or `fp32`.
    """

    weight_files: Mapping[str, int]
    quantization: str
    parameters: int
    kv_bytes_per_token: int
    producer: str


def read(folder: Path, config: GenaiConfig, findings: Findings) -> Decoder | None:
    """Read and check the decoder of `config`; None where it is no ONNX model."""
    path = folder / config.decoder
    if not config.decoder or leaves(config.decoder) or not path.is_file():
        return None  # told already by the check of genai_config.json
    model = _load(path)
    if model is None:
        findings.problems.append(f"{config.decoder} is not an ONNX model")
        return None
    files = _weight_files(model)
    findings.problems += _interface_problems(model, config)
    findings.problems += _weight_problems(folder, config.decoder, files)
    stored = weights.read(path)
    block = f"-b{stored.block_size}" if stored.block_size else ""
    return Decoder(
        files,
        f"{stored.precision}{block}",
        stored.parameters,
        _kv_bytes(model, config),
        " ".join((model.producer_name, model.producer_version)).strip(),
    )


def _load(path: Path) -> ModelProto | None:
    """The parsed file; almost any bytes parse as *some* protobuf, hence the look at its nodes."""
    try:
        model = onnx.load(path, load_external_data=False)
    except DecodeError:
        return None
    return model if model.graph.node and model.opset_import else None


def _interface_problems(model: ModelProto, config: GenaiConfig) -> Iterator[str]:
    inputs = {value.name for value in model.graph.input}
    outputs = {value.name for value in model.graph.output}
    if config.input_ids not in inputs:
        yield (
            f"{config.decoder} has no input {config.input_ids!r}: it is no decoder from token "
            f"ids; it has {_some(inputs)}"
        )
    if config.logits not in outputs:
        yield f"{config.decoder} has no output {config.logits!r}; it has {_some(outputs)}"
    layers = {layer for layer, _ in _caches(model, config)}
    if not layers:
        yield f"{config.decoder} has no inputs like {config.key_names!r}: it keeps no KV cache"
    elif max(layers) >= config.layers:
        yield (
            f"{config.decoder} keeps a KV cache of layer {max(layers)}, {NAME} counts "
            f"{config.layers} layers from 0"
        )


def _weight_problems(folder: Path, decoder: str, files: Mapping[str, int]) -> Iterator[str]:
    for name, needed in sorted(files.items()):
        if leaves(name):
            yield f"{decoder} keeps weights in {name!r}, which leaves the model's folder"
        elif not (folder / name).is_file():
            yield f"{decoder} keeps weights in {name!r}, which is not in the model's folder"
        elif (size := (folder / name).stat().st_size) < needed:
            yield f"{name} has {size} bytes, {decoder} needs {needed}: the file is cut short"


def _caches(model: ModelProto, config: GenaiConfig) -> list[tuple[int, int]]:
    """Layer and element type of each past key and past value input."""
    patterns = [
        re.compile(re.escape(name).replace("%d", r"(\d+)"))
        for name in (config.key_names, config.value_names)
    ]
    return [
        (int(match[1]), value.type.tensor_type.elem_type)
        for value in model.graph.input
        for pattern in patterns
        if (match := pattern.fullmatch(value.name))
    ]


def _kv_bytes(model: ModelProto, config: GenaiConfig) -> int:
    """Bytes of keys and values that one token adds, over the layers that keep them."""
    row = config.kv_heads * config.head_size
    sizes = (_BYTES.get(kind, _BYTES[TensorProto.FLOAT]) for _, kind in _caches(model, config))
    return sum(row * size for size in sizes)


def _weight_files(model: ModelProto) -> dict[str, int]:
    """Files with weights, and how far into each the graph reaches, in bytes."""
    reach: dict[str, int] = {}
    for tensor in _tensors(model):
        if tensor.data_location == TensorProto.EXTERNAL:
            entry = {item.key: item.value for item in tensor.external_data}
            name = entry.get("location", "")
            end = _number(entry.get("offset", "")) + _number(entry.get("length", ""))
            reach[name] = max(reach.get(name, 0), end)
    return reach


def _tensors(model: ModelProto) -> Iterator[TensorProto]:
    yield from model.graph.initializer
    for node in model.graph.node:
        yield from (attribute.t for attribute in node.attribute if attribute.HasField("t"))


def _number(text: str) -> int:
    return int(text) if text.isdecimal() else 0


def _some(names: set[str]) -> str:
    shown = ", ".join(sorted(names)[:_SHOWN])
    return (shown + ", ..." if len(names) > _SHOWN else shown) or "none"
