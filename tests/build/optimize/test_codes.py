"""Weights to codes and back, against onnxruntime's own quantizer."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from build.optimize import codes

BLOCK = 32


@pytest.fixture
def weight() -> codes.Matrix:
    """Rows with everything: noise, outliers of both signs, a block of zeros, a short last block."""
    rows = np.random.default_rng(1).normal(0, 0.02, (48, 3 * BLOCK + 8)).astype(np.float32)
    rows[0, 5], rows[1, 70] = 0.7, -0.7
    rows[2, :BLOCK] = 0
    return rows


@pytest.mark.parametrize("bits", [4, 8])
def test_codes_and_scales_are_those_of_the_runtime_s_quantizer(
    weight: codes.Matrix, bits: int
) -> None:
    pytest.importorskip("onnx_ir", reason="the quantizer of onnxruntime needs onnx-ir")
    from onnxruntime.quantization.matmul_nbits_quantizer import (
        DefaultWeightOnlyQuantConfig,
        DefaultWeightOnlyQuantizer,
    )

    config = DefaultWeightOnlyQuantConfig(block_size=BLOCK, is_symmetric=True, bits=bits)
    quantizer = DefaultWeightOnlyQuantizer(config)
    packed, scales, _ = quantizer.qbits_block_quant(np.ascontiguousarray(weight.T))
    found, own = codes.quantize(weight, BLOCK, bits)
    np.testing.assert_allclose(own, scales, rtol=1e-6)
    columns = weight.shape[1]  # what fills up the last block is never used
    found = found.reshape(len(weight), -1)[:, :columns]
    theirs = codes.unpack(packed, bits).reshape(len(weight), -1)[:, :columns].astype(int)
    # A weight that lies midway between two codes may go either way.
    assert np.abs(found.astype(int) - theirs).max() <= 1
    assert (found == theirs).mean() > 0.999


@pytest.mark.parametrize("bits", [4, 8])
def test_a_weight_comes_back_within_half_a_step(weight: codes.Matrix, bits: int) -> None:
    found, scales = codes.quantize(weight, BLOCK, bits)
    back = codes.dequantize(found, scales, 1 << (bits - 1), weight.shape[1])
    assert back.shape == weight.shape
    step = np.repeat(np.abs(scales), BLOCK, axis=1)[:, : weight.shape[1]]
    # The entry opposite to the largest one may be cut off by one step.
    assert (np.abs(back - weight) <= step * 1.001).all()
    assert (np.abs(back - weight) <= step * 0.501).mean() > 0.99


def test_what_was_rounded_once_is_not_changed_by_rounding_it_again(weight: codes.Matrix) -> None:
    found, scales = codes.quantize(weight, BLOCK, 4)
    back = codes.dequantize(found, scales, 8, weight.shape[1])
    again, same = codes.quantize(back, BLOCK, 4)
    np.testing.assert_array_equal(again, found)
    np.testing.assert_allclose(same, scales)


def test_zero_points_shift_the_codes() -> None:
    found = np.array([[[0, 5, 15, 3]]], dtype=np.uint8)
    scales = np.array([[0.5]], dtype=np.float32)
    back = codes.dequantize(found, scales, np.array([[5]], dtype=np.float32), 4)
    np.testing.assert_array_equal(back, [[-2.5, 0, 5, -1]])


def test_a_block_of_zeros_stays_zero() -> None:
    found, scales = codes.quantize(np.zeros((2, 64), dtype=np.float32), 32, 4)
    assert (codes.dequantize(found, scales, 8, 64) == 0).all()
    assert (scales == 0).all()


@settings(deadline=None)
@given(st.lists(st.integers(0, 15), min_size=2, max_size=64).filter(lambda v: len(v) % 2 == 0))
def test_packing_and_unpacking_are_inverse(values: list[int]) -> None:
    found = np.array([values], dtype=np.uint8)
    packed = codes.pack(found, 4)
    assert packed.shape == (1, len(values) // 2)
    np.testing.assert_array_equal(codes.unpack(packed, 4), found)
    np.testing.assert_array_equal(codes.unpack(codes.pack(found, 8), 8), found)
