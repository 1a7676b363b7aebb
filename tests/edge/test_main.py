"""The command line: its commands, flags over variables, every check before the server starts."""

from __future__ import annotations

import os
import re
import socket

import pytest

from edge import __main__ as command
from edge import __version__, gunicorn_conf
from edge.commands import SUMMARIES, version


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


@pytest.mark.parametrize(
    "arguments", [["--scripted", "parrot"], ["--port"], ["more"], ["serve", "more"], [""]]
)
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


def test_serving_is_what_happens_without_a_command(servers):
    assert command.main(["serve", "--scripted", "echo", "--host", "::1"]) == 0
    assert command.main(["--scripted", "echo"]) == 0
    assert [settings.host for settings, _ in servers[1:]] == ["::1", "127.0.0.1"]


def test_help_names_every_command(capsys):
    with pytest.raises(SystemExit):
        command.main(["--help"])
    output = capsys.readouterr().out
    assert [name for name in SUMMARIES if f"\n  {name} " not in output] == []


@pytest.mark.parametrize("name", SUMMARIES)
def test_every_command_explains_itself(name, capsys):
    with pytest.raises(SystemExit) as ended:
        command.main([name, "--help"])
    assert ended.value.code == 0
    assert "usage: python -m edge" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("name", "hint"),
    [
        ("docter", "did you mean doctor?"),
        ("versoin", "did you mean version?"),
        ("zzz", "expected one of serve, doctor, version, chat, probe"),
    ],
)
def test_a_command_that_is_none(name, hint, capsys):
    with pytest.raises(SystemExit) as ended:
        command.main([name])
    assert ended.value.code == 2
    assert hint in capsys.readouterr().err


def test_the_words_of_the_process_are_taken(monkeypatch, capsys):
    monkeypatch.setattr("sys.argv", ["edge", "version"])
    assert command.main() == 0
    assert __version__ in capsys.readouterr().out


def test_the_problems_of_any_command_are_listed(monkeypatch, capsys):
    monkeypatch.setenv("EDGE_PORT", "x")
    monkeypatch.setenv("EDGE_SLOTS", "y")
    assert command.main(["version"]) == 2
    assert [line.split()[1] for line in capsys.readouterr().err.splitlines()] == [
        "EDGE_PORT",
        "EDGE_SLOTS",
    ]


def test_a_reader_that_left_gets_no_traceback(monkeypatch, capfd):
    def broken(_):
        raise BrokenPipeError

    monkeypatch.setattr(version, "run", broken)
    monkeypatch.setattr(os, "dup2", lambda *_: None)
    assert command.main(["version"]) == 1
    assert capfd.readouterr().err == ""


def test_the_page_has_a_row_and_a_section_for_each_command(repository):
    page = (repository / "docs/commands.md").read_text()
    assert re.findall(r"^\| `(\w+)` \|", page, flags=re.MULTILINE) == list(SUMMARIES)
    assert re.findall(r"^## (\w+)$", page, flags=re.MULTILINE) == list(SUMMARIES)
