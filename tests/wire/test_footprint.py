"""What the appliance leaves behind: nothing. No files, no telemetry, no connections."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from .traffic import figure, get, post


def tree(folder: Path) -> dict[str, tuple[int, int]]:
    """Every entry below a folder with its size and time of change."""
    return {
        str(path.relative_to(folder)): (path.lstat().st_size, path.lstat().st_mtime_ns)
        for path in folder.rglob("*")
        if "__pycache__" not in path.parts
    }


@pytest.fixture
def settled(tmp_path, monkeypatch):
    """A home, a folder for temporary files, and nothing in either."""
    home, scratch = tmp_path / "home", tmp_path / "tmp"
    home.mkdir()
    scratch.mkdir()
    for name in ("XDG_CACHE_HOME", "XDG_CONFIG_HOME", "XDG_DATA_HOME", "ORT_DISABLE_TELEMETRY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.setenv("TMPDIR", str(scratch))
    return home, scratch


def work(served):
    """A bit of everything."""
    schema = {"type": "json_schema", "json_schema": {"name": "s", "schema": {"type": "boolean"}}}
    chat = {"messages": [{"role": "user", "content": "hi"}], "max_tokens": 5}
    assert post(served, "/v1/chat/completions", chat)[0] == 200
    assert post(served, "/v1/chat/completions", {**chat, "response_format": schema})[0] == 200
    assert post(served, "/v1/completions", {"prompt": "x", "logprobs": 2, "echo": True})[0] == 200
    assert post(served, "/v1/completions", {"prompt": "x" * 9000})[0] in (200, 400)
    assert post(served, "/v1/completions", b"{")[0] == 400
    assert get(served, "/metrics")[0] == get(served, "/v1/version")[0] == 200


def test_no_file_is_written_anywhere(serve, model_bundle, repository, settled):
    home, scratch = settled
    bundle_before = tree(model_bundle)
    ours_before = tree(repository / "edge").keys()
    shm_before = set(os.listdir("/dev/shm"))
    served = serve("--bundle", str(model_bundle))
    work(served)
    assert served.stop() == 0
    assert tree(home) == {}
    assert tree(scratch) == {}
    assert tree(model_bundle) == bundle_before
    assert tree(repository / "edge").keys() == ours_before
    assert set(os.listdir("/dev/shm")) <= shm_before


def test_a_read_only_home_and_bundle_do_no_harm(serve, model_bundle, settled):
    home, scratch = settled
    scratch.rmdir()
    home.rmdir()
    served = serve("--bundle", str(model_bundle))
    work(served)
    assert served.stop() == 0
    assert not home.exists()


def children(pid: int) -> list[int]:
    found = subprocess.run(
        ["ps", "-o", "pid=", "--ppid", str(pid)], capture_output=True, text=True, check=False
    )
    return [int(word) for word in found.stdout.split()]


def test_threads_and_connections_are_ours_alone(serve, model_bundle, settled):
    """No thread of a telemetry library, and no socket but the one it listens on."""
    served = serve("--bundle", str(model_bundle), slots=2, queue=2, threads=1)
    work(served)
    (worker,) = children(served.process.pid)
    names = [(task / "comm").read_text().strip() for task in Path(f"/proc/{worker}/task").iterdir()]
    assert not [name for name in names if "telemetry" in name.lower() or "1ds" in name.lower()]
    # The pool's 20 threads, the engine, the watcher, the main thread, and a handful of spares.
    assert len(names) < 20 + 12
    own = {os.readlink(entry) for entry in Path(f"/proc/{worker}/fd").iterdir()}
    inodes = {link.removeprefix("socket:[").rstrip("]") for link in own if "socket:" in link}
    remote = []
    for table in ("tcp", "tcp6"):
        for line in Path(f"/proc/{worker}/net/{table}").read_text().splitlines()[1:]:
            cells = line.split()
            if cells[9] in inodes and cells[3] != "0A":
                remote.append(cells[2])
    # Only connections from loopback, as ours.
    assert all(address.startswith(("0100007F", "0" * 24 + "0100007F")) for address in remote)
    assert figure(served, "edge_ready") == 1
    assert served.stop() == 0


def test_the_arbiter_holds_no_runtime(serve):
    """The parent process only waits: neither the model's runtime nor its memory is in it."""
    served = serve("--scripted", "echo")
    maps = Path(f"/proc/{served.process.pid}/maps").read_text()
    assert "onnxruntime" not in maps
    assert served.stop() == 0


def test_the_worker_holds_nothing_for_rare_requests(serve, model_bundle):
    """Grammars are loaded with the first request that brings one, random numbers of numpy never."""
    served = serve("--bundle", str(model_bundle))
    (worker,) = children(served.process.pid)
    maps = Path(f"/proc/{worker}/maps")
    chat = {"messages": [{"role": "user", "content": "hi"}], "max_tokens": 5, "temperature": 1}
    assert post(served, "/v1/chat/completions", chat)[0] == 200
    assert "numpy/_core" in maps.read_text()
    assert "llguidance" not in maps.read_text()
    assert "numpy/random" not in maps.read_text()
    json_object = {**chat, "response_format": {"type": "json_object"}}
    assert post(served, "/v1/chat/completions", json_object)[0] == 200
    assert "llguidance" in maps.read_text()
    assert served.stop() == 0


def test_telemetry_is_off_before_the_runtime_is_imported(repository, settled):
    """`ORT_DISABLE_TELEMETRY` has to stand before the first import of either library."""
    program = (
        "import sys, os; import edge.__main__, edge.config; "
        "assert not [m for m in sys.modules if m.startswith('onnxruntime')]; "
        "edge.config.silence_telemetry(); import onnxruntime, onnxruntime_genai"
    )
    subprocess.run([sys.executable, "-c", program], cwd=repository, check=True, timeout=60)
    home, _ = settled
    assert tree(home) == {}
