"""A pipeline that can be sealed: `build.model.Model` for this flavor."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, Literal

from build.mlmodel import MlModel
from build.pipeline.config import Config
from build.pipeline.weights import Weights
from edge.bundle import Defaults, Signature


@dataclass(frozen=True, slots=True)
class Model:
    """A checked pipeline: `origins` are its files by their names in the bundle."""

    origins: Mapping[str, Path]
    config: Config
    weights: Weights
    signature: Signature
    generation: Defaults
    chat_template: str
    context_length: int
    eos_ids: tuple[int, ...]
    mlmodel: MlModel | None
    remote_code: bool = False

    flavor: ClassVar[Literal["pipeline"]] = "pipeline"
    adapters: ClassVar[Mapping[str, Path]] = {}
    runtimes: ClassVar[tuple[str, ...]] = ("torch", "transformers")

    @property
    def files(self) -> tuple[str, ...]:
        """Names in the bundle, sorted."""
        return tuple(sorted(self.origins))

    @property
    def kv_bytes_per_token(self) -> int:
        """Memory that a token of context takes, in the type of the weights."""
        wide = {"F32": 4}.get(self.weights.dtype, 2)
        return self.config.kv_elements_per_token * wide

    @property
    def quantization(self) -> str:
        """Precision of the weights: `fp32`, `fp16`, `bf16`."""
        return self.weights.precision

    @property
    def model_type(self) -> str:
        """The architecture's name."""
        return self.config.model_type

    def origin(self, name: str) -> Path:
        """Where the file `name` lies now."""
        return self.origins[name]
