import json

import pytest

from tests.bench.bars.plan import Plan
from tests.bench.bars.report import Measured, Report
from tests.bench.bars.row import MET, Outcome, Row
from tests.bench.machine import Machine


def machine(others):
    return Machine("Some CPU", 2.0, 8 << 30, "3.11.7", {"lib": "1.2"}, 0.1, 2.2, others, 61.7)


@pytest.fixture
def report():
    decode = Outcome(
        [Row("decode", "1.20x", ">= 1x", MET)], {"decode, tokens/s": {"Phial": [90.0, 100.0, 95.0]}}
    )
    memory = Outcome([Row("peak RSS", "1,500 MB", "<= 1,600 MB: all", MET)])
    return Report(
        model="a toy of 1 M parameters",
        peer="llama.cpp of x 1.2",
        plan=Plan(rounds=3, settings={"EDGE_SPIN": "0"}),
        bars={"decode": Measured(decode, machine(0.3)), "memory": Measured(memory, machine(0.0))},
    )


def test_the_table_has_measure_found_bar_and_verdict(report):
    lines = report.markdown().splitlines()
    head = lines.index("| measure | found | bar | verdict |")
    assert lines[head + 2 : head + 4] == [
        "| decode | 1.20x | >= 1x | met |",
        "| peak RSS | 1,500 MB | <= 1,600 MB: all | met |",
    ]


def test_the_figures_behind_it_are_medians_with_their_range(report):
    assert "| decode, tokens/s | Phial | 95 | 90 | 100 |" in report.markdown().splitlines()


def test_the_conditions_name_everything_that_figures_depend_on(report):
    text = report.markdown().split("|")[0]
    for part in (
        *("a toy of 1 M parameters", "llama.cpp of x 1.2", "lib 1.2", "2 threads", "3 rounds"),
        *("EDGE_SLOTS=8 EDGE_SPECULATION=0 EDGE_SPIN=0 EDGE_THREADS=2", "Some CPU, 2 cores, 8 GiB"),
        *("decode 0.30", "memory 0.00"),
    ):
        assert part in text


def test_json_holds_every_row_and_sample(report):
    found = json.loads(json.dumps(report.json()))
    decode = found["bars"]["decode"]
    assert decode["outcome"]["samples"]["decode, tokens/s"]["Phial"] == [90.0, 100.0, 95.0]
    assert decode["outcome"]["rows"][0]["verdict"] == "met"
    assert decode["machine"]["other_cores"] == 0.3
    assert found["plan"]["rounds"] == 3
