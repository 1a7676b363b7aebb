"""Weights as the codes of int4 and int8 blocks, and back.

Symmetric rounding to nearest, as onnxruntime's own quantizer does it: of each block, the entry of
largest magnitude becomes the lowest code (of two such entries the negative one). Layout of
MatMulNBits in onnxruntime's docs/ContribOperators.md: a code has its zero in the middle of its
range unless zero points say otherwise; two int4 codes share a byte, the first in its low half.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

Matrix = npt.NDArray[np.float32]
Codes = npt.NDArray[np.uint8]
PACKED_BITS = 8


def quantize(weight: Matrix, block_size: int, bits: int) -> tuple[Codes, Matrix]:
    """Codes (rows, blocks, block_size) and scales (rows, blocks) of `weight` (rows, columns).

    The last block is filled up with zeros where the columns do not fill it.
    """
    rows, columns = weight.shape
    blocks = -(-columns // block_size)
    padded = np.zeros((rows, blocks * block_size), dtype=np.float32)
    padded[:, :columns] = weight
    cut = padded.reshape(rows, blocks, block_size)
    high, low = cut.max(axis=2, keepdims=True), cut.min(axis=2, keepdims=True)
    peak = np.where(high > -low, high, low)
    middle = 1 << (bits - 1)
    scale = peak / -np.float32(middle)
    inverse = np.divide(1, scale, out=np.zeros_like(scale), where=scale != 0)
    codes = np.clip(np.rint(cut * inverse) + middle, 0, 2 * middle - 1)
    return codes.astype(np.uint8), scale[..., 0].astype(np.float32)


def dequantize(
    codes: Codes, scales: Matrix, zeros: npt.NDArray[np.float32] | int, columns: int
) -> Matrix:
    """The weight (rows, columns) of codes (rows, blocks, block_size).

    `scales` has the shape (rows, blocks), and so have `zeros`, where they are no single number.
    """
    middle = np.float32(zeros) if isinstance(zeros, int) else zeros[..., None]
    values = (codes.astype(np.float32) - middle) * scales[..., None]
    return np.ascontiguousarray(values.reshape(len(codes), -1)[:, :columns])


def pack(codes: Codes, bits: int) -> Codes:
    """Codes as bytes: the last axis gets shorter by half for int4."""
    if bits == PACKED_BITS:
        return codes
    result: Codes = (codes[..., ::2] | (codes[..., 1::2] << 4)).astype(np.uint8)
    return result


def unpack(packed: Codes, bits: int) -> Codes:
    """The codes of bytes, the inverse of `pack`."""
    if bits == PACKED_BITS:
        return packed
    pairs: Codes = np.stack((packed & 0xF, packed >> 4), axis=-1).astype(np.uint8)
    return pairs.reshape(*packed.shape[:-1], -1)
