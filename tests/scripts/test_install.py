"""scripts/install in a copy of the tree whose locks are empty: everything but the download."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest


@pytest.fixture(scope="module")
def clone(repository, tmp_path_factory) -> Path:
    """A folder with scripts/install and four locks that ask for nothing."""
    folder = tmp_path_factory.mktemp("clone with a blank")
    (folder / "scripts").mkdir()
    (folder / "requirements").mkdir()
    shutil.copy(repository / "scripts" / "install", folder / "scripts" / "install")
    for name in ("edge", "build", "demo", "dev"):
        (folder / "requirements" / f"{name}.txt").write_text("# empty\n")
    return folder


def install(clone: Path, *sets: str, cwd: Path | None = None, **environment: str):
    """Run scripts/install as in a bare shell."""
    return subprocess.run(
        [clone / "scripts" / "install", *sets],
        cwd=cwd or clone,
        env={"PATH": os.environ["PATH"], "PYTHON": sys.executable} | environment,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


def test_the_first_run_makes_an_environment_and_the_second_does_nothing(clone, tmp_path):
    first = install(clone, "build", cwd=tmp_path)
    assert first.returncode == 0, first.stderr
    assert "making .venv with Python 3." in first.stdout
    assert "requirements/build.txt" in first.stdout
    assert (clone / ".venv" / "bin" / "python").exists()
    second = install(clone, "build", "edge", cwd=tmp_path)
    assert (second.returncode, second.stdout, second.stderr) == (0, "", "")


def test_a_changed_lock_is_installed_again(clone):
    assert install(clone, "edge").returncode == 0
    (clone / "requirements" / "edge.txt").write_text("# empty still\n")
    assert "requirements/edge.txt" in install(clone, "edge").stdout
    assert install(clone, "edge").stdout == ""


def test_a_lock_that_fails_is_tried_again(clone):
    lock = clone / "requirements" / "dev.txt"
    lock.write_text("./nowhere --hash=sha256:00\n")
    for _ in range(2):
        failed = install(clone, "dev")
        assert failed.returncode != 0
        assert "ERROR" in failed.stdout
    lock.write_text("# empty\n")
    assert install(clone, "dev").returncode == 0


def test_a_package_without_a_hash_is_refused(clone):
    lock = clone / "requirements" / "dev.txt"
    lock.write_text("flask==3.1.3\n")
    refused = install(clone, "dev")
    assert refused.returncode != 0
    assert "Hashes are required" in refused.stdout


def test_an_environment_whose_python_is_gone_is_made_again(clone):
    assert install(clone, "edge").returncode == 0
    for link in (clone / ".venv" / "bin").glob("python*"):
        link.unlink()
    again = install(clone, "edge")
    assert again.returncode == 0
    assert "making .venv" in again.stdout
    assert "requirements/edge.txt" in again.stdout


def test_an_unknown_set_is_named(clone):
    refused = install(clone, "egde")
    assert refused.returncode == 1
    assert refused.stderr == (
        "install: no set named 'egde': expected edge, build, demo or dev\n"
    )  # fmt: skip


def test_a_missing_python_is_said_in_a_sentence(bare):
    refused = install(bare, "edge", PYTHON="python2.7")
    assert refused.returncode == 1
    assert refused.stderr.startswith(
        "install: Phial needs Python 3.11 or later with its venv module"
    )
    assert "python2.7" in refused.stderr
    assert not (bare / ".venv").exists()


TOOLS = ("bash", "dirname", "sha256sum", "grep", "cat", "flock", "chmod")
APT_GET = """#!{bash}
echo "$@" >>"{log}"
case "$*" in
    *{package}*)
        printf '#!{bash}\\nexec {python} "$@"\\n' >"{folder}/python3.11"
        chmod +x "{folder}/python3.11" ;;
esac
"""


@pytest.fixture
def machine(tmp_path) -> Callable[..., tuple[Path, Path]]:
    """A PATH with no Python on it, an `id` and an `apt-get` that offers one as `package`."""

    def make(*, user: int, package: str) -> tuple[Path, Path]:
        folder, log = tmp_path / "bin", tmp_path / "apt-get.log"
        folder.mkdir()
        for tool in TOOLS:
            (folder / tool).symlink_to(shutil.which(tool))
        bash = shutil.which("bash")
        apt_get = APT_GET.format(
            bash=bash, log=log, package=package, folder=folder, python=sys.executable
        )
        for name, text in {"id": f"#!{bash}\necho {user}\n", "apt-get": apt_get}.items():
            (folder / name).write_text(text)
            (folder / name).chmod(0o755)
        log.touch()
        return folder, log

    return make


@pytest.fixture
def bare(clone, tmp_path) -> Path:
    """A copy of the tree in which nothing was installed yet."""
    return shutil.copytree(clone, tmp_path / "clone", ignore=shutil.ignore_patterns(".venv"))


@pytest.mark.parametrize("package", ["python3-venv", "python3.11-venv"])
def test_root_on_a_bare_debian_gets_python_from_apt_get(bare, machine, package):
    folder, log = machine(user=0, package=package)
    done = install(bare, "edge", PATH=str(folder), PYTHON="")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "installing it with apt-get" in done.stderr
    assert (bare / ".venv" / "bin" / "python").exists()
    calls = log.read_text().splitlines()
    assert calls[0] == "-qq update"
    assert calls[-1] == f"-qq install -y --no-install-recommends {package}"


def test_root_where_apt_get_has_no_python_is_told(bare, machine):
    folder, _ = machine(user=0, package="nothing-of-the-kind")
    refused = install(bare, "edge", PATH=str(folder), PYTHON="")
    assert refused.returncode == 1
    assert "Phial needs Python 3.11 or later" in refused.stderr


def test_others_are_told_which_package_is_missing(bare, machine):
    folder, log = machine(user=1000, package="python3-venv")
    refused = install(bare, "edge", PATH=str(folder), PYTHON="")
    assert refused.returncode == 1
    assert "apt-get install python3-venv" in refused.stderr
    assert log.read_text() == ""
