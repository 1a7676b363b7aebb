"""Progress bars for files that take a while; silent unless a person watches."""

from __future__ import annotations

import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Never

from tqdm import tqdm

LARGE_BYTES = 64 * 1024 * 1024
_POLL_S = 0.2


@dataclass(frozen=True, slots=True)
class Progress:
    """Whether and from which size on bars are drawn (on standard error)."""

    enabled: bool
    threshold_bytes: int = LARGE_BYTES

    @classmethod
    def for_terminal(cls) -> Progress:
        """Bars where standard error is a terminal."""
        return cls(sys.stderr.isatty())

    @contextmanager
    def bar(self, label: str, total_bytes: int) -> Iterator[Bar]:
        """A bar over `total_bytes` bytes."""
        hidden = not self.enabled or total_bytes < self.threshold_bytes
        with tqdm(
            desc=label,
            total=total_bytes,
            disable=hidden,
            unit="B",
            unit_scale=True,
            unit_divisor=1024,
        ) as drawn:
            yield Bar(drawn)


class Bar:
    """One bar; `add` from the thread that does the work."""

    def __init__(self, drawn: tqdm[Never]) -> None:
        self._drawn = drawn

    def add(self, size_bytes: int) -> None:
        """`size_bytes` more are done."""
        self._drawn.update(size_bytes)

    @contextmanager
    def watch(self, path: Path) -> Iterator[None]:
        """Follow the growth of the file `path`, which somebody else writes."""
        done = threading.Event()
        watcher = threading.Thread(target=self._follow, args=(path, done), daemon=True)
        watcher.start()
        try:
            yield
        finally:
            done.set()
            watcher.join()

    def _follow(self, path: Path, done: threading.Event) -> None:
        seen = 0
        finished = False
        while not finished:
            finished = done.wait(_POLL_S)
            size = path.stat().st_size if path.exists() else seen
            self.add(size - seen)
            seen = size
