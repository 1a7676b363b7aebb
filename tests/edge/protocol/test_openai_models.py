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


def manifest(lineage=LINEAGE, name="phi3", adapters=()):
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
        adapters=adapters,
    )


ADAPTED = manifest(adapters=("pirate", "poet"))


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


@pytest.mark.parametrize(
    ("name", "adapter", "answering"),
    [
        ("phi3:pirate", "pirate", "phi3:pirate"),
        ("phi3:poet", "poet", "phi3:poet"),
        ("phi3:3", "", "phi3"),
        ("models:/phi3/3", "", "phi3"),
        ("phi3", "", "phi3"),
        ("", "", "phi3"),
    ],
)
def test_the_name_chooses_the_adapter(name, adapter, answering):
    openai_models.check(name, ADAPTED)
    assert openai_models.adapter(name, ADAPTED) == adapter
    assert openai_models.answering(name, ADAPTED) == answering


@pytest.mark.parametrize("name", ["pirate", "phi3:", "phi3:Pirate", "phi4:pirate", "phi3@pirate"])
def test_other_names_choose_none(name):
    with pytest.raises(ModelNotFound) as caught:
        openai_models.check(name, ADAPTED)
    assert '"phi3" and "phi3:pirate" and "phi3:poet"' in str(caught.value)
    assert openai_models.adapter(name, ADAPTED) == ""


def test_adapters_of_a_model_with_a_name_of_its_own():
    """It is the bundle's name that has the adapters."""
    made = manifest(name="mine", adapters=("pirate",))
    assert openai_models.adapter("mine:pirate", made) == "pirate"
    with pytest.raises(ModelNotFound):
        openai_models.check("phi3:pirate", made)


def test_adapters_are_listed_behind_their_model():
    base, *rest = openai_models.listing(ADAPTED, 5)["data"]
    assert (base["id"], base["root"], base["parent"]) == ("phi3", "phi3", None)
    assert [entry["id"] for entry in rest] == ["phi3:pirate", "phi3:poet"]
    for entry in rest:
        assert (entry["root"], entry["parent"]) == ("phi3", "phi3")
        assert entry["aliases"] == [entry["id"]]
        assert (entry["created"], entry["max_model_len"]) == (5, 2048)
        assert Model.model_validate(entry).owned_by == "phial"
        assert openai_models.model(ADAPTED, 5, entry["id"]) == entry
