"""The runtime's C API: errors, logits, and what is freed when."""

from __future__ import annotations

import gc

import numpy as np
import pytest

from edge.engine import oga


@pytest.fixture(scope="module")
def model(demo_model):
    found = oga.Model(demo_model, "{}")
    yield found
    found.close()


def ids(*tokens):
    return np.array(tokens, dtype=np.int32)


@pytest.mark.parametrize("overlay", ["{", "[]"])
def test_an_overlay_that_is_none(demo_model, overlay):
    with pytest.raises(oga.OgaError) as caught:
        oga.Model(demo_model, overlay)
    assert str(caught.value)


def test_a_folder_that_is_none(tmp_path):
    with pytest.raises(oga.OgaError):
        oga.Model(tmp_path / "n\u00f6where", "{}")


@pytest.mark.parametrize("numbers", [{"no_such_option": 1}, {"max_length": 1 << 30}])
def test_search_options_that_the_runtime_refuses(model, numbers):
    with pytest.raises(oga.OgaError):
        oga.Generator(model, **numbers)


def test_more_tokens_than_were_reserved(model):
    generator = oga.Generator(model, max_length=4)
    generator.append_tokens(ids(5, 6, 7))
    with pytest.raises(oga.OgaError):
        generator.append_tokens(ids(8, 9))
    generator.close()


def test_logits_are_a_copy_of_the_last_position(model, limits, bare):
    generator = oga.Generator(model, max_length=10)
    generator.append_tokens(ids(5, 6, 7))
    first = generator.logits()
    assert first.shape == (limits.vocab_size,)
    assert first.dtype == np.float32
    assert int(first.argmax()) == int(bare.logprobs([5, 6, 7]).argmax())
    kept = first.copy()
    generator.append_tokens(ids(8))
    assert not np.array_equal(generator.logits(), kept)
    generator.close()
    # Still readable when the memory it came from is gone.
    assert np.array_equal(first, kept)


def test_generators_do_not_share_their_state(model):
    one, two = (oga.Generator(model, max_length=10) for _ in range(2))
    one.append_tokens(ids(5, 6))
    two.append_tokens(ids(9, 10, 11))
    before = one.logits()
    two.append_tokens(ids(12))
    assert np.array_equal(one.logits(), before)
    for generator in (one, two):
        generator.close()


def test_closing_again_and_dropping_without_closing(model):
    generator = oga.Generator(model, max_length=10)
    generator.append_tokens(ids(5))
    generator.close()
    generator.close()
    dropped = oga.Generator(model, max_length=10)
    dropped.append_tokens(ids(5))
    del dropped
    gc.collect()
    again = oga.Generator(model, max_length=10)
    again.append_tokens(ids(5))
    assert np.isfinite(again.logits()).all()
    again.close()
