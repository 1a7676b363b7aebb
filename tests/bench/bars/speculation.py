"""What drafts from the text itself bring: the same requests with and without speculation."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import ExitStack

from edge import config
from tests.bench import subject
from tests.bench.bars.row import Outcome, Row, at_least, unmeasured
from tests.bench.bars.samples import Samples, ratio, take
from tests.bench.bars.side import Server
from tests.bench.bars.stage import Stage
from tests.bench.client import Stream
from tests.bench.subject import Subject

SETTING = "EDGE_SPECULATION"
OFF, ON = "0", "1"
DEMO = subject.ROOT / "build" / "demo" / "model"
UNIT = "tokens/s"
ANSWER_TOKENS = 96
_REFUSAL = (
    "I don't know. I was only taught capitals, continents, small sums, units and a few jokes."
)
_THINGS = ("gold", "rain", "a clock", "glass", "the wind", "a bridge", "paper", "salt")


def measure(stage: Stage) -> Outcome:
    """Quoting by the demo model, and the loops that greedy random weights fall into."""
    what = "decode with speculation, against without"
    if SETTING not in {name for name, _, _ in config.describe()}:
        return Outcome([unmeasured(what, "", f"there is no setting {SETTING}")])
    demo = subject.open_(subject.export(DEMO, stage.scratch / "demo"))
    rows: list[Row] = []
    samples: dict[str, Samples] = {}
    for task, chosen in (("quoting, demo model", demo), ("repeating itself", stage.subject)):
        found = _rates(stage, chosen)
        rows.append(at_least(f"{what}: {task}", ratio(found, ON, OFF), None, UNIT))
        samples[f"{what}: {task}, {UNIT}"] = found
    return Outcome(rows, samples)


def quoting(number: int) -> str:
    """A chat of the demo model whose next answer stands in it several times; they differ."""
    asked = [_THINGS[(number + i) % len(_THINGS)] for i in range(4)]
    turns = [f"<|user|>\nhow does {thing} work?<|end|>\n<|assistant|>\n" for thing in asked]
    return f"{_REFUSAL}<|end|>\n".join(turns)


def rate(stream: Stream) -> float:
    """Tokens a second of one answer from its request on: drafts may bring it in one burst."""
    return stream.tokens / stream.moments[-1]


def _rates(stage: Stage, chosen: Subject) -> Samples:
    with ExitStack() as stack:
        servers = {
            value: stack.enter_context(
                stage.another_phial({SETTING: value}, name=value, subject=chosen)
            )
            for value in (OFF, ON)
        }
        numbers = {value: iter(range(stage.plan.rounds)) for value in servers}
        prompts = _prompts(stage, chosen)
        return take(
            {
                value: lambda value=value: _asked(servers[value], prompts[next(numbers[value])])
                for value in servers
            },
            stage.plan.rounds,
        )


def _prompts(stage: Stage, chosen: Subject) -> list[Mapping[str, object]]:
    """One for each round, the same for both sides: what is drafted hangs on the text."""
    if chosen is not stage.subject:
        return [{"prompt": quoting(number)} for number in range(stage.plan.rounds)]
    drawn = stage.prompts(stage.plan.rounds, stage.plan.depths[0])
    return [{"prompt": prompt} for prompt in drawn]


def _asked(server: Server, prompt: Mapping[str, object]) -> float:
    body = {**server.body, **prompt, "max_tokens": ANSWER_TOKENS}
    return rate(server.served.address.stream(body))
