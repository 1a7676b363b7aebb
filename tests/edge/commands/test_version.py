"""What runs here: with a bundle, without one, and with one that cannot be read."""

from __future__ import annotations

import hashlib
import json
import platform

import pytest

from edge import __version__, runtimes
from edge.commands import version
from edge.errors import StartupError


def told(capsys, *arguments):
    assert version.run(["--json", *arguments]) == 0
    return json.loads(capsys.readouterr().out)


def test_the_model_of_a_bundle(capsys, folder):
    found = told(capsys, "--bundle", str(folder))
    assert found["phial"] == __version__
    assert found["python"] == platform.python_version()
    assert found["runtimes"] == runtimes.versions()
    digest = hashlib.sha256((folder / "manifest.json").read_bytes()).hexdigest()
    assert found["bundle_sha256"] == digest
    assert found["model"] == {
        "name": "parrot",
        "registered_name": "parrots",
        "version": "7",
        "alias": "champion",
        "run_id": "0f1e",
        "quantization": "int4-b32",
        "context_length": 1024,
    }


def test_the_bundle_of_the_environment(capsys, folder, monkeypatch):
    monkeypatch.setenv("EDGE_BUNDLE", str(folder))
    assert told(capsys)["model"]["name"] == "parrot"


@pytest.mark.parametrize("form", [[], ["--json"]])
def test_who_logged_the_model_is_not_told(capsys, folder, form):
    version.run([*form, "--bundle", str(folder)])
    assert "jane" not in capsys.readouterr().out


def test_the_files_of_the_model_need_not_be_there(capsys, folder):
    """A bundle that lost its weights must still say which one it is."""
    (folder / "model/model.onnx").unlink()
    assert told(capsys, "--bundle", str(folder))["model"]["version"] == "7"


def test_no_bundle_is_no_error(capsys):
    found = told(capsys)
    assert (found["model"], found["bundle_sha256"]) == (None, "")


def test_a_bundle_that_cannot_be_read_is_said_beside(capsys, tmp_path):
    assert version.run(["--json", "--bundle", str(tmp_path / "none")]) == 0
    output, errors = capsys.readouterr()
    assert json.loads(output)["model"] is None
    assert errors.startswith("phial: bundle: cannot read")


def test_the_text_has_a_row_a_fact_and_none_without_a_value(capsys, folder, monkeypatch):
    monkeypatch.setattr(runtimes, "versions", lambda: {"onnxruntime": "1.0", "other": ""})
    version.run(["--bundle", str(folder)])
    rows = dict(line.split(None, 1) for line in capsys.readouterr().out.splitlines())
    assert rows["phial"] == __version__
    assert rows["onnxruntime"] == "1.0"
    assert rows["other"] == "not installed"
    assert rows["model"] == "parrot"
    assert rows["context"] == "length      1024"
    version.run([])
    assert "model" not in capsys.readouterr().out


def test_bad_settings_are_an_error(monkeypatch):
    monkeypatch.setenv("EDGE_SLOTS", "none")
    with pytest.raises(StartupError, match="EDGE_SLOTS"):
        version.run([])
