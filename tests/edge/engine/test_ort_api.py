"""The function table: found in the installed library, errors carried over, handles freed once."""

from __future__ import annotations

import ctypes
import gc
import importlib.machinery
import importlib.metadata
import importlib.util
import subprocess
import sys
from pathlib import Path

import onnxruntime
import pytest

from edge.engine import ort_api


def spec_of(*folders):
    """The module spec of a package spread over `folders`."""
    spec = importlib.machinery.ModuleSpec("onnxruntime", None, is_package=True)
    spec.submodule_search_locations = [str(folder) for folder in folders]
    return spec


def test_the_library_is_the_installed_one():
    found = ort_api.library()
    assert found.is_relative_to(Path(onnxruntime.__file__).parent)
    assert found.name.endswith(importlib.metadata.version("onnxruntime"))


def test_the_library_is_found_in_a_package_without_modules(monkeypatch, tmp_path):
    (tmp_path / "capi").mkdir()
    library = tmp_path / "capi" / "libonnxruntime.so.1.99.0"
    library.touch()
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: spec_of(tmp_path))
    assert ort_api.library() == library


@pytest.mark.parametrize("names", [(), ("1.2.3", "1.2.4")])
def test_none_and_several_libraries_are_refused(monkeypatch, tmp_path, names):
    (tmp_path / "capi").mkdir()
    for name in names:
        (tmp_path / "capi" / f"libonnxruntime.so.{name}").touch()
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: spec_of(tmp_path))
    with pytest.raises(ImportError, match=r"expected one capi/libonnxruntime\.so\.\*") as caught:
        ort_api.library()
    assert all(name in str(caught.value) for name in names)


def test_a_missing_package_is_refused(monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(ImportError, match="onnxruntime"):
        ort_api.library()


def test_the_runtime_is_loaded_without_its_python_module(repository):
    program = (
        "import sys; from edge.engine import ort_api; ort_api.create('CreateRunOptions'); "
        "assert not [name for name in sys.modules if name.startswith('onnxruntime')]"
    )
    subprocess.run([sys.executable, "-c", program], cwd=repository, check=True, timeout=60)


def test_the_process_holds_one_copy_of_the_runtime(repository, demo_model):
    program = (
        "import sys; from pathlib import Path; from edge.engine import oga, ort_api\n"
        f"model = oga.Model(Path({str(demo_model)!r}), '{{}}')\n"
        "maps = Path('/proc/self/maps').read_text().splitlines()\n"
        "print(*{line.split()[-1] for line in maps if 'libonnxruntime.so' in line})"
    )
    done = subprocess.run(
        [sys.executable, "-c", program],
        cwd=repository,
        check=True,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.stdout.split() == [str(ort_api.library())]


def test_a_refused_call_carries_the_words_of_the_runtime():
    options = ort_api.create("CreateSessionOptions")
    with pytest.raises(ort_api.OrtError, match="graph_optimization_level"):
        ort_api.call("SetSessionGraphOptimizationLevel", options, 7)
    ort_api.call("SetSessionGraphOptimizationLevel", options, 99)
    ort_api.function("ReleaseSessionOptions")(options)


def test_a_failure_frees_its_status_once(monkeypatch):
    freed = []
    release = ort_api._functions["ReleaseStatus"]

    def counted(status):
        freed.append(status)
        release(status)

    monkeypatch.setitem(ort_api._functions, "ReleaseStatus", counted)
    options = ort_api.create("CreateSessionOptions")
    for _ in range(3):
        with pytest.raises(ort_api.OrtError):
            ort_api.call("SetSessionGraphOptimizationLevel", options, 7)
    assert len(freed) == 3
    assert all(freed)
    ort_api.function("ReleaseSessionOptions")(options)


class Owner:
    """Anything that can be referred to weakly."""


@pytest.fixture
def freed(monkeypatch):
    """Handles that were freed, in order; nothing is freed for real."""
    handles = []
    monkeypatch.setitem(ort_api._functions, "ReleaseValue", lambda h: handles.append(h.value))
    return handles


def test_a_handle_goes_with_its_owner(freed):
    owner = Owner()
    ort_api.owned(owner, "ReleaseValue", ctypes.c_void_p(7))
    assert freed == []
    del owner
    gc.collect()
    assert freed == [7]


def test_a_handle_is_freed_once(freed):
    owner = Owner()
    release = ort_api.owned(owner, "ReleaseValue", ctypes.c_void_p(7))
    release()
    release()
    del owner
    gc.collect()
    assert freed == [7]


def test_what_must_outlive_a_handle_does_so_in_a_cycle_too(freed):
    for _ in range(10):
        lower, upper, around = Owner(), Owner(), Owner()
        around.itself, around.lower, around.upper, upper.lower = around, lower, upper, lower
        ort_api.owned(lower, "ReleaseValue", ctypes.c_void_p(1))
        ort_api.owned(upper, "ReleaseValue", ctypes.c_void_p(2), lower)
        del lower, upper, around
        gc.collect()
    assert freed == [2, 1] * 10


def test_nothing_is_freed_as_the_process_ends():
    owner = Owner()
    assert not ort_api.owned(owner, "ReleaseValue", ctypes.c_void_p()).atexit
