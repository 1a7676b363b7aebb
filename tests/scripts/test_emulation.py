"""Emulation of arm64: what the kernel is told, on a folder that stands for binfmt_misc."""

from __future__ import annotations

from pathlib import Path

import pytest

from scripts import emulation

SCRIPT = "#!/bin/sh\necho 'qemu-aarch64 version {version} (Debian)'\n"
# What Debian 12 registers, as its binfmt_misc shows it.
ENTRY = """{state}
interpreter {program}
flags: OCF
offset 0
magic {magic}
mask ffffffffffffff00fffffffffffffffffeffffff
"""
AARCH64 = "7f454c460201010000000000000000000200b700"
RISCV64 = "7f454c460201010000000000000000000200f300"


@pytest.fixture
def binfmt(tmp_path) -> Path:
    """A binfmt_misc on which nothing is registered; it keeps the last line written to it."""
    folder = tmp_path / "binfmt_misc"
    folder.mkdir()
    for name in ("register", "status"):
        (folder / name).touch()
    return folder


@pytest.fixture
def cache(tmp_path) -> Path:
    """A cache that holds an emulator already."""
    (tmp_path / "cache").mkdir()
    (tmp_path / "cache" / "qemu-aarch64").touch()
    return tmp_path / "cache"


def add(binfmt: Path, name="qemu-aarch64", *, version="10.0.3", state="enabled", magic=AARCH64):
    """Register an emulator of `version`; None: its program is gone."""
    program = binfmt.parent / f"program-of-{name}"
    if version is not None:
        program.write_text(SCRIPT.format(version=version))
        program.chmod(0o755)
    entry = ENTRY.format(state=state, program=program, magic=magic)
    (binfmt / name).write_text(entry)


def registered(binfmt: Path) -> str:
    return (binfmt / "register").read_text()


def test_a_handler_is_read_from_what_the_kernel_shows(binfmt):
    add(binfmt, version="7.2.22")
    assert emulation.handlers(binfmt) == [
        emulation.Handler("qemu-aarch64", True, emulation.MAGIC, 7)
    ]


def test_the_kernel_is_told_to_keep_our_program_open(binfmt, cache):
    emulation.prepare(cache, binfmt)
    magic = "".join(f"\\x{byte:02x}" for byte in bytes.fromhex(AARCH64))
    name, kind, offset, said, mask, program, flags = registered(binfmt).split(":")[1:]
    assert (name, kind, offset, said) == ("phial-aarch64", "M", "", magic)
    assert len(mask) == len(magic)
    assert (program, flags) == (str(cache / "qemu-aarch64"), "F")


@pytest.mark.parametrize("version", ["8.0.0", "10.0.13", "11.1"])
def test_a_new_emulator_is_left_in_its_place(binfmt, cache, version):
    add(binfmt, version=version)
    emulation.prepare(cache, binfmt)
    assert registered(binfmt) == ""


@pytest.mark.parametrize(
    "present",
    [
        {"version": "7.2.22"},
        {"version": "nonsense"},
        {"version": None},
        {"state": "disabled"},
        {"magic": RISCV64},
    ],
    ids=str,
)
def test_an_emulator_that_is_old_unknown_or_of_no_use_is_overruled(binfmt, cache, present):
    add(binfmt, **present)
    emulation.prepare(cache, binfmt)
    assert registered(binfmt).startswith(":phial-aarch64:")


def test_programs_of_other_kinds_are_not_started(binfmt, cache):
    add(binfmt, "jar", magic="504b0304")
    program = binfmt.parent / "program-of-jar"
    program.write_text(f"#!/bin/sh\ntouch {binfmt.parent}/started\n")
    emulation.prepare(cache, binfmt)
    assert not (binfmt.parent / "started").exists()


def test_handlers_by_file_name_are_passed_over(binfmt, cache):
    (binfmt / "by-name").write_text("enabled\ninterpreter /bin/true\nflags: \nextension .x\n")
    emulation.prepare(cache, binfmt)
    assert registered(binfmt) != ""


def test_our_own_stays_even_where_its_program_is_gone(binfmt, cache):
    """The kernel has it open."""
    add(binfmt, "phial-aarch64", version=None)
    emulation.prepare(cache, binfmt)
    assert registered(binfmt) == ""


def test_our_own_is_registered_anew_where_it_was_disabled(binfmt, cache):
    add(binfmt, "phial-aarch64", state="disabled")
    emulation.prepare(cache, binfmt)
    assert (binfmt / "phial-aarch64").read_text() == "-1"
    assert registered(binfmt).startswith(":phial-aarch64:")


def test_a_kernel_that_refuses_is_named(binfmt, cache):
    (binfmt / "register").unlink()
    (binfmt / "register").mkdir()
    with pytest.raises(emulation.Unavailable, match=r"took no handler .*qemu-aarch64: Is a dir"):
        emulation.prepare(cache, binfmt)


def test_a_binfmt_misc_that_cannot_be_mounted_is_said(cache, tmp_path):
    with pytest.raises(emulation.Unavailable, match="mount failed: "):
        emulation.prepare(cache, tmp_path / "nowhere")


def test_without_apt_get_nothing_can_be_fetched(binfmt, tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(emulation.Unavailable, match=r"apt-get failed: .*No such file"):
        emulation.prepare(tmp_path, binfmt)


def test_apt_get_without_a_debian_archive_is_said(binfmt, tmp_path, monkeypatch):
    script(tmp_path, "apt-get", "exit 0")
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    with pytest.raises(emulation.Unavailable, match="names no Debian archive"):
        emulation.prepare(tmp_path, binfmt)


def test_what_apt_get_complains_of_is_passed_on(binfmt, tmp_path, monkeypatch, capsys):
    names_an_archive = '[ "$1" = indextargets ] && echo http://example.invalid/debian && exit 0'
    script(tmp_path, "apt-get", f"{names_an_archive}\necho 'E: no such suite' >&2; exit 100")
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    with pytest.raises(emulation.Unavailable, match="apt-get failed: E: no such suite"):
        emulation.prepare(tmp_path, binfmt)
    assert capsys.readouterr().out == "containers: fetching an emulator of arm64\n"
    assert not list(tmp_path.glob("apt-[!g]*"))


def script(folder: Path, name: str, body: str) -> None:
    (folder / name).write_text(f"#!/bin/sh\n{body}\n")
    (folder / name).chmod(0o755)


@pytest.mark.parametrize(("refusal", "status"), [(None, 0), ("no mount", 1)])
def test_the_command_says_why_not(monkeypatch, capsys, refusal, status):
    def prepare() -> None:
        if refusal:
            raise emulation.Unavailable(refusal)

    monkeypatch.setattr(emulation, "prepare", prepare)
    assert emulation.main() == status
    assert capsys.readouterr().err == (
        f"containers: no emulation of arm64: {refusal}\n" if refusal else ""
    )
