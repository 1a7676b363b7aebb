"""Settings: the only reader of the environment.

Each `EDGE_*` variable is declared once, as a field of `Settings`; `docs/configuration.md` and
the README's table are tested against these declarations.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Mapping
from dataclasses import Field, dataclass, field, fields
from pathlib import Path
from typing import Any, Literal, cast

from edge.errors import StartupError

PREFIX = "EDGE_"
_ALIKE = 0.7
_TELEMETRY_OFF = "ORT_DISABLE_TELEMETRY"
Parse = Callable[[str], Any]


def _setting(default: Any, parse: Parse, doc: str) -> Any:
    return field(default=default, metadata={"parse": parse, "doc": doc})


def _integer(low: int, high: int) -> Parse:
    def parse(text: str) -> int:
        value = int(text) if re.fullmatch(r"[+-]?[0-9]{1,18}", text.strip()) else None
        if value is None or not low <= value <= high:
            raise ValueError(f"a whole number from {low} to {high}")
        return value

    return parse


def _auto(parse: Parse) -> Parse:
    def parse_or_auto(text: str) -> Any:
        if text == "auto":
            return None
        try:
            return parse(text)
        except ValueError as error:
            raise ValueError(f"`auto` or {error}") from None

    return parse_or_auto


def _seconds(low: float, high: float) -> Parse:
    def parse(text: str) -> float:
        expected = f"a number of seconds from {low:g} to {high:g}"
        try:
            value = float(text)
        except ValueError:
            raise ValueError(expected) from None
        if not low <= value <= high:
            raise ValueError(expected)
        return value

    return parse


def _choice(*values: str) -> Parse:
    def parse(text: str) -> str:
        if text not in values:
            raise ValueError("one of " + ", ".join(values))
        return text

    return parse


def _switch(text: str) -> bool:
    if text.lower() not in ("0", "1", "true", "false"):
        raise ValueError("1 or 0")
    return text.lower() in ("1", "true")


_UNITS = {"": 1, "k": 1 << 10, "m": 1 << 20, "g": 1 << 30}


def _size(text: str) -> int:
    found = re.fullmatch(r"([0-9]{1,18})(?:([kmg])i?)?b?", text.strip().lower())
    if found is None or int(found[1]) == 0:
        raise ValueError("a size such as 512MiB or 2G")
    return int(found[1]) * _UNITS[found[2] or ""]


def _names(*allowed: str) -> Parse:
    def parse(text: str) -> tuple[str, ...]:
        names = tuple(name.strip() for name in text.split(",") if name.strip())
        if any(name not in allowed for name in names):
            raise ValueError("a comma-separated list of: " + ", ".join(allowed))
        return names

    return parse


def _text(text: str) -> str:
    if not text.strip():
        raise ValueError("a text that is not empty")
    return text


@dataclass(frozen=True, slots=True)
class Settings:
    """Deployment facts. Model facts come from the bundle; nothing is in both."""

    bundle: Path | None = _setting(None, Path, "Folder of the bundle to serve.")
    host: str = _setting("127.0.0.1", _text, "Address to listen on.")
    port: int = _setting(8080, _integer(0, 65535), "TCP port to listen on; 0 takes a free one.")
    engine: Literal["auto", "decoder", "genai"] = _setting(
        "auto", _choice("auto", "decoder", "genai"), "Which engine runs the model."
    )
    threads: int | None = _setting(
        None,
        _auto(_integer(1, 1024)),
        "Engine threads; `auto` follows CPU quota, affinity and kinds of core, also while it runs.",
    )
    spin: bool = _setting(
        True, _switch, "Let engine threads wait awake for a few microseconds between operators."
    )
    slots: int = _setting(4, _integer(1, 256), "Sequences that are generated at the same time.")
    prefixes: int = _setting(
        16,
        _integer(0, 256),
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
        _switch,
        "Draft what follows from what stood there before, where that was measured to be faster.",
    )
    queue: int = _setting(32, _integer(0, 10_000), "Sequences that may wait for a slot.")
    max_rows: int = _setting(
        1024, _integer(1, 10_000), "Most sequences (prompts times n) in one request."
    )
    kv_limit: int | None = _setting(
        None, _auto(_size), "Bytes of KV cache in all; `auto` is what the memory limit leaves."
    )
    prefill_chunk_ms: int = _setting(
        100,
        _integer(5, 10_000),
        "Most milliseconds to aim for in one prefill call beside running answers, which wait that "
        "long; four times that where none runs.",
    )
    deadline_s: float = _setting(
        600.0, _seconds(0.1, 86_400), "Time limit of a request, the wait included."
    )
    leave_s: float = _setting(
        0.0,
        _seconds(0, 600),
        "How long new requests are still taken after SIGTERM, while /readyz already says no.",
    )
    drain_s: float = _setting(
        30.0, _seconds(0, 3600), "How long running requests may go on after SIGTERM."
    )
    max_body_bytes: int = _setting(4 << 20, _size, "Largest request body.")
    api_key_file: Path | None = _setting(
        None, Path, "File with the API keys (one a line) that /v1 and /invocations demand."
    )
    log_level: Literal["debug", "info", "warning", "error"] = _setting(
        "info", _choice("debug", "info", "warning", "error"), "Least severity that is logged."
    )
    log_prompts: bool = _setting(
        False, _switch, "Write the text of prompts and answers to the log."
    )
    metrics_aliases: tuple[str, ...] = _setting(
        (), _names("vllm"), "Other naming schemes under which metrics are served too: `vllm`."
    )
    verify: Literal["size", "sha256"] = _setting(
        "size", _choice("size", "sha256"), "How thoroughly the bundle's files are checked at start."
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
