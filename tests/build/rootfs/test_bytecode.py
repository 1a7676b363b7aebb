"""Sources become bytecode that says nothing of when and where it was made."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
from pathlib import Path

import pytest

from build.rootfs import bytecode

SOURCE = 'NAMES = {"b", "a", "c"}\n\ndef where(x):\n    return x in {"one", "two"} or __file__\n'


def package(root: Path) -> Path:
    folder = root / "app" / "pack"
    folder.mkdir(parents=True)
    (folder / "__init__.py").write_text("")
    (folder / "one.py").write_text(SOURCE)
    (folder / "__pycache__").mkdir()
    (folder / "__pycache__" / "one.cpython-311.pyc").write_bytes(b"stale")
    (folder / "data.json").write_text("{}")
    return folder


def test_only_bytecode_and_data_are_left(tmp_path):
    folder = package(tmp_path)
    bytecode.replace_sources(folder, tmp_path)
    names = sorted(path.name for path in folder.rglob("*"))
    assert names == ["__init__.pyc", "data.json", "one.pyc"]


def test_it_runs_without_its_source(tmp_path):
    bytecode.replace_sources(package(tmp_path), tmp_path)
    code = "import pack.one; print(pack.one.where('two'), pack.one.where.__code__.co_filename)"
    said = subprocess.check_output(
        [sys.executable, "-c", code], env={"PYTHONPATH": str(tmp_path / "app")}, text=True
    )
    assert said.split() == ["True", "/app/pack/one.py"]


def test_docstrings_and_asserts_are_gone(tmp_path):
    folder = package(tmp_path)
    (folder / "two.py").write_text('"""Doc."""\n\ndef f():\n    "Doc too."\n    assert False\n')
    bytecode.replace_sources(folder, tmp_path)
    code = "import pack.two as t; t.f(); print(t.__doc__, t.f.__doc__)"
    environment = {"PYTHONPATH": str(tmp_path / "app")}
    said = subprocess.check_output([sys.executable, "-c", code], env=environment, text=True)
    assert said.split() == ["None", "None"]


def test_it_is_unchecked_and_has_no_time(tmp_path):
    folder = package(tmp_path)
    bytecode.replace_sources(folder, tmp_path)
    head = (folder / "one.pyc").read_bytes()[:16]
    assert head[:4] == importlib.util.MAGIC_NUMBER
    assert int.from_bytes(head[4:8], "little") == 0b01  # PEP 552: hash-based, not checked


def test_two_runs_in_two_places_give_the_same_bytes(tmp_path):
    folders = [package(tmp_path / "first"), package(tmp_path / "second")]
    for folder in folders:
        bytecode.replace_sources(folder, folder.parent.parent)
    first, second = ((folder / "one.pyc").read_bytes() for folder in folders)
    assert first == second


def test_a_file_that_does_not_compile_is_named_as_a_failure(tmp_path, capfd):
    folder = package(tmp_path)
    (folder / "broken.py").write_text("def (:\n")
    with pytest.raises(RuntimeError, match="pack compiles"):
        bytecode.replace_sources(folder, tmp_path)
    assert "broken.py" in capfd.readouterr().out
