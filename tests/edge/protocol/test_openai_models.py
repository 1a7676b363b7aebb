"""The names of the model, and what the listing says."""

from __future__ import annotations

import pytest
from openai.types import Model

from edge.bundle import Defaults, Lineage, Manifest, Signature
from edge.errors import ModelNotFound
from edge.protocol import openai_models

LINEAGE = Lineage(
    source_uri="models:/phi3@champion",
    resolved_uri="models:/m-0123abcd",
    model_name="phi3",
    model_version="3",
    alias="champion",
)


def manifest(lineage=LINEAGE, name="phi3"):
    return Manifest(
        name=name,
        flavor="onnx",
        files=(),
        signature=Signature("prompt"),
        generation=Defaults(),
        context_length=2048,
        eos_ids=(2,),
        kv_bytes_per_token=0,
        lineage=lineage,
    )


@pytest.mark.parametrize(
    "name",
    [
        "",
        "phi3",
        "phi3:3",
        "phi3@champion",
        "models:/phi3/3",
        "models:/phi3@champion",
        "models:/m-0123abcd",
    ],
)
def test_names_that_are_served(name):
    openai_models.check(name, manifest())


@pytest.mark.parametrize("name", ["phi4", "phi3:2", "phi3@prod", "PHI3", "models:/phi3/2", "gpt-4"])
def test_other_names_are_not_found(name):
    with pytest.raises(ModelNotFound) as caught:
        openai_models.check(name, manifest())
    assert caught.value.param == "model"
    assert f'"{name}"' in str(caught.value)
    assert '"phi3"' in str(caught.value)


def test_a_model_that_never_saw_a_registry_has_one_name():
    lineage = Lineage(source_uri="file:///home/me/model", resolved_uri="runs:/1/model")
    assert openai_models.names(manifest(lineage)) == ("phi3",)


def test_an_alias_without_a_name_adds_nothing():
    assert openai_models.names(manifest(Lineage(alias="champion"))) == ("phi3",)


def test_names_come_once_and_the_own_one_first():
    names = openai_models.names(manifest(name="mine"))
    assert names[0] == "mine"
    assert "phi3" in names
    assert len(set(names)) == len(names)


def test_the_listing():
    body = openai_models.listing(manifest(), 1700000000)
    assert body["object"] == "list"
    (entry,) = body["data"]
    assert entry["id"] == entry["root"] == "phi3"
    assert entry["object"] == "model"
    assert entry["created"] == 1700000000
    assert entry["max_model_len"] == 2048
    assert entry["aliases"] == list(openai_models.names(manifest()))
    assert Model.model_validate(entry).owned_by == "phial"


def test_a_model_by_another_of_its_names():
    body = openai_models.model(manifest(), 1, "models:/phi3/3")
    assert (body["id"], body["root"]) == ("models:/phi3/3", "phi3")


def test_a_model_that_is_not_served():
    with pytest.raises(ModelNotFound):
        openai_models.model(manifest(), 1, "phi4")
