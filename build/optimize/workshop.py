"""Makes the folder of each variant, below one scratch folder."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from build.errors import InvalidModel
from build.optimize import exporter, retune
from build.optimize.graph import Graph
from build.optimize.source import Source, read_config
from build.optimize.variant import Variant

_UNQUANTIZED = "unquantized"
_STOCK = Variant()


class Workshop:
    """Variants of one source; `made` are the folders that are there."""

    def __init__(self, source: Source, scratch: Path) -> None:
        self._source = source
        self._scratch = scratch
        self.made: dict[Variant, Path] = {}

    def make(self, variant: Variant, calibration: Sequence[int] = ()) -> Path:
        """The folder of `variant`; `calibration` are tokens to find an int8 cache's scales with.

        Raises `BuildFailed` or `InvalidModel`.
        """
        if variant not in self.made:
            self.made[variant] = self._make(variant, calibration)
        return self.made[variant]

    def unquantized(self, variant: Variant = _STOCK) -> Path:
        """The folder of the Hugging Face weights in fp32, of `variant` only its head.

        Raises `BuildFailed`.
        """
        folder = self._scratch / _UNQUANTIZED
        options = Variant(head=variant.head).builder_options()
        exporter.export(self._source.folder, folder, options, "fp32")
        return folder

    def is_new(self, variant: Variant) -> bool:
        """Whether `variant` is anything but the source as it is."""
        config = self._source.config
        if config is None:
            return variant != Variant()
        return retune.effective(Graph(self._source.folder, config), variant) != Variant()

    def _make(self, variant: Variant, calibration: Sequence[int]) -> Path:
        folder, config = self._scratch / variant.name, self._source.config
        if config is None:
            return self._export(variant, calibration, folder)
        if variant == Variant():
            return self._source.folder
        if not self.is_new(variant):
            raise InvalidModel("the graph is like this already: nothing would change")
        retune.write(self._source.folder, config, variant, calibration, folder)
        return folder

    def _export(self, variant: Variant, calibration: Sequence[int], folder: Path) -> Path:
        """Let the model builder do what it can, and change its graph for the rest."""
        if variant.kv8:
            plain = self.make(replace(variant, kv8=False))
            retune.write(plain, read_config(plain), Variant(kv8=True), calibration, folder)
            return folder
        exported = folder.with_name(f"{folder.name}.exported")
        exporter.export(self._source.folder, exported, variant.builder_options(), "int4")
        config = read_config(exported)
        rest = replace(Variant(), embeddings=variant.embeddings, head=variant.head)
        if retune.effective(Graph(exported, config), rest) == Variant():
            return exported.rename(folder)
        retune.write(exported, config, rest, (), folder)  # k-quant leaves the embeddings alone
        shutil.rmtree(exported)
        return folder
