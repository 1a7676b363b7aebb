"""A bundle of flavor `pipeline` made by hand: of the demo model's torch weights, or of a folder."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

from edge import bundle

_QUANTIZATIONS = {"float32": "fp32", "float16": "fp16", "bfloat16": "bf16"}
_CHAT = bundle.Signature(
    "chat",
    (bundle.Column("messages", "string"),),
    params=(bundle.Param("max_tokens", "long"), bundle.Param("temperature", "double")),
)


def write(target: Path, weights: Path, **changes: Any) -> Path:
    """The bundle of the transformers folder `weights` in `target`, which must not have one.

    `changes` are fields of its manifest.
    """
    shutil.copytree(weights, target / bundle.MODEL_FOLDER, dirs_exist_ok=True)
    described = replace(manifest(target), **changes)
    (target / bundle.MANIFEST_NAME).write_bytes(bundle.encode(described))
    return target


def manifest(folder: Path) -> bundle.Manifest:
    """The manifest of the model in the bundle `folder`."""
    place = folder / bundle.MODEL_FOLDER
    config = json.loads((place / "config.json").read_bytes())
    generation = place / "generation_config.json"
    ends = json.loads(generation.read_bytes()) if generation.is_file() else config
    eos = ends.get("eos_token_id") or 0
    template = place / "chat_template.jinja"
    return bundle.Manifest(
        name="demo",
        flavor="pipeline",
        files=tuple(
            bundle.File(
                path.relative_to(folder).as_posix(), path.stat().st_size, bundle.sha256_of(path)
            )
            for path in sorted(place.rglob("*"))
            if path.is_file()
        ),
        signature=_CHAT,
        generation=bundle.Defaults(max_tokens=48, temperature=0.0),
        context_length=config.get("max_position_embeddings") or 2048,
        eos_ids=tuple(eos) if isinstance(eos, list) else (eos,),
        kv_bytes_per_token=_kv_bytes_per_token(config),
        chat_template=template.read_text() if template.is_file() else "",
        quantization=_QUANTIZATIONS[config.get("dtype") or "float32"],
        model_type=config["model_type"],
        lineage=bundle.Lineage(model_name="demo", model_version="1", alias="champion"),
        libraries={"transformers": config.get("transformers_version", "")},
    )


def _kv_bytes_per_token(config: dict[str, Any]) -> int:
    heads = config.get("num_key_value_heads") or config.get("num_attention_heads") or 0
    size = config.get("head_dim") or (
        config["hidden_size"] // config["num_attention_heads"] if heads else 0
    )
    bytes_per_number = 4 if config.get("dtype") in (None, "float32") else 2
    return 2 * int(config.get("num_hidden_layers", 0)) * heads * size * bytes_per_number
