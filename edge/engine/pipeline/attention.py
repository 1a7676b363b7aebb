"""Attention of one row's tokens over its keys and values, heads in groups, without copies."""

from __future__ import annotations

import math

import torch
from torch.nn.functional import scaled_dot_product_attention


def of_row(
    query: torch.Tensor,
    keys: torch.Tensor,
    values: torch.Tensor,
    mask: torch.Tensor | None,
    *,
    is_causal: bool,
    scaling: float | None,
    softcap: float | None,
) -> torch.Tensor:
    """Shape (tokens, heads, value_size).

    `query` is (heads, tokens, size), `keys` and `values` are (kv_heads, length, size); each key
    head serves `heads / kv_heads` heads in a row. `mask` is true where a token may look, shape
    (tokens, length). `is_causal` and a mask exclude each other.
    """
    heads, tokens, size = query.shape
    kv_heads, length = keys.shape[0], keys.shape[1]
    group = heads // kv_heads
    if softcap is not None:
        grouped = query.reshape(kv_heads, group * tokens, size)
        seen = _tiled(mask, is_causal, group, query, length)
        out = _capped(grouped, keys, values, seen, scaling, softcap)
        return out.view(heads, tokens, -1).transpose(0, 1)
    if tokens == 1:
        # The heads of a group look at the same keys: to the kernel, they are its tokens.
        grouped = query.reshape(kv_heads, 1, group, size)
        out = scaled_dot_product_attention(grouped, keys[:, None], values[:, None], scale=scaling)
        return out.view(1, heads, -1)
    out = scaled_dot_product_attention(
        query.unflatten(0, (kv_heads, group)),
        keys[:, None].expand(-1, group, -1, -1),
        values[:, None].expand(-1, group, -1, -1),
        attn_mask=mask,
        is_causal=is_causal,
        scale=scaling,
    )
    return out.flatten(0, 1).transpose(0, 1)


def _tiled(
    mask: torch.Tensor | None, is_causal: bool, group: int, query: torch.Tensor, length: int
) -> torch.Tensor | None:
    if is_causal:
        mask = torch.ones(query.shape[1], length, dtype=torch.bool, device=query.device).tril()
    return None if mask is None else mask.repeat(group, 1)


def _capped(
    query: torch.Tensor,
    keys: torch.Tensor,
    values: torch.Tensor,
    mask: torch.Tensor | None,
    scaling: float | None,
    softcap: float,
) -> torch.Tensor:
    """Scores bounded to `softcap` by a tanh (Gemma 2, arXiv:2408.00118, section 2)."""
    factor = 1 / math.sqrt(query.shape[-1]) if scaling is None else scaling
    scores = torch.matmul(query, keys.transpose(1, 2)) * factor
    scores = torch.tanh(scores / softcap) * softcap
    if mask is not None:
        scores = scores.masked_fill(~mask, float("-inf"))
    weights = torch.softmax(scores, dim=-1, dtype=torch.float32).to(query.dtype)
    return torch.matmul(weights, values)
