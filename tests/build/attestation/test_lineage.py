"""What documents say of the model's origin, and what they keep to themselves."""

from dataclasses import replace

from build.attestation import lineage
from edge.bundle import Lineage
from tests.build.attestation.image_samples import MANIFEST


def test_the_facts_name_the_model_and_its_run():
    facts = lineage.facts(MANIFEST)
    assert facts["phial:mlflow:resolved_uri"] == "models:/phi3/3"
    assert facts["phial:mlflow:run_id"] == "0123456789abcdef"
    assert facts["phial:mlflow:tag:team"] == "edge"
    assert facts["phial:model:quantization"] == "int4-b128"
    assert facts["phial:model:context_length"] == "4096"
    assert facts["phial:exported-with:mlflow"] == "3.17.2"


def test_the_facts_are_sorted_and_none_is_empty():
    facts = lineage.facts(MANIFEST)
    assert list(facts) == sorted(facts)
    assert all(facts.values())
    assert "phial:mlflow:model_id" not in facts


def test_whoever_logged_the_model_stays_unnamed():
    facts = lineage.facts(MANIFEST)
    assert "phial:mlflow:tag:mlflow.user" not in facts
    assert not any("ada" in value for value in facts.values())


def test_paths_and_credentials_do_not_travel():
    origin = Lineage(
        source_uri="/home/ada/model", tags={"git": "https://ada:pw@git.example/x", "at": "/srv/a/b"}
    )
    facts = lineage.facts(replace(MANIFEST, lineage=origin))
    assert facts["phial:mlflow:source_uri"] == "model"
    assert facts["phial:mlflow:tag:git"] == "https://git.example/x"
    assert facts["phial:mlflow:tag:at"] == "b"


def test_the_origin_is_the_resolved_uri_or_else_the_one_that_was_given():
    assert lineage.origin(MANIFEST) == "models:/phi3/3"
    given = replace(MANIFEST, lineage=Lineage(source_uri="models:/phi3@champion"))
    assert lineage.origin(given) == "models:/phi3@champion"
    assert lineage.origin(replace(MANIFEST, lineage=Lineage())) == ""
