"""The table of the flavors and its bars."""

from __future__ import annotations

import json

import pytest

from tests.bench.flavors.plan import MLFLOW, PIPELINE, SIDES, SLIM, Plan, Samples
from tests.bench.flavors.report import Report
from tests.bench.machine import Machine

MIB = 1 << 20


def sample(scale: float, peak_mib: int, image_bytes: int = 0) -> Samples:
    return Samples(
        start_s=[4.0 / scale, 5.0 / scale],
        prefill=[100.0 * scale] * 2,
        decode_one=[10.0 * scale, 12.0 * scale],
        decode_all=[20.0 * scale, 30.0 * scale],
        peak_bytes=peak_mib * MIB,
        largest_bytes=peak_mib * MIB // 2,
        image_bytes=image_bytes,
    )


@pytest.fixture
def report():
    machine = Machine("Some CPU", 2.0, 8 << 30, "3.11.7", {"ort": "1"}, 0.1, 2.2, 0.3, 61.7)
    samples = {SLIM: sample(5, 100, 120_000_000), PIPELINE: sample(2, 300), MLFLOW: sample(1, 400)}
    return Report(
        "a toy in bfloat16", machine, Plan(rounds=2), {"EDGE_SLOTS": "8"}, samples, {"torch": "2"}
    )


def test_every_bar_says_what_was_found(report):
    assert [str(bar) for bar in report.bars()] == [
        "decode of 1 stream: 2.00 times, bar at least 1: met",
        "decode of 8: 2.00 times, bar at least 3: missed",
        "peak RSS: 0.75 times, bar at most 1: met",
        "start to ready: 0.50 times, bar at most 1: met",
    ]


def test_the_table_has_a_column_a_side(report):
    lines = report.markdown().splitlines()
    assert f"|  | {' | '.join(SIDES)} | pipeline to mlflow |" in lines
    assert "| image, MB | 120 | not given | not given |  |" in lines
    assert "| peak RSS, MiB | 100 | 300 | 400 | 0.75 |" in lines
    row = "| decode, 1 stream, tokens/s | 55.0 | 22.0 | 11.0 | 2.00 (2.00 to 2.00) |"
    assert row in lines


def test_the_conditions_name_what_figures_depend_on(report):
    text = report.conditions()
    for part in ("a toy in bfloat16", "EDGE_SLOTS=8", "ort 1, torch 2", "Some CPU", "0.30 cores"):
        assert part in text


def test_json_has_every_sample_and_the_bars(report):
    found = json.loads(json.dumps(report.json()))
    assert found["samples"]["mlflow"]["decode_one"] == [10.0, 12.0]
    assert [bar["is_met"] for bar in found["bars"]] == [True, False, True, True]
