"""The bars by name, in the order in which they are measured."""

from __future__ import annotations

from collections.abc import Callable

from tests.bench.bars import (
    decode,
    interpreter,
    limits,
    memory,
    neighbour,
    prompt,
    roofline,
    speculation,
)
from tests.bench.bars.row import Outcome
from tests.bench.bars.stage import Stage

BARS: dict[str, Callable[[Stage], Outcome]] = {
    "decode": decode.one,
    "together": decode.together,
    "prefill": prompt.prefill,
    "history": prompt.history,
    "arrival": prompt.arrival,
    "python": interpreter.measure,
    "neighbour": neighbour.measure,
    "quota": limits.measure,
    "memory": memory.measure,
    "roofline": roofline.measure,
    "speculation": speculation.measure,
}


def chosen(text: str) -> tuple[str, ...]:
    """The names in the comma-separated `text`, in the order of `BARS`; `all` are all.

    Raises `ValueError` that names what is no bar.
    """
    asked = {name.strip() for name in text.split(",") if name.strip()}
    unknown = sorted(asked - {*BARS, "all"})
    if unknown or not asked:
        wrong = ", ".join(unknown) or repr(text)
        raise ValueError(f"{wrong}, expected all or some of {', '.join(BARS)}")
    return tuple(name for name in BARS if name in asked or "all" in asked)
