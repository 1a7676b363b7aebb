import json
from pathlib import Path

import pytest

from tests.bench.footprint import Footprint, Idle
from tests.bench.machine import Machine
from tests.bench.processes import Memory
from tests.bench.report import Report, table
from tests.bench.subject import Subject
from tests.bench.workload import Both, Load, Plan, Samples

MIB = 1 << 20


def memory(mib):
    return Memory(mib * MIB, (mib - 1) * MIB, (mib + 10) * MIB)


def load(decode, prefill):
    return Load(
        decode=Both([100.0, 100.0, 100.0], [decode] * 3),
        prefill=Both([200.0, 400.0, 800.0], [prefill] * 3),
        first_s=Both([0.01], [0.0125]),
        long_first_s=Both([0.5], [0.75]),
        gap_s=[0.02, 0.03, 0.01],
    )


@pytest.fixture
def report():
    machine = Machine("Some CPU", 2.0, 8 << 30, "3.11.7", {"lib": "1.2"}, 0.1, 2.2, 0.34, 61.7)
    return Report(
        subject=Subject(Path("/somewhere/b"), "toy", "a toy of 1 M parameters", 10**6, 9, 64, (0,)),
        machine=machine,
        plan=Plan(rounds=3, clients=(1, 4)),
        threads=2,
        settings={"EDGE_SLOTS": "4", "EDGE_THREADS": "2"},
        is_endless=False,
        samples=Samples({1: load(97.0, 300.0), 4: load(210.0, 100.0)}, Both([0.01], [0.0134])),
        footprint=Footprint(
            start_s=Both([0.5], [0.75]),
            idle=Idle(memory(26), memory(160), memory(120), 0.004, 0.0, 10.0),
            worker=memory(500),
            bare=memory(700),
        ),
    )


def rows(text):
    """The cells of every table row, by the first of them."""
    lines = [line.strip("|").split("|") for line in text.splitlines() if line.startswith("|")]
    return {cells[0].strip(): [cell.strip() for cell in cells[1:]] for cells in lines}


def test_a_table_is_markdown():
    assert table(("a", "b"), [("x", "1"), ("y", "2")]) == (
        "| a | b |\n| --- | ---: |\n| x | 1 |\n| y | 2 |"
    )


def test_rates_stand_beside_each_other_with_the_ratio_of_pairs(report):
    found = rows(report.markdown())
    decode, prefill = found["1"][:3], found["1"][3:]
    assert decode == ["100.0", "97.0", "97.0% (97% to 97%)"]
    assert prefill == ["400.0", "300.0", "75.0% (38% to 150%)"]
    assert found["4"][:3] == ["100.0", "210.0", "210.0% (210% to 210%)"]


def test_times_are_in_milliseconds_with_what_the_server_adds(report):
    found = rows(report.markdown())
    assert found["whole request, prompt of 32, one token, not streamed"] == ["10.0", "13.4", "3.4"]
    assert found["to the first token, prompt of 512, 4 clients"] == ["500.0", "750.0", "250.0"]
    assert found["between two tokens, 99 of 100, 1 client"] == ["", "20.0", ""]


def test_costs_name_worker_and_arbiter(report):
    found = rows(report.markdown())
    assert found["process start to ready, s"] == ["0.50", "0.75"]
    assert found["RSS before the first request, MiB"] == ["120", "160 + 26 arbiter"]
    assert found["PSS before the first request, MiB"] == ["119", "159 + 25 arbiter"]
    assert found["RSS peak, MiB"] == ["710", "510 + 36 arbiter"]
    assert found["CPU while idle, % of a core"] == ["0.00%", "0.40%"]


def test_the_conditions_name_everything_that_figures_depend_on(report):
    text = report.markdown().split("|")[0]
    for part in ("a toy of 1 M parameters", "2 threads", "lib 1.2", "EDGE_SLOTS=4 EDGE_THREADS=2"):
        assert part in text
    for part in ("Some CPU, 2 cores, 8 GiB", "0.34 cores", "62 s", "3 rounds"):
        assert part in text
    assert "suppressed" not in text


def test_every_table_row_has_as_many_cells_as_its_head(report):
    lines = report.markdown().splitlines()
    blocks = "\n".join(line if line.startswith("|") else "" for line in lines).split("\n\n")
    for block in filter(None, (block.strip() for block in blocks)):
        assert len({line.count("|") for line in block.splitlines()}) == 1


def test_json_holds_every_sample_and_no_path(report):
    found = json.loads(json.dumps(report.json()))
    assert found["decode_share"] == pytest.approx(0.97)
    assert found["samples"]["loads"]["4"]["decode"]["served"] == [210.0] * 3
    assert found["machine"]["other_cores"] == 0.34
    assert found["subject"]["bundle"] == "b"
    assert "/somewhere" not in json.dumps(found)


def test_without_a_single_client_there_is_no_share(report):
    del report.samples.loads[1]
    assert report.decode_share is None
