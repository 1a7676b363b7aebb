"""`python -m build export`, from the command line to the bundle."""

import json
import os
import pickle
import shutil
import sys
from pathlib import Path

import mlflow
import pytest
import yaml

from build.bundle import open_

OPENED: list[str] = []
UNPICKLED: list[str] = []
_watching = False


def _audit(event, args):
    """Note every file opened and every name looked up by an unpickler."""
    if _watching and event == "open":
        OPENED.append(str(args[0]))
    elif _watching and event == "pickle.find_class":
        UNPICKLED.append(f"{args[0]}.{args[1]}")


sys.addaudithook(_audit)


@pytest.fixture
def watched(monkeypatch):
    """Watch this process from here on."""
    OPENED.clear()
    UNPICKLED.clear()
    monkeypatch.setattr(sys.modules[__name__], "_watching", True)


@pytest.fixture
def out(tmp_path):
    return tmp_path / "out"


@pytest.fixture
def copy_of(sqlite_store, tmp_path):
    """`copy_of(model_id)` is a logged model's folder that a test may spoil."""

    def copy(model_id):
        client = mlflow.MlflowClient(sqlite_store.uri)
        origin = client.get_logged_model(model_id).artifact_location
        return Path(shutil.copytree(origin, tmp_path / "copy"))

    return copy


def test_a_registered_model(cli, sqlite_store, out):
    done = cli(
        "export", "models:/capitals@champion", "--out", out, "--tracking-uri", sqlite_store.uri
    )
    assert done.status == 0
    manifest = open_(out, whole=True).manifest
    assert manifest.name == "capitals"
    assert manifest.lineage.model_version == "1"
    assert manifest.generation.max_tokens == 40
    assert manifest.generation.temperature == 0.0
    assert manifest.generation.stop == ("###",)
    assert manifest.libraries["logged-with:onnxruntime-genai"] == "0.18.0"
    for shown in ("models:/capitals@champion", "models:/capitals/1", "int4-b128", "verdict: good"):
        assert shown in done.out


@pytest.mark.parametrize("form", ["models:/capitals/1", "models:/{chat_id}", "runs:/{run_id}/chat"])
def test_every_uri_gives_the_same_files(cli, sqlite_store, demo_model, tmp_path, form):
    uri = form.format(chat_id=sqlite_store.chat_id, run_id=sqlite_store.run_id)
    argv = ("--tracking-uri", sqlite_store.uri, "--skip-trial", "--json")
    done = cli("export", uri, "--out", tmp_path / "out", *argv)
    assert done.json["ok"] is True
    assert done.json["lineage"]["model_id"] == sqlite_store.chat_id
    local = cli("export", demo_model, "--out", tmp_path / "local", "--skip-trial")
    assert local.status == 0
    files = [open_(tmp_path / name).manifest.files for name in ("out", "local")]
    assert files[0] == files[1]


def test_the_same_uri_gives_the_same_bundle(cli, sqlite_store, tmp_path):
    argv = ("--tracking-uri", sqlite_store.uri, "--skip-trial", "--json")
    one = cli("export", "models:/capitals/1", "--out", tmp_path / "one", *argv).json
    two = cli("export", "models:/capitals/1", "--out", tmp_path / "two", *argv).json
    assert one["manifest_sha256"] == two["manifest_sha256"]
    assert open_(tmp_path / "one").manifest == open_(tmp_path / "two").manifest


def test_the_notebooks_model(cli, sqlite_store, out, watched):
    """The model of 2024 is exported, and its pickle never so much as opened."""
    argv = ("export", "models:/comic/1", "--out", out, "--tracking-uri", sqlite_store.uri)
    done = cli(*argv, "--json")
    assert done.status == 0
    assert [path for path in OPENED if path.endswith(".pkl")] == []
    assert [name for name in UNPICKLED if "cloudpickle" in name or "Phi3" in name] == []
    assert any(path.endswith("genai_config.json") for path in OPENED)
    shims = "\n".join(done.json["shims"])
    assert "python_model.pkl holds a pickled Python class: it was not opened" in shims
    assert "torch is among the model's requirements and is left out" in shims
    assert "the signature has no parameters: max_tokens, temperature, top_p" in shims
    advice = "\n".join(done.json["advice"])
    assert "--max-tokens 300 --temperature 0.2" in advice
    assert "--prompt-format raw" in advice
    bundle = open_(out, whole=True)
    assert bundle.manifest.signature.kind == "prompt"
    assert len(bundle.manifest.signature.params) == 6
    assert not any(file.path.endswith((".pkl", ".py")) for file in bundle.manifest.files)


def test_the_notebooks_model_with_its_settings_said(cli, sqlite_store, out):
    argv = ("export", "models:/comic@none", "--out", out, "--tracking-uri", sqlite_store.uri)
    assert cli(*argv).status == 1
    flags = ("--max-tokens", 300, "--temperature", 0.2, "--prompt-format", "raw", "--skip-trial")
    done = cli(*argv[:1], "models:/comic/1", *argv[2:], *flags, "--json")
    assert done.json["advice"] == []
    manifest = open_(out).manifest
    assert manifest.generation.max_tokens == 300
    assert manifest.generation.temperature == 0.2
    assert manifest.generation.prompt_format == "raw"
    params = {param.name: param.default for param in manifest.signature.params}
    assert (params["max_tokens"], params["temperature"]) == (300, 0.2)


def test_a_pickle_that_would_do_harm_does_none(cli, sqlite_store, tmp_path, copy_of):
    """The notebook's model with a pickle that leaves a mark when it is loaded."""
    folder = copy_of(sqlite_store.notebook_id)
    marker = tmp_path / "marker"
    poison = f"cposix\nsystem\n(S'touch {marker}'\ntR.".encode()
    (folder / "python_model.pkl").write_bytes(poison)
    assert cli("export", folder, "--out", tmp_path / "out").status == 0
    assert not marker.exists()
    pickle.loads(poison)  # the poison works
    assert marker.exists()


def test_the_uri_in_mlmodel_is_provenance_only(cli, sqlite_store, tmp_path, copy_of):
    folder = copy_of(sqlite_store.chat_id)
    data = yaml.safe_load((folder / "MLmodel").read_text())
    data["flavors"]["python_function"]["artifacts"]["onnx"]["uri"] = "/nowhere/at/all"
    (folder / "MLmodel").write_text(yaml.safe_dump(data))
    assert cli("export", folder, "--out", tmp_path / "out", "--skip-trial").status == 0
    manifest = open_(tmp_path / "out").manifest
    assert manifest.lineage.model_id == sqlite_store.chat_id
    assert manifest.lineage.source_uri == folder.name
    assert "nowhere" not in (tmp_path / "out" / "manifest.json").read_text()
    assert str(tmp_path) not in (tmp_path / "out" / "manifest.json").read_text()


def test_all_problems_in_one_verdict(cli, onnx_folder, out, edit):
    edit(onnx_folder, "model.type", "gpt9")
    edit(onnx_folder, "model.eos_token_id", None)
    (onnx_folder / "tokenizer.json").write_text("{")
    done = cli("export", onnx_folder, "--out", out, "--json")
    assert done.status == 1
    assert done.json["ok"] is False
    assert done.json["bundle"] is None
    assert len(done.json["problems"]) == 3
    assert not out.exists()
    told = cli("export", onnx_folder, "--out", out).out
    assert "verdict: cannot be sealed" in told
    for problem in done.json["problems"]:
        assert f"  - {problem}" in told


def test_a_mistyped_uri_is_a_usage_error(cli, out):
    done = cli("export", "models:/phi3", "--out", out)
    assert (done.status, done.out) == (2, "")
    assert "URI is 'models:/phi3', expected" in done.err


@pytest.mark.parametrize("argv", [("export",), ("export", "x"), ("export", "x", "--out", "/")])
def test_missing_words_are_usage_errors(cli, argv):
    assert cli(*argv).status == 2


def test_an_existing_bundle_is_kept_without_force(cli, demo_model, out):
    argv = ("export", demo_model, "--out", out, "--skip-trial")
    assert cli(*argv).status == 0
    before = (out / "manifest.json").read_bytes()
    refused = cli(*argv, "--name", "new")
    assert refused.status == 1
    assert "--force replaces it" in refused.out
    assert (out / "manifest.json").read_bytes() == before
    assert cli(*argv, "--name", "new", "--force").status == 0
    assert open_(out).manifest.name == "new"


def test_flags_reach_the_manifest(cli, demo_model, out):
    flags = ("--name", "box", "--context-length", 512, "--top-k", 3, "--stop", "END")
    more = ("--system-prompt", "Be kind.", "--seed", 7, "--skip-trial")
    assert cli("export", demo_model, "--out", out, *flags, *more).status == 0
    manifest = open_(out).manifest
    assert (manifest.name, manifest.context_length) == ("box", 512)
    assert (manifest.generation.top_k, manifest.generation.seed) == (3, 7)
    assert manifest.generation.stop == ("END",)
    assert manifest.system_prompts == ("Be kind.",)


def test_nothing_is_written_elsewhere(cli, sqlite_store, tmp_path, monkeypatch):
    """Neither the current folder, nor the home directory, nor the store."""
    home, here = tmp_path / "home", tmp_path / "here"
    home.mkdir()
    here.mkdir()
    store = Path(sqlite_store.uri.removeprefix("sqlite:///")).parent
    before = sorted(store.rglob("*"))
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.chdir(here)
    argv = ("--out", tmp_path / "out", "--tracking-uri", sqlite_store.uri)
    assert cli("export", "models:/capitals/2", *argv).status == 0
    assert os.listdir(home) == os.listdir(here) == []
    assert sorted(store.rglob("*")) == before


def test_a_store_whose_files_are_elsewhere(cli, sqlite_store, tmp_path, out):
    """A tracking server that does not serve artifacts: their folder is on its machine."""
    client = mlflow.MlflowClient(sqlite_store.uri)
    client.create_registered_model("far")
    client.create_model_version("far", str(tmp_path / "not-here"))
    done = cli("export", "models:/far/1", "--out", out, "--tracking-uri", sqlite_store.uri)
    assert done.status == 1
    assert "a folder that this machine does not have" in done.out
    shutil.rmtree(tmp_path / "not-here", ignore_errors=True)


def test_the_verdict_is_json_for_every_outcome(cli, out):
    done = cli("export", "/nowhere", "--out", out, "--json")
    assert done.status == 1
    assert json.loads(done.out)["problems"] == ["'/nowhere' is neither a folder nor a model's URI"]
