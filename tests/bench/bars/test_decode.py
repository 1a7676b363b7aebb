import pytest

from tests.bench.bars import decode
from tests.bench.bars.fakes import OFF, ON, FakeSide, FakeStage, row
from tests.bench.bars.row import MET, MISSED, UNMEASURED


def stage(ours=100.0, **rest):
    peers = (FakeSide(ON, (80.0,), 150.0), FakeSide(OFF, (99.0,), 120.0))
    sides = {"loop": FakeSide("OGA's loop", (50.0,)), "stock": FakeSide("stock", (40.0,))}
    return FakeStage(FakeSide("Phial", (ours,), 300.0), peers, **{**sides, **rest})


def test_every_side_decodes_at_every_depth():
    on_stage = stage(depths=(32, 300), new_tokens=16, rounds=2)
    outcome = decode.one(on_stage)
    for side in (on_stage.phial, *on_stage.peers.values(), on_stage.loop, on_stage.stock_loop):
        assert side.calls == [(1, 32, 16)] * 2 + [(1, 300, 16)] * 2
    assert len(outcome.samples) == 2
    for samples in outcome.samples.values():
        assert {len(values) for values in samples.values()} == {2}


def test_the_peer_counts_with_its_best_setting():
    found = decode.one(stage())
    assert row(found, "depth 32", OFF).found.startswith("1.01x")
    assert [one for one in found.rows if ON in one.measure] == []


@pytest.mark.parametrize(
    ("ours", "shallow", "deep"),
    [(90.0, MISSED, MISSED), (100.0, MET, MISSED), (124.0, MET, MET)],
)
def test_the_bar_against_the_peer_rises_with_the_depth(ours, shallow, deep):
    found = decode.one(stage(ours))
    assert row(found, "depth 32", "llama").verdict == shallow
    assert row(found, "depth 300", "llama").verdict == deep


@pytest.mark.parametrize(("ours", "verdict"), [(75.0, MISSED), (76.0, MET)])
def test_the_stock_export_has_a_bar_and_the_same_export_has_none(ours, verdict):
    found = decode.one(stage(ours, depths=(32,)))
    assert row(found, "against stock").verdict == verdict
    assert row(found, "against OGA's loop").bar == ""


def test_without_a_peer_that_row_says_so():
    found = decode.one(FakeStage(depths=(32,)))
    lacking = row(found, "llama.cpp")
    assert (lacking.verdict, lacking.bar) == (UNMEASURED, ">= 1x")
    assert "--peer" in lacking.found
    assert row(found, "OGA's loop").found.startswith("1.00x")


def test_many_streams_are_held_against_one_and_against_the_peer():
    on_stage = stage(clients=8, new_tokens=16)
    found = decode.together(on_stage)
    alone = row(found, "one stream of its own")
    assert (alone.found[:5], alone.bar, alone.verdict) == ("3.00x", ">= 2.4x", MET)
    best = row(found, "as many slots")
    assert (best.found[:5], best.verdict) == ("2.00x", MET)
    assert {call[0] for call in on_stage.phial.calls} == {1, 8}
    assert {call[0] for call in on_stage.peers[ON].calls} == {8}


def test_streams_that_do_not_add_up_miss_both_bars():
    found = decode.together(FakeStage(FakeSide("Phial", (100.0,), 101.0), [FakeSide(ON)]))
    assert [one.verdict for one in found.rows] == [MISSED, MISSED]


def test_many_streams_without_a_peer():
    found = decode.together(FakeStage())
    assert row(found, "as many slots").verdict == UNMEASURED
