"""What a flavor asks of settings and of this installation."""

from __future__ import annotations

import dataclasses

import pytest

from edge import bundle, flavors
from edge.config import Settings
from edge.errors import StartupError


def manifest(flavor):
    return bundle.Manifest(
        name="m",
        flavor=flavor,
        files=(),
        signature=bundle.Signature("chat"),
        generation=bundle.Defaults(),
        context_length=64,
        eos_ids=(0,),
        kv_bytes_per_token=4,
    )


def problems(flavor, **settings):
    with pytest.raises(StartupError) as raised:
        flavors.check(manifest(flavor), dataclasses.replace(Settings(), **settings))
    return raised.value.problems


@pytest.mark.parametrize(
    ("flavor", "settings"),
    [
        ("onnx", {}),
        ("onnx", {"engine": "decoder"}),
        ("onnx", {"engine": "genai"}),
        ("pipeline", {}),
        ("pipeline", {"engine": "pipeline", "dtype": "bfloat16"}),
        ("pipeline", {"quantize": "int8", "dtype": "float32"}),
    ],
)
def test_what_goes_together(flavor, settings):
    flavors.check(manifest(flavor), dataclasses.replace(Settings(), **settings))


def test_an_engine_of_the_other_flavor_is_named():
    (problem,) = problems("pipeline", engine="decoder")
    assert problem == (
        "EDGE_ENGINE is decoder, and the bundle's flavor is pipeline: expected auto or pipeline"
    )
    (problem,) = problems("onnx", engine="pipeline")
    assert problem.endswith("expected auto or decoder or genai")


def test_settings_of_pipelines_mean_nothing_to_onnx_bundles():
    found = problems("onnx", dtype="bfloat16", quantize="int8")
    assert [problem.split(",")[0] for problem in found] == [
        "EDGE_DTYPE is bfloat16",
        "EDGE_QUANTIZE is int8",
    ]


def test_two_ways_to_round_exclude_each_other():
    (problem,) = problems("pipeline", dtype="bfloat16", quantize="int8")
    assert problem.startswith("EDGE_DTYPE is bfloat16, and EDGE_QUANTIZE int8")


@pytest.mark.parametrize(
    ("flavor", "missing", "home"),
    [
        ("pipeline", "torch", "--target pipeline"),
        ("onnx", "onnxruntime_genai", "the slim image"),
    ],
)
def test_what_is_not_installed_is_named_with_the_image_that_has_it(
    monkeypatch, flavor, missing, home
):
    monkeypatch.setattr(flavors, "_is_installed", lambda name: name != missing)
    (problem,) = problems(flavor)
    assert f"which needs {missing}" in problem
    assert home in problem
