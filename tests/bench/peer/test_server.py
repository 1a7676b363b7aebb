import http.client
import itertools
import json
import os
from pathlib import Path

import pytest

from tests.bench import processes, sides
from tests.bench.client import Address, BadAnswer
from tests.bench.peer import server, stub
from tests.bench.peer.server import GREEDY, Setting, command

SETTING = Setting(threads=2, slots=8, context_tokens=640, flash_attention="off")


@pytest.fixture
def program(tmp_path):
    return stub.install(tmp_path / "bin" / "llama-server", sides.ROOT)


def options(words: list[str]) -> dict[str, str]:
    return {a: b for a, b in itertools.pairwise(words) if a.startswith("--")}


def test_the_command_line_gives_every_slot_its_context():
    words = command(Path("bin/server"), Path("m.gguf"), Address("127.0.0.1", 99), SETTING)
    found = options(words)
    assert words[0] == "bin/server"
    assert found["--ctx-size"] == "5120"
    assert found["--parallel"] == "8"
    assert found["--threads"] == found["--threads-batch"] == "2"
    assert found["--flash-attn"] == "off"
    assert found["--port"] == "99"
    assert "--cont-batching" in words


def test_it_is_started_asked_and_ended(program, tmp_path):
    with server.served(program, Path("m.gguf"), SETTING, tmp_path / "log") as running:
        stream = running.address.stream({**GREEDY, "prompt": [5, 6, 7], "max_tokens": 4})
        pid = running.process.pid
        assert processes.memory(pid).rss_bytes > 0
    assert (stream.tokens, len(stream.moments), stream.cached_tokens) == (4, 4, 2)
    assert running.process.poll() is not None
    assert not Path(f"/proc/{pid}").exists()


def test_it_gets_the_options_and_none_of_the_users_own(program, tmp_path, monkeypatch):
    monkeypatch.setenv("LLAMA_ARG_THREADS", "7")
    with server.served(program, Path("m.gguf"), SETTING, tmp_path / "log") as running:
        connection = http.client.HTTPConnection(running.address.host, running.address.port)
        connection.request("GET", "/props")
        started = json.loads(connection.getresponse().read())
        connection.close()
        inside = Path(f"/proc/{running.process.pid}/environ").read_bytes()
    assert options(started)["--model"] == "m.gguf"
    assert b"LLAMA_ARG_THREADS" not in inside
    assert os.environ["LLAMA_ARG_THREADS"] == "7"


def test_a_request_that_could_end_early_is_refused(program, tmp_path):
    with (
        server.served(program, Path("m.gguf"), SETTING, tmp_path / "log") as running,
        pytest.raises(BadAnswer, match="endless"),
    ):
        running.address.stream({"prompt": [5], "max_tokens": 4})


def test_a_server_that_does_not_start_is_told_with_its_last_words(tmp_path):
    broken = tmp_path / "llama-server"
    broken.write_text("#!/bin/sh\necho illegal instruction\nexit 132\n")
    broken.chmod(0o755)
    with (
        pytest.raises(sides.NotStarted, match="illegal instruction"),
        server.served(broken, Path("m.gguf"), SETTING, tmp_path / "log"),
    ):
        pass
