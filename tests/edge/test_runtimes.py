"""Versions of the runtimes come from metadata: nothing is imported for them."""

from __future__ import annotations

import importlib.metadata
import subprocess
import sys

from edge import runtimes


def test_versions_of_what_is_installed():
    found = runtimes.versions()
    assert found.keys() == set(runtimes.NAMES)
    assert all(version[0].isdigit() for version in found.values())


def test_a_runtime_that_is_missing_has_no_version(monkeypatch):
    def missing(name):
        raise importlib.metadata.PackageNotFoundError(name)

    monkeypatch.setattr(importlib.metadata, "version", missing)
    assert runtimes.versions() == dict.fromkeys(runtimes.NAMES, "")


def test_no_runtime_is_imported_for_them(repository):
    program = (
        "import sys; from edge import runtimes; runtimes.versions(); "
        "heavy = {'onnxruntime', 'onnxruntime_genai', 'torch', 'transformers'}; "
        "assert not heavy & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", program], cwd=repository, check=True, timeout=60)
