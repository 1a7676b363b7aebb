import os
from pathlib import Path

import pytest

from tests.bench.peer import compilation
from tests.bench.peer.compilation import OPTIONS, TARGET, commands, server
from tests.bench.peer.source import NoPeer

BUILDS = """#!/bin/sh
echo "$@" >>"$CALLS"
for last; do :; done
case "$1" in
    --build) mkdir -p "$2/bin" && touch "$2/bin/llama-server" ;;
esac
"""
FAILS = '#!/bin/sh\necho "no compiler that works"\nexit 1\n'
DOES_NOTHING = "#!/bin/sh\n"


@pytest.fixture
def tools(monkeypatch, tmp_path):
    """A PATH with these tools before the usual ones; returns the file of cmake's calls."""

    def install(cmake, *others, alone=False):
        folder = tmp_path / "tools"
        folder.mkdir()
        for name, text in (("cmake", cmake), *((other, DOES_NOTHING) for other in others)):
            if text:
                (folder / name).write_text(text)
                (folder / name).chmod(0o755)
        rest = "" if alone else os.pathsep + os.environ["PATH"]
        monkeypatch.setenv("PATH", str(folder) + rest)
        monkeypatch.setenv("CALLS", str(tmp_path / "calls"))
        return tmp_path / "calls"

    return install


def test_the_server_is_configured_and_built_once(tools, tmp_path):
    calls = tools(BUILDS, "c++")
    program = server(Path("sources"), tmp_path)
    assert program.is_file()
    assert program.name == TARGET
    assert program.is_relative_to(tmp_path)
    assert server(Path("sources"), tmp_path) == program
    configure, build = calls.read_text().splitlines()
    assert configure.startswith("-S sources -B ")
    assert build.startswith("--build ")


def test_the_build_is_native_with_openmp_and_without_what_needs_the_network():
    configure, build = commands(Path("s"), Path("b"))
    for option in ("-DGGML_NATIVE=ON", "-DGGML_OPENMP=ON", "-DCMAKE_BUILD_TYPE=Release"):
        assert option in configure
    for option in ("LLAMA_BUILD_UI", "LLAMA_USE_PREBUILT_UI", "LLAMA_OPENSSL"):
        assert OPTIONS[option] == "OFF"
        assert f"-D{option}=OFF" in configure
    assert build[build.index("--target") + 1] == TARGET
    assert int(build[build.index("--parallel") + 1]) == len(os.sched_getaffinity(0))


def test_missing_tools_are_named_with_a_way_to_get_them(tools, tmp_path):
    tools(None, alone=True)
    with pytest.raises(NoPeer, match=r"cmake and c\+\+ not found.*apt-get install cmake g\+\+"):
        server(Path("sources"), tmp_path)


def test_only_the_tool_that_is_missing_is_named(tools, tmp_path):
    tools(BUILDS, alone=True)
    with pytest.raises(NoPeer, match=r": c\+\+ not found"):
        server(Path("sources"), tmp_path)


def test_a_failed_build_shows_the_end_of_its_log(tools, tmp_path):
    tools(FAILS, "c++")
    with pytest.raises(NoPeer, match=r"build.log ends with:\nno compiler that works"):
        server(Path("sources"), tmp_path)
    assert "no compiler that works" in (tmp_path / "build.log").read_text()


def test_a_build_that_leaves_no_server_is_refused(tools, tmp_path):
    tools(DOES_NOTHING, "c++")
    with pytest.raises(NoPeer, match="left no"):
        compilation.server(Path("sources"), tmp_path)
