"""Python's share of a decode step with many rows, in the engine itself."""

from __future__ import annotations

import json
import subprocess
import sys
from statistics import median

from tests.bench import sides
from tests.bench.bars.row import Outcome, share
from tests.bench.bars.stage import Stage
from tests.bench.sides import NotStarted

BAR = 0.05


def measure(stage: Stage) -> Outcome:
    """The median step, once a round in a new process; no server, no scheduler."""
    plan = stage.plan
    found: dict[str, list[float]] = {"share": [], "step, ms": []}
    for _ in range(plan.rounds):
        timed = _steps(stage)
        pairs = list(zip(timed["step_s"], timed["run_s"], strict=True))
        found["share"].append(median((step - run) / step for step, run in pairs))
        found["step, ms"].append(1000 * median(timed["step_s"]))
    what = f"Python's share of a step at batch {plan.clients}"
    more = f"of {median(found['step, ms']):.1f} ms"
    return Outcome([share(what, median(found["share"]), BAR, more)], {what: found})


def _steps(stage: Stage) -> dict[str, list[float]]:
    plan = stage.plan
    command = [sys.executable, "-m", "tests.bench.bars.steps", str(stage.subject.bundle)]
    for name, value in (
        ("rows", plan.clients),
        ("depth", plan.depths[0]),
        ("steps", plan.new_tokens),
    ):
        command += [f"--{name}", str(value)]
    environment = sides.environment(plan.environment)
    done = subprocess.run(
        command, cwd=sides.ROOT, env=environment, capture_output=True, text=True, check=False
    )
    if done.returncode:
        raise NotStarted(f"the engine cannot be timed:\n{done.stderr[-2000:]}")
    timed: dict[str, list[float]] = json.loads(done.stdout.splitlines()[-1])
    return timed
