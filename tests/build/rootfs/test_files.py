"""Files that no package brings."""

from __future__ import annotations

import stat
from pathlib import Path

from build.rootfs import files


def test_of_documentation_only_copyrights_stay(tmp_path):
    for name in ("libc6/copyright", "libc6/changelog.gz", "python3.11/README", "a/b/copyright"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text("x")
    (tmp_path / "libgcc-s1").symlink_to("libc6")
    files.keep_only_copyright(tmp_path)
    left = sorted(str(p.relative_to(tmp_path)) for p in tmp_path.rglob("*") if p.is_file())
    assert "libc6/copyright" in left
    assert "a/b/copyright" in left
    assert not (tmp_path / "python3.11").exists()
    assert not (tmp_path / "libc6" / "changelog.gz").exists()
    assert (tmp_path / "libgcc-s1" / "copyright").read_text() == "x"


def test_the_user_has_a_number_and_no_shell(tmp_path):
    files.write_etc(tmp_path)
    passwd = (tmp_path / "etc/passwd").read_text().splitlines()
    assert passwd[1].split(":")[2:4] == [str(files.USER_ID)] * 2
    assert all(line.endswith(":/nonexistent") for line in passwd)
    assert "ID=" in (tmp_path / "etc/os-release").read_text()


def test_only_tmp_can_be_written_by_all(tmp_path):
    files.write_etc(tmp_path)
    writable = [p.name for p in tmp_path.rglob("*") if p.stat().st_mode & stat.S_IWOTH]
    assert writable == ["tmp"]


def test_python_goes_by_three_names(tmp_path):
    (tmp_path / "usr/bin").mkdir(parents=True)
    (tmp_path / "usr/bin/python3").write_text("old")
    files.link_python(tmp_path, "3.11")
    (tmp_path / "usr/bin/python3.11").write_text("new")
    assert (tmp_path / "usr/bin/python").read_text() == "new"
    assert (tmp_path / "usr/bin/python3").is_symlink()


def debian(root: Path) -> Path:
    for name in (
        "usr/lib/python3/dist-packages/numpy/__init__.py",
        "usr/lib/x86_64-linux-gnu/blas/libblas.so.3.11.0",
        "usr/lib/x86_64-linux-gnu/lapack/liblapack.so.3.11.0",
        "usr/lib/x86_64-linux-gnu/libc.so.6",
    ):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text("debian")
    (root / "usr/lib/x86_64-linux-gnu/blas/libblas.so.3").symlink_to("libblas.so.3.11.0")
    return root


def test_numpy_of_debian_takes_the_place_of_the_wheel(tmp_path):
    root, lib = debian(tmp_path / "root"), tmp_path / "lib"
    for name in ("numpy/__init__.py", "numpy.libs/openblas.so", "numpy-2.4.6.dist-info/METADATA"):
        (lib / name).parent.mkdir(parents=True)
        (lib / name).write_text("wheel")
    files.take_numpy(root, lib, "x86_64")
    assert sorted(path.name for path in lib.iterdir()) == ["numpy"]
    assert (lib / "numpy/__init__.py").read_text() == "debian"
    libraries = root / "usr/lib/x86_64-linux-gnu"
    assert sorted(path.name for path in libraries.iterdir()) == [
        *("libblas.so.3", "libblas.so.3.11.0", "libc.so.6", "liblapack.so.3.11.0"),
    ]
    assert (libraries / "libblas.so.3").read_text() == "debian"


def test_modes_do_not_depend_on_the_checkout(tmp_path):
    (tmp_path / "app").mkdir(mode=0o700)
    (tmp_path / "app/run").write_text("x")
    (tmp_path / "app/run").chmod(0o777)
    files.settle_modes(tmp_path)
    assert stat.S_IMODE((tmp_path / "app").stat().st_mode) == 0o755
    assert stat.S_IMODE((tmp_path / "app/run").stat().st_mode) == 0o644
