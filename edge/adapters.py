"""The LoRA adapters of a bundle: their tensors, for the engine that can use them."""

from __future__ import annotations

from edge import tensors
from edge.bundle import Bundle, adapter_path
from edge.errors import StartupError
from edge.tensors import Array


def read(bundle: Bundle) -> dict[str, dict[str, Array]]:
    """The mapped tensors of each adapter, by the input of the graph that they stand for.

    Raises `StartupError` with every file that cannot be read.
    """
    found: dict[str, dict[str, Array]] = {}
    problems = []
    for name in bundle.manifest.adapters:
        try:
            found[name] = tensors.read(bundle.folder / adapter_path(name))
        except OSError as error:
            problems.append(f"bundle: adapter {name} cannot be read: {error.strerror}")
        except ValueError as error:
            problems.append(f"bundle: adapter {name} is no safetensors file: {error}")
    if problems:
        raise StartupError(problems)
    return found


def forbid(bundle: Bundle, reason: str) -> None:
    """Raise `StartupError` where `bundle` has adapters: the engine in view knows none.

    A base model that answers in an adapter's place would go unnoticed.
    """
    named = ", ".join(bundle.manifest.adapters)
    if named:
        raise StartupError([f"the adapters {named} need the engine decoder, and {reason}"])
