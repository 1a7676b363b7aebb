"""Tokenizers with the markers of tool calls among their tokens, as models trained for tools have.

The last entries of a byte-level vocabulary give their ids to the markers, so that the model's own
vocabulary stays as large as it is.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping
from pathlib import Path

from edge.engine.genai_tokenizer import GenaiTokenizer


def write(folder: Path, model: Path, markers: Mapping[str, bool]) -> Path:
    """A copy of `model` whose tokenizer knows `markers`; True for special ones, not decoded."""
    shutil.copytree(model, folder)
    path = folder / "tokenizer.json"
    definition = json.loads(path.read_text())
    vocabulary = definition["model"]["vocab"]
    last = sorted(vocabulary, key=vocabulary.__getitem__)[-len(markers) :] if markers else []
    for entry, (text, is_special) in zip(last, markers.items(), strict=True):
        token = vocabulary.pop(entry)
        definition["model"]["merges"] = [
            merge for merge in definition["model"]["merges"] if not _has(merge, entry)
        ]
        definition["added_tokens"].append(_added(token, text, is_special))
    definition["added_tokens"].sort(key=lambda token: token["id"])
    path.write_text(json.dumps(definition))
    return folder


def load(folder: Path, model: Path, markers: Mapping[str, bool], template: str) -> GenaiTokenizer:
    """The tokenizer of such a copy, with the chat template `template`."""
    return GenaiTokenizer(write(folder, model, markers), template)


def _has(merge: str | list[str], entry: str) -> bool:
    parts = merge.split(" ") if isinstance(merge, str) else merge
    return entry in (*parts, "".join(parts))


def _added(token: int, text: str, is_special: bool) -> dict[str, object]:
    flags = dict.fromkeys(("single_word", "lstrip", "rstrip", "normalized"), False)
    return {"id": token, "content": text, **flags, "special": is_special}
