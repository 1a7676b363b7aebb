"""Processes without a network: their own network namespace, with loopback in it and no route."""

from __future__ import annotations

import subprocess
from collections.abc import Callable, Mapping
from pathlib import Path

Run = Callable[..., subprocess.CompletedProcess[str]]
_INSIDE = 'ip link set lo up && exec "$@"'


def run(
    *command: str | Path, timeout_s: float, environment: Mapping[str, str] | None = None
) -> subprocess.CompletedProcess[str]:
    """Run `command`, whatever its status, in a namespace that goes away with it.

    `environment`: all its variables, by default those of this process. Needs root; raises
    `TimeoutExpired`, after which `command` was killed.
    """
    return subprocess.run(
        ["unshare", "--net", "--", "sh", "-c", _INSIDE, "sh", *map(str, command)],
        env=environment,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=timeout_s,
        check=False,
    )
