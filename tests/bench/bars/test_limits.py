from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.bench.bars import limits
from tests.bench.bars.fakes import FakeSide, FakeStage, row
from tests.bench.bars.quota import Group, NoGroup
from tests.bench.bars.row import MET, MISSED, UNMEASURED


@pytest.fixture(autouse=True)
def two_cores(monkeypatch):
    monkeypatch.setattr(limits.cpu, "quota_cores", lambda: 2.0)


class Limited(FakeStage):
    """Its appliances run at the speed that `speeds` has for their names."""

    def __init__(self, speeds, **plan):
        super().__init__(FakeSide("Phial", (100.0,)), **plan)
        self.speeds, self.started = speeds, []

    @contextmanager
    def another_phial(self, settings, *, name, group):
        self.started.append((name, settings, group))
        yield FakeSide(name, (self.speeds[name],))


@contextmanager
def group(cores):
    yield Group(Path(f"/g/{cores}"), Path("/g"))


def test_a_quota_owes_its_part_of_the_unlimited_speed(monkeypatch):
    monkeypatch.setattr(limits.quota, "limited", group)
    stage = Limited({"0.5 CPUs": 24.0, "1 CPUs": 44.0, "1.5 CPUs": 80.0})
    found = limits.measure(stage)
    half, one, most = (row(found, f"with {cores} CPUs") for cores in ("0.5", "1", "1.5"))
    assert (half.found, half.verdict) == ("0.96x (0.96 to 0.96); 24 against 25 tokens/s", MET)
    assert (one.found[:5], one.bar, one.verdict) == ("0.88x", ">= 0.9x", MISSED)
    assert (most.found[:5], most.verdict) == ("1.07x", MET)


def test_each_runs_in_its_group_and_counts_its_threads_itself(monkeypatch):
    monkeypatch.setattr(limits.quota, "limited", group)
    stage = Limited({"0.5 CPUs": 24.0}, quotas=(0.5,))
    limits.measure(stage)
    ((name, settings, where),) = stage.started
    assert (name, where.folder) == ("0.5 CPUs", Path("/g/0.5"))
    assert settings == {"EDGE_THREADS": "auto"}


def test_a_quota_of_all_cores_is_no_limit(monkeypatch):
    monkeypatch.setattr(limits.quota, "limited", group)
    found = limits.measure(Limited({"1 CPUs": 50.0}, quotas=(1.0, 2.0, 4.0)))
    assert [one.found[:5] for one in found.rows] == ["1.00x"]


def test_where_groups_cannot_be_made_every_row_says_why(monkeypatch):
    def refuse(_):
        raise NoGroup("the tree is read-only")

    monkeypatch.setattr(limits.quota, "limited", refuse)
    found = limits.measure(Limited({}))
    assert [one.verdict for one in found.rows] == [UNMEASURED] * 3
    assert {one.found for one in found.rows} == {"the tree is read-only"}
    assert found.samples == {}
