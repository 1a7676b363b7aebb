import json
import subprocess
import sys

import pytest

from edge.engine.base import Step
from edge.errors import EngineFailed
from tests.bench import sides, subject
from tests.bench.bars import interpreter, memory, roofline, speculation, steps
from tests.bench.bars.fakes import FakeStage, row
from tests.bench.bars.plan import Plan
from tests.bench.bars.row import UNMEASURED
from tests.bench.bars.stage import PHIAL, Peer, Stage
from tests.bench.client import Stream
from tests.bench.peer import stub

PLAN = Plan(
    rounds=2,
    threads=1,
    clients=2,
    depths=(8, 16),
    new_tokens=128,
    prefill=16,
    history=24,
    added=4,
    arriving=32,
    running=24,
    held=1000,
    settings={"EDGE_LOG_LEVEL": "warning"},
)


@pytest.fixture(scope="module")
def demo(demo_model, tmp_path_factory):
    return subject.open_(subject.export(demo_model, tmp_path_factory.mktemp("bars") / "bundle"))


@pytest.fixture(scope="module")
def stage(demo, tmp_path_factory):
    scratch = tmp_path_factory.mktemp("scratch")
    program = stub.install(scratch / "llama-server", sides.ROOT)
    peer = Peer(program, scratch / "m.gguf", "a stub")
    with Stage(PLAN, demo, demo.folder, peer, scratch, is_endless=True) as started:
        yield started


def test_nothing_is_started_before_it_is_asked_for(demo, tmp_path):
    with Stage(PLAN, demo, None, None, tmp_path) as quiet:
        assert quiet.peers == {}
        assert quiet.stock_loop is None
    assert list(tmp_path.iterdir()) == []


def test_the_plan_says_how_much_context_the_peer_needs():
    assert PLAN.context_tokens == 16 + 128 + 64
    assert Plan().context_tokens == 1500 + 64
    assert Plan(depths=(2000,)).context_tokens == 2000 + 64 + 64


def test_all_sides_start_once_and_answer(stage):
    assert stage.phial is stage.phial
    flash = [f"llama.cpp, flash attention {value}" for value in ("on", "off")]
    assert list(stage.peers) == flash
    for side in (stage.phial, *stage.peers.values(), stage.loop, stage.stock_loop):
        assert side.decode(stage.prompts(1, 8), 256) > 0
        assert side.first_s(stage.prompts(1, 8)[0]) > 0


def test_the_appliance_has_the_settings_of_the_plan(stage):
    pid = stage.phial.served.process.pid
    with open(f"/proc/{pid}/environ", "rb") as variables:
        inside = dict(line.split(b"=", 1) for line in variables.read().split(b"\0") if line)
    assert inside[b"EDGE_SLOTS"] == b"2"
    assert inside[b"EDGE_THREADS"] == b"1"
    assert inside[b"EDGE_LOG_LEVEL"] == b"warning"
    assert stage.phial.name == PHIAL


def test_every_prompt_is_another(stage):
    drawn = stage.prompts(3, 64) + stage.prompts(3, 64)
    assert len({tuple(prompt) for prompt in drawn}) == 6
    assert {len(prompt) for prompt in drawn} == {64}
    assert not {token for prompt in drawn for token in prompt} & set(stage.subject.eos_ids)


def test_the_cpu_time_of_sides_counts_before_and_after_they_end(stage):
    before_s = stage.own_cpu_s()
    with stage.another_phial({}) as phial:
        phial.decode(stage.prompts(1, 8), 256)
        during_s = stage.own_cpu_s()
    assert before_s < during_s <= stage.own_cpu_s() + 0.05


def test_memory_is_that_of_a_new_appliance(stage):
    found = memory.measure(stage)
    (judged,) = found.rows
    # Two processes with a Python each; the model in the box is small and so is its cache.
    assert judged.measure.startswith("peak RSS with 2 streams of 1000 tokens")
    assert "KV 16, spare 150" in judged.bar
    assert found.samples["peak RSS, bytes"][PHIAL][0] > 20e6


@pytest.mark.parametrize(("late_s", "together"), [(0.0, True), (1.9, True), (2.0, False)])
def test_streams_ran_together_where_all_had_begun_before_one_ended(late_s, together):
    early = Stream((1.0, 2.0, 3.0), 3, "length")
    late = Stream((1.0 + late_s, 9.0), 2, "length")
    assert memory.ran_together([early, late]) is together


def test_the_roofline_compares_like_with_like(stage, monkeypatch):
    monkeypatch.setattr(roofline.bandwidth, "read", lambda threads: 20e9)
    monkeypatch.setattr(roofline.bandwidth, "copy", lambda threads: 10e9)
    (found,) = roofline.measure(stage).rows
    assert found.found.startswith("2 MB of weights a token")
    assert "(20.0 GB/s)" in found.found
    assert "(10.0 GB/s)" in found.found
    assert found.verdict == ""


def test_the_share_of_python_is_measured_in_the_engine(stage):
    found = interpreter.measure(stage)
    (samples,) = found.samples.values()
    assert len(samples["share"]) == PLAN.rounds
    assert all(0 < share < 1 for share in samples["share"])
    assert found.rows[0].bar == "<= 5%"


def test_steps_are_timed_with_the_runs_inside_them(demo):
    done = subprocess.run(
        [
            *(sys.executable, "-m", "tests.bench.bars.steps", str(demo.bundle)),
            *("--rows", "2", "--depth", "8", "--steps", "5"),
        ],
        cwd=sides.ROOT,
        env=sides.environment({"EDGE_SLOTS": "2", "EDGE_THREADS": "1"}),
        capture_output=True,
        text=True,
        check=True,
    )
    found = json.loads(done.stdout)
    assert len(found["step_s"]) == len(found["run_s"]) == 5
    assert all(0 < run < step for run, step in zip(found["run_s"], found["step_s"], strict=True))


def test_a_step_that_failed_is_not_timed():
    class Failing:
        def advance(self, rows):
            return [Step(error=EngineFailed("the runtime failed"))]

    with pytest.raises(EngineFailed, match="the runtime failed"):
        steps._advance(Failing(), [object()])


def test_an_engine_that_cannot_be_timed_says_why(stage, monkeypatch):
    monkeypatch.setattr(interpreter.sys, "executable", "/bin/false")
    with pytest.raises(sides.NotStarted, match="cannot be timed"):
        interpreter.measure(stage)


def test_without_the_setting_there_is_nothing_to_compare(monkeypatch):
    monkeypatch.setattr(speculation, "SETTING", "EDGE_NO_SUCH")
    (found,) = speculation.measure(FakeStage()).rows
    assert (found.verdict, found.found) == (UNMEASURED, "there is no setting EDGE_NO_SUCH")


def test_speculation_is_compared_on_both_texts(stage, monkeypatch):
    # Any setting with two values will do: what is tested is that both sides are asked.
    monkeypatch.setattr(speculation, "SETTING", "EDGE_SPIN")
    found = speculation.measure(stage)
    assert row(found, "quoting").found.endswith("tokens/s")
    assert row(found, "repeating").verdict == ""
    for samples in found.samples.values():
        assert {name: len(values) for name, values in samples.items()} == {"0": 2, "1": 2}


def test_the_quoted_answer_stands_in_the_prompt():
    first, second = speculation.quoting(0), speculation.quoting(1)
    assert first != second
    assert first.count("I don't know.") == 3
    assert first.endswith("<|assistant|>\n")


def test_a_rate_counts_tokens_that_come_together():
    stream = Stream((1.0, 2.0, 3.0), tokens=9, finish="stop")
    assert speculation.rate(stream) == 3.0
