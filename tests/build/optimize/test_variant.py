"""Names of variants and what they stand for."""

from __future__ import annotations

from itertools import permutations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from build.errors import UsageError
from build.optimize import variant
from build.optimize.variant import Variant

variants = st.builds(
    Variant,
    block_size=st.sampled_from((0, *variant.BLOCK_SIZES)),
    embeddings=st.booleans(),
    head=st.booleans(),
    last8=st.booleans(),
    algorithm=st.sampled_from(("", "rtn", "k_quant")),
    accuracy_level=st.sampled_from((0, 1, 2, 3, 4)),
    kv8=st.booleans(),
)


@settings(deadline=None)
@given(variants)
def test_a_name_and_its_variant_go_both_ways(one: Variant) -> None:
    assert variant.parse(one.name) == one


@settings(deadline=None)
@given(variants, variants)
def test_different_variants_have_different_names(one: Variant, other: Variant) -> None:
    assert (one.name == other.name) == (one == other)


def test_the_order_of_the_words_does_not_matter() -> None:
    orders = permutations(["b128", "embed", "head", "kv8"])
    assert len({variant.parse("+".join(words)).name for words in orders}) == 1


def test_stock_is_the_variant_without_words() -> None:
    assert variant.parse("stock") == Variant()
    assert Variant().name == "stock"


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("stock", {}),
        ("b128", {"block_size": "128"}),
        ("embed", {"op_types_to_quantize": "MatMul/Gather"}),
        ("head", {"prune_lm_head": "true"}),
        ("last8", {"matmul_mixed_precision": "last_matmul:int8"}),
        ("kquant", {"algo_config": "k_quant"}),
        ("rtn", {"algo_config": "rtn"}),
        ("acc1", {"accuracy_level": "1"}),
        ("kv8", {}),
    ],
)
def test_every_word_is_an_option_of_the_model_builder(name: str, options: dict[str, str]) -> None:
    assert variant.parse(name).builder_options() == options


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("b12", "did you mean 'b128'?"),
        ("embed+hed", "'hed' is no word of a variant; did you mean 'head'?"),
        ("", "'' is no word of a variant, expected b16"),
        ("zzz", "kv8, or stock alone"),
        ("stock+head", "'stock' is no word"),
        ("b32+b64", "'b64' contradicts"),
        ("rtn+kquant", "'kquant' contradicts"),
    ],
)
def test_a_wrong_name_is_refused_with_what_was_expected(name: str, said: str) -> None:
    with pytest.raises(UsageError) as refused:
        variant.parse(name)
    assert f"--variant {name!r}" in str(refused.value)
    assert said in str(refused.value)


def test_all_wrong_names_are_told_at_once() -> None:
    with pytest.raises(UsageError) as refused:
        variant.parse_all(["hed", "head", "b65"])
    assert "'hed'" in str(refused.value)
    assert "'b65'" in str(refused.value)


def test_a_variant_named_twice_is_tried_once() -> None:
    found = variant.parse_all(["stock", "head+embed", "b64", "embed+head"])
    assert [one.name for one in found] == ["stock", "embed+head", "b64"]
