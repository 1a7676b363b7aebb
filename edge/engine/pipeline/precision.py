"""The dtype that a host computes natively: the weights' own where it can, else float32."""

from __future__ import annotations

# What the kernel calls the instructions that multiply matrices of a dtype, x86 and ARM.
_NATIVE = {
    "bfloat16": frozenset({"avx512_bf16", "amx_bf16", "bf16"}),
    "float16": frozenset({"avx512_fp16", "amx_fp16"}),
}
_SAVED = {"fp32": "float32", "bf16": "bfloat16", "fp16": "float16"}
_SIZE_BYTES = {"float32": 4, "bfloat16": 2, "float16": 2}


def choose(setting: str, saved: str, features: frozenset[str], *, is_cpu: bool = True) -> str:
    """The dtype to compute in, by torch's name.

    `setting` is EDGE_DTYPE; `saved` the manifest's name of the weights' dtype; `features` the
    instruction sets of the CPU as the kernel names them.
    """
    if setting != "auto":
        return setting
    dtype = _SAVED.get(saved, "float32")
    is_native = not is_cpu or bool(_NATIVE.get(dtype, frozenset()) & features)
    return dtype if is_native else "float32"


def growth(setting: str, saved: str, features: frozenset[str]) -> float:
    """How many times as large as in their files the weights are in memory, on a CPU."""
    dtype = choose(setting, saved, features)
    return _SIZE_BYTES[dtype] / _SIZE_BYTES[_SAVED.get(saved, "float32")]
