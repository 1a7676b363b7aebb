"""`python -m build verify` and `inspect`."""

import json

import pytest

from edge.bundle import encode, read


@pytest.fixture
def sealed(cli, demo_model, tmp_path):
    out = tmp_path / "out"
    assert cli("export", demo_model, "--out", out, "--skip-trial").status == 0
    return out


def test_a_sound_bundle(cli, sealed):
    done = cli("verify", sealed)
    assert done.status == 0
    bundle = read(sealed)
    assert f"{len(bundle.manifest.files)} files" in done.out
    assert f"manifest sha256 {bundle.sha256}" in done.out


def test_a_changed_bundle(cli, sealed):
    (sealed / "model" / "genai_config.json").unlink()
    (sealed / "model" / "notes.txt").touch()
    done = cli("verify", sealed)
    assert (done.status, done.out) == (1, "")
    assert done.err == "verify: model/genai_config.json is missing\n"


def test_one_byte_is_enough(cli, sealed):
    path = sealed / "model" / "model.onnx"
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)
    assert cli("verify", sealed).err == "verify: model/model.onnx differs from its sha256\n"


@pytest.mark.parametrize("text", ["{", "[]", '{"format_version": 9}', '{"format_version": 1}'])
def test_a_manifest_that_is_none(cli, sealed, text):
    (sealed / "manifest.json").write_text(text)
    done = cli("verify", sealed)
    assert done.status == 1
    assert done.err.startswith("verify: ")


def test_no_bundle(cli, tmp_path):
    assert cli("verify", tmp_path).status == 1
    assert cli("verify").status == 2


def test_inspect_a_bundle(cli, sealed):
    done = cli("inspect", sealed)
    assert done.status == 0
    assert done.out.encode() == encode(read(sealed).manifest)


def test_inspect_a_model_writes_nothing(cli, sqlite_store, tmp_path):
    done = cli("inspect", "models:/comic/1", "--tracking-uri", sqlite_store.uri, "--json")
    assert done.status == 0
    assert done.json["ok"] is True
    assert done.json["bundle"] is None
    assert done.json["facts"]["architecture"] == "phi3"
    assert list(tmp_path.iterdir()) == []


def test_inspect_a_bad_model(cli, onnx_folder, edit):
    edit(onnx_folder, "model.type", "gpt9")
    done = cli("inspect", onnx_folder, "--skip-trial")
    assert done.status == 1
    assert "model.type is 'gpt9'" in done.out
    assert "verdict: cannot be sealed" in done.out


def test_inspect_nothing(cli):
    done = cli("inspect", "models:/x/1", "--tracking-uri", "sqlite:////nowhere.db", "--json")
    assert done.status == 1
    assert "there is no MLflow store" in json.loads(done.out)["problems"][0]
