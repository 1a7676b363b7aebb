"""What `python -m build image` was asked to do, checked, before anything is done."""

from __future__ import annotations

import os
from dataclasses import dataclass, replace
from pathlib import Path

from build import builder, context
from build.builder import Recipe, Tool
from build.destination import Destination, Reference
from build.errors import UsageError
from build.network import Network
from build.oci.compression import Compression
from build.variant import PIPELINE, SLIM, Variant

ARCHES = ("amd64", "arm64")
BASE_IMAGE = "localhost/phial-base:bookworm-slim"  # the one that a wheelhouse brings
_EPOCH = "SOURCE_DATE_EPOCH"  # https://reproducible-builds.org/specs/source-date-epoch/
_LATEST_S = 2**32 - 1


@dataclass(frozen=True, slots=True)
class Plan:
    """One order: a model, the architectures, the name, where it goes, and what builds it.

    `variant` is None until the model's flavor is known.
    """

    uri: str
    arches: tuple[str, ...]
    tag: Reference
    destinations: tuple[Destination, ...]
    tool: Tool
    network: Network
    epoch_s: int
    compression: Compression = Compression.GZIP
    base: str = ""
    numpy: str = "debian"
    wheelhouse: Path | None = None
    is_fresh: bool = False
    variant: Variant | None = None

    def for_(self, variant: Variant) -> Plan:
        """The plan with its `variant`; raises `UsageError` where the wheelhouse is for less."""
        wheelhouse(self.wheelhouse, self.arches, variant)
        return replace(self, variant=variant)

    @property
    def base_archive(self) -> Path | None:
        """The base image of the wheelhouse, unless another base was asked for."""
        if self.wheelhouse is None or self.base:
            return None
        archive = self.wheelhouse / base_archive()
        return archive if archive.is_file() else None

    def recipe(self, arch: str, stage: str, folder: Path, secrets: dict[str, Path]) -> Recipe:
        """How the tool builds `stage` for `arch` from the context in `folder`."""
        arguments = {"NUMPY": self.numpy} | ({"BASE": self.base} if self.base else {})
        return Recipe(
            dockerfile=context.dockerfile(arch),
            stage=stage,
            context=folder,
            arch=arch,
            arguments=arguments,
            secrets=secrets,
            network="none" if self.wheelhouse else self.network.mode,
            is_fresh=self.is_fresh,
        )

    def as_text(self) -> str:
        """The plan for a person: what would be done, stage by stage."""
        offline = f", offline from {self.wheelhouse}" if self.wheelhouse else ""
        steps = [
            ("export", f"{self.uri} to a bundle"),
            *(("runtime", self._runtime(arch) + offline) for arch in self.arches),
            ("weights", "one layer, the last one, the same for every architecture"),
            ("index", f"{', '.join(self.arches)}; layers in {self.compression.value}"),
            ("attest", "CycloneDX and SPDX for each architecture, SLSA provenance for all"),
            *(("publish", f"{self.tag} to {target}") for target in self.destinations),
        ]
        facts = [
            ("tool", f"{self.tool.name} {self.tool.version}"),
            ("base", self.base or "the Dockerfile's own"),
            ("time", f"{self.epoch_s} (SOURCE_DATE_EPOCH)"),
        ]
        width = max(len(label) for label, _ in (*steps, *facts))
        return "\n".join(f"{label:<{width}}  {text}" for label, text in (*facts, *steps))

    def _runtime(self, arch: str) -> str:
        stage = self.variant.runtime if self.variant else SLIM.runtime
        text = f"Dockerfile.{arch}, stage {stage}, linux/{arch}"
        return text if self.variant else f"{text} ({PIPELINE.runtime} for a transformers pipeline)"


def base_archive() -> str:
    """The name of the base image in a wheelhouse: it is of this machine's architecture."""
    return f"base-{builder.machine_arch()}.tar"


def epoch_s() -> int:
    """`SOURCE_DATE_EPOCH`, else the time of the checkout's commit; raises `UsageError`."""
    text = os.environ.get(_EPOCH, "")
    if not text:
        return context.commit_time_s()
    if not text.isdecimal() or int(text) > _LATEST_S:
        raise UsageError(f"{_EPOCH} is {text!r}, expected seconds since 1970")
    return int(text)


def wheelhouse(
    folder: Path | None, arches: tuple[str, ...], variant: Variant = SLIM
) -> Path | None:
    """A wheelhouse with what `variant` needs for `arches`; else `UsageError` names the rest."""
    if folder is None:
        return None
    wanted = [f"tools/{builder.machine_arch()}"]
    wanted += [f"{kind}/{arch}" for kind in variant.wheelhouse for arch in arches]
    lacking = [name for name in wanted if not (folder / name / "SHA256SUMS").is_file()]
    if lacking:
        flags = [f"--platform linux/{arch}" for arch in arches]
        flags += [f"--variant {variant.name}"] if variant is not SLIM else []
        raise UsageError(
            f"--wheelhouse {folder} lacks {', '.join(lacking)}; fill it where there is a network: "
            f"python -m build fetch {' '.join(flags)} --out {folder}"
        )
    return folder
