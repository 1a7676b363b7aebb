"""What a check of `doctor` found, and how sizes are written there."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Status = Literal["ok", "warn", "fail"]
_UNITS = ("KiB", "MiB", "GiB", "TiB")


@dataclass(frozen=True, slots=True)
class Finding:
    """One line: `fact` is what was found, `advice` what to do about it, "" where nothing."""

    check: str
    status: Status
    fact: str
    advice: str = ""

    def __str__(self) -> str:
        """The line, in columns."""
        advice = f" -> {self.advice}" if self.advice else ""
        return f"{self.status:<4}  {self.check:<12}  {self.fact}{advice}"


def size(count_bytes: int) -> str:
    """A number of bytes for people: `512 B`, `2.8 MiB`, `1.5 GiB`."""
    amount, unit = float(count_bytes), "B"
    for larger in _UNITS:
        if amount < 1024:
            break
        amount, unit = amount / 1024, larger
    return f"{amount:.0f} {unit}" if unit == "B" or amount >= 100 else f"{amount:.1f} {unit}"


def whole(count_bytes: int) -> str:
    """A size to set as a limit: whole MiB, rounded up."""
    return f"{-(-count_bytes // (1 << 20))} MiB"
