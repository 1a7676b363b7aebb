"""The dtype that a host computes in."""

from __future__ import annotations

import pytest

from edge.engine.pipeline import precision

BARE = frozenset({"avx2"})
ZEN = frozenset({"avx2", "avx512_bf16"})
RAPIDS = frozenset({"avx512_bf16", "avx512_fp16", "amx_bf16"})
ARM = frozenset({"asimd", "bf16"})


@pytest.mark.parametrize(
    ("setting", "saved", "features", "expected"),
    [
        ("auto", "bf16", ZEN, "bfloat16"),
        ("auto", "bf16", ARM, "bfloat16"),
        ("auto", "bf16", BARE, "float32"),
        ("auto", "fp16", ZEN, "float32"),
        ("auto", "fp16", RAPIDS, "float16"),
        ("auto", "fp32", RAPIDS, "float32"),
        ("auto", "", RAPIDS, "float32"),
        ("bfloat16", "fp32", BARE, "bfloat16"),
        ("float32", "bf16", ZEN, "float32"),
    ],
)
def test_the_saved_one_where_it_is_native(setting, saved, features, expected):
    assert precision.choose(setting, saved, features) == expected


@pytest.mark.parametrize("saved", ["bf16", "fp16", "fp32"])
def test_an_accelerator_computes_what_was_saved(saved):
    chosen = precision.choose("auto", saved, BARE, is_cpu=False)
    assert chosen == {"bf16": "bfloat16", "fp16": "float16", "fp32": "float32"}[saved]


def test_how_much_larger_the_weights_become():
    assert precision.growth("auto", "bf16", BARE) == 2
    assert precision.growth("auto", "bf16", ZEN) == 1
    assert precision.growth("bfloat16", "fp32", ZEN) == 0.5
