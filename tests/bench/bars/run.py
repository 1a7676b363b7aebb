"""Measures the chosen bars one after another."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path

from tests.bench import machine, subject
from tests.bench.bars.plan import Plan
from tests.bench.bars.report import Measured, Report
from tests.bench.bars.selection import BARS
from tests.bench.bars.stage import Peer, Stage
from tests.bench.peer import compilation, source
from tests.bench.shapes import SHAPES

PEER = "llama.cpp"


def measure(
    names: Iterable[str],
    plan: Plan,
    shape: str,
    peer: Peer | None,
    scratch: Path,
    say: Callable[[str], None],
) -> Report:
    """Make the models of `shape` where they are missing, start what the bars need, measure."""
    say(f"models of shape {shape}")
    ours = subject.open_(subject.export(subject.of_shape(shape), scratch / "bundle"))
    stock = subject.stock_of_shape(shape) if "decode" in names else None
    found: dict[str, Measured] = {}
    with Stage(plan, ours, stock, peer, scratch) as stage:
        for name in names:
            say(name)
            watch = machine.Watch(stage.own_cpu_s)
            outcome = BARS[name](stage)
            found[name] = Measured(outcome, watch.read())
            for row in outcome.rows:
                say(f"  {row.measure}: {row.found} [{row.bar}] {row.verdict}")
    return Report(ours.description, peer.label if peer else "", plan, found)


def llama_cpp(shape: str, cache: Path, say: Callable[[str], None]) -> Peer:
    """Fetch and build the peer and make its model, where that was not done before.

    Raises `peer.source.NoPeer`.
    """
    from tests.bench.peer import model  # needs gguf, which only this needs

    say(f"{PEER} in {cache} (fetched and built once, some ten minutes)")
    program = compilation.server(source.fetch(cache), cache)
    weights = model.of_shape(shape, SHAPES[shape], cache)
    label = f"{PEER} of {source.PACKAGE} {source.VERSION}, native, OpenMP, all matrices Q4_0"
    return Peer(program, weights, label)
