import io
import subprocess
import tarfile
from pathlib import Path

import pytest

from tests.bench.peer import source
from tests.bench.peer.source import FOLDER, NoPeer


def archive(path: Path, *names: str) -> None:
    with tarfile.open(path, "w:gz") as members:
        for name in names:
            data = name.encode()
            member = tarfile.TarInfo(f"{FOLDER}/{name}")
            member.size = len(data)
            members.addfile(member, io.BytesIO(data))


@pytest.fixture
def pip(monkeypatch):
    """pip, as a function that writes what `names` says; keeps the commands."""
    calls = []

    def install(*names, returncode=0, stderr=""):
        def run(command, **_):
            calls.append(command)
            folder = Path(command[command.index("--dest") + 1])
            if names:
                archive(folder / f"{FOLDER}.tar.gz", *names)
            return subprocess.CompletedProcess(command, returncode, "", stderr)

        monkeypatch.setattr(source.subprocess, "run", run)
        return calls

    return install


def test_the_sources_are_fetched_once_and_nothing_is_left_over(pip, tmp_path):
    calls = pip("vendor/llama.cpp/CMakeLists.txt", "README.md")
    cache = tmp_path / "cache"
    found = source.fetch(cache)
    assert (found / "CMakeLists.txt").read_text() == "vendor/llama.cpp/CMakeLists.txt"
    assert source.fetch(cache) == found
    assert len(calls) == 1
    assert [entry.name for entry in cache.iterdir()] == [FOLDER]


def test_pip_is_asked_for_the_source_distribution_of_one_version(pip, tmp_path):
    calls = pip("vendor/llama.cpp/CMakeLists.txt")
    source.fetch(tmp_path)
    (command,) = calls
    assert command[1:4] == ["-m", "pip", "download"]
    assert command[command.index("--no-binary") + 1] == source.PACKAGE
    assert f"{source.PACKAGE}=={source.VERSION}" in command
    assert "--no-deps" in command


def test_what_pip_says_is_passed_on(pip, tmp_path):
    pip(returncode=1, stderr="no matching distribution")
    with pytest.raises(NoPeer, match=r"llama-cpp-python .*\n.*no matching distribution"):
        source.fetch(tmp_path)


def test_a_distribution_without_llama_cpp_is_refused(pip, tmp_path):
    pip("README.md")
    with pytest.raises(NoPeer, match=r"holds no vendor/llama\.cpp"):
        source.fetch(tmp_path)


def test_a_member_outside_of_the_folder_is_not_unpacked(tmp_path):
    path = tmp_path / "a.tar.gz"
    archive(path, "../../escaped")
    with pytest.raises(tarfile.FilterError):
        source._unpack(path, tmp_path / "cache")
    assert not (tmp_path / "escaped").exists()


def test_the_cache_is_where_the_user_keeps_caches(monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert source.cache() == tmp_path / "phial-bench"
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    assert source.cache() == tmp_path / "home" / ".cache" / "phial-bench"
