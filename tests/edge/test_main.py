"""The command line: flags over variables, every check before the server starts."""

from __future__ import annotations

import os
import socket

import pytest

from edge import __main__ as command
from edge import __version__, gunicorn_conf


@pytest.fixture
def servers(monkeypatch):
    """The servers that would have been started, and how they end."""
    found = []

    class Fake:
        end = None

        def __init__(self, settings, wire):
            found.append((settings, wire))

        def run(self):
            if Fake.end is not None:
                raise SystemExit(Fake.end)

    monkeypatch.setattr(gunicorn_conf, "Server", Fake)
    monkeypatch.setenv("EDGE_PORT", "0")
    found.append(Fake)
    return found


def test_flags_win_over_variables(servers, monkeypatch):
    monkeypatch.setenv("EDGE_HOST", "0.0.0.0")
    monkeypatch.setenv("EDGE_SLOTS", "3")
    assert command.main(["--scripted", "echo", "--host", "127.0.0.1"]) == 0
    settings, _ = servers[1]
    assert (settings.host, settings.port, settings.slots) == ("127.0.0.1", 0, 3)


def test_telemetry_is_off(servers, monkeypatch):
    monkeypatch.delenv("ORT_DISABLE_TELEMETRY", raising=False)
    command.main(["--scripted", "echo"])
    assert os.environ["ORT_DISABLE_TELEMETRY"] == "1"


@pytest.mark.parametrize(("end", "status"), [(None, 0), (0, 0), (4, 2), (3, 2), ("text", 2)])
def test_the_exit_status(servers, end, status):
    servers[0].end = end
    assert command.main(["--scripted", "echo"]) == status


def test_what_is_wired_in_the_worker(servers):
    command.main(["--scripted", "echo_params"])
    _, wire = servers[1]
    one = wire()
    assert callable(one.wsgi)
    assert not one.is_ready


def test_nothing_starts_after_a_problem(servers, capsys):
    assert command.main([]) == 2
    assert len(servers) == 1
    assert capsys.readouterr().err.startswith("phial: no bundle")


def test_all_checks_are_made(servers, capsys, monkeypatch, tmp_path):
    monkeypatch.setenv("EDGE_API_KEY_FILE", str(tmp_path / "none"))
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        assert command.main(["--bundle", str(tmp_path), "--port", port]) == 2
    lines = capsys.readouterr().err.splitlines()
    assert [line.split()[0] for line in lines] == ["phial:"] * 3
    assert "manifest.json" in lines[0]
    assert "EDGE_API_KEY_FILE" in lines[1]
    assert port in lines[2]


@pytest.mark.parametrize("arguments", [["--scripted", "parrot"], ["--port"], ["more"]])
def test_arguments_that_are_none(servers, arguments, capsys):
    with pytest.raises(SystemExit) as ended:
        command.main(arguments)
    assert ended.value.code == 2
    assert "usage" in capsys.readouterr().err


def test_help_and_version(capsys):
    for arguments, part in ((["--help"], "EDGE_KV_LIMIT"), (["--version"], __version__)):
        with pytest.raises(SystemExit) as ended:
            command.main(arguments)
        assert ended.value.code == 0
        assert part in capsys.readouterr().out
