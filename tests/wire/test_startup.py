"""Bad starts: exit status 2, every problem on standard error, and no traceback."""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import sys

import pytest

from edge import __version__

TIMEOUT_S = 60


@pytest.fixture
def start(repository, tmp_path):
    """Run `python -m edge` to its end: exit status, standard output and standard error."""

    def run(*arguments, **settings):
        variables = {f"EDGE_{name.upper()}": str(value) for name, value in settings.items()}
        found = subprocess.run(
            [sys.executable, "-m", "edge", *arguments],
            cwd=repository,
            env={**os.environ, "EDGE_PORT": "0", **variables},
            capture_output=True,
            text=True,
            timeout=TIMEOUT_S,
        )
        assert "Traceback" not in found.stderr + found.stdout
        return found.returncode, found.stdout, found.stderr

    return run


@pytest.fixture
def own_bundle(model_bundle, tmp_path):
    """A copy of the bundle to damage."""
    return shutil.copytree(model_bundle, tmp_path / "bundle")


def test_no_bundle(start):
    status, output, errors = start()
    assert (status, output) == (2, "")
    assert errors == "phial: no bundle: pass --bundle DIR or set EDGE_BUNDLE\n"


def test_every_bad_setting_at_once(start):
    status, _, errors = start(slots="many", queue=-1, prot=80, log_level="loud")
    assert status == 2
    lines = errors.splitlines()
    assert len(lines) == 4
    assert all(line.startswith("phial: EDGE_") for line in lines)
    assert any("did you mean EDGE_PORT?" in line for line in lines)


def test_bundle_key_file_and_address_at_once(start, tmp_path):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        status, _, errors = start(
            "--bundle",
            str(tmp_path / "nowhere"),
            api_key_file=tmp_path / "none",
            port=taken.getsockname()[1],
        )
    assert status == 2
    lines = errors.splitlines()
    assert len(lines) == 3
    assert "cannot read" in lines[0]
    assert "EDGE_API_KEY_FILE" in lines[1]
    assert "in use" in lines[2]


@pytest.mark.parametrize("host", ["256.1.1.1", "no.such.host.invalid", "203.0.113.7"])
def test_an_address_that_is_not_ours(start, host):
    status, _, errors = start("--scripted", "echo", host=host)
    assert status == 2
    assert "EDGE_HOST" in errors


def test_damaged_bundles(start, own_bundle):
    manifest = json.loads((own_bundle / "manifest.json").read_bytes())
    (own_bundle / "model/genai_config.json").unlink()
    largest = max(manifest["files"], key=lambda file: file["size_bytes"])
    with (own_bundle / largest["path"]).open("ab") as stream:
        stream.write(b"more")
    status, _, errors = start("--bundle", str(own_bundle))
    assert status == 2
    assert "genai_config.json is missing" in errors
    assert f"expected {largest['size_bytes']}" in errors


def test_changed_content_is_found_where_that_is_asked_for(start, own_bundle):
    manifest = json.loads((own_bundle / "manifest.json").read_bytes())
    largest = max(manifest["files"], key=lambda file: file["size_bytes"])
    path = own_bundle / largest["path"]
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    status, _, errors = start("--bundle", str(own_bundle), verify="sha256")
    assert status == 2
    assert "differs from its sha256" in errors


def test_a_manifest_of_another_kind(start, own_bundle):
    manifest = json.loads((own_bundle / "manifest.json").read_bytes())
    manifest |= {"colour": "blue", "context_length": "long"}
    (own_bundle / "manifest.json").write_text(json.dumps(manifest))
    status, _, errors = start("--bundle", str(own_bundle))
    assert status == 2
    assert "colour is unknown" in errors
    assert "context_length" in errors


def edit(folder, name, change):
    """Change a file of a bundle and its entry in the manifest."""
    path = folder / name
    content = change(path.read_bytes())
    path.write_bytes(content)
    manifest = json.loads((folder / "manifest.json").read_bytes())
    for file in manifest["files"]:
        if file["path"] == name:
            file["size_bytes"] = len(content)
    (folder / "manifest.json").write_text(json.dumps(manifest))


@pytest.mark.parametrize("name", ["genai_config.json", "model.onnx", "tokenizer.json"])
def test_a_model_that_the_runtime_cannot_load(start, own_bundle, name):
    """Found only in the worker, while it loads: the whole appliance ends nevertheless."""
    edit(own_bundle, f"model/{name}", lambda content: b"{}" if name.endswith("json") else b"junk")
    status, _, errors = start("--bundle", str(own_bundle))
    assert status == 2
    assert "model" in errors


def test_no_memory_for_the_cache(start, model_bundle):
    status, _, errors = start("--bundle", str(model_bundle), kv_limit=1)
    assert status == 2
    assert "EDGE_KV_LIMIT" in errors


def test_help_lists_every_setting(start):
    status, output, _ = start("--help")
    assert status == 0
    for name in ("EDGE_BUNDLE", "EDGE_KV_LIMIT", "EDGE_METRICS_ALIASES"):
        assert name in output


def test_version(start):
    assert start("--version")[:2] == (0, f"phial {__version__}\n")


@pytest.mark.parametrize("argument", ["--nonsense", "stray"])
def test_arguments_that_are_none(start, argument):
    status, _, errors = start(argument)
    assert status == 2
    assert "usage" in errors
