"""Training for int4: weights as the exporter will round them, with a straight-through gradient.

The model builder's default quantizer (onnxruntime's DefaultWeightOnlyQuantizer, symmetric) cuts
each row of a weight into blocks and maps the entry of largest magnitude to -8 of 16 levels. The
same holds for MatMul (rows are output features) and for Gather (rows are vocabulary entries).
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

BLOCK_SIZE = 128
LOWEST, HIGHEST = -8, 7


def rounded(weight: Tensor, block_size: int = BLOCK_SIZE) -> Tensor:
    """`weight` [rows, columns] after int4 quantization and back, same shape and dtype.

    Raises:
        ValueError: the columns do not divide into blocks.
    """
    rows, columns = weight.shape
    if columns % block_size:
        raise ValueError(f"columns: {columns} is not a multiple of the block size {block_size}")
    blocks = weight.reshape(rows, columns // block_size, block_size)
    peak = blocks.gather(2, blocks.abs().argmax(dim=2, keepdim=True))
    scale = peak / LOWEST
    safe = torch.where(scale == 0, torch.ones_like(scale), scale)
    codes = (blocks / safe).round().clamp(LOWEST, HIGHEST)
    return (codes * scale).reshape(rows, columns)


def straight_through(weight: Tensor) -> Tensor:
    """`rounded(weight)` in the forward pass, the identity in the backward pass."""
    return weight + (rounded(weight.detach()) - weight.detach())


def is_quantized(name: str, weight: Tensor) -> bool:
    """Whether the exporter quantizes this parameter: every matrix is, the norms are not."""
    return weight.dim() == 2 and name.endswith("weight")


def quantized(module: nn.Module) -> dict[str, Tensor]:
    """All parameters of `module` by name, the matrices as the exporter will round them."""
    return {
        name: straight_through(weight) if is_quantized(name, weight) else weight
        for name, weight in module.named_parameters()
    }


def settle(module: nn.Module) -> None:
    """Replace the matrices of `module` by their rounded values."""
    for name, weight in module.named_parameters():
        if is_quantized(name, weight):
            weight.data = rounded(weight.data)
