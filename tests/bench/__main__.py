"""`scripts/bench`: the appliance against a bare onnxruntime-genai loop and against llama.cpp."""

from __future__ import annotations

import argparse
import dataclasses
import json
import signal
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from build import telemetry
from build.errors import BuildFailed
from edge import config, cpu
from edge.errors import StartupError
from scripts.container import NoContainer
from tests.bench import footprint, images, machine, processes, sides, subject
from tests.bench.bars import run, selection
from tests.bench.bars.graph import NoGraph
from tests.bench.bars.plan import Plan as BarsPlan
from tests.bench.bars.report import Report as BarsReport
from tests.bench.client import BadAnswer
from tests.bench.flavors import model as flavors_model
from tests.bench.flavors import run as flavors_run
from tests.bench.flavors.plan import FLAVORS
from tests.bench.flavors.plan import Plan as FlavorsPlan
from tests.bench.flavors.report import Report as FlavorsReport
from tests.bench.footprint import Footprint
from tests.bench.images import NoImage
from tests.bench.pairs import TooFast
from tests.bench.peer import source
from tests.bench.peer.source import NoPeer
from tests.bench.report import BAR, Report
from tests.bench.shapes import SHAPES
from tests.bench.sides import NotStarted
from tests.bench.subject import NoSubject, Subject
from tests.bench.workload import Bench, Plan

FAILED, TERMINATED = 1, 143
DTYPES = ("float32", "bfloat16", "float16")
FAILURES = (
    *(NoSubject, NoGraph, NoPeer, NotStarted, BadAnswer, TooFast),
    *(StartupError, NoImage, NoContainer, BuildFailed),
)


def main(argv: Sequence[str] | None = None) -> int:
    """Make a model, or measure and print; returns the exit status."""
    words = list(sys.argv[1:] if argv is None else argv)
    end = words.index("--") if "--" in words else len(words)
    args = parser().parse_args(words[:end])
    args.shape = args.shape or (flavors_model.DEMO_SHAPE if args.flavors else "100m")
    telemetry.silence()
    try:
        if args.image:
            found = images.measure(words[end + 1 :], args.starts, args.peer)
            print(images.as_json(found) if args.json else found.markdown())
            return 0
        if args.make_model:
            print(subject.of_shape(args.shape, args.out))
            return 0
        if args.flavors:
            flavors = _flavors(args)
            print(json.dumps(flavors.json(), indent=2) if args.json else flavors.markdown())
            return 0
        if args.bars or args.peer:
            bars = _bars(args)
            print(json.dumps(bars.json(), indent=2) if args.json else bars.markdown())
            return 0
        with tempfile.TemporaryDirectory(prefix="phial-bench-") as scratch:
            report = measure(find(args, Path(scratch)), args, Path(scratch))
    except FAILURES as failure:
        print(f"bench: {failure}", file=sys.stderr)
        return FAILED
    print(json.dumps(report.json(), indent=2) if args.json else report.markdown())
    print(verdict(report), file=sys.stderr)
    return 0


def parser() -> argparse.ArgumentParser:
    """The parser of the command line."""
    plan = Plan()
    whole = argparse.ArgumentParser(prog="scripts/bench", description=__doc__)
    add = whole.add_argument
    what = whole.add_mutually_exclusive_group()
    what.add_argument("--bundle", type=Path, metavar="DIR", help="measure this bundle")
    what.add_argument("--model", type=Path, metavar="DIR", help="measure this ONNX model folder")
    what.add_argument(
        "--image",
        action="store_true",
        help="measure the image of the demo model; what follows -- goes to `build image`",
    )
    what.add_argument(
        "--flavors",
        action="store_true",
        help="measure both flavors and `mlflow models serve` on one model (default: the demo)",
    )
    what.add_argument("--make-model", action="store_true", help="only make the model of --shape")
    add(
        "--peer",
        default="",
        metavar="llama.cpp|IMAGE",
        help="measure the bars against llama.cpp; with --image: another to hold against it",
    )
    add(
        "--bars",
        type=_bar_names,
        default=(),
        metavar="NAME,NAME",
        help=f"measure these bars alone: {', '.join(selection.BARS)}",
    )
    add("--cache", type=Path, default=source.cache(), metavar="DIR", help="of llama.cpp")
    add("--flash-attn", choices=("on", "off", "both"), default="both", help="of llama.cpp")
    add("--shape", choices=SHAPES, help="of the random model (100m)")
    add("--dtype", choices=DTYPES, default="bfloat16", help="with --flavors: of the pipeline")
    add(
        "--image-of",
        type=_image,
        action="append",
        default=[],
        metavar="FLAVOR=IMAGE",
        help="with --flavors: an image whose size is shown; may be repeated",
    )
    add("--out", type=Path, metavar="DIR", help="where --make-model writes (.cache/bench/SHAPE)")
    add("--rounds", type=_count, default=plan.rounds, metavar="N", help="(%(default)s)")
    add("--clients", type=_counts, default=plan.clients, metavar="N,N", help="(1,4,8)")
    add("--new-tokens", type=_count, default=plan.new_tokens, metavar="N", help="(%(default)s)")
    add("--prompt-tokens", type=_count, default=plan.long_prompt_tokens, metavar="N")
    add("--threads", type=_count, default=cpu.threads(cpu.quota_cores()), metavar="N")
    add("--starts", type=_count, default=5, metavar="N", help="timed starts (%(default)s)")
    add("--idle-s", type=float, default=10.0, metavar="S", help="idle time watched (%(default)s)")
    add("--set", type=_setting, action="append", default=[], metavar="EDGE_X=V", help="a setting")
    add("--json", action="store_true", help="print every sample as JSON instead of tables")
    return whole


def find(args: argparse.Namespace, scratch: Path) -> Subject:
    """The bundle to measure; a model folder is exported to one first."""
    if args.bundle:
        return subject.open_(args.bundle.resolve())
    folder = args.model or subject.of_shape(args.shape)
    return subject.open_(subject.export(folder, scratch / "bundle"))


def measure(what: Subject, args: argparse.Namespace, scratch: Path) -> Report:
    """Start both sides and run the rounds."""
    plan = dataclasses.replace(
        Plan(),
        rounds=args.rounds,
        clients=args.clients,
        new_tokens=args.new_tokens,
        long_prompt_tokens=args.prompt_tokens,
    )
    most = max(plan.long_prompt_tokens + 1, plan.short_prompt_tokens + plan.new_tokens)
    if most > what.context_length:
        raise NoSubject(f"the plan needs {most} tokens of context, {what.context_length} are there")
    settings = {
        "EDGE_THREADS": str(args.threads),
        "EDGE_SLOTS": str(max(plan.clients)),
        **dict(args.set),
    }
    start_s = footprint.starts(what, args.threads, settings, args.starts, scratch)
    with (
        sides.bare(what.folder, args.threads, scratch / "bare.log") as bare,
        sides.served(what.bundle, settings, scratch / "appliance.log") as served,
    ):
        family = [*processes.family(served.process.pid), bare.process.pid]
        watch = machine.Watch(lambda: processes.cpu_s(family) + processes.own_cpu_s())
        idle = footprint.idle(bare, served, args.idle_s)
        bench = Bench(plan, bare, served, what)
        samples = bench.run(lambda number: _say(f"round {number} of {plan.rounds}"))
        worker = footprint.worker_memory(served)
        found = Footprint(start_s, idle, worker, processes.memory(bare.process.pid))
        seen = watch.read()
    return Report(what, seen, plan, args.threads, settings, bench.is_endless, samples, found)


def _bars(args: argparse.Namespace) -> BarsReport:
    """Measure the bars that were asked for, all where none was named."""
    if args.peer not in ("", run.PEER):
        raise NoPeer(f"--peer is {args.peer!r}, expected {run.PEER} (or an image, with --image)")
    if args.bundle or args.model:
        raise NoSubject("bars are measured on the random model of --shape alone")
    flash = ("on", "off") if args.flash_attn == "both" else (args.flash_attn,)
    plan = BarsPlan(
        rounds=args.rounds,
        threads=args.threads,
        clients=max(args.clients),
        flash_attention=flash,
        settings=dict(args.set),
    )
    peer = run.llama_cpp(args.shape, args.cache, _say) if args.peer else None
    with tempfile.TemporaryDirectory(prefix="phial-bench-") as scratch:
        names = args.bars or tuple(selection.BARS)
        return run.measure(names, plan, args.shape, peer, Path(scratch), _say)


def _flavors(args: argparse.Namespace) -> FlavorsReport:
    """Make the model in its three forms and measure them."""
    plan = FlavorsPlan(
        rounds=args.rounds,
        clients=max(args.clients),
        prompt_tokens=args.prompt_tokens,
        new_tokens=args.new_tokens,
        starts=args.starts,
    )
    settings = {
        "EDGE_THREADS": str(args.threads),
        "EDGE_SLOTS": str(plan.clients),
        **dict(args.set),
    }
    with tempfile.TemporaryDirectory(prefix="phial-bench-") as folder:
        scratch = Path(folder)
        _say(f"making and logging the model ({args.shape})")
        made = flavors_model.make(args.shape, args.dtype, scratch)
        found = flavors_run.measure(made, plan, settings, scratch, _say)
    for flavor, image in args.image_of:
        found.samples[flavor].image_bytes = images.size_bytes(image)
    return found


def verdict(report: Report) -> str:
    """Whether the bar of single-stream decode is met, in a line."""
    share = report.decode_share
    if share is None:
        return "bench: no round with one client: nothing to hold against the bar"
    met = "met" if share >= BAR else "missed"
    return f"bench: single-stream decode {share:.1%} of the bare loop, bar {BAR:.0%}: {met}"


def _say(text: str) -> None:
    print(f"bench: {text}", file=sys.stderr, flush=True)


def _count(text: str) -> int:
    value = int(text)
    if value < 1:
        raise argparse.ArgumentTypeError(f"{text}, expected a whole number from 1 on")
    return value


def _setting(text: str) -> tuple[str, str]:
    name, equals, value = text.partition("=")
    if not name.startswith(config.PREFIX) or not equals:
        raise argparse.ArgumentTypeError(f"{text!r}, expected {config.PREFIX}NAME=VALUE")
    return name, value


def _image(text: str) -> tuple[str, str]:
    flavor, equals, image = text.partition("=")
    if flavor not in FLAVORS or not equals:
        raise argparse.ArgumentTypeError(f"{text!r}, expected {' or '.join(FLAVORS)}=IMAGE")
    return flavor, image


def _bar_names(text: str) -> tuple[str, ...]:
    try:
        return selection.chosen(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from error


def _counts(text: str) -> tuple[int, ...]:
    return tuple(sorted({_count(part) for part in text.split(",")}))


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(TERMINATED))  # what was started ends with us
    sys.exit(main())
