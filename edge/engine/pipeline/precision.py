"""The dtype that a host computes natively: the weights' own where it can, else float32."""

from __future__ import annotations

import torch

# What the kernel calls the instructions that multiply matrices of a dtype, x86 and ARM.
_NATIVE: dict[torch.dtype, frozenset[str]] = {
    torch.bfloat16: frozenset({"avx512_bf16", "amx_bf16", "bf16"}),
    torch.float16: frozenset({"avx512_fp16", "amx_fp16"}),
}
_SAVED = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}
_NAMES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}


def choose(setting: str, saved: str, features: frozenset[str], device: torch.device) -> torch.dtype:
    """The dtype to compute in.

    `setting` is EDGE_DTYPE; `saved` the manifest's name of the weights' dtype; `features` the
    instruction sets of the CPU as the kernel names them.
    """
    if setting != "auto":
        return _NAMES[setting]
    dtype = _SAVED.get(saved, torch.float32)
    if device.type != "cpu":
        return dtype
    return dtype if _NATIVE.get(dtype, frozenset()) & features else torch.float32
