"""The two images are the stages that the Dockerfiles have."""

from __future__ import annotations

import re

import pytest

from build import context, variant


@pytest.mark.parametrize("one", variant.VARIANTS, ids=lambda one: one.name)
@pytest.mark.parametrize("arch", ["amd64", "arm64"])
def test_its_stages_are_there(one, arch):
    stages = re.findall(r"^FROM .* AS (\S+)$", context.dockerfile(arch).read_text(), re.M)
    assert {one.runtime, one.downloads} <= set(stages)


@pytest.mark.parametrize("one", variant.VARIANTS, ids=lambda one: one.name)
def test_every_layer_has_a_name(one):
    text = context.dockerfile("amd64").read_text()
    body = text.partition(f" AS {one.runtime}\n")[2].partition("\nFROM ")[0]
    assert body.count("COPY --from=") == len(one.history)


@pytest.mark.parametrize(("flavor", "name"), [("onnx", "slim"), ("pipeline", "pipeline")])
def test_a_flavor_has_one_image(flavor, name):
    assert variant.of_flavor(flavor) == variant.named(name)
    assert variant.named(name).flavor == flavor
