import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.bench.pairs import Pairs, TooFast, quantile, rate_together

SECONDS = st.floats(min_value=1e-6, max_value=1e6)


def test_medians_ratios_and_differences_are_those_of_the_rounds():
    pairs = Pairs((10.0, 20.0, 40.0), (9.0, 22.0, 30.0))
    assert pairs.medians == (20.0, 22.0)
    assert pairs.ratios == pytest.approx((0.9, 1.1, 0.75))
    assert pairs.ratio == pytest.approx(0.9)
    assert pairs.added == -1.0


def test_the_ratio_pairs_rounds_before_it_takes_the_median():
    # A machine that slows down tenfold for one round moves both medians but no ratio.
    pairs = Pairs((100.0, 10.0, 100.0, 10.0), (95.0, 9.5, 95.0, 9.5))
    assert pairs.ratio == pytest.approx(0.95)


@given(st.lists(st.tuples(SECONDS, SECONDS), min_size=1))
def test_swapped_sides_turn_differences_around(samples):
    bare, served = zip(*samples, strict=True)
    assert Pairs(served, bare).added == -Pairs(bare, served).added
    assert min(Pairs(bare, served).ratios) <= Pairs(bare, served).ratio


@pytest.mark.parametrize(("bare", "served"), [((), ()), ((1.0,), ()), ((1.0,), (1.0, 2.0))])
def test_what_is_not_paired_is_refused(bare, served):
    with pytest.raises(ValueError, match="expected pairs"):
        Pairs(bare, served)


def test_the_rate_of_one_stream_counts_the_tokens_after_the_first():
    assert rate_together([[1.0, 1.5, 2.0, 2.5, 3.0]]) == 2.0


def test_the_rate_of_several_counts_where_all_of_them_ran():
    early = [0.0, 1.0, 2.0, 3.0, 4.0]
    late = [2.0, 3.0, 4.0, 5.0, 6.0]
    # From 2 (the late one's first) to 4 (the early one's last): two events of each.
    assert rate_together([early, late]) == 2.0


def test_streams_that_never_ran_together_count_as_a_whole():
    assert rate_together([[0.0, 1.0], [2.0, 4.0]]) == 3 / 4


def test_events_of_one_moment_have_no_rate():
    with pytest.raises(TooFast, match="--new-tokens"):
        rate_together([[1.0, 1.0, 1.0]])


def test_a_quantile_is_a_sample():
    samples = [float(i) for i in range(100)]
    assert quantile(samples, 0.99) == 99.0
    assert quantile(samples, 0.5) == 50.0
    assert quantile([7.0], 1.0) == 7.0


@given(st.lists(SECONDS, min_size=1), st.floats(min_value=0, max_value=1))
def test_at_most_the_share_of_samples_lies_below_a_quantile(samples, share):
    found = quantile(samples, share)
    assert found in samples
    assert sum(sample < found for sample in samples) <= share * len(samples)
