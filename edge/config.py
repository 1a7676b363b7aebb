"""Settings: the only reader of the environment.

Each `EDGE_*` variable is declared once, as a field of `Settings`; `docs/configuration.md` and
the README's table are tested against these declarations.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import Field, dataclass, field, fields
from pathlib import Path
from typing import Any, Literal, cast

from edge.errors import StartupError
from edge.setting_values import (
    Parse,
    auto,
    choice,
    filled,
    integer,
    names,
    seconds,
    size,
    switch,
)

PREFIX = "EDGE_"
_ALIKE = 0.7
_TELEMETRY_OFF = "ORT_DISABLE_TELEMETRY"
_OFFLINE = {
    "HF_HUB_OFFLINE": "1",
    "HF_HUB_DISABLE_TELEMETRY": "1",
    "HF_HUB_DISABLE_PROGRESS_BARS": "1",
    "TOKENIZERS_PARALLELISM": "false",
}
# Turns of the loop in which a thread of GNU's OpenMP waits for work before it sleeps; the default
# of 300,000 burns a core for milliseconds after every operator.
_GOMP_SPINS = "1000"


def _setting(default: Any, parse: Parse, doc: str) -> Any:
    return field(default=default, metadata={"parse": parse, "doc": doc})


@dataclass(frozen=True, slots=True)
class Settings:
    """Deployment facts. Model facts come from the bundle; nothing is in both."""

    bundle: Path | None = _setting(None, Path, "Folder of the bundle to serve.")
    host: str = _setting("127.0.0.1", filled, "Address to listen on.")
    port: int = _setting(8080, integer(0, 65535), "TCP port to listen on; 0 takes a free one.")
    engine: Literal["auto", "decoder", "genai", "pipeline"] = _setting(
        "auto", choice("auto", "decoder", "genai", "pipeline"), "Which engine runs the model."
    )
    dtype: Literal["auto", "float32", "bfloat16", "float16"] = _setting(
        "auto",
        choice("auto", "float32", "bfloat16", "float16"),
        "Numbers that a pipeline bundle computes with; `auto` is those it was saved in where this "
        "CPU has instructions for them, else float32.",
    )
    quantize: Literal["none", "int8"] = _setting(
        "none",
        choice("none", "int8"),
        "Round the weights of a pipeline bundle's linear layers when they are loaded.",
    )
    threads: int | None = _setting(
        None,
        auto(integer(1, 1024)),
        "Engine threads; `auto` follows CPU quota, affinity and kinds of core, also while it runs.",
    )
    spin: bool = _setting(
        True, switch, "Let engine threads wait awake for a few microseconds between operators."
    )
    slots: int = _setting(4, integer(1, 256), "Sequences that are generated at the same time.")
    prefixes: int = _setting(
        16,
        integer(0, 256),
        "Sequences that have ended and are kept, so that prompts that begin "
        "like one of them need less work.",
    )
    system_prompts_file: Path | None = _setting(
        None,
        Path,
        "JSON file with a list of system prompts that are run before the first request, beside "
        "those of the bundle.",
    )
    speculation: bool = _setting(
        False,
        switch,
        "Draft what follows from what stood there before, where that was measured to be faster.",
    )
    queue: int = _setting(32, integer(0, 10_000), "Sequences that may wait for a slot.")
    max_rows: int = _setting(
        1024, integer(1, 10_000), "Most sequences (prompts times n) in one request."
    )
    kv_limit: int | None = _setting(
        None, auto(size), "Bytes of KV cache in all; `auto` is what the memory limit leaves."
    )
    prefill_chunk_ms: int = _setting(
        100,
        integer(5, 10_000),
        "Most milliseconds to aim for in one prefill call beside running answers, which wait that "
        "long; four times that where none runs.",
    )
    deadline_s: float = _setting(
        600.0, seconds(0.1, 86_400), "Time limit of a request, the wait included."
    )
    leave_s: float = _setting(
        0.0,
        seconds(0, 600),
        "How long new requests are still taken after SIGTERM, while /readyz already says no.",
    )
    drain_s: float = _setting(
        30.0, seconds(0, 3600), "How long running requests may go on after SIGTERM."
    )
    max_body_bytes: int = _setting(4 << 20, size, "Largest request body.")
    api_key_file: Path | None = _setting(
        None, Path, "File with the API keys (one a line) that /v1 and /invocations demand."
    )
    log_level: Literal["debug", "info", "warning", "error"] = _setting(
        "info", choice("debug", "info", "warning", "error"), "Least severity that is logged."
    )
    log_prompts: bool = _setting(False, switch, "Write the text of prompts and answers to the log.")
    metrics_aliases: tuple[str, ...] = _setting(
        (), names("vllm"), "Other naming schemes under which metrics are served too: `vllm`."
    )
    verify: Literal["size", "sha256"] = _setting(
        "size", choice("size", "sha256"), "How thoroughly the bundle's files are checked at start."
    )

    @staticmethod
    def from_env(environ: Mapping[str, str]) -> Settings:
        """Read every `EDGE_*` variable of `environ`.

        Raises `StartupError` that lists every bad value and every unknown name at once.
        An empty value counts as unset.
        """
        settings, problems = survey(environ)
        if problems:
            raise StartupError(problems)
        return settings


def survey(environ: Mapping[str, str]) -> tuple[Settings, list[str]]:
    """What `environ` sets as far as it is good, and one line for each name or value that is not.

    A setting with a bad value has its default. An empty value counts as unset.
    """
    problems: list[str] = []
    known = {variable(item.name): item for item in fields(Settings)}
    values: dict[str, Any] = {}
    for name, text in environ.items():
        if not name.startswith(PREFIX) or not text:
            continue
        if name not in known:
            problems.append(_unknown(name, known))
            continue
        item = known[name]
        try:
            values[item.name] = item.metadata["parse"](text)
        except ValueError as error:
            problems.append(f"{name} is {text!r}, expected {error}")
    return Settings(**values), sorted(problems)


def from_process(
    overrides: Mapping[str, str], defaults: Mapping[str, str] | None = None
) -> Settings:
    """The settings of this process's own environment.

    `overrides` come from the command line and win over a variable, `defaults` stand in for one
    that is not set; both by the names of variables. Raises `StartupError`.
    """
    return Settings.from_env({**(defaults or {}), **of_process(), **overrides})


def of_process() -> dict[str, str]:
    """The variables of this process's own environment that are set to something."""
    return {name: text for name, text in os.environ.items() if text}


def api_keys(settings: Settings) -> tuple[bytes, ...]:
    """The keys of `EDGE_API_KEY_FILE`, one a line; none where it is not set.

    Raises `StartupError` where the file cannot be read or is empty.
    """
    if settings.api_key_file is None:
        return ()
    try:
        keys = tuple(settings.api_key_file.read_bytes().split())
    except OSError as error:
        raise StartupError([f"EDGE_API_KEY_FILE cannot be read: {error.strerror}"]) from error
    if not keys:
        raise StartupError(["EDGE_API_KEY_FILE holds no key, expected one a line"])
    return keys


def telemetry_is_off() -> bool:
    """Whether whoever started this process has switched the runtimes' telemetry off."""
    return os.environ.get(_TELEMETRY_OFF) == "1"


def prepare_torch(*, spin: bool) -> None:
    """Keep torch and transformers off the network, and idle threads off the cores.

    Must run before the first import of either. `spin` lets a thread wait awake for a moment
    before it sleeps; whoever started this process may have said otherwise.
    """
    os.environ.update(_OFFLINE)
    os.environ.setdefault("GOMP_SPINCOUNT", _GOMP_SPINS if spin else "0")


def silence_telemetry() -> None:
    """Switch the runtimes' telemetry off; must run before the first import of either."""
    os.environ[_TELEMETRY_OFF] = "1"


def variable(name: str) -> str:
    """The environment variable of a field: `max_rows` -> `EDGE_MAX_ROWS`."""
    return PREFIX + name.upper()


def describe() -> list[tuple[str, str, str]]:
    """Every setting as (variable, default as written in the environment or "", description)."""
    return [
        (variable(item.name), _written(item), cast(str, item.metadata["doc"]))
        for item in fields(Settings)
    ]


def _written(item: Field[Any]) -> str:
    default = item.default
    if default is None:
        return "" if item.metadata["parse"] is Path else "auto"
    if isinstance(default, bool):
        return str(int(default))
    if isinstance(default, tuple):
        return ",".join(default)
    return f"{default:g}" if isinstance(default, float) else str(default)


def _unknown(name: str, known: Mapping[str, object]) -> str:
    import difflib  # a few milliseconds that only a wrong name is worth

    names = [other.removeprefix(PREFIX) for other in known]
    near = difflib.get_close_matches(name.removeprefix(PREFIX).upper(), names, n=1, cutoff=_ALIKE)
    return f"{name} is not a setting" + (f"; did you mean {PREFIX}{near[0]}?" if near else "")
