"""The bundle: a folder with `manifest.json` and the model's files beside it.

The factory writes it, the appliance reads it at start; this module is their one shared format.
Layout: `DIR/manifest.json`, `DIR/model/...`, and `DIR/adapters/NAME.safetensors` for each LoRA
adapter (every file listed in the manifest).
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal

from edge.errors import StartupError
from edge.manifest_codec import Problems, decode

FORMAT_VERSION = 1
MANIFEST_NAME = "manifest.json"
MODEL_FOLDER = "model"
ADAPTERS_FOLDER = "adapters"
ADAPTER_NAME = re.compile(r"[A-Za-z0-9._-]{1,64}")


@dataclass(frozen=True, slots=True)
class File:
    """One file of the bundle; `path` is relative to the bundle, with forward slashes."""

    path: str
    size_bytes: int
    sha256: str


@dataclass(frozen=True, slots=True)
class Column:
    """A column of an MLflow signature, e.g. `prompt: string (required)`."""

    name: str
    type: str
    required: bool = True


@dataclass(frozen=True, slots=True)
class Param:
    """An entry of an MLflow params schema: `type` is MLflow's name (long, double, string ...).

    `is_list` is true for MLflow's shape `(-1,)`.
    """

    name: str
    type: str
    default: Any = None
    is_list: bool = False


@dataclass(frozen=True, slots=True)
class Signature:
    """`kind` `prompt`: `prompt: string -> string`; `chat`: MLflow's `llm/v1/chat`."""

    kind: Literal["prompt", "chat"]
    inputs: tuple[Column, ...] = ()
    outputs: tuple[Column, ...] = ()
    params: tuple[Param, ...] = ()


@dataclass(frozen=True, slots=True)
class Defaults:
    """Generation settings used where a request names none; None leaves it to the protocol.

    `prompt_format` says how a bare MLflow prompt string becomes tokens: `chat` wraps it in
    the chat template as one user message, `raw` tokenizes it as it stands, `auto` is `raw` where
    the string holds one of the tokenizer's special tokens and `chat` elsewhere (`raw` for models
    without a chat template).
    """

    max_tokens: int = 300
    temperature: float | None = None
    top_p: float | None = None
    top_k: int | None = None
    repetition_penalty: float | None = None
    stop: tuple[str, ...] = ()
    seed: int | None = None
    prompt_format: Literal["auto", "chat", "raw"] = "auto"


@dataclass(frozen=True, slots=True)
class Lineage:
    """Where the model came from in MLflow."""

    source_uri: str = ""
    resolved_uri: str = ""
    model_name: str = ""
    model_version: str = ""
    alias: str = ""
    model_id: str = ""
    run_id: str = ""
    experiment_id: str = ""
    experiment_name: str = ""
    tags: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Manifest:
    """Everything the appliance knows about its model besides the weights.

    `adapters` are the names of its LoRA adapters, each with a file at `adapter_path`.
    `remote_code` lets a pipeline run the Python files that lie beside its weights.
    """

    name: str
    flavor: Literal["onnx", "pipeline"]
    files: tuple[File, ...]
    signature: Signature
    generation: Defaults
    context_length: int
    eos_ids: tuple[int, ...]
    kv_bytes_per_token: int
    chat_template: str = ""
    quantization: str = ""
    model_type: str = ""
    lineage: Lineage = field(default_factory=Lineage)
    libraries: Mapping[str, str] = field(default_factory=dict)
    system_prompts: tuple[str, ...] = ()
    adapters: tuple[str, ...] = ()
    remote_code: bool = False
    format_version: int = FORMAT_VERSION


@dataclass(frozen=True, slots=True)
class Bundle:
    """An opened bundle: its folder, manifest and digest (sha256 of the manifest's bytes)."""

    folder: Path
    manifest: Manifest
    sha256: str

    @property
    def model_folder(self) -> Path:
        """The folder with the model's own files."""
        return self.folder / MODEL_FOLDER


def encode(manifest: Manifest) -> bytes:
    """The canonical bytes of a manifest: sorted keys, two-space indent, final newline.

    A model without adapters or code of its own says nothing of them, as it did before there were
    any.
    """
    data = asdict(manifest)
    for name in ("adapters", "remote_code"):
        if not data[name]:
            del data[name]
    text = json.dumps(data, indent=2, sort_keys=True, ensure_ascii=False)
    return (text + "\n").encode()


def read(folder: Path, *, verify: Literal["size", "sha256"] = "size") -> Bundle:
    """Open the bundle in `folder` and check its files.

    Raises `StartupError` with every problem: no manifest, unknown format, fields of the wrong
    type, files missing, of another size or (with `verify="sha256"`) of other content.
    """
    bundle = peek(folder)
    problems = [
        problem
        for file in bundle.manifest.files
        for problem in _file_problems(folder, file, verify)
    ]
    if problems:
        raise StartupError(problems)
    return bundle


def peek(folder: Path) -> Bundle:
    """Open the bundle in `folder` by its manifest alone; the model's files are not looked at.

    Raises `StartupError` with every problem of the manifest.
    """
    path = folder / MANIFEST_NAME
    try:
        raw = path.read_bytes()
    except OSError as error:
        raise StartupError([f"bundle: cannot read {path}: {error.strerror}"]) from error
    return Bundle(folder, parse(raw), hashlib.sha256(raw).hexdigest())


def parse(raw: bytes) -> Manifest:
    """Decode a manifest; raises `StartupError` that lists every bad field."""
    try:
        data = json.loads(raw)
    except (ValueError, RecursionError) as error:
        raise StartupError([f"bundle: {MANIFEST_NAME} is not JSON: {error}"]) from error
    version = data.get("format_version") if isinstance(data, dict) else None
    if version != FORMAT_VERSION:
        raise StartupError(
            [f"bundle: format_version is {version!r}, this appliance reads {FORMAT_VERSION}"]
        )
    problems: Problems = []
    manifest = decode(Manifest, data, "manifest", problems)
    if manifest is not None:
        problems = _implausible(manifest)
    if manifest is None or problems:
        raise StartupError([f"bundle: {problem}" for problem in problems])
    return manifest


def adapter_path(name: str) -> str:
    """Where the tensors of the adapter `name` lie in a bundle; the format is `edge.tensors`."""
    return f"{ADAPTERS_FOLDER}/{name}.safetensors"


def sha256_of(path: Path) -> str:
    """Hex sha256 of a file's content."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def _implausible(manifest: Manifest) -> list[str]:
    least = {"context_length": 1, "kv_bytes_per_token": 0}
    found = {name: getattr(manifest, name) for name in least}
    problems = [
        f"manifest.{name} is {found[name]}, expected at least {bound}"
        for name, bound in least.items()
        if found[name] < bound
    ]
    if any(token < 0 for token in manifest.eos_ids):
        problems.append(f"manifest.eos_ids is {list(manifest.eos_ids)}, expected token ids")
    return problems + _adapter_problems(manifest)


def _adapter_problems(manifest: Manifest) -> list[str]:
    named, listed = manifest.adapters, {file.path for file in manifest.files}
    problems = [
        f"manifest.adapters has {name!r:.80}, expected {ADAPTER_NAME.pattern}"
        for name in named
        if not ADAPTER_NAME.fullmatch(name)
    ]
    if len(set(named)) < len(named):
        problems.append(f"manifest.adapters is {list(named)}, expected each name once")
    problems += [
        f"manifest.files has no {adapter_path(name)}"
        for name in named
        if adapter_path(name) not in listed
    ]
    return problems


def _file_problems(folder: Path, file: File, verify: str) -> list[str]:
    try:
        return _differences(folder, file, verify)
    except (OSError, ValueError) as error:
        return [f"bundle: {file.path[:80]!r} cannot be read: {error}"]


def _differences(folder: Path, file: File, verify: str) -> list[str]:
    path = folder / file.path
    if not path.resolve().is_relative_to(folder.resolve()):
        return [f"bundle: {file.path} leaves the bundle"]
    if not path.is_file():
        return [f"bundle: {file.path} is missing"]
    size = path.stat().st_size
    if size != file.size_bytes:
        return [f"bundle: {file.path} has {size} bytes, expected {file.size_bytes}"]
    if verify == "sha256" and sha256_of(path) != file.sha256:
        return [f"bundle: {file.path} differs from its sha256"]
    return []
