"""Compiles llama.cpp's server once, for the processor of this machine."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

from tests.bench.peer.source import VERSION, NoPeer

TARGET = "llama-server"
NEEDED = ("cmake", "c++")
OPTIONS = {
    "CMAKE_BUILD_TYPE": "Release",
    "BUILD_SHARED_LIBS": "OFF",
    "GGML_NATIVE": "ON",
    "GGML_OPENMP": "ON",
    "GGML_CCACHE": "OFF",
    "LLAMA_OPENSSL": "OFF",
    # The page that the server can show would come from the network.
    "LLAMA_BUILD_UI": "OFF",
    "LLAMA_USE_PREBUILT_UI": "OFF",
    "LLAMA_BUILD_TESTS": "OFF",
    "LLAMA_BUILD_EXAMPLES": "OFF",
    "LLAMA_BUILD_APP": "OFF",
}


def server(sources: Path, folder: Path) -> Path:
    """The server's program, built from `sources` below the cache `folder`. Raises `NoPeer`.

    Takes some ten minutes on two cores the first time; `folder` then holds build.log.
    """
    build = folder / f"llama.cpp-{VERSION}"
    program = build / "bin" / TARGET
    if program.is_file():
        return program
    missing = [name for name in NEEDED if shutil.which(name) is None]
    if missing:
        raise NoPeer(
            f"llama.cpp cannot be built: {' and '.join(missing)} not found; on Debian or Ubuntu: "
            "apt-get install cmake g++"
        )
    log = folder / "build.log"
    with log.open("wb") as output:
        for command in commands(sources, build):
            done = subprocess.run(command, stdout=output, stderr=subprocess.STDOUT, check=False)
            if done.returncode:
                raise NoPeer(f"llama.cpp cannot be built, {log} ends with:\n{_end(log)}")
    if not program.is_file():
        raise NoPeer(f"the build of llama.cpp left no {program}")
    return program


def commands(sources: Path, build: Path) -> list[list[str]]:
    """Configure, then compile on all cores."""
    options = [f"-D{name}={value}" for name, value in OPTIONS.items()]
    cores = str(len(os.sched_getaffinity(0)))
    return [
        ["cmake", "-S", str(sources), "-B", str(build), *options],
        ["cmake", "--build", str(build), "--target", TARGET, "--parallel", cores],
    ]


def _end(log: Path) -> str:
    return "\n".join(log.read_text(errors="replace").splitlines()[-20:])
