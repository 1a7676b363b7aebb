import pytest

from tests.bench.bars import prompt
from tests.bench.bars.fakes import OFF, ON, FakeSide, FakeStage, row
from tests.bench.bars.row import MET, MISSED, UNMEASURED
from tests.bench.pairs import TooFast


def test_prefill_is_tokens_over_the_time_to_the_first_of_the_answer():
    ours, slow = FakeSide("Phial", token_s=0.001), FakeSide(ON, token_s=0.0012)
    loop = FakeSide("OGA's loop", token_s=0.002)
    found = prompt.prefill(FakeStage(ours, [slow, FakeSide(OFF, token_s=9.0)], loop, prefill=512))
    assert row(found, "OGA").found == "2.00x (2.00 to 2.00); 1000 against 500 tokens/s"
    assert row(found, "OGA").verdict == MET
    assert (row(found, ON).found[:5], row(found, ON).verdict) == ("1.20x", MISSED)
    assert set(ours.calls) == {(1, 512, 1)}


def test_a_cached_history_is_paid_for_once():
    ours = FakeSide("Phial", caches=True)
    peers = [FakeSide(ON, caches=True, token_s=0.002), FakeSide(OFF)]
    found = prompt.history(FakeStage(ours, peers, history=1000, added=30))
    own = row(found, "warm against cold")
    assert own.found == "0.03x (0.03 to 0.03); 0.03 against 1.03 s, 1000 tokens cached"
    assert own.verdict == MET
    assert (row(found, ON).found[:5], row(found, ON).verdict) == ("0.50x", MET)
    assert set(ours.calls) == {(1, 1030, 1)}
    assert len(ours.calls) == 2 * 3


def test_without_a_cache_the_history_is_paid_for_twice():
    found = prompt.history(FakeStage())
    own = row(found, "warm against cold")
    assert own.found.startswith("1.00x")
    assert "0 tokens cached" in own.found
    assert own.verdict == MISSED
    assert row(found, "llama.cpp").verdict == UNMEASURED


def test_the_worst_gap_counts_in_median_gaps(monkeypatch):
    monkeypatch.setattr(prompt, "UNDISTURBED_S", 0.01)
    ours = FakeSide("Phial", gaps=(0.01, 0.03, 0.01))
    peer = FakeSide(ON, gaps=(0.01, 1.0, 0.01))
    found = prompt.arrival(FakeStage(ours, [peer], arriving=1500, running=64, rounds=2))
    own, other = found.rows
    assert (own.found, own.bar, own.verdict) == ("3.00x (3.00 to 3.00)", "<= 5x", MET)
    assert other.found.startswith("100.00x")
    assert other.verdict == ""
    assert sorted(ours.calls) == [(1, 32, 64)] * 2 + [(1, 1500, 1)] * 2


def test_a_stall_misses_the_bar(monkeypatch):
    monkeypatch.setattr(prompt, "UNDISTURBED_S", 0.01)
    ours = FakeSide("Phial", gaps=(0.01, 0.07, 0.01))
    assert prompt.arrival(FakeStage(ours)).rows[0].verdict == MISSED


def test_a_stream_that_ended_before_the_prompt_came_is_no_measurement(monkeypatch):
    monkeypatch.setattr(prompt, "UNDISTURBED_S", 0.2)
    with pytest.raises(TooFast, match="had ended"):
        prompt.arrival(FakeStage(FakeSide("Phial", gaps=(0.01,))))
