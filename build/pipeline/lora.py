"""A PEFT adapter's `adapter_config.json`: what it does to which weights.

The fields are those of `peft.LoraConfig`; what a merge into the weights cannot express is refused
by name.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from build.findings import Findings
from build.pipeline import config

CONFIG = "adapter_config.json"
WEIGHTS = "adapter_model.safetensors"
PICKLED = "adapter_model.bin"
_KIND = "LORA"
# Variants of LoRA whose merge is another one, and fields that add what no weight holds.
_UNMERGEABLE = (
    *("use_dora", "use_qalora", "lora_bias", "target_parameters", "trainable_token_indices"),
    *("layer_replication", "alora_invocation_tokens", "megatron_config", "arrow_config"),
    *("use_bdlora", "kasa_config", "monteclora_config"),
)
# Ways to begin a training that change the weights underneath; what remains is not in the adapter.
_CHANGES_BASE = re.compile(r"pissa.*|olora|corda|loftq|lora_ga", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Lora:
    """How strong the adapter is: `alpha / r`, or `alpha / sqrt(r)` for rank-stabilized LoRA."""

    alpha: float
    rank: int
    alpha_pattern: Mapping[str, float]
    rank_pattern: Mapping[str, int]
    is_rank_stabilized: bool
    is_transposed: bool
    base: str

    def scale(self, module: str) -> float:
        """The factor on `B @ A` for `module`."""
        alpha = self.alpha_pattern.get(_key(self.alpha_pattern, module), self.alpha)
        rank = self.rank_of(module)
        return alpha / (math.sqrt(rank) if self.is_rank_stabilized else rank)

    def rank_of(self, module: str) -> int:
        """The rank of `module`'s matrices."""
        return self.rank_pattern.get(_key(self.rank_pattern, module), self.rank)


def read(folder: Path, findings: Findings) -> Lora | None:
    """The adapter in `folder`; None, and problems, where it cannot be merged."""
    data = config.load(folder / CONFIG, findings)
    if data is None:
        return None
    problems = list(_problems(data))
    if not (folder / WEIGHTS).is_file():
        pickled = (folder / PICKLED).is_file()
        advice = "; it is pickled: save the adapter again as safetensors" if pickled else ""
        problems.append(f"the adapter has no {WEIGHTS}{advice}")
    findings.problems += problems
    if problems:
        return None
    return Lora(
        alpha=float(data["lora_alpha"]),
        rank=int(data["r"]),
        alpha_pattern=dict(data.get("alpha_pattern") or {}),
        rank_pattern=dict(data.get("rank_pattern") or {}),
        is_rank_stabilized=bool(data.get("use_rslora")),
        is_transposed=bool(data.get("fan_in_fan_out")),
        base=str(data.get("base_model_name_or_path") or ""),
    )


def _problems(data: Mapping[str, Any]) -> Iterator[str]:
    kind = data.get("peft_type")
    if kind != _KIND:
        yield (
            f"{CONFIG}: the adapter is of the kind {kind!r}, only LoRA can be merged into the "
            "weights; merge it with peft's merge_and_unload and log the result"
        )
        return
    variants = [name for name in _UNMERGEABLE if data.get(name)]
    if variants:
        yield (
            f"{CONFIG}: the adapter uses {', '.join(variants)}, which is not merged here; merge it "
            "with peft's merge_and_unload and log the result"
        )
    begun = data.get("init_lora_weights")
    if isinstance(begun, str) and _CHANGES_BASE.fullmatch(begun):
        yield (
            f"{CONFIG}: init_lora_weights is {begun!r}, which changes the base model's weights; "
            "merge it with peft's merge_and_unload and log the result"
        )
    for name, least in (("r", 1), ("lora_alpha", 0)):
        value = data.get(name)
        if not isinstance(value, int | float) or not value >= least:
            yield f"{CONFIG}: {name} is {value!r}, expected a number of at least {least}"


def _key(patterns: Mapping[str, Any], module: str) -> str:
    """The first pattern that is the end of the module's path, as peft looks it up."""
    matching = (key for key in patterns if re.fullmatch(rf"(.*\.)?({key})", module))
    return next(matching, module)
