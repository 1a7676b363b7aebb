"""The flags of an export, checked one by one."""

from __future__ import annotations

import argparse
import math
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, TypeAlias, get_args

from build.errors import UsageError
from edge.bundle import ADAPTER_NAME

Commands: TypeAlias = "argparse._SubParsersAction[argparse.ArgumentParser]"
PromptFormat = Literal["auto", "chat", "raw"]
_MOST = 2**31 - 1


@dataclass(frozen=True, slots=True)
class Options:
    """What the caller said; `generation` holds only the settings that were named.

    `allow_...`: what a model of the transformers flavor may not do or need unless it is said.
    """

    name: str = ""
    artifact: str = ""
    context_length: int | None = None
    prompt_format: PromptFormat | None = None
    system_prompts: tuple[str, ...] = ()
    adapters: tuple[tuple[str, Path], ...] = ()
    trial: bool = True
    allow_pickle: bool = False
    allow_remote_code: bool = False
    allow_download: bool = False
    generation: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Stores:
    """Which MLflow to ask; an empty URI means the one of MLflow's own environment."""

    tracking_uri: str = ""
    registry_uri: str = ""
    timeout_s: int = 30


_SETTINGS = ("max_tokens", "temperature", "top_p", "top_k", "repetition_penalty", "seed", "stop")


def add_model_flags(parser: argparse.ArgumentParser) -> None:
    """Flags that say something about the model."""
    add = parser.add_argument_group("the model").add_argument
    add("--name", default="", help="the name it is served under (default: its registered name)")
    add("--artifact", default="", metavar="KEY", help="which artifact, where there are several")
    add("--context-length", type=whole(2, _MOST), metavar="TOKENS", help="serve a shorter context")
    add("--prompt-format", choices=get_args(PromptFormat), help="how a bare prompt is wrapped")
    add("--system-prompt", action="append", default=[], metavar="TEXT", help="one in frequent use")
    add("--adapter", action="append", type=_adapter, default=[], metavar="NAME=FILE", help="a LoRA")
    add("--skip-trial", action="store_true", help="do not load the model and generate a token")
    add("--allow-pickle", action="store_true", help="take weights that are pickled (.bin, .pt)")
    add("--allow-remote-code", action="store_true", help="take the model's own Python code along")
    add("--allow-download", action="store_true", help="fetch what it only names from its hub")


def add_generation_flags(parser: argparse.ArgumentParser) -> None:
    """Flags for the settings used where a request names none."""
    add = add_sampling_flags(parser).add_argument
    add("--seed", type=whole(-_MOST, _MOST), metavar="N")
    add("--stop", action="append", metavar="TEXT", help="may be repeated")


def add_sampling_flags(parser: argparse.ArgumentParser) -> argparse._ArgumentGroup:
    """Those of them that every way of logging a model can keep; returns their group."""
    group = parser.add_argument_group("generation defaults")
    add = group.add_argument
    add("--max-tokens", type=whole(1, _MOST), metavar="N")
    add("--temperature", type=real(0, 2), metavar="T", help="0 is greedy")
    add("--top-p", type=real(0, 1), metavar="P")
    add("--top-k", type=whole(0, _MOST), metavar="K", help="0 is off")
    add("--repetition-penalty", type=real(0.01, 10), metavar="R", help="1 is off")
    return group


def add_store_flags(parser: argparse.ArgumentParser) -> None:
    """Flags that say which MLflow is asked."""
    add = parser.add_argument_group("MLflow").add_argument
    add("--tracking-uri", default="", metavar="URI", help="instead of MLFLOW_TRACKING_URI")
    add("--registry-uri", default="", metavar="URI", help="instead of MLFLOW_REGISTRY_URI")
    patience = os.environ.get("MLFLOW_HTTP_REQUEST_TIMEOUT") or "30"
    add("--timeout", type=whole(1, 3600), default=patience, metavar="SECONDS", help="for an answer")


def add_build_flags(parser: argparse.ArgumentParser) -> None:
    """Flags that say how an image is built."""
    add = parser.add_argument_group("the build").add_argument
    add("--tool", choices=("docker", "podman", "buildah"), help="default: the first that works")
    add("--base", default="", metavar="IMAGE", help="instead of the Dockerfiles' Debian image")
    add("--numpy", choices=("debian", "wheel"), default="debian", help="wheel: larger, faster")
    add("--wheelhouse", type=Path, metavar="DIR", help="build without a network, from `fetch`")
    add("--no-cache", action="store_true", help="run every step of the Dockerfiles again")
    add("--verbose", action="store_true", help="show what the container tool says")
    add_network_flags(parser)


def add_network_flags(parser: argparse.ArgumentParser) -> None:
    """Flags that say how packages are reached; they become build secrets."""
    add = parser.add_argument_group("the network of the build").add_argument
    add("--network", default="", metavar="MODE", help="of the container tool, such as host")
    add("--index-url", default="", metavar="URL", help="of Python packages (PIP_INDEX_URL)")
    add("--proxy", default="", metavar="URL", help="for packages (HTTPS_PROXY, HTTP_PROXY)")
    add("--ca", type=Path, metavar="FILE", help="PEM certificates to trust (PIP_CERT ...)")


def options_of(args: argparse.Namespace) -> Options:
    """The options of parsed flags; raises `UsageError` for what no flag can check alone."""
    named = {key: getattr(args, key) for key in _SETTINGS if getattr(args, key) is not None}
    if any(not text for text in named.get("stop", ())):
        raise UsageError("--stop is empty, expected a string that ends an answer")
    names = [name for name, _ in args.adapter]
    if twice := sorted({name for name in names if names.count(name) > 1}):
        raise UsageError(f"--adapter names {', '.join(twice)} twice, expected each name once")
    if "stop" in named:
        named["stop"] = tuple(named["stop"])
    return Options(
        name=args.name,
        artifact=args.artifact,
        context_length=args.context_length,
        prompt_format=args.prompt_format,
        system_prompts=tuple(args.system_prompt),
        adapters=tuple(args.adapter),
        trial=not args.skip_trial,
        allow_pickle=args.allow_pickle,
        allow_remote_code=args.allow_remote_code,
        allow_download=args.allow_download,
        generation=named,
    )


def stores_of(args: argparse.Namespace) -> Stores:
    """The stores that the flags name."""
    return Stores(args.tracking_uri, args.registry_uri, args.timeout)


def folder(text: str) -> Path:
    """An output folder; the root and the current folder are none."""
    path = Path(text)
    if not text or path.resolve() in (Path.cwd(), Path(path.anchor or "/")):
        raise argparse.ArgumentTypeError(f"{text!r} cannot become a bundle, name a new folder")
    return path


def _adapter(text: str) -> tuple[str, Path]:
    name, _, path = text.partition("=")
    if not ADAPTER_NAME.fullmatch(name) or not path:
        raise _refusal(text, f"NAME=FILE with a NAME like {ADAPTER_NAME.pattern}")
    return name, Path(path)


def whole(least: int, most: int) -> Callable[[str], int]:
    """The type of a flag that takes a whole number from `least` to `most`."""

    def parse(text: str) -> int:
        value = int(text) if text.strip().lstrip("+-").isdecimal() else None
        if value is None or not least <= value <= most:
            raise _refusal(text, f"a whole number from {least} to {most}")
        return value

    return parse


def real(least: float, most: float) -> Callable[[str], float]:
    """The type of a flag that takes a number from `least` to `most`."""

    def parse(text: str) -> float:
        try:
            value = float(text)
        except ValueError:
            value = math.nan
        if not least <= value <= most:
            raise _refusal(text, f"a number from {least} to {most}")
        return value

    return parse


def _refusal(text: str, expected: str) -> argparse.ArgumentTypeError:
    return argparse.ArgumentTypeError(f"is {text!r}, expected {expected}")
