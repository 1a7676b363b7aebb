"""What a bundle's flavor asks of this installation and of the settings."""

from __future__ import annotations

import importlib.util
from collections.abc import Iterator

from edge.bundle import Manifest
from edge.config import Settings, variable
from edge.errors import StartupError

_ENGINES = {"onnx": ("auto", "decoder", "genai"), "pipeline": ("auto", "pipeline")}
_PACKAGES = {"onnx": ("onnxruntime", "onnxruntime_genai"), "pipeline": ("torch", "transformers")}
_HOMES = {
    "onnx": "the slim image, or requirements/edge.txt",
    "pipeline": "the image of --target pipeline, or requirements/pipeline.txt",
}
# Settings that only engines of the flavor pipeline know.
_OF_PIPELINES = ("dtype", "quantize")


def check(manifest: Manifest, settings: Settings) -> None:
    """Raise `StartupError` with every reason why this bundle cannot be served here so."""
    problems = [*_engine(manifest, settings), *_packages(manifest), *_foreign(manifest, settings)]
    if problems:
        raise StartupError(problems)


def _engine(manifest: Manifest, settings: Settings) -> Iterator[str]:
    expected = _ENGINES[manifest.flavor]
    if settings.engine not in expected:
        yield (
            f"EDGE_ENGINE is {settings.engine}, and the bundle's flavor is {manifest.flavor}: "
            f"expected {' or '.join(expected)}"
        )


def _packages(manifest: Manifest) -> Iterator[str]:
    missing = [name for name in _PACKAGES[manifest.flavor] if not _is_installed(name)]
    if missing:
        yield (
            f"the bundle's flavor is {manifest.flavor}, which needs {' and '.join(missing)}: "
            f"take {_HOMES[manifest.flavor]}"
        )


def _is_installed(package: str) -> bool:
    return importlib.util.find_spec(package) is not None


def _foreign(manifest: Manifest, settings: Settings) -> Iterator[str]:
    if manifest.flavor == "pipeline":
        if settings.quantize == "int8" and settings.dtype not in ("auto", "float32"):
            yield (
                f"EDGE_DTYPE is {settings.dtype}, and EDGE_QUANTIZE int8 computes the rest in "
                "float32: unset one of them"
            )
        return
    for name in _OF_PIPELINES:
        value, default = getattr(settings, name), getattr(Settings(), name)
        if value != default:
            yield (
                f"{variable(name)} is {value}, which only bundles of the flavor pipeline know: "
                "unset it"
            )
