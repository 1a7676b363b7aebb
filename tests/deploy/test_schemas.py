"""Every object against the real schemas of the API, and both ways to render against each other."""

from __future__ import annotations

import copy

import jsonschema
import kubernetes_validate
import pytest
import yaml

from tests.deploy import kustomization
from tests.deploy.conftest import KUBERNETES, VARIANTS

RENDERERS = kustomization.renderers()
OLDEST, NEWEST = "1.30", kubernetes_validate.latest_version()  # 1.30 brought the `sleep` handler
KINDS = {
    *("Deployment", "Service", "ServiceAccount", "HorizontalPodAutoscaler"),
    *("PodDisruptionBudget", "PodMonitor"),
}


def closed(required, **properties):
    """A schema of an object that has these properties and no others."""
    return {
        "type": "object",
        "properties": properties,
        "required": required,
        "additionalProperties": False,
    }


TEXT = {"type": "string", "minLength": 1}
DURATION = {"type": "string", "pattern": r"^([0-9]+(ms|s|m|h))+$"}
LABELS = {"type": "object", "additionalProperties": TEXT, "minProperties": 1}
# The fields of the operator's PodMonitor that are used here; a kind of its own, not of Kubernetes.
POD_MONITOR = closed(
    ["apiVersion", "kind", "metadata", "spec"],
    apiVersion={"const": "monitoring.coreos.com/v1"},
    kind={"const": "PodMonitor"},
    metadata=closed(["name"], name=TEXT, labels=LABELS),
    spec=closed(
        ["selector", "podMetricsEndpoints"],
        selector=closed(["matchLabels"], matchLabels=LABELS),
        podMetricsEndpoints={
            "type": "array",
            "minItems": 1,
            "items": closed(
                ["port"], port=TEXT, path=TEXT, interval=DURATION, scrapeTimeout=DURATION
            ),
        },
    ),
)


def validate(one, version):
    """Raises where the object is not what Kubernetes of this version takes."""
    if one["kind"] == "PodMonitor":
        jsonschema.Draft202012Validator(POD_MONITOR).validate(one)
    else:
        kubernetes_validate.validate(one, version, strict=True)


@pytest.mark.parametrize("version", [OLDEST, NEWEST])
def test_kubernetes_takes_every_object(objects, version):
    assert set(objects) == KINDS
    for one in objects.values():
        validate(one, version)


@pytest.mark.parametrize("version", [OLDEST, NEWEST])
def test_kubernetes_takes_the_keys(with_keys, version):
    for one in kustomization.read(with_keys):
        validate(one, version)


@pytest.mark.parametrize("name", sorted({p.parent.name for p in KUBERNETES.glob("*/kust*.yaml")}))
def test_a_kustomization_names_every_file_beside_it(name):
    folder = KUBERNETES / name
    found = yaml.safe_load((folder / kustomization.FILE).read_text())
    named = [*found.get("resources", ()), *(one["path"] for one in found.get("patches", ()))]
    beside = {path.name for path in folder.iterdir()} - {kustomization.FILE}
    assert {entry for entry in named if not entry.startswith("..")} == beside


@pytest.mark.parametrize("field", ["spec", "metadata"])
def test_a_field_that_kubernetes_does_not_know_is_found(objects, field):
    for one in objects.values():
        wrong = copy.deepcopy(one)
        wrong.setdefault(field, {})["unheardOf"] = 1
        with pytest.raises(jsonschema.ValidationError):
            validate(wrong, NEWEST)


@pytest.mark.parametrize("renderer", RENDERERS)
def test_what_is_rendered_does_not_depend_on_who_renders(renderer, with_keys):
    for folder in (*(KUBERNETES / name for name in VARIANTS), with_keys):
        made = kustomization.by_kind(RENDERERS[renderer](folder))
        ours = kustomization.by_kind(kustomization.read(folder))
        assert kustomization.sorted_lists(made) == kustomization.sorted_lists(ours)


def test_a_patch_changes_what_it_names_and_nothing_else(tmp_path):
    base = {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": "one"},
        "spec": {"template": {"spec": {"containers": [
            {"name": "a", "image": "x", "env": [{"name": "A", "value": "1"}], "args": ["1", "2"]},
            {"name": "b", "image": "old"},
        ]}}},
    }  # fmt: skip
    patch = copy.deepcopy(base)
    patch["spec"]["template"]["spec"]["containers"] = [
        {"name": "a", "env": [{"name": "B", "value": "2"}], "args": ["3"]}
    ]
    (tmp_path / "one.yaml").write_text(yaml.safe_dump(base))
    (tmp_path / "patch.yaml").write_text(yaml.safe_dump(patch))
    (tmp_path / kustomization.FILE).write_text(yaml.safe_dump({
        "resources": ["one.yaml"],
        "patches": [{"path": "patch.yaml"}],
        "images": [{"name": "old", "newName": "new", "newTag": "1"}],
    }))  # fmt: skip
    for render in RENDERERS.values():
        (made,) = render(tmp_path)
        first, second = kustomization.containers(made)
        assert {one["name"]: one["value"] for one in first["env"]} == {"A": "1", "B": "2"}
        assert (first["image"], first["args"]) == ("x", ["3"])
        assert second == {"name": "b", "image": "new:1"}


def test_the_reader_refuses_what_it_does_not_know(tmp_path):
    (tmp_path / kustomization.FILE).write_text("namePrefix: mine-\n")
    with pytest.raises(AssertionError, match="namePrefix"):
        kustomization.read(tmp_path)
