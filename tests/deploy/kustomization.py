"""Renders a Kustomize folder: with `kubectl kustomize` where there is one, else with what we use.

What is read here: resources, components, strategic merge patches by path, images. Anything else in
a kustomization is an error, so that the two ways cannot part unnoticed.
"""

from __future__ import annotations

import copy
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import yaml

Object = dict[str, Any]
FILE = "kustomization.yaml"
READ = {"apiVersion", "kind", "resources", "components", "patches", "images"}
# What Kubernetes says of its own lists: entries are the same where this field is.
MERGE_KEYS = {"containers": "name", "env": "name", "volumes": "name", "volumeMounts": "mountPath"}


def renderers() -> dict[str, Callable[[Path], list[Object]]]:
    """The ways to render a folder that there are on this machine, by name."""
    return {"reader": read} | ({"kubectl": kubectl} if shutil.which("kubectl") else {})


def kubectl(folder: Path) -> list[Object]:
    """What the real one makes of the folder."""
    made = subprocess.run(
        ["kubectl", "kustomize", str(folder)],
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    assert made.stderr == ""
    return list(yaml.safe_load_all(made.stdout))


def read(folder: Path) -> list[Object]:
    """What our own reader makes of the folder."""
    found = _load(folder)
    objects = [one for entry in found.get("resources", ()) for one in _resource(folder / entry)]
    for entry in found.get("components", ()):
        _patch(objects, folder / entry, _load(folder / entry))
    _patch(objects, folder, found)
    return objects


def by_kind(objects: list[Object]) -> dict[str, Object]:
    """The objects by their kind, of which there is one each."""
    found = {one["kind"]: one for one in objects}
    assert len(found) == len(objects)
    return found


def sorted_lists(value: Any) -> Any:
    """The value with the lists that are merged by a key in the order of that key."""
    if isinstance(value, dict):
        return {
            name: sorted(map(sorted_lists, part), key=lambda one, k=MERGE_KEYS[name]: one[k])
            if name in MERGE_KEYS
            else sorted_lists(part)
            for name, part in value.items()
        }
    return [sorted_lists(one) for one in value] if isinstance(value, list) else value


def _load(folder: Path) -> Object:
    found: Object = yaml.safe_load((folder / FILE).read_text())
    assert set(found) <= READ, f"the reader knows no {set(found) - READ} of {folder}"
    return found


def _resource(path: Path) -> Iterator[Object]:
    yield from read(path) if path.is_dir() else yaml.safe_load_all(path.read_text())


def _patch(objects: list[Object], folder: Path, found: Object) -> None:
    for entry in found.get("patches", ()):
        assert set(entry) == {"path"}
        patch = yaml.safe_load((folder / entry["path"]).read_text())
        matches = [one for one in objects if _identity(one) == _identity(patch)]
        assert len(matches) == 1, f"{entry['path']} fits {len(matches)} objects"
        objects[objects.index(matches[0])] = _merge(matches[0], patch)
    for image in found.get("images", ()):
        for one in objects:
            for container in containers(one):
                if container["image"] == image["name"]:
                    container["image"] = f"{image['newName']}:{image['newTag']}"


def containers(one: Object) -> list[Object]:
    """The containers of a Deployment; none of any other object."""
    template = one["spec"]["template"] if one["kind"] == "Deployment" else {}
    found: list[Object] = template["spec"]["containers"] if template else []
    return found


def _identity(one: Object) -> tuple[str, str, str]:
    return one["apiVersion"], one["kind"], one["metadata"]["name"]


def _merge(base: Any, patch: Any, name: str = "") -> Any:
    if isinstance(base, dict) and isinstance(patch, dict):
        merged = copy.deepcopy(base)
        for key, value in patch.items():
            merged[key] = _merge(base[key], value, key) if key in base else copy.deepcopy(value)
        return merged
    if isinstance(base, list) and name in MERGE_KEYS:
        key = MERGE_KEYS[name]
        known = {one[key]: one for one in base}
        for one in patch:
            known[one[key]] = _merge(known[one[key]], one) if one[key] in known else one
        return list(known.values())
    return copy.deepcopy(patch)
