"""Have the kernel run arm64 programs on an amd64 machine, by QEMU of Debian 13 and binfmt_misc.

QEMU 7.2 of Debian 12 hangs on onnxruntime: it shows its guests the host's /proc/cpuinfo. The
program of Debian 13 is static, so it runs on older systems and inside containers. It is unpacked
into `.cache/containers`, from package lists of its own: apt's settings are not changed.
Formats: https://docs.kernel.org/admin-guide/binfmt-misc.html, apt.conf(5), sources.list(5).
"""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

from scripts.container_settings import FOLDER

BINFMT = Path("/proc/sys/fs/binfmt_misc")
NAME = "phial-aarch64"
PROGRAM = "qemu-aarch64"
OLDEST_QEMU = 8  # major version
SUITE = "trixie"
KEYRING = "/usr/share/keyrings/debian-archive-keyring.gpg"
TIMEOUT_S = 300.0
# The first 20 bytes of a 64-bit little-endian ELF program or shared object (e_type 2 or 3) for
# AArch64 (e_machine 0xb7), whatever its ABI and padding.
MAGIC = bytes.fromhex("7f454c46 02010100 00000000 00000000 0200b700")
MASK = bytes.fromhex("ffffffff ffffff00 ffffffff ffffffff feffffff")


class Unavailable(Exception):
    """arm64 cannot be emulated here; the text is for the user."""


@dataclass(frozen=True, slots=True)
class Handler:
    """A program that the kernel starts for files of a kind; None: its version is unknown."""

    name: str
    is_enabled: bool
    magic: bytes
    major_version: int | None

    @property
    def is_fit(self) -> bool:
        """Whether it runs arm64 programs, our own or one as new as ours must be."""
        new = self.name == NAME or (self.major_version or 0) >= OLDEST_QEMU
        return self.is_enabled and self.magic == MAGIC and new


def handlers(binfmt: Path = BINFMT) -> list[Handler]:
    """What is registered with the kernel; empty where binfmt_misc is not mounted."""
    names = (p for p in sorted(binfmt.glob("*")) if p.name not in ("register", "status"))
    return [_handler(path) for path in names]


def prepare(folder: Path = FOLDER, binfmt: Path = BINFMT) -> None:
    """Register an emulator unless a fit one is; a registration ends with the machine's boot.

    Raises `Unavailable` with what is missing.
    """
    if not (binfmt / "register").exists():
        _run("mount", "-t", "binfmt_misc", "none", str(binfmt))
    if any(handler.is_fit for handler in handlers(binfmt)):
        return
    program = folder / PROGRAM
    if not program.exists():
        print("containers: fetching an emulator of arm64", flush=True)
        fetch(program)
    register(program, binfmt)


def register(program: Path, binfmt: Path = BINFMT) -> None:
    """Have the kernel start `program` for arm64 files; the handler registered last comes first.

    By the flag F it keeps the file open, which may so be outside of a container. Raises
    `Unavailable` where the kernel refuses, as for a path of more than 127 bytes.
    """
    magic, mask = ("".join(f"\\x{byte:02x}" for byte in text) for text in (MAGIC, MASK))
    try:
        if (binfmt / NAME).exists():
            (binfmt / NAME).write_text("-1")
        (binfmt / "register").write_text(f":{NAME}:M::{magic}:{mask}:{program}:F")
    except OSError as error:
        raise Unavailable(f"{binfmt} took no handler {program}: {error.strerror}") from error


def fetch(program: Path) -> None:
    """Unpack QEMU's emulator of AArch64 to `program`; raises `Unavailable`."""
    with tempfile.TemporaryDirectory(dir=program.parent, prefix="apt-") as name:
        folder = Path(name)
        source = f"deb [signed-by={KEYRING}] {archive()} {SUITE} main\n"
        (folder / "sources.list").write_text(source)
        apt_get = ("apt-get", "-qq", *_apt_options(folder))
        _run(*apt_get, "update")
        _run(*apt_get, "download", "qemu-user", folder=folder)
        _run("dpkg-deb", "-x", *map(str, folder.glob("qemu-user_*.deb")), str(folder / "root"))
        shutil.copy(folder / "root" / "usr" / "bin" / PROGRAM, f"{program}.new")
        Path(f"{program}.new").rename(program)


def archive() -> str:
    """The address from which this machine's apt takes Debian's packages; raises `Unavailable`."""
    wanted = ("Created-By: Packages", "Origin: Debian", "Label: Debian")
    found = _run("apt-get", "indextargets", "--format", "$(REPO_URI)", *wanted).split()
    if not found:
        raise Unavailable("apt-get names no Debian archive to take QEMU from")
    return found[0]


def _apt_options(folder: Path) -> list[str]:
    for part in ("lists", "cache/archives"):
        (folder / part / "partial").mkdir(parents=True)
    settings = {
        "Dir::Etc::SourceList": folder / "sources.list",
        "Dir::Etc::SourceParts": "/dev/null",
        "Dir::State::Lists": folder / "lists",
        "Dir::Cache": folder / "cache",
        "APT::Sandbox::User": "root",
    }
    return [word for key, value in settings.items() for word in ("-o", f"{key}={value}")]


def _handler(path: Path) -> Handler:
    text = path.read_text()
    fields = dict(line.split(" ", 1) for line in text.splitlines() if " " in line)
    magic = bytes.fromhex(fields.get("magic", ""))
    version = _major_version(Path(fields["interpreter"])) if magic == MAGIC else None
    return Handler(path.name, text.startswith("enabled"), magic, version)


def _major_version(program: Path) -> int | None:
    """Of a QEMU; None where the file is gone, which the kernel can still have open."""
    if not program.is_file():
        return None
    said = re.search(r"version (\d+)\.", _run(str(program), "--version", check=False))
    return int(said[1]) if said else None


def _run(*command: str, folder: Path | None = None, check: bool = True) -> str:
    """What `command` prints; raises `Unavailable` with its last words where it fails."""
    try:
        done = subprocess.run(
            command, cwd=folder, capture_output=True, text=True, timeout=TIMEOUT_S, check=check
        )
    except (OSError, subprocess.SubprocessError) as error:
        said = (getattr(error, "stderr", None) or str(error)).strip().splitlines()
        raise Unavailable(f"{command[0]} failed: {said[-1] if said else error}") from error
    return done.stdout


def main() -> int:
    """Returns the exit status, 1 where arm64 cannot be emulated."""
    try:
        prepare()
    except Unavailable as error:
        print(f"containers: no emulation of arm64: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
