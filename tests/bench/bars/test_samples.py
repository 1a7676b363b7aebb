import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.bench.bars.samples import greatest, least, ratio, take

RATES = st.lists(st.floats(min_value=0.1, max_value=1e3), min_size=1, max_size=9)


def test_every_side_is_asked_once_a_round_and_every_other_round_backwards():
    calls = []
    measures = {name: lambda name=name: calls.append(name) or len(calls) for name in "abc"}
    found = take(measures, 3)
    assert "".join(calls) == "abc" + "cba" + "abc"
    assert found == {"a": [1, 6, 7], "b": [2, 5, 8], "c": [3, 4, 9]}


def test_no_rounds_give_no_samples():
    assert take({"a": lambda: 1.0}, 0) == {"a": []}


def test_what_a_side_raises_ends_the_measurement():
    def fail():
        raise ValueError("no tokens")

    with pytest.raises(ValueError, match="no tokens"):
        take({"a": lambda: 1.0, "b": fail}, 2)


def test_a_ratio_is_taken_within_a_round():
    # The machine was ten times slower in the second round; no ratio shows it.
    samples = {"ours": [200.0, 20.0], "theirs": [100.0, 10.0]}
    assert ratio(samples, "ours", "theirs").ratios == (2.0, 2.0)
    assert ratio(samples, "theirs", "ours").ratio == 0.5
    assert ratio(samples, "ours", "theirs").medians == (55.0, 110.0)


def test_the_best_setting_is_that_with_the_best_median():
    samples = {"on": [1.0, 9.0, 2.0], "off": [3.0, 3.0, 3.0], "ours": [99.0] * 3}
    assert greatest(samples, ["on", "off"]) == "off"
    assert least(samples, ["on", "off"]) == "on"


@given(RATES, RATES)
def test_a_peer_is_never_judged_by_its_worse_setting(on, off):
    samples = {"on": on, "off": off}
    best, worst = greatest(samples, samples), least(samples, samples)
    assert sorted(samples[best])[len(samples[best]) // 2] >= min(samples[worst])
    assert greatest(samples, ["on"]) == least(samples, ["on"]) == "on"
