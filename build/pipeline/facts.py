"""What the verdict shows of a pipeline."""

from __future__ import annotations

from build.findings import Findings
from build.pipeline.flavor import Flavor
from build.pipeline.model import Model
from edge.bundle import Signature


def note(model: Model, said: Flavor, findings: Findings) -> None:
    """Add what the table shows of `model`, and where MLflow computes otherwise."""
    _note_dtype(model, said, findings)
    size = sum(path.stat().st_size for path in model.origins.values())
    findings.facts.update(
        {
            "flavor": "pipeline (transformers and torch)",
            "architecture": f"{model.model_type} ({model.config.architecture})",
            "weights": f"{model.quantization}, {model.weights.parameters:,} parameters",
            "files": f"{len(model.origins)} files, {size:,} bytes",
            "context": f"{model.context_length:,} tokens",
            "KV cache": f"{model.kv_bytes_per_token:,} bytes a token",
            "signature": _described(model.signature, said),
            "chat template": f"{len(model.chat_template):,} characters",
            "ends on": ", ".join(map(str, model.eos_ids)),
        }
    )


def _note_dtype(model: Model, said: Flavor, findings: Findings) -> None:
    """MLflow may load weights in another type than theirs."""
    own = {"fp32": "float32", "fp16": "float16", "bf16": "bfloat16"}[model.quantization]
    if said.dtype not in ("", own):
        findings.shims.append(
            f"MLflow computes with these {own} weights in {said.dtype}; the appliance does where "
            f"EDGE_DTYPE={said.dtype} tells it to"
        )


def _described(signed: Signature, said: Flavor) -> str:
    column = signed.inputs[0].name if signed.inputs else ""
    kind = f"{column or 'unnamed'}: string -> string" if signed.kind == "prompt" else said.task
    return f"{kind}; parameters: {', '.join(param.name for param in signed.params) or 'none'}"
