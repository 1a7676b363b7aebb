"""The models of OpenAI's API: an appliance serves one, under several names, and its adapters.

The adapter `pirate` of the model `phi3` is called `phi3:pirate`.
"""

from __future__ import annotations

from typing import Any

from edge.bundle import Lineage, Manifest
from edge.errors import ModelNotFound
from edge.protocol.fields import shown

OWNER = "phial"
REGISTRY_SCHEME = "models:/"


def names(manifest: Manifest) -> tuple[str, ...]:
    """Every name the model answers to, the bundle's own first.

    The rest come from its MLflow lineage: `phi3`, `phi3:3`, `phi3@champion`, and the URIs
    `models:/phi3/3`, `models:/phi3@champion` and the one it was exported from.
    """
    return tuple(dict.fromkeys([manifest.name, *_lineage_names(manifest.lineage)]))


def check(name: str, manifest: Manifest) -> None:
    """Raise `ModelNotFound` where `name` is none of the names served; "" is any model."""
    if name and name not in names(manifest) and not adapter(name, manifest):
        served = " and ".join(map(shown, [manifest.name, *_adapter_names(manifest)]))
        message = f"model is {shown(name)}, which is not served here; this appliance has {served}"
        raise ModelNotFound(message, param="model")


def adapter(name: str, manifest: Manifest) -> str:
    """The adapter that the model's name `name` chooses, "" for the base model."""
    return _adapter_names(manifest).get(name, "")


def answering(name: str, manifest: Manifest) -> str:
    """The name that answers carry where `name` was asked for."""
    return name if adapter(name, manifest) else manifest.name


def model(manifest: Manifest, created: int, name: str = "") -> dict[str, Any]:
    """The `model` called `name`; `created` (seconds since 1970) is when it was taken up here.

    `root` is the name of the base model and `parent` the same for an adapter, `aliases` are all
    names, and `max_model_len` is the context in tokens, as other open servers call them. Raises
    `ModelNotFound`.
    """
    check(name, manifest)
    chosen = adapter(name, manifest)
    return {
        "id": name or manifest.name,
        "object": "model",
        "created": created,
        "owned_by": OWNER,
        "root": manifest.name,
        "parent": manifest.name if chosen else None,
        "aliases": [name] if chosen else list(names(manifest)),
        "max_model_len": manifest.context_length,
    }


def listing(manifest: Manifest, created: int) -> dict[str, Any]:
    """The `list` of the model and its adapters."""
    served = ["", *_adapter_names(manifest)]
    return {"object": "list", "data": [model(manifest, created, name) for name in served]}


def _adapter_names(manifest: Manifest) -> dict[str, str]:
    """Adapters by the names under which they are served."""
    return {f"{manifest.name}:{adapter}": adapter for adapter in manifest.adapters}


def _lineage_names(lineage: Lineage) -> list[str]:
    found = [
        uri for uri in (lineage.source_uri, lineage.resolved_uri) if uri.startswith(REGISTRY_SCHEME)
    ]
    name, version, alias = lineage.model_name, lineage.model_version, lineage.alias
    if name:
        found.append(name)
    if name and version:
        found += [f"{name}:{version}", f"{REGISTRY_SCHEME}{name}/{version}"]
    if name and alias:
        found += [f"{name}@{alias}", f"{REGISTRY_SCHEME}{name}@{alias}"]
    return found
