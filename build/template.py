"""The chat template and the special tokens of a model folder."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from build.findings import Findings

JINJA_FILE = "chat_template.jinja"
TOKENIZER = "tokenizer.json"
TOKENIZER_CONFIG = "tokenizer_config.json"


def read(folder: Path, findings: Findings) -> str:
    """The Jinja chat template; empty where the model has none.

    A `chat_template.jinja` goes before `tokenizer_config.json`, as in transformers; of several
    named templates the one called `default` is taken. Whether it renders is for `trial` to say.
    """
    return _from_file(folder) or _from_config(folder, findings)


def special_tokens(folder: Path) -> frozenset[str]:
    """The texts of the special tokens; empty where `tokenizer.json` cannot be read."""
    try:
        added = _object(folder / TOKENIZER).get("added_tokens") or []
    except ValueError:
        return frozenset()
    return frozenset(
        str(token.get("content"))
        for token in (added if isinstance(added, list) else [])
        if isinstance(token, Mapping) and token.get("special")
    )


def _from_file(folder: Path) -> str:
    path = folder / JINJA_FILE
    return path.read_text("utf-8", "replace") if path.is_file() else ""


def _from_config(folder: Path, findings: Findings) -> str:
    try:
        template = _object(folder / TOKENIZER_CONFIG).get("chat_template") or ""
    except ValueError as error:
        findings.problems.append(f"{TOKENIZER_CONFIG} is not JSON: {error}")
        return ""
    if isinstance(template, list):
        entries = [item for item in template if isinstance(item, Mapping)]
        named = {item.get("name"): item.get("template") for item in entries}
        template = named.get("default") or ""
    return str(template)


def _object(path: Path) -> Mapping[str, Any]:
    data = json.loads(path.read_text("utf-8")) if path.is_file() else {}
    return data if isinstance(data, Mapping) else {}
