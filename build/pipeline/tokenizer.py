"""The tokenizer of a pipeline: `tokenizer.json`, which needs no Python of its own."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from build import contents, template
from build.findings import Findings
from build.pipeline import config

_SLOW = ("tokenizer.model", "vocab.json", "vocab.txt", "spiece.model", "sentencepiece.bpe.model")


def check(folder: Path, findings: Findings) -> None:
    """Report a tokenizer that is not there, is a slow one, or is no JSON."""
    path = folder / template.TOKENIZER
    if not path.is_file():
        findings.problems.append(_absent(folder))
    elif not contents.is_lfs_pointer(path):  # else the check of the files says so
        data = config.load(path, findings)
        if data is not None and not isinstance(data.get("model"), Mapping):
            findings.problems.append(f"{path.name} has no model: it is no fast tokenizer")


def settings(folder: Path) -> Mapping[str, Any]:
    """`tokenizer_config.json`; empty where it is absent or no object."""
    path = folder / template.TOKENIZER_CONFIG
    return (config.load(path, Findings()) or {}) if path.is_file() else {}


def eos_ids(folder: Path) -> tuple[int, ...]:
    """The id of the token that `tokenizer_config.json` ends a text with."""
    token = settings(folder).get("eos_token")
    text = token.get("content") if isinstance(token, Mapping) else token
    return tuple(_ids_of(folder, str(text))) if text else ()


def _ids_of(folder: Path, text: str) -> Iterator[int]:
    data = config.load(folder / template.TOKENIZER, Findings()) or {}
    added = data.get("added_tokens")
    for entry in added if isinstance(added, list) else []:
        if isinstance(entry, Mapping) and entry.get("content") == text:
            yield from config.ids(entry.get("id"))


def _absent(folder: Path) -> str:
    slow = next((name for name in _SLOW if (folder / name).is_file()), "")
    if not slow:
        return f"the model has no {template.TOKENIZER}: log it with its tokenizer"
    return (
        f"the tokenizer is a slow one ({slow}, without {template.TOKENIZER}), which Python code "
        "would have to run; load it with AutoTokenizer.from_pretrained(FOLDER, use_fast=True), "
        "save_pretrained it, and log the model again"
    )
