"""What is left out of the root file system, on a tree of empty files."""

from __future__ import annotations

from pathlib import Path

import pytest

from build.rootfs import contents


def fill(root: Path, *names: str) -> Path:
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(name)
    return root


def left(root: Path) -> list[str]:
    return sorted(str(p.relative_to(root)) for p in root.rglob("*") if not p.is_dir())


@pytest.mark.parametrize(
    ("pattern", "expected"),
    [
        ("usr/lib", ["usr/lib"]),
        ("lib{a,b}*", ["liba*", "libb*"]),
        ("{a,b}/{c,d}", ["a/c", "a/d", "b/c", "b/d"]),
        ("x{,y}", ["x", "xy"]),
    ],
)
def test_braces_stand_for_either(pattern, expected):
    assert contents.alternatives(pattern) == expected


def test_names_are_filled_in_before_braces_are_read():
    assert contents.fill("usr/lib/python{py}/{a,b}", {"py": "3.11"}) == "usr/lib/python3.11/{a,b}"


def test_what_matches_goes_and_the_rest_stays(tmp_path):
    root = fill(tmp_path, "a/keep.py", "a/tests/t.py", "b/tests/deep/t.py", "b/x.pyi", "c")
    contents.remove(root, ("**/tests", "**/*.pyi"))
    assert left(root) == ["a/keep.py", "c"]


def test_a_spared_file_survives_in_a_folder_that_goes(tmp_path):
    names = ("rt/__init__.py", "rt/capi/lib.so.1", "rt/capi/other.so", "rt/tools/deep/x.py")
    root = fill(tmp_path, *names)
    contents.remove(root, ("rt/*",), kept=("rt/capi/lib.so.*",))
    assert left(root) == ["rt/capi/lib.so.1"]


def test_links_are_removed_and_not_followed(tmp_path):
    root = fill(tmp_path, "real/file")
    (root / "gone").symlink_to("real")
    contents.remove(root, ("gone",))
    assert left(root) == ["real/file"]


def test_a_pattern_may_match_below_another_that_matches(tmp_path):
    root = fill(tmp_path, "a/tests/tests/t.py", "a/tests/x.pyi")
    contents.remove(root, ("**/tests", "**/*.pyi"))
    assert left(root) == []


@pytest.mark.parametrize("name", ["json/__init__.py", "ssl.py", "ctypes/util.py", "email/x.py"])
def test_the_standard_library_that_is_used_stays(tmp_path, name):
    root = fill(tmp_path, f"usr/lib/python3.11/{name}")
    contents.remove(root, contents.SYSTEM_LEFT_OUT, py="3.11")
    assert left(root) == [f"usr/lib/python3.11/{name}"]


@pytest.mark.parametrize(
    "name",
    [
        "usr/lib/python3.11/test/test_x.py",
        "usr/lib/python3.11/ensurepip/_bundled/pip.whl",
        "usr/lib/python3.11/lib-dynload/_sqlite3.cpython-311-x86_64-linux-gnu.so",
        "usr/share/man/man1/python3.1.gz",
        "usr/lib/x86_64-linux-gnu/gconv/UTF-7.so",
        "etc/python3.11/sitecustomize.py",
        "usr/bin/f2py",
    ],
)
def test_what_nobody_runs_goes(tmp_path, name):
    root = fill(tmp_path, name)
    contents.remove(root, contents.SYSTEM_LEFT_OUT, py="3.11")
    assert left(root) == []


def test_of_onnxruntime_only_the_library_and_its_licence_stay(tmp_path):
    names = (
        *("onnxruntime/__init__.py", "onnxruntime/capi/libonnxruntime.so.1.32.0"),
        *("onnxruntime/capi/onnxruntime_pybind11_state.so", "onnxruntime/tools/x.py"),
        *("onnxruntime-1.32.0.dist-info/METADATA", "onnxruntime/LICENSE"),
    )
    root = fill(tmp_path, *names)
    contents.remove(root, contents.LIBRARIES_LEFT_OUT, kept=contents.LIBRARIES_KEPT)
    assert left(root) == [
        "onnxruntime-1.32.0.dist-info/METADATA",
        "onnxruntime/LICENSE",
        "onnxruntime/capi/libonnxruntime.so.1.32.0",
    ]
