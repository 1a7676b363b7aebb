"""Writes a bundle: the same model gives the same bytes, names, modes and times.

Format: `edge.bundle`, which the appliance reads.
"""

from __future__ import annotations

import hashlib
import os
import re
import shutil
from dataclasses import replace
from importlib.metadata import version
from pathlib import Path
from typing import BinaryIO

from build import adapters, scrub, workspace
from build.errors import InvalidBundle, OutputRefused
from build.model import Model
from build.options import Options
from build.progress import Bar, Progress
from build.source import Source
from edge import __version__, tensors
from edge.bundle import (
    MANIFEST_NAME,
    MODEL_FOLDER,
    Bundle,
    File,
    Lineage,
    Manifest,
    adapter_path,
    encode,
    read,
)
from edge.errors import StartupError

_FILE_MODE, _FOLDER_MODE = 0o644, 0o755
_EPOCH_S = 315532800  # 1980-01-01, the earliest time that zip and FAT can hold
_CHUNK_BYTES = 1024 * 1024
_SPARE_BYTES = 16 * 1024 * 1024
_NAME = re.compile(r"[^A-Za-z0-9._-]+")
_PIN = re.compile(r"([A-Za-z0-9._-]+)==([A-Za-z0-9.+!_-]+)")


def check_output(output: Path, *, force: bool) -> None:
    """Refuse an `output` that must not be overwritten; raises `OutputRefused`.

    An empty folder is free to use; with `force` a bundle is replaced, other things never are.
    """
    if output.is_symlink() or (output.exists() and not output.is_dir()):
        raise OutputRefused(f"{output} is not a folder")
    if not output.exists() or not any(output.iterdir()):
        return
    if not (output / MANIFEST_NAME).is_file():
        raise OutputRefused(f"{output} is not empty and no bundle: it is left as it is")
    if not force:
        raise OutputRefused(f"{output} holds a bundle already; --force replaces it")


def write(
    model: Model,
    source: Source,
    options: Options,
    work: Path,
    output: Path,
    progress: Progress,
    *,
    force: bool = False,
) -> Bundle:
    """Write the bundle into `work`, then rename it to `output`, with `force` over an old one.

    Files of ours, downloaded or made below `work`, are moved; others are copied. Raises
    `OutputRefused` where the disk is full or cannot be written.
    """
    made = work / "bundle"
    try:
        ours = _ours(model, work, is_ours=source.is_ours)
        _check_space(model, work, ours)
        files = _write_files(model, made / MODEL_FOLDER, progress, ours)
        files += tuple(_write_adapter(made, *named) for named in model.adapters.items())
        manifest = _manifest(model, source, options, files)
        _write_manifest(made, encode(manifest))
        for folder in sorted((path for path in made.rglob("*") if path.is_dir()), reverse=True):
            _settle(folder, _FOLDER_MODE)
        _settle(made, _FOLDER_MODE)
        workspace.publish(made, output, replace=force)
    except OSError as error:
        raise OutputRefused(f"cannot write {output}: {error.strerror}") from error
    return open_(output)


def open_(folder: Path, *, whole: bool = False) -> Bundle:
    """Read the bundle in `folder`, with `whole` down to each file's hash.

    Raises `InvalidBundle` with every difference; files that the manifest does not list count.
    """
    try:
        found = read(folder, verify="sha256" if whole else "size")
    except StartupError as error:
        raise InvalidBundle([line.removeprefix("bundle: ") for line in error.problems]) from error
    listed = {MANIFEST_NAME, *(file.path for file in found.manifest.files)}
    there = (path for path in sorted(folder.rglob("*")) if not path.is_dir() or path.is_symlink())
    extra = [path.relative_to(folder).as_posix() for path in there]
    strange = [f"{name} is not listed in {MANIFEST_NAME}" for name in extra if name not in listed]
    if strange:
        raise InvalidBundle(strange)
    return found


def _ours(model: Model, work: Path, *, is_ours: bool) -> frozenset[str]:
    """The files that may be moved; one that is a link into another folder is copied."""
    inside = work.resolve()
    places = ((name, model.origin(name)) for name in model.files)
    return frozenset(
        name
        for name, path in places
        if not path.is_symlink() and (is_ours or path.resolve().is_relative_to(inside))
    )


def _check_space(model: Model, work: Path, ours: frozenset[str]) -> None:
    """Files of ours move within the disk; others are copied to it."""
    copied = [model.origin(name) for name in model.files if name not in ours]
    needed = sum(path.stat().st_size for path in (*copied, *model.adapters.values()))
    needed += _SPARE_BYTES
    free = shutil.disk_usage(work).free
    if free < needed:
        raise OutputRefused(f"the disk has {free:,} bytes left, the bundle needs {needed:,}")


def _write_files(
    model: Model, into: Path, progress: Progress, ours: frozenset[str]
) -> tuple[File, ...]:
    total = sum(model.origin(name).stat().st_size for name in model.files)
    written = []
    with progress.bar("seal", total) as bar:
        for name in model.files:
            target = into / name
            target.parent.mkdir(parents=True, exist_ok=True)
            bring = _move if name in ours else _copy
            digest = bring(model.origin(name), target, bar)
            _settle(target, _FILE_MODE)
            path = f"{MODEL_FOLDER}/{name}"
            written.append(File(path, target.stat().st_size, digest))
    return tuple(written)


def _write_adapter(folder: Path, name: str, origin: Path) -> File:
    content = tensors.encode(adapters.read(origin))
    target = folder / adapter_path(name)
    target.parent.mkdir(exist_ok=True)
    target.write_bytes(content)
    _settle(target, _FILE_MODE)
    return File(adapter_path(name), len(content), hashlib.sha256(content).hexdigest())


def _copy(origin: Path, target: Path, bar: Bar) -> str:
    """Copy a file; returns its sha256 in hex."""
    with origin.open("rb") as reader, target.open("wb") as writer:
        return _digest(reader, bar, writer)


def _move(origin: Path, target: Path, bar: Bar) -> str:
    """Move a file of ours; returns its sha256 in hex."""
    with origin.open("rb") as reader:
        digest = _digest(reader, bar)
    origin.rename(target)
    return digest


def _digest(reader: BinaryIO, bar: Bar, writer: BinaryIO | None = None) -> str:
    digest = hashlib.sha256()
    while chunk := reader.read(_CHUNK_BYTES):
        digest.update(chunk)
        if writer is not None:
            writer.write(chunk)
        bar.add(len(chunk))
    return digest.hexdigest()


def _write_manifest(folder: Path, content: bytes) -> None:
    path = folder / MANIFEST_NAME
    path.write_bytes(content)
    _settle(path, _FILE_MODE)


def _settle(path: Path, mode: int) -> None:
    path.chmod(mode)
    os.utime(path, (_EPOCH_S, _EPOCH_S))
    workspace.sync(path)


def _manifest(model: Model, source: Source, options: Options, files: tuple[File, ...]) -> Manifest:
    return Manifest(
        name=_name(options.name or source.name),
        flavor=model.flavor,
        files=files,
        signature=model.signature,
        generation=model.generation,
        context_length=model.context_length,
        eos_ids=model.eos_ids,
        kv_bytes_per_token=model.kv_bytes_per_token,
        chat_template=model.chat_template,
        quantization=model.quantization,
        model_type=model.model_type,
        lineage=_lineage(model, source.lineage),
        libraries=_libraries(model),
        system_prompts=options.system_prompts,
        adapters=tuple(model.adapters),
        remote_code=model.remote_code,
    )


def _name(text: str) -> str:
    return _NAME.sub("-", scrub.text(text)).strip("-.") or "model"


def _lineage(model: Model, lineage: Lineage) -> Lineage:
    """Ids that only the model's own MLmodel knows, as for a folder, are added."""
    if model.mlmodel is None:
        return lineage
    return replace(
        lineage,
        model_id=lineage.model_id or model.mlmodel.model_id,
        run_id=lineage.run_id or model.mlmodel.run_id,
    )


def _libraries(model: Model) -> dict[str, str]:
    """Versions of what sealed the model and, as `logged-with:`, of what logged it.

    A pipeline's own packages need not be installed here, so they are only those that logged it.
    """
    names = ("mlflow", *model.runtimes)
    here = names if model.flavor == "onnx" else names[:1]
    found = {"phial": __version__, **{name: version(name) for name in here}}
    if model.mlmodel is None:
        return found
    lines = map(_PIN.match, model.mlmodel.requirements)
    pins = {match[1].lower().replace("_", "-"): match[2] for match in lines if match}
    pins["mlflow"] = model.mlmodel.mlflow_version or pins.get("mlflow", "")
    pins.setdefault("transformers", str(model.mlmodel.transformers.get("transformers_version", "")))
    logged = {name: pins.get(name, "") for name in names}
    return found | {f"logged-with:{name}": pin for name, pin in logged.items() if pin}
