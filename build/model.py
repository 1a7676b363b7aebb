"""What every flavor makes of a model that may be sealed: files, and what the manifest says."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Literal, Protocol

from build.mlmodel import MlModel
from edge.bundle import Defaults, Signature


class Model(Protocol):
    """A checked model. `files` are the names in the bundle's model folder, sorted."""

    @property
    def flavor(self) -> Literal["onnx", "pipeline"]:
        """Which engine serves it."""

    @property
    def files(self) -> tuple[str, ...]:
        """Names in the bundle, with forward slashes."""

    @property
    def signature(self) -> Signature:
        """What MLflow's scoring protocol takes and gives."""

    @property
    def generation(self) -> Defaults:
        """What holds where a request says nothing."""

    @property
    def chat_template(self) -> str:
        """Jinja; empty where there is none."""

    @property
    def context_length(self) -> int:
        """In tokens."""

    @property
    def eos_ids(self) -> tuple[int, ...]:
        """Tokens that end an answer."""

    @property
    def kv_bytes_per_token(self) -> int:
        """Memory that a token of context takes."""

    @property
    def quantization(self) -> str:
        """Precision of the weights, such as `int4-b128` or `bf16`."""

    @property
    def model_type(self) -> str:
        """The architecture's name."""

    @property
    def remote_code(self) -> bool:
        """Whether Python code of the model's own goes into the bundle."""

    @property
    def mlmodel(self) -> MlModel | None:
        """The MLflow model around it, None for a bare folder."""

    @property
    def adapters(self) -> Mapping[str, Path]:
        """LoRA files that are kept apart, by adapter."""

    @property
    def runtimes(self) -> tuple[str, ...]:
        """The packages that run it, whose versions the manifest records."""

    def origin(self, name: str) -> Path:
        """Where the file `name` lies now."""
