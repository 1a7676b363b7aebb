"""Versions of the runtimes come from metadata: nothing is imported for them."""

from __future__ import annotations

import importlib.metadata
import subprocess
import sys

from edge import runtimes


def test_versions_of_what_is_installed():
    found = runtimes.versions()
    assert found.keys() == {"onnxruntime", "onnxruntime-genai"}
    assert all(version[0].isdigit() for version in found.values())


def test_a_runtime_that_is_missing_has_no_version(monkeypatch):
    def missing(name):
        raise importlib.metadata.PackageNotFoundError(name)

    monkeypatch.setattr(importlib.metadata, "version", missing)
    assert runtimes.versions() == {"onnxruntime": "", "onnxruntime-genai": ""}


def test_no_runtime_is_imported_for_them(repository):
    program = (
        "import sys; from edge import runtimes; runtimes.versions(); "
        "assert not [name for name in sys.modules if name.startswith('onnxruntime')]"
    )
    subprocess.run([sys.executable, "-c", program], cwd=repository, check=True, timeout=60)
