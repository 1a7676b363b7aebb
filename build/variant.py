"""The two images that Phial comes in; the flavor of a bundle says which one serves it."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Variant:
    """Stages of the Dockerfiles: `runtime` has no bundle in it, `downloads` ends a fetch.

    `wheelhouse` are the folders that an offline build needs for each architecture; `history` says
    what the layers of `runtime` hold, lowest first.
    """

    name: str
    flavor: str
    runtime: str
    downloads: str
    wheelhouse: tuple[str, ...]
    history: tuple[str, ...]


SLIM = Variant(
    name="slim",
    flavor="onnx",
    runtime="runtime",
    downloads="wheelhouse",
    wheelhouse=("debian", "wheels"),
    history=("Debian's packages and Python", "wheels of the runtime", "phial"),
)
PIPELINE = Variant(
    name="pipeline",
    flavor="pipeline",
    runtime="pipeline-runtime",
    downloads="pipeline-wheelhouse",
    wheelhouse=("debian", "wheels", "pipeline", "torch"),
    history=("Debian's packages and Python", "torch", "transformers and other wheels", "phial"),
)
VARIANTS = (SLIM, PIPELINE)


def of_flavor(flavor: str) -> Variant:
    """The image for bundles of `flavor`."""
    return next(one for one in VARIANTS if one.flavor == flavor)


def named(name: str) -> Variant:
    """The image called `name`: slim or pipeline."""
    return next(one for one in VARIANTS if one.name == name)
