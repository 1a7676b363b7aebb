"""A part of a file, read as if it were a file of its own."""

from __future__ import annotations

import io
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO


@dataclass(frozen=True, slots=True)
class Section:
    """`size_bytes` bytes of the file `path` from `offset_bytes` on; opened anew by each reader."""

    path: Path
    offset_bytes: int
    size_bytes: int

    def open(self) -> BinaryIO:
        """A stream of the part, the caller's to close."""
        return io.BufferedReader(_Raw(self))


class _Raw(io.RawIOBase):
    def __init__(self, section: Section) -> None:
        super().__init__()
        self._file = section.path.open("rb", buffering=0)
        self._file.seek(section.offset_bytes)
        self._left_bytes = section.size_bytes

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]
        part = memoryview(buffer)[: self._left_bytes]
        read = self._file.readinto(part) or 0
        self._left_bytes -= read
        return read

    def close(self) -> None:
        self._file.close()
        super().close()
