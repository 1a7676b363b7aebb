"""The small client of scripts/run, against the real appliance on the scripted engine."""

from __future__ import annotations

import json
import os
import shlex
import socket
import subprocess
import sys
import time
from collections.abc import Iterator

import pytest

from scripts import conversation
from scripts.conversation import Conversation, NoAnswer


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def start(port: int, **settings: str) -> subprocess.Popen[bytes]:
    """The appliance on a scripted model."""

    return subprocess.Popen(
        [sys.executable, "-m", "edge", "--scripted", "echo"],
        env={**os.environ, "EDGE_PORT": str(port), **settings},
        stderr=subprocess.DEVNULL,
    )


def wait(talk: Conversation, process: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + 60
    while not talk.is_ready():
        assert process.poll() is None
        assert time.monotonic() < deadline
        time.sleep(0.05)


@pytest.fixture(scope="module")
def talk() -> Iterator[Conversation]:
    port = free_port()
    process = start(port)
    found = Conversation("127.0.0.1", port)
    wait(found, process)
    yield found
    process.terminate()
    assert process.wait(30) == 0


def test_nobody_listening_is_not_ready():
    assert not Conversation("127.0.0.1", free_port()).is_ready()


def test_an_answer_comes_with_its_usage(talk):
    answer = talk.ask("Is anybody there?")
    assert "Q  Is anybody there?" in answer
    assert "A  " in answer
    assert "tokens in, " in answer
    assert "finish_reason stop" in answer


def test_the_addresses_are_those_of_the_server(talk):
    addresses = talk.addresses("Is anybody there?")
    for path in ("/v1/chat/completions", "/invocations", "/metrics"):
        assert f"{talk.base}{path}" in addresses


def test_the_printed_command_works(talk):
    command = talk.addresses('"Quotes" and it\'s fine').split("\n\n", 1)[1]
    words = shlex.split(command.replace("\\\n", " "))
    done = subprocess.run([*words, "--silent"], capture_output=True, text=True, check=True)
    assert json.loads(done.stdout)["object"] == "chat.completion"


def test_a_refused_question_says_the_status_and_why(talk):
    with pytest.raises(NoAnswer, match=r"POST /v1/chat/completions answered 400: .*messages"):
        talk.ask("half a character: \ud83d")


def test_a_server_that_is_gone_says_so():
    with pytest.raises(NoAnswer, match=r"GET /v1/models: .*refused"):
        Conversation("127.0.0.1", free_port()).ask("Hello?")


def test_the_configured_key_is_sent_and_shown(tmp_path, monkeypatch):
    keys = tmp_path / "keys file"
    keys.write_text("first-key\nsecond-key\n")
    monkeypatch.setenv("EDGE_API_KEY_FILE", str(keys))
    port = free_port()
    process = start(port)
    talk = Conversation("127.0.0.1", port)
    try:
        wait(talk, process)
        assert "A  " in talk.ask("Hello?")
        assert f"head -n 1 '{keys}'" in talk.addresses("Hello?")
        monkeypatch.delenv("EDGE_API_KEY_FILE")
        with pytest.raises(NoAnswer, match="401"):
            talk.ask("Hello?")
    finally:
        process.terminate()
        process.wait(30)


@pytest.mark.parametrize(
    ("host", "base"),
    [
        ("127.0.0.1", "http://127.0.0.1:80"),
        ("0.0.0.0", "http://127.0.0.1:80"),
        ("::", "http://[::1]:80"),
        ("::1", "http://[::1]:80"),
        ("localhost", "http://localhost:80"),
    ],
)
def test_where_to_call_a_server_that_listens_on(host, base):
    assert Conversation(host, 80).base == base


def test_without_a_key_file_no_key_is_sent(monkeypatch):
    monkeypatch.delenv("EDGE_API_KEY_FILE", raising=False)
    assert conversation.headers() == {"Content-Type": "application/json"}
