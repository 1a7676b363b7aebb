"""scripts/containers: on the real machine, and on one whose apt-get and mmdebstrap are scripted."""

from __future__ import annotations

import os
import shutil
import subprocess
import tarfile
import time
from dataclasses import dataclass
from pathlib import Path

import pytest

DAY_S = 24 * 3600
BASE = "localhost/debian:bookworm-slim"
PROGRAMS = ("buildah", "podman", "runc", "mmdebstrap", "dockerd")
SHELL_TOOLS = ("bash", "dirname", "sort", "cat", "mkdir", "flock", "chmod", "rm", "sed")
# A machine with the Debian archive, its security updates and a third party's.
APT_GET = """#!/bin/sh
echo "$*" >>"{log}"
[ -x /usr/sbin/policy-rc.d ] && echo "policy: $(/usr/sbin/policy-rc.d; echo $?)" >>"{log}"
case "$*" in
    indextargets*) cat "{archives}" ;;
    *install*) [ ! -e "{log}.refuse" ] || {{ rm "{log}.refuse"; exit 100; }} ;;
    *update*) [ ! -e "{log}.offline" ] || {{ echo "E: offline"; exit 100; }} ;;
esac
"""
ARCHIVES = """Debian|http://deb.example/debian/
Debian|http://deb.example/debian/
Debian-Security|http://deb.example/debian-security/
Debian Backports|http://deb.example/backports/
"""
MMDEBSTRAP = """#!/bin/sh
echo "$*" >>"{log}"
[ ! -e "{log}.offline" ] || {{ echo "E: no mirror" >&2; exit 1; }}
for word in "$@"; do case $word in *.tar.new) cp "{tar}" "$word" ;; esac; done
"""


@dataclass(frozen=True)
class Machine:
    """A checkout, and a folder that stands first in the PATH."""

    checkout: Path
    programs: Path

    def prepare(self, *, path: str | None = None, **environment: str):
        """Run scripts/containers there; a `path` is the whole PATH."""
        usual = f"{self.programs}:{os.environ['PATH']}"
        return subprocess.run(
            [self.checkout / "scripts" / "containers"],
            env={"PATH": path or usual, "HOME": str(self.checkout), **environment},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )

    @property
    def cache(self) -> Path:
        return self.checkout / ".cache" / "containers"

    def calls(self, program: str) -> list[str]:
        log = self.programs / f"{program}.log"
        return log.read_text().splitlines() if log.exists() else []

    def write(self, program: str, text: str, **places: Path) -> None:
        path = self.programs / program
        path.write_text(text.format(log=self.programs / f"{program}.log", **places))
        path.chmod(0o755)


@pytest.fixture
def machine(repository, tmp_path) -> Machine:
    """A checkout without a cache; apt-get and mmdebstrap are scripted, nothing is emulated."""
    made = Machine(tmp_path / "a checkout", tmp_path / "bin")
    shutil.copytree(repository / "scripts", made.checkout / "scripts")
    (made.checkout / "requirements").symlink_to(repository / "requirements")
    (made.checkout / ".venv").symlink_to(repository / ".venv")
    made.programs.mkdir()
    (tmp_path / "archives").write_text(ARCHIVES)
    with tarfile.open(tmp_path / "root.tar", "w") as tar:
        tar.addfile(tarfile.TarInfo("file"))
    made.write("apt-get", APT_GET, archives=tmp_path / "archives")
    made.write("mmdebstrap", MMDEBSTRAP, tar=tmp_path / "root.tar")
    made.write("dpkg", "#!/bin/sh\necho arm64\n")
    return made


@pytest.fixture
def bare(machine) -> Machine:
    """A machine with nothing but a shell and few tools."""
    for tool in SHELL_TOOLS:
        (machine.programs / tool).symlink_to(shutil.which(tool))
    return machine


def as_user(machine: Machine, number: int) -> None:
    machine.write("id", f"#!/bin/sh\necho {number}\n")


@pytest.fixture
def root() -> None:
    """Skips where what only root on Debian can do cannot be tried."""
    path = f"{os.environ['PATH']}:/usr/sbin:/sbin"
    missing = [name for name in PROGRAMS if shutil.which(name, path=path) is None]
    if os.geteuid() != 0 or missing:
        pytest.skip("needs root and the containers' programs: run scripts/containers as root")


@pytest.mark.parametrize(("settings", "status"), [({}, 0), ({"CI": "true"}, 1)], ids=["", "CI"])
def test_others_than_root_are_told_and_only_ci_fails(bare, settings, status):
    as_user(bare, 1000)
    done = bare.prepare(path=str(bare.programs), **settings)
    assert (done.returncode, done.stdout) == (status, "")
    assert done.stderr.startswith("containers: needs root on Debian or Ubuntu")
    assert not bare.cache.exists()
    assert bare.calls("apt-get") == []


@pytest.mark.parametrize(("settings", "status"), [({}, 0), ({"CI": "true"}, 1)], ids=["", "CI"])
def test_root_without_apt_get_is_told(bare, settings, status):
    as_user(bare, 0)
    (bare.programs / "apt-get").unlink()
    done = bare.prepare(path=str(bare.programs), **settings)
    assert done.returncode == status
    assert done.stderr.startswith("containers: needs root on Debian or Ubuntu")
    assert done.stderr.count("\n") == 1


def test_the_missing_programs_are_named_by_their_packages(bare):
    as_user(bare, 1000)
    said = bare.prepare(path=str(bare.programs)).stderr
    assert "; missing here: " in said
    named = said.partition("missing here: ")[2].split()
    assert named == sorted(named)
    assert {"buildah", "podman", "skopeo", "arch-test"} <= set(named)
    assert "mmdebstrap" not in named  # it is there


NOTHING_IN_SBIN = 'mount --bind "$1" /usr/sbin && PATH=$2 exec "$3"'


def on_empty_sbin(machine: Machine, **environment: str):
    """Run scripts/containers where /usr/sbin is an empty folder, as on a machine without Docker."""
    sbin = machine.programs.parent / "sbin"
    sbin.mkdir(exist_ok=True)
    command = ("unshare", "--mount", "sh", "-c", NOTHING_IN_SBIN, "sh", sbin)
    path = f"{machine.programs}:/usr/bin:/bin"
    return subprocess.run(
        [*command, path, machine.checkout / "scripts" / "containers"],
        env={"PATH": os.environ["PATH"], "HOME": str(machine.checkout), **environment},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    ), [path.name for path in sbin.iterdir()]


def installs(machine: Machine) -> list[str]:
    return [line for line in machine.calls("apt-get") if not line.startswith("indextargets")]


def test_root_gets_what_is_missing_without_a_service_or_a_removal(root, machine):
    done, left = on_empty_sbin(machine)
    said = done.stdout.splitlines()[0]
    call, policy = installs(machine)[:2]
    assert said.startswith("containers: installing ")
    assert "iptables" in said.split()
    assert "podman" not in said.split()  # it is there
    assert call.endswith(f" install {said.removeprefix('containers: installing ')}")
    assert {"--no-install-recommends", "--no-remove", "-y"} <= set(call.split())
    assert policy == "policy: 101"
    assert left == []


def test_old_package_lists_are_renewed_once(root, machine):
    (machine.programs / "apt-get.log.refuse").touch()
    done, _ = on_empty_sbin(machine)
    calls = [line.split()[-1] for line in installs(machine) if not line.startswith("policy")]
    assert calls[1] == "update"
    assert calls[0] == calls[2]
    assert "could not install" not in done.stderr


@pytest.mark.parametrize(("settings", "status"), [({}, 0), ({"CI": "true"}, 1)], ids=["", "CI"])
def test_packages_that_cannot_be_had_are_named_with_the_log(root, machine, settings, status):
    for what in ("refuse", "offline"):
        (machine.programs / f"apt-get.log.{what}").touch()
    done, left = on_empty_sbin(machine, **settings)
    assert done.returncode == status
    assert "containers: apt-get could not install " in done.stderr
    assert str(machine.cache / "install.log") in done.stderr
    assert "offline" in (machine.cache / "install.log").read_text()
    assert left == []


def podman(machine: Machine, *arguments: str) -> str:
    """Podman on the store of `machine`."""
    return subprocess.run(
        [".venv/bin/python", "-m", "scripts.container_settings", "podman", *arguments],
        cwd=machine.checkout,
        env={**os.environ, "PYTHONPATH": str(machine.checkout)},
        capture_output=True,
        text=True,
        check=True,
    ).stdout.strip()


def age(path: Path, *, days: float) -> None:
    then = time.time() - days * DAY_S
    os.utime(path, (then, then))


def test_the_base_comes_from_the_machines_own_debian_archives(root, machine):
    done = machine.prepare(CI="true")
    assert done.returncode == 0, done.stderr
    assert done.stdout == f"containers: making {BASE} from Debian's packages\n"
    assert (machine.cache / "base.list").read_text().splitlines() == [
        "deb http://deb.example/debian/ bookworm main",
        "deb http://deb.example/debian/ bookworm-updates main",
        "deb http://deb.example/debian-security/ bookworm-security main",
    ]
    (call,) = machine.calls("mmdebstrap")
    assert {"--format=tar", "--variant=minbase", "--include=usr-is-merged"} <= set(call.split())
    assert podman(machine, "images", "--format", "{{.Repository}}:{{.Tag}}") == BASE
    assert podman(machine, "inspect", "--format", "{{.Config.Cmd}}", BASE) == "[bash]"


def test_a_young_base_is_kept_and_an_old_one_replaced(root, machine):
    machine.prepare(CI="true")
    first = podman(machine, "images", "--quiet")
    age(machine.cache / "base.tar", days=6)
    again = machine.prepare(CI="true")
    assert (again.returncode, again.stdout, again.stderr) == (0, "", "")
    assert podman(machine, "images", "--quiet") == first
    age(machine.cache / "base.tar", days=8)
    assert "making" in machine.prepare(CI="true").stdout
    assert len(machine.calls("mmdebstrap")) == 2
    second = podman(machine, "images", "--quiet", "--all")
    assert second != first
    assert "\n" not in second


def test_a_store_that_lost_the_base_gets_it_again(root, machine):
    machine.prepare(CI="true")
    podman(machine, "rmi", "--force", BASE)
    assert machine.prepare(CI="true").stdout == ""
    assert podman(machine, "images", "--format", "{{.Repository}}:{{.Tag}}") == BASE
    assert len(machine.calls("mmdebstrap")) == 1


@pytest.mark.parametrize(("settings", "status"), [({}, 0), ({"CI": "true"}, 1)], ids=["", "CI"])
def test_a_base_that_cannot_be_made_is_said_with_the_log(root, machine, settings, status):
    (machine.programs / "mmdebstrap.log.offline").touch()
    done = machine.prepare(**settings)
    assert done.returncode == status
    log = machine.cache / "base.log"
    assert done.stderr == f"containers: mmdebstrap made no base image: see {log}\n"
    assert log.read_text() == "E: no mirror\n"
    assert not (machine.cache / "base.tar").exists()


def test_a_machine_without_a_debian_archive_is_told(root, machine, tmp_path):
    (tmp_path / "archives").write_text("Ubuntu|http://archive.example/ubuntu/\n")
    done = machine.prepare(CI="true")
    assert done.returncode == 1
    assert done.stderr == (
        "containers: apt-get names no Debian archive to take packages from\n"
    )  # fmt: skip
    assert "-qq update" in machine.calls("apt-get")


def test_this_machine_is_prepared_and_a_second_run_does_nothing(root, repository):
    for _ in range(2):
        done = subprocess.run(
            [repository / "scripts" / "containers"],
            env={**os.environ, "CI": "true"},
            capture_output=True,
            text=True,
            timeout=280,
            check=False,
        )
        assert done.returncode == 0, done.stderr
    assert (done.stdout, done.stderr) == ("", "")
