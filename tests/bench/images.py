"""`scripts/bench --image`: what the image of the demo model costs: size, build, start, memory."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from statistics import median

from build.oci import graph, image, layer
from build.oci.store import Store
from scripts import container
from scripts.container import Container
from scripts.conversation import Conversation
from tests.bench import processes
from tests.bench.report import table

ROOT = Path(__file__).resolve().parents[2]
DEMO = ROOT / "build" / "demo" / "model"
TAG = "phial-bench:latest"
CPUS = "1"
_READY_S = 120.0
_SETTLE_S = 1.0
MB = 1e6
BARS = {"amd64": (45, 38), "arm64": (40, 34)}


class NoImage(Exception):
    """The image could not be built or run; the text is for the user."""


@dataclass(frozen=True, slots=True)
class Start:
    """Seconds from `run` to a 200 of /readyz, and what they went into."""

    total_s: float
    engine_s: float
    import_s: float
    load_s: float
    warm_up_s: float


@dataclass(frozen=True, slots=True)
class Measured:
    """Sizes are bytes without the weights: architecture -> (plain, gzip, zstd)."""

    tool: str
    sizes: dict[str, tuple[int, int, int]]
    build_s: tuple[float, float]
    starts: list[Start]
    rss_bytes: list[int]
    peer_bytes: int = 0

    def markdown(self) -> str:
        """The tables that the documents show."""
        return "\n\n".join([table(*_sizes(self)), table(*_costs(self))]) + "\n"


def measure(options: Sequence[str], starts: int, peer: str = "") -> Measured:
    """Build twice, run `starts` times. `options` go to every `python -m build image`."""
    with tempfile.TemporaryDirectory(prefix="phial-bench-") as scratch:
        folder = Path(scratch)
        first_s = build(f"oci:{folder / 'first'}", options)
        warm_s = build(f"oci:{folder / 'gzip'}", options)
        build(f"oci:{folder / 'zstd'}", [*options, "--compression", "zstd"])
        sizes = dict(zipped(folder / "gzip", folder / "zstd"))
    build("local", options)
    tool = container.find()
    runs = [once(tool) for _ in range(starts)]
    peer_bytes = size_bytes(peer) if peer else 0
    found = [start for start, _ in runs], [rss for _, rss in runs]
    return Measured(tool, sizes, (first_s, warm_s), *found, peer_bytes)


def size_bytes(image: str) -> int:
    """The plain size of an image that the container tool has."""
    return int(container.ask(container.find(), "inspect", "--format", "{{.Size}}", image))


def build(to: str, options: Sequence[str]) -> float:
    """Seconds that a build of both architectures took (of this machine's one for `local`)."""
    command = [sys.executable, "-m", "build", "image", str(DEMO), "--tag", TAG, "--to", to]
    began_s = time.monotonic()
    done = subprocess.run(
        [*command, *options], cwd=ROOT, capture_output=True, text=True, check=False
    )
    if done.returncode:
        raise NoImage(f"{' '.join(command[2:])} failed:\n{done.stderr}")
    return time.monotonic() - began_s


def zipped(gzip: Path, zstd: Path) -> Iterator[tuple[str, tuple[int, int, int]]]:
    """Architecture and sizes of the layers below the weights, from the two layouts."""
    small, smaller = dict(_layers(gzip)), dict(_layers(zstd))
    for arch, parts in small.items():
        store = Store(gzip)
        plain = sum(layer.plain_size(store, part) for part in parts)
        sizes = [sum(p.descriptor.size_bytes for p in found) for found in (parts, smaller[arch])]
        yield arch, (plain, sizes[0], sizes[1])


def _layers(folder: Path) -> Iterator[tuple[str, tuple[layer.Layer, ...]]]:
    store = Store(folder)
    index = store.list()[0]
    for manifest in graph.children(index, store.read_json(index)):
        found = image.read(store, manifest)
        yield found.platform.architecture, found.layers[:-1]


def once(tool: str) -> tuple[Start, int]:
    """One start under a quota of one CPU, and the memory once it is idle."""
    began_s = time.time()
    with container.running(tool, TAG, ["--cpus", CPUS, "--read-only"]) as found:
        talk = Conversation("127.0.0.1", found.port)
        while not talk.is_ready():
            if time.time() - began_s > _READY_S:
                raise NoImage(f"not ready after {_READY_S:g} s:\n{found.logs()}")
            time.sleep(0.005)
        ready_s = time.time()
        time.sleep(_SETTLE_S)
        return _start(found, began_s, ready_s), _rss(found)


def _start(found: Container, began_s: float, ready_s: float) -> Start:
    started_s = _time(_state(found, "StartedAt"))
    entries = [json.loads(line) for line in found.logs().splitlines() if line.startswith("{")]
    greeting = next(e for e in entries if e["message"].startswith("Starting gunicorn"))
    ready = next(e for e in entries if e["message"] == "model ready")
    load_s, warm_up_s = float(ready["load_s"]), float(ready["warm_up_s"])
    worker_s = _time(ready["time"]) - _time(greeting["time"]) - load_s - warm_up_s
    import_s = _time(greeting["time"]) - started_s + worker_s
    return Start(ready_s - began_s, started_s - began_s, import_s, load_s, warm_up_s)


def _rss(found: Container) -> int:
    family = processes.family(int(_state(found, "Pid")))
    return sum(processes.memory(pid).rss_bytes for pid in family)


def _state(found: Container, name: str) -> str:
    words = ("inspect", "--format", f"{{{{json .State.{name}}}}}", found.name)
    return container.ask(found.tool, *words).strip('"')


def _time(text: str) -> float:
    head, _, rest = text.partition(".")
    digits = "".join(c for c in rest[:9] if c.isdigit())[:6]
    zone = "+00:00" if text.endswith("Z") or "+" not in rest else rest[rest.index("+") :]
    return datetime.fromisoformat(f"{head.rstrip('Z')}.{digits or '0'}{zone}").timestamp()


def _sizes(found: Measured) -> tuple[Sequence[str], list[Sequence[str]]]:
    head = ("image without weights, MB", "plain", "gzip", "bar", "zstd", "bar")
    rows: list[Sequence[str]] = [
        (arch, *(f"{size / MB:.1f}" for size in (plain, gzip)), str(BARS[arch][0]),
         f"{zstd / MB:.1f}", str(BARS[arch][1]))
        for arch, (plain, gzip, zstd) in found.sizes.items()
    ]  # fmt: skip
    return head, rows


def _costs(found: Measured) -> tuple[Sequence[str], list[Sequence[str]]]:
    def middle(name: str) -> str:
        return f"{median(getattr(start, name) for start in found.starts):.2f}"

    rows: list[Sequence[str]] = [
        (f"`{found.tool} run --cpus {CPUS}` to /readyz, s", middle("total_s"), "2"),
        ("of it: the container engine, s", middle("engine_s"), ""),
        ("of it: Python and imports, s", middle("import_s"), ""),
        ("of it: loading the model, s", middle("load_s"), ""),
        ("of it: warm-up, s", middle("warm_up_s"), ""),
        ("RSS when idle, all processes, MB", f"{median(found.rss_bytes) / MB:.1f}", "110"),
        ("build of both architectures, warm cache, s", f"{found.build_s[1]:.1f}", "60"),
    ]
    if found.peer_bytes:
        largest = max(plain for plain, *_ in found.sizes.values())
        text = f"{found.peer_bytes / MB:.0f} MB, {found.peer_bytes / largest:.1f} times ours"
        rows.append(("an image of `mlflow models build-docker`, plain", text, "10 times"))
    return ("", "measured", "bar"), rows


def as_json(found: Measured) -> str:
    """Every sample."""
    from dataclasses import asdict

    return json.dumps({**asdict(found), "cores": os.cpu_count()}, indent=2)
