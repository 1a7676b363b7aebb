"""The provenance: a valid statement about every platform, complete, repeatable, discreet."""

import json
from dataclasses import replace

import pytest
from google.protobuf import json_format
from in_toto_attestation.predicates.provenance.v1.provenance_pb2 import Provenance
from in_toto_attestation.v1.resource_descriptor import ResourceDescriptor
from in_toto_attestation.v1.statement import Statement
from in_toto_attestation.v1.statement_pb2 import Statement as StatementMessage

from build.attestation import provenance
from build.attestation.inventory import Inventory, take
from build.attestation.provenance import Built, Recipe, Request
from build.oci.descriptor import Platform
from tests.build.attestation.image_samples import AMD64, subject_of, whole_image

ARM64 = Platform("linux", "arm64")
INDEX = subject_of(b"index")
REVISION = "7fd1a60b01f91b314f59955a4e4d4e80d8edf11d"
REQUEST = Request(
    "models:/phi3@champion", ("amd64", "arm64"), "acme/phi3:3", {"max_tokens": 64, "stop": ["</s>"]}
)
RECIPE = Recipe(
    container_tool="buildah",
    container_tool_version="1.28.2",
    compression="zstd",
    base="docker.io/library/debian:bookworm-slim",
    base_digest="sha256:" + "b" * 64,
    source="https://git.example/phial",
    source_revision=REVISION,
)


@pytest.fixture(scope="module")
def images(tmp_path_factory):
    """Two platforms with the same contents."""
    found = take(*whole_image(tmp_path_factory.mktemp("image") / "store"))
    return [
        Built(subject_of(b"amd64"), found),
        Built(subject_of(b"arm64"), replace(found, platform=ARM64)),
    ]


@pytest.fixture(scope="module")
def statement(images):
    return json.loads(provenance.render(REQUEST, RECIPE, INDEX, images))


@pytest.fixture(scope="module")
def definition(statement):
    return statement["predicate"]["buildDefinition"]


def dependencies(definition):
    return {one["uri"]: one for one in definition["resolvedDependencies"]}


def test_in_totos_own_library_takes_the_statement(images):
    raw = provenance.render(REQUEST, RECIPE, INDEX, images)
    message = json_format.Parse(raw, StatementMessage())
    Statement.copy_from_pb(message).validate()


def test_the_predicate_has_the_fields_of_slsa_and_no_others(statement):
    message = json_format.ParseDict(statement["predicate"], Provenance())
    for resource in message.build_definition.resolved_dependencies:
        ResourceDescriptor.copy_from_pb(resource).validate()
    assert message.build_definition.build_type == "urn:phial:image-build:v1"
    assert message.run_details.builder.id == "urn:phial:builder:v1"


def test_the_types_are_those_of_the_specifications(statement):
    assert statement["_type"] == "https://in-toto.io/Statement/v1"
    assert statement["predicateType"] == "https://slsa.dev/provenance/v1"


def test_the_subjects_are_the_index_and_each_platform(statement, images):
    digests = [one["digest"]["sha256"] for one in statement["subject"]]
    assert digests == [one.digest[7:] for one in (INDEX, *(image.subject for image in images))]
    names = [one["name"] for one in statement["subject"]]
    assert names[0] == INDEX.purl()
    assert [name.partition("arch=")[2] for name in names[1:]] == ["amd64&tag=3", "arm64&tag=3"]


def test_what_was_asked_stands_under_external_parameters(definition):
    assert definition["externalParameters"] == {
        "model": "models:/phi3@champion",
        "architectures": ["amd64", "arm64"],
        "tag": "acme/phi3:3",
        "options": {"max_tokens": 64, "stop": ["</s>"]},
    }


def test_what_the_factory_chose_stands_under_internal_parameters(definition):
    assert definition["internalParameters"] == {
        "sourceDateEpoch": INDEX.epoch_s,
        "compression": "zstd",
        "containerTool": {"name": "buildah", "version": "1.28.2"},
    }


def test_the_model_is_a_dependency_with_the_digest_of_its_bundle(definition, images):
    model = dependencies(definition)["models:/phi3/3"]
    assert model["name"] == "phi3"
    assert model["digest"] == {"sha256": images[0].inventory.bundle_sha256}
    assert model["annotations"]["phial:mlflow:run_id"] == "0123456789abcdef"


def test_the_base_image_and_the_source_are_dependencies(definition):
    found = dependencies(definition)
    base = found["docker://docker.io/library/debian:bookworm-slim"]
    assert base["digest"] == {"sha256": "b" * 64}
    assert found["git+https://git.example/phial"]["digest"] == {"gitCommit": REVISION}


def test_every_package_is_a_dependency_once(definition, images):
    found = [one["uri"] for one in definition["resolvedDependencies"]]
    expected = [package.purl for package in images[0].inventory.packages]
    assert sorted(uri for uri in found if uri.startswith("pkg:")) == sorted(expected)
    assert len(found) == len(set(found)) == len(expected) + 3


def test_a_digest_is_given_where_it_is_known(definition):
    found = {one["name"]: one for one in definition["resolvedDependencies"]}
    assert len(found["libstdc++6"]["digest"]["sha256"]) == 64
    assert "digest" not in found["libc6"]
    assert "digest" not in found["flask"]


def test_what_is_not_known_is_left_out():
    recipe = Recipe("docker", "20.10", "gzip")
    raw = provenance.render(REQUEST, recipe, INDEX, [Built(INDEX, Inventory(AMD64))])
    assert json.loads(raw)["predicate"]["buildDefinition"]["resolvedDependencies"] == []


def test_a_base_or_a_source_may_be_known_by_half(images):
    recipe = replace(RECIPE, base_digest="", source="")
    raw = provenance.render(REQUEST, recipe, INDEX, images)
    source, base, *_ = json.loads(raw)["predicate"]["buildDefinition"]["resolvedDependencies"]
    assert source == {"name": "phial", "digest": {"gitCommit": REVISION}}
    assert "digest" not in base


def test_the_run_has_versions_and_no_time(statement):
    run = statement["predicate"]["runDetails"]
    assert run["builder"]["version"] == {"phial": "0.1.0", "buildah": "1.28.2"}
    assert run["metadata"] == {"invocationId": INDEX.uuid("build").urn}


def test_two_renders_are_the_same_bytes(images):
    first, second = (provenance.render(REQUEST, RECIPE, INDEX, images) for _ in range(2))
    assert first == second
    assert first != provenance.render(REQUEST, RECIPE, subject_of(b"other"), images)


def test_nobody_no_place_and_no_secret_is_named(images):
    request = replace(
        REQUEST,
        model_uri="/home/ada/models/phi3",
        options={"artifact": "/home/ada/x", "nested": {"urls": ["https://ada:pw@host.example/a"]}},
    )
    recipe = replace(
        RECIPE,
        base="ada:pw@reg.example/debian:12",
        source="https://ada:pw@git.example/phial",
    )
    raw = provenance.render(request, recipe, INDEX, images).decode()
    assert "mlflow.user" not in raw
    assert "ada" not in raw.replace("metadata", "")
    assert "pw@" not in raw
    assert "/home" not in raw
    asked = json.loads(raw)["predicate"]["buildDefinition"]["externalParameters"]
    assert (asked["model"], asked["options"]["artifact"]) == ("phi3", "x")
    assert asked["options"]["nested"] == {"urls": ["https://host.example/a"]}
