import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.bench.bars import row
from tests.bench.bars.row import MET, MISSED, UNMEASURED, Row
from tests.bench.pairs import Pairs

PAIRS = Pairs(bare=(50.0, 40.0, 80.0), served=(100.0, 60.0, 100.0))  # 2, 1.5 and 1.25 times
RATIO = st.floats(min_value=0.01, max_value=100)


def test_a_ratio_stands_with_its_spread_and_both_medians():
    found = row.at_least("speed", PAIRS, 1.5, "tokens/s")
    assert found == Row("speed", "1.50x (1.25 to 2.00); 100 against 50 tokens/s", ">= 1.5x", MET)


@pytest.mark.parametrize(("bar", "verdict"), [(1.4, MET), (1.5, MET), (1.51, MISSED)])
def test_a_rate_must_reach_its_bar(bar, verdict):
    assert row.at_least("speed", PAIRS, bar).verdict == verdict


@pytest.mark.parametrize(("bar", "verdict"), [(1.6, MET), (1.5, MET), (1.49, MISSED)])
def test_a_time_must_stay_below_its_bar(bar, verdict):
    found = row.at_most("time", PAIRS, bar)
    assert (found.bar, found.verdict) == (f"<= {bar:g}x", verdict)


def test_a_figure_without_a_bar_is_not_judged():
    found = row.at_least("speed", PAIRS, None)
    assert (found.bar, found.verdict) == ("", "")
    assert found.found == "1.50x (1.25 to 2.00)"


@given(RATIO, RATIO)
def test_both_directions_meet_only_at_the_bar_itself(ratio, bar):
    pairs = Pairs((1.0,), (ratio,))
    up, down = row.at_least("m", pairs, bar), row.at_most("m", pairs, bar)
    assert (up.verdict == down.verdict) == (ratio == bar)


def test_a_share_is_in_per_cent():
    assert row.share("Python", 0.049, 0.05).verdict == MET
    found = row.share("Python", 0.0512, 0.05, "of 30 ms")
    assert found == Row("Python", "5.1%; of 30 ms", "<= 5%", MISSED)


def test_a_size_is_in_megabytes_with_what_may_be_used():
    found = row.size("peak", 1.5e9, 1.6e9, "weights and KV")
    assert found == Row("peak", "1,500 MB", "<= 1,600 MB: weights and KV", MET)
    assert row.size("peak", 1.7e9, 1.6e9, "").verdict == MISSED


def test_what_was_not_measured_says_why():
    found = row.unmeasured("speed", ">= 1x", "no such group")
    assert found == Row("speed", "no such group", ">= 1x", UNMEASURED)
