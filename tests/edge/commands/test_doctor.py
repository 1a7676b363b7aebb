"""The whole examination: its order, its exit status, and what is left out after a failure."""

from __future__ import annotations

import json
import logging
import sys

import pytest

from edge import cpu
from edge.commands import doctor


@pytest.fixture(autouse=True)
def restored(monkeypatch):
    """The command is the last thing that its process does; this process goes on."""
    monkeypatch.setattr(sys, "dont_write_bytecode", sys.dont_write_bytecode)
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield
    root.handlers[:], root.level = handlers, level


def examined(capsys, *arguments):
    """Exit status and findings, check to status and fact."""
    status = doctor.run(["--json", *arguments])
    found = json.loads(capsys.readouterr().out)
    return status, {item["check"]: item for item in found}, found


def test_a_healthy_host(capsys, folder, engine):
    status, found, listed = examined(capsys, "--bundle", str(folder))
    assert status == 0
    assert [item["check"] for item in listed] == [
        *("settings", "bundle", "memory", "processor", "instructions", "address", "API keys"),
        *("telemetry", "load", "speed", "file system"),
    ]
    assert found["bundle"]["fact"] == "parrot: 2 files, 6.8 KiB, each has its sha256"
    assert "fail" not in {item["status"] for item in listed}


def test_lines_for_people(capsys, folder, engine):
    assert doctor.run(["--bundle", str(folder)]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith("ok    settings")
    assert {line.split()[0] for line in lines} <= {"ok", "warn"}


def test_quick_loads_nothing(capsys, folder, engine):
    status, found, _ = examined(capsys, "--quick", "--bundle", str(folder))
    assert status == 0
    assert engine.steps == 0
    assert "load" not in found
    assert "file system" in found


def test_a_changed_file_is_named_and_nothing_is_loaded(capsys, folder, engine):
    path = folder / "model/model.onnx.data"
    path.write_bytes(path.read_bytes()[:-1] + b"!")
    status, found, _ = examined(capsys, "--bundle", str(folder))
    assert status == 1
    assert found["bundle"]["status"] == "fail"
    assert "model/model.onnx.data differs from its sha256" in found["bundle"]["fact"]
    assert "memory" in found
    assert found["load"]["fact"] == "not tried"
    assert engine.steps == 0


def test_every_bad_file_has_a_line(capsys, folder, engine):
    (folder / "model/model.onnx").unlink()
    (folder / "model/model.onnx.data").write_bytes(b"short")
    _, _, listed = examined(capsys, "--quick", "--bundle", str(folder))
    facts = [item["fact"] for item in listed if item["check"] == "bundle"]
    assert len(facts) == 2
    assert "missing" in facts[0]
    assert "expected 7000" in facts[1]


def test_no_bundle(capsys):
    status, found, _ = examined(capsys)
    assert status == 1
    assert "EDGE_BUNDLE" in found["bundle"]["advice"]
    assert "memory" not in found


def test_a_folder_that_is_no_bundle(capsys, tmp_path):
    status, found, _ = examined(capsys, "--bundle", str(tmp_path))
    assert status == 1
    assert "manifest.json" in found["bundle"]["fact"]


def test_bad_settings_do_not_hide_the_rest(capsys, folder, engine, monkeypatch):
    monkeypatch.setenv("EDGE_PORT", "x")
    monkeypatch.setenv("EDGE_PROT", "1")
    monkeypatch.setenv("EDGE_SLOTS", "3")
    status, found, listed = examined(capsys, "--quick", "--bundle", str(folder))
    assert status == 1
    assert sum(item["status"] == "fail" for item in listed) == 2
    assert "3 of them" in found["memory"]["fact"]


def test_too_little_memory(capsys, folder, engine, monkeypatch):
    monkeypatch.setattr(cpu, "memory_limit_bytes", lambda *_: 128 << 20)
    status, found, _ = examined(capsys, "--bundle", str(folder))
    assert status == 1
    assert found["memory"]["status"] == "fail"
    assert "raise the memory limit" in found["memory"]["advice"]


def test_telemetry_is_judged_as_it_was_found(capsys, monkeypatch):
    monkeypatch.delenv("ORT_DISABLE_TELEMETRY")
    _, found, _ = examined(capsys, "--quick")
    assert found["telemetry"]["status"] == "warn"
    monkeypatch.setenv("ORT_DISABLE_TELEMETRY", "1")
    _, found, _ = examined(capsys, "--quick")
    assert found["telemetry"]["status"] == "ok"
