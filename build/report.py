"""What a logging command says when it is done, for people and for machines."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from build.record import Entry, Receipt


def as_json(entry: Entry, receipt: Receipt) -> str:
    """One JSON object: every address, parameter, metric and setting."""
    content = {
        **asdict(receipt),
        "name": entry.name,
        "params": dict(entry.params),
        "metrics": dict(entry.metrics),
        "model_config": dict(entry.config),
    }
    return json.dumps(content)


def as_text(entry: Entry, receipt: Receipt) -> str:
    """A table of addresses and figures."""
    lines = [
        ("model", entry.description),
        ("logged", receipt.model_uri),
        ("run", receipt.run_url or receipt.run_id),
        ("version", receipt.version_uri or "not registered"),
        ("aliases", ", ".join(receipt.alias_uris)),
        *((name, f"{value:.4g}") for name, value in entry.metrics.items()),
    ]
    return "\n".join(f"{label:32} {value}" for label, value in lines if value)
