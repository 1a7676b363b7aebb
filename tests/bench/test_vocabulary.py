import pytest

from build.demo import layout
from tests.bench import vocabulary
from tests.bench.shapes import SHAPES


@pytest.fixture(scope="module")
def widened():
    return vocabulary.widened(8192)


def test_every_id_stands_for_a_text_of_its_own(widened):
    assert widened.get_vocab_size() == 8192
    texts = [widened.decode([i], skip_special_tokens=False) for i in range(8192)]
    assert all(texts)
    pieces = {widened.id_to_token(i) for i in range(8192)}
    assert len(pieces) == 8192


@pytest.mark.parametrize("text", ["What is the capital of Spain?", "2 + 3 = 5\n", "Curaçao 島 🙂"])
def test_any_text_survives(widened, text):
    assert widened.decode(widened.encode(text).ids) == text


def test_special_tokens_keep_their_places(widened):
    ids = [widened.token_to_id(token) for token in layout.SPECIAL_TOKENS]
    assert ids == list(range(len(layout.SPECIAL_TOKENS)))


def test_it_is_the_same_every_time(widened):
    assert vocabulary.widened(8192).to_str() == widened.to_str()


@pytest.mark.parametrize(
    ("shape", "millions"), [("tiny", 3.4), ("100m", 134.2), ("0.5b", 551.5), ("phi3-mini", 3821.0)]
)
def test_shapes_have_the_sizes_they_are_named_for(shape, millions):
    sizes = SHAPES[shape]
    assert sizes.parameters / 1e6 == pytest.approx(millions, rel=0.01)
    assert sizes.hidden_size % sizes.heads == 0
    assert sizes.hidden_size % 128 == 0
