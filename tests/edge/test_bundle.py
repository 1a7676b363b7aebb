"""The bundle format: canonical bytes, and every way in which a folder can be wrong."""

from __future__ import annotations

import dataclasses
import hashlib
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge import bundle
from edge.bundle import Column, Defaults, File, Lineage, Manifest, Param, Signature
from edge.errors import StartupError

FILES = {
    "model/model.onnx": b"graph",
    "model/model.onnx.data": b"weights" * 100,
    "model/genai_config.json": b"{}",
    "model/sub/deep.txt": b"",
}


def manifest(files=FILES, **fields):
    listed = tuple(
        File(name, len(content), hashlib.sha256(content).hexdigest())
        for name, content in files.items()
    )
    facts = {
        "name": "phi3",
        "flavor": "onnx",
        "files": listed,
        "signature": Signature(
            "prompt",
            (Column("prompt", "string"),),
            (Column("output", "string"),),
            (Param("stop", "string", ["<end>"], is_list=True), Param("t", "double", 0.2)),
        ),
        "generation": Defaults(stop=("é",), temperature=0.2),
        "context_length": 2048,
        "eos_ids": (4, 0),
        "kv_bytes_per_token": 4096,
        "lineage": Lineage(model_name="phi3", model_version="3", tags={"team": "edge"}),
    }
    return Manifest(**{**facts, **fields})


@pytest.fixture
def folder(tmp_path):
    for name, content in FILES.items():
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    (tmp_path / "manifest.json").write_bytes(bundle.encode(manifest()))
    return tmp_path


def problems(folder, **options):
    with pytest.raises(StartupError) as caught:
        bundle.read(folder, **options)
    return caught.value.problems


def test_a_bundle_is_read_back_as_it_was_written(folder):
    opened = bundle.read(folder)
    assert opened.manifest == manifest()
    assert opened.model_folder == folder / "model"
    assert opened.sha256 == hashlib.sha256((folder / "manifest.json").read_bytes()).hexdigest()
    assert bundle.read(folder, verify="sha256") == opened


def test_the_bytes_are_canonical():
    raw = bundle.encode(manifest())
    assert raw.endswith(b"}\n")
    assert raw == bundle.encode(bundle.parse(raw))
    data = json.loads(raw)
    assert list(data) == sorted(data)
    assert "é".encode() in raw


def test_a_model_without_adapters_says_nothing_of_them():
    """Bundles keep the bytes, and the digest, that they had before there were adapters."""
    raw = bundle.encode(manifest())
    assert b"adapter" not in raw
    assert bundle.parse(raw).adapters == ()


def test_only_a_reply_that_is_not_new_text_is_written():
    raw = bundle.encode(manifest())
    assert b"reply" not in raw
    assert bundle.parse(raw).signature.reply == "new"
    for reply in ("stripped", "full"):
        signed = Signature("prompt", (Column("", "string"),), reply=reply)
        assert bundle.parse(bundle.encode(manifest(signature=signed))).signature == signed


def test_an_unknown_signature_is_told():
    raw = bundle.encode(manifest()).replace(b'"kind": "prompt"', b'"kind": "poem"')
    with pytest.raises(StartupError, match=r"manifest\.signature\.kind is 'poem', expected one of"):
        bundle.parse(raw)


def test_adapters_are_listed_with_their_files():
    files = {**FILES, "adapters/pirate.safetensors": b"x", "adapters/..safetensors": b"y"}
    made = manifest(files, adapters=("pirate", "."))
    assert bundle.parse(bundle.encode(made)) == made
    assert bundle.adapter_path("pirate") == "adapters/pirate.safetensors"


@pytest.mark.parametrize(
    ("names", "told"),
    [
        (("a/b",), "manifest.adapters has 'a/b', expected [A-Za-z0-9._-]{1,64}"),
        (("",), "manifest.adapters has '', expected"),
        (("a" * 65,), "expected [A-Za-z0-9._-]{1,64}"),
        (("pirate\n",), "expected [A-Za-z0-9._-]{1,64}"),
        (("pirate", "pirate"), "expected each name once"),
        (("poet",), "manifest.files has no adapters/poet.safetensors"),
    ],
)
def test_adapters_that_cannot_be(names, told):
    files = {**FILES, "adapters/pirate.safetensors": b"x"}
    with pytest.raises(StartupError) as caught:
        bundle.parse(bundle.encode(manifest(files, adapters=names)))
    assert any(told in problem for problem in caught.value.problems)


def test_an_adapters_file_is_checked_like_any_other(folder):
    name = bundle.adapter_path("pirate")
    (folder / name).parent.mkdir()
    (folder / name).write_bytes(b"other")
    listed = manifest({**FILES, name: b"right"}, adapters=("pirate",))
    (folder / "manifest.json").write_bytes(bundle.encode(listed))
    assert bundle.read(folder).manifest.adapters == ("pirate",)
    assert problems(folder, verify="sha256") == [f"bundle: {name} differs from its sha256"]
    (folder / name).unlink()
    assert problems(folder) == [f"bundle: {name} is missing"]


@given(
    st.text(st.characters(exclude_categories=["Cs"])),
    st.dictionaries(st.text(max_size=5), st.text(max_size=5)),
    st.lists(st.integers(0, 10**6), max_size=4).map(tuple),
)
def test_any_manifest_survives(name, tags, eos_ids):
    try:
        raw = bundle.encode(manifest(name=name, eos_ids=eos_ids, lineage=Lineage(tags=tags)))
    except UnicodeEncodeError:
        return
    again = bundle.parse(raw)
    assert (again.name, again.eos_ids, again.lineage.tags) == (name, eos_ids, tags)


@pytest.mark.parametrize("verify", ["size", "sha256"])
def test_every_problem_of_the_files_is_listed(folder, verify):
    (folder / "model/model.onnx").unlink()
    (folder / "model/model.onnx.data").write_bytes(b"short")
    (folder / "model/sub/deep.txt").write_bytes(b"longer")
    assert problems(folder, verify=verify) == [
        "bundle: model/model.onnx is missing",
        "bundle: model/model.onnx.data has 5 bytes, expected 700",
        "bundle: model/sub/deep.txt has 6 bytes, expected 0",
    ]


def test_a_change_of_content_is_found_by_sha256_alone(folder):
    (folder / "model/model.onnx").write_bytes(b"grapH")
    bundle.read(folder)
    assert problems(folder, verify="sha256") == ["bundle: model/model.onnx differs from its sha256"]


def test_a_folder_in_place_of_a_file(folder):
    (folder / "model/genai_config.json").unlink()
    (folder / "model/genai_config.json").mkdir()
    assert problems(folder) == ["bundle: model/genai_config.json is missing"]


@pytest.mark.parametrize(
    "path", ["../outside", "/etc/hostname", "model/../../outside", "model/link", "model/linked/x"]
)
def test_a_path_that_leaves_the_bundle(folder, tmp_path_factory, path):
    outside = tmp_path_factory.mktemp("elsewhere")
    (outside / "x").write_bytes(b"x")
    (folder / "model/link").symlink_to(outside / "x")
    (folder / "model/linked").symlink_to(outside)
    raw = bundle.encode(manifest({path: b"x"}))
    (folder / "manifest.json").write_bytes(raw)
    assert problems(folder) == [f"bundle: {path} leaves the bundle"]


@pytest.mark.parametrize("path", ["", ".", "model", "model/\0x", "model/" + "x" * 5000, "a/\ud800"])
def test_a_path_that_is_no_file(folder, path):
    data = json.loads(bundle.encode(manifest({"model/model.onnx": b"graph"})))
    data["files"][0]["path"] = path
    (folder / "manifest.json").write_text(json.dumps(data))
    (problem,) = problems(folder)
    assert problem.startswith("bundle: ")


def test_a_link_inside_of_the_bundle_is_good(folder):
    (folder / "model/model.onnx").rename(folder / "model/real")
    (folder / "model/model.onnx").symlink_to("real")
    bundle.read(folder, verify="sha256")


def test_a_bundle_behind_a_link_is_good(folder, tmp_path_factory):
    link = tmp_path_factory.mktemp("links") / "current"
    link.symlink_to(folder)
    assert bundle.read(link).manifest.name == "phi3"


def test_files_that_are_not_listed_do_no_harm(folder):
    (folder / "model/notes.txt").write_text("mine")
    bundle.read(folder)


def test_no_folder_and_no_manifest(tmp_path):
    (problem,) = problems(tmp_path / "nowhere")
    assert "cannot read" in problem
    (problem,) = problems(tmp_path)
    assert "manifest.json" in problem
    (tmp_path / "manifest.json").mkdir()
    (problem,) = problems(tmp_path)
    assert "cannot read" in problem


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b"{",
        b"\xff\xfe",
        b"[1]",
        b'"x"',
        b"null",
        b"{}",
        b'{"format_version": 99}',
        b"3",
        b"nul",
    ],
)
def test_a_manifest_that_is_none(tmp_path, raw):
    (tmp_path / "manifest.json").write_bytes(raw)
    (problem,) = problems(tmp_path)
    assert problem.startswith("bundle: ")


def test_a_manifest_nested_beyond_reason(tmp_path):
    (tmp_path / "manifest.json").write_text("[" * 100_000)
    (problem,) = problems(tmp_path)
    assert "manifest.json" in problem


@pytest.mark.parametrize("version", [0, 2, "1", None, [1]])
def test_another_format_says_both_versions(version):
    data = json.loads(bundle.encode(manifest()))
    data["format_version"] = version
    with pytest.raises(StartupError) as caught:
        bundle.parse(json.dumps(data).encode())
    assert caught.value.problems == [
        f"bundle: format_version is {version!r}, this appliance reads 1"
    ]


def test_every_bad_field_is_listed():
    data = json.loads(bundle.encode(manifest()))
    del data["name"]
    data["flavor"] = "keras"
    data["context_length"] = "2048"
    data["files"][0]["size_bytes"] = -1.5
    data["colour"] = "blue"
    with pytest.raises(StartupError) as caught:
        bundle.parse(json.dumps(data).encode())
    text = "\n".join(caught.value.problems)
    assert len(caught.value.problems) == 5
    for part in ("name is missing", "flavor", "context_length", "files[0].size_bytes", "colour"):
        assert part in text


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("context_length", 0),
        ("context_length", -5),
        ("kv_bytes_per_token", -1),
        ("eos_ids", [-1]),
    ],
)
def test_figures_that_make_no_sense(name, value):
    data = json.loads(bundle.encode(manifest()))
    data[name] = value
    with pytest.raises(StartupError) as caught:
        bundle.parse(json.dumps(data).encode())
    assert name in caught.value.problems[0]


def test_a_look_at_the_manifest_leaves_the_files_alone(folder):
    (folder / "model/model.onnx").unlink()
    peeked = bundle.peek(folder)
    assert peeked.manifest == manifest()
    assert peeked.sha256 == hashlib.sha256((folder / "manifest.json").read_bytes()).hexdigest()
    assert problems(folder) == ["bundle: model/model.onnx is missing"]


def test_a_look_at_what_is_no_bundle(tmp_path):
    with pytest.raises(StartupError, match="cannot read"):
        bundle.peek(tmp_path)
    (tmp_path / "manifest.json").write_text("{")
    with pytest.raises(StartupError, match="not JSON"):
        bundle.peek(tmp_path)


def test_the_digest_of_a_file(tmp_path):
    path = tmp_path / "big"
    path.write_bytes(b"x" * 3_000_000)
    assert bundle.sha256_of(path) == hashlib.sha256(b"x" * 3_000_000).hexdigest()


def test_a_manifest_does_not_change():
    with pytest.raises(dataclasses.FrozenInstanceError):
        manifest().name = "other"
