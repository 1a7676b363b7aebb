import pytest

from tests.bench.bars.selection import BARS, chosen


def test_bars_come_in_their_own_order_and_once():
    assert chosen("prefill, decode,prefill") == ("decode", "prefill")
    assert chosen("all") == tuple(BARS)
    assert chosen("memory,all") == tuple(BARS)


@pytest.mark.parametrize(
    ("text", "named"), [("decod", "decod,"), ("decode,x,y", "x, y,"), (",", "',',")]
)
def test_what_is_no_bar_is_named_with_those_that_are(text, named):
    with pytest.raises(ValueError, match=f"{named} expected all or some of decode, together"):
        chosen(text)
