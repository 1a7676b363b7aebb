"""The installed versions of the runtimes, without the runtimes."""

from __future__ import annotations

import importlib.metadata

NAMES = ("onnxruntime", "onnxruntime-genai", "torch", "transformers")


def versions() -> dict[str, str]:
    """Distribution name to version, read from the packages' metadata; "" where there is none."""
    return {name: _version(name) for name in NAMES}


def _version(name: str) -> str:
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return ""
