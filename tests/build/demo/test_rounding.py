"""Rounding in training is what the exporter does: checked against onnxruntime's own quantizer."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pytest
from onnxruntime.quantization.matmul_nbits_quantizer import (
    DefaultWeightOnlyQuantConfig,
    DefaultWeightOnlyQuantizer,
)

pytestmark = pytest.mark.torch
torch = pytest.importorskip("torch", reason="the training recipe needs torch")

BLOCK = 128
Matrix = npt.NDArray[np.float32]


@pytest.fixture
def weight() -> Matrix:
    """Rows with everything: plain noise, outliers of both signs, a block of zeros."""
    rows = np.random.default_rng(1).normal(0, 0.02, (48, 3 * BLOCK)).astype(np.float32)
    rows[0, 5], rows[1, 200] = 0.7, -0.7
    rows[2, :BLOCK] = 0
    return rows


def rounded(weight: Matrix) -> Matrix:
    from build.demo import quantization

    result: Matrix = quantization.rounded(torch.from_numpy(weight), BLOCK).numpy()
    return result


def unpacked(packed: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
    """Two codes a byte, the low half first, as one code an entry."""
    return np.stack((packed & 0xF, packed >> 4), axis=-1).reshape(*packed.shape[:-1], -1)


def as_matmul(weight: Matrix) -> Matrix:
    """`weight` [out, in] after onnxruntime has made it the right side of a MatMul and back."""
    config = DefaultWeightOnlyQuantConfig(block_size=BLOCK, is_symmetric=True, bits=4)
    quantizer = DefaultWeightOnlyQuantizer(config)
    packed, scales, _ = quantizer.qbits_block_quant(np.ascontiguousarray(weight.T))
    codes = unpacked(packed).astype(np.float32) - 8
    result: Matrix = codes * scales.reshape(*codes.shape[:2], 1)
    return result.reshape(weight.shape)


def as_gather(weight: Matrix) -> Matrix:
    """`weight` [entries, width] after onnxruntime has made it the table of a Gather and back."""
    packed, scales, _ = DefaultWeightOnlyQuantizer.quantize_ndarray(weight, 1, BLOCK, True)
    codes = unpacked(packed[:, None]).reshape(weight.shape[0], -1, BLOCK).astype(np.float32)
    signed = np.where(codes > 7, codes - 16, codes)
    result: Matrix = signed * scales[:, :, None]
    return result.reshape(weight.shape)


def test_a_matrix_is_rounded_as_the_exporter_rounds_a_matmul(weight: Matrix) -> None:
    np.testing.assert_allclose(rounded(weight), as_matmul(weight), rtol=1e-5, atol=1e-7)


def test_a_matrix_is_rounded_as_the_exporter_rounds_an_embedding(weight: Matrix) -> None:
    np.testing.assert_allclose(rounded(weight), as_gather(weight), rtol=1e-5, atol=1e-7)


def test_rounding_changes_something_but_not_twice(weight: Matrix) -> None:
    once = rounded(weight)
    assert np.abs(once - weight).max() > 1e-4
    np.testing.assert_allclose(rounded(once), once, rtol=1e-5)


def test_rounded_weights_survive_fp16(weight: Matrix) -> None:
    once = rounded(weight)
    kept = once.astype(np.float16).astype(np.float32)
    np.testing.assert_allclose(as_matmul(kept), once, rtol=2e-3, atol=1e-6)


def test_each_block_has_at_most_sixteen_values(weight: Matrix) -> None:
    blocks = rounded(weight).reshape(-1, BLOCK)
    assert max(len(np.unique(block)) for block in blocks) <= 16


def test_zeros_stay_zeros(weight: Matrix) -> None:
    assert not rounded(weight)[2, :BLOCK].any()


def test_a_width_that_is_no_multiple_of_the_block_is_refused() -> None:
    from build.demo import quantization

    with pytest.raises(ValueError, match="columns: 200 is not a multiple of the block size 128"):
        quantization.rounded(torch.zeros(2, 200))


def test_the_gradient_goes_straight_through(weight: Matrix) -> None:
    from build.demo import quantization

    leaf = torch.from_numpy(weight).requires_grad_()
    factor = torch.arange(leaf.numel(), dtype=torch.float32).reshape(leaf.shape)
    (quantization.straight_through(leaf) * factor).sum().backward()
    np.testing.assert_array_equal(leaf.grad.numpy(), factor.numpy())


def test_matrices_are_rounded_and_norms_are_not() -> None:
    from build.demo import quantization

    module = torch.nn.Sequential(torch.nn.Linear(BLOCK, 4, bias=False), torch.nn.RMSNorm(4))
    before = {name: weight.detach().clone() for name, weight in module.named_parameters()}
    weights = quantization.quantized(module)
    assert torch.equal(weights["1.weight"], before["1.weight"])
    np.testing.assert_allclose(
        weights["0.weight"].detach().numpy(), rounded(before["0.weight"].numpy()), atol=1e-7
    )
    quantization.settle(module)
    assert torch.equal(module[1].weight, before["1.weight"])
    np.testing.assert_allclose(
        module[0].weight.detach().numpy(), rounded(before["0.weight"].numpy()), atol=1e-7
    )
