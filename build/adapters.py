"""LoRA adapters: values for optional inputs of the graph, which an answer may ask for by name.

Read are files of onnxruntime's adapter format (`.onnx_adapter`), which Olive writes beside a graph
whose LoRA weights it made inputs (its pass ExtractAdapters, its command convert-adapters). The
default of such an input adds nothing. A bundle holds the values in `edge.tensors`' format, since
the appliance has no library that reads the other.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np
import onnx
from google.protobuf.message import DecodeError
from onnx import ValueInfoProto, helper

from build import positions
from build.errors import InvalidModel
from build.findings import Findings
from build.options import Options
from build.source import Source
from edge.tensors import DTYPES, Array, misfit

_SUFFIX = ".onnx_adapter"
_SHOWN = 3


def gather(options: Options, source: Source, graph: Path, findings: Findings) -> Mapping[str, Path]:
    """The files that `options` name, by adapter: one of this machine, else beside `graph`.

    They are checked as inputs of the model in `graph`, as are their names; what is wrong goes to
    `findings`, and how an adapter that nobody named would be served.
    """
    found = {name: _find(path, graph.parent) for name, path in options.adapters}
    findings.problems += _name_problems(found, options.name or source.name, source)
    ports = _optional_inputs(graph) if found else {}
    for name, path in options.adapters:
        try:
            problems = list(_problems(read(found[name]), ports))
        except InvalidModel as error:
            problems = list(error.problems)
        findings.problems += [f"--adapter {name}={path}: {problem}" for problem in problems]
    for path in sorted(graph.parent.glob(f"*{_SUFFIX}")):
        if path.resolve() not in found.values():
            findings.advice.append(f"--adapter NAME={path.name} serves that LoRA adapter as well")
    return found


def read(path: Path) -> dict[str, Array]:
    """The tensors of the adapter file `path`, by input. Raises `InvalidModel`."""
    from onnxruntime import AdapterFormat  # takes its time, and most models have no adapters

    if not path.is_file():
        raise InvalidModel("there is no such file, neither here nor in the model's folder")
    try:
        parameters = AdapterFormat.read_adapter(str(path)).get_parameters()
    except RuntimeError as error:
        raise InvalidModel(
            f"{path.name} is no adapter file ({_SUFFIX}) that the runtime reads"
        ) from error
    found, problems = {}, []
    for name, value in parameters.items():
        try:
            found[name] = np.array(value.numpy())
            known = found[name].dtype in DTYPES.values()
        except RuntimeError:  # a type that numpy has not
            known = False
        if not known:
            problems.append(f"{name} is a {value.data_type()}, which is not supported")
    if problems:
        raise InvalidModel(problems)
    return found


def _find(path: Path, folder: Path) -> Path:
    inside = (folder / path).resolve()
    is_inside = inside.is_relative_to(folder.resolve()) and not path.is_file()
    return inside if is_inside else path.resolve()


def _optional_inputs(graph: Path) -> dict[str, ValueInfoProto]:
    """The inputs of the graph in the file `graph` that have a default, by name."""
    try:
        loaded = onnx.load(graph, load_external_data=False).graph
    except (DecodeError, OSError):
        return {}  # the check of the decoder says what is wrong with it
    defaults = {tensor.name for tensor in loaded.initializer}
    return {port.name: port for port in loaded.input if port.name in defaults}


def _name_problems(files: Mapping[str, Path], own: str, source: Source) -> Iterator[str]:
    """`MODEL:VERSION` is a name of the base model where it came from a registry."""
    taken = {own, source.lineage.model_name, source.lineage.model_version}
    for name in files:
        if name in taken:
            yield f"--adapter {name}: the model itself answers to that name, take another"


def _problems(tensors: Mapping[str, Array], ports: Mapping[str, ValueInfoProto]) -> Iterator[str]:
    if not tensors:
        yield "the file holds no tensors"
    strange = sorted(name for name in tensors if name not in ports or name == positions.INPUT)
    if strange:
        shown = ", ".join(strange[:_SHOWN]) + (", ..." if len(strange) > _SHOWN else "")
        yield (
            f"{len(strange)} of its {len(tensors)} tensors are no optional input of the graph: "
            f"{shown}; a graph for adapters has LoRA inputs with a default"
        )
    for name in sorted(tensors.keys() & ports.keys() - {positions.INPUT}):
        wrong = misfit(tensors[name], *_kind(ports[name]))
        if wrong:
            yield f"{name} {wrong}"


def _kind(port: ValueInfoProto) -> tuple[np.dtype[np.generic], list[int | str]]:
    tensor = port.type.tensor_type
    sizes = [size.dim_value if size.HasField("dim_value") else "" for size in tensor.shape.dim]
    return helper.tensor_dtype_to_np_dtype(tensor.elem_type), sizes
