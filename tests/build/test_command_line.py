"""The factory's command line as a whole."""

import argparse
import os
import subprocess
import sys

import pytest

from build import __main__, telemetry
from build.errors import BuildError, UsageError


@pytest.mark.parametrize("name", __main__.COMMANDS)
def test_every_command_explains_itself(cli, name):
    done = cli(name, "--help")
    assert done.status == 0
    assert f"python -m build {name}" in done.out


def test_help_lists_every_command(cli):
    done = cli("--help")
    assert all(name in done.out for name in __main__.COMMANDS)


@pytest.mark.parametrize("argv", [(), ("nonsense",), ("export", "--nonsense")])
def test_nonsense_is_a_usage_error(cli, argv):
    assert cli(*argv).status == 2


@pytest.mark.parametrize(
    ("error", "status", "told"),
    [
        (BuildError(["one", "two"]), 1, "verify: one\nverify: two\n"),
        (BuildError("alone"), 1, "verify: alone\n"),
        (UsageError("what?"), 2, "verify: what?\n"),
        (KeyboardInterrupt(), 130, "verify: interrupted\n"),
    ],
)
def test_how_errors_end(cli, monkeypatch, error, status, told):
    class Failing:
        def add_parser(self, commands):
            commands.add_parser("verify")

        def run(self, args: argparse.Namespace) -> int:
            raise error

    monkeypatch.setattr(__main__, "COMMANDS", ("verify",))
    monkeypatch.setattr(__main__, "command", lambda name: Failing())
    done = cli("verify")
    assert (done.status, done.err) == (status, told)


def test_problems_are_a_tuple_and_a_sentence():
    error = BuildError(["a", "b"])
    assert error.problems == ("a", "b")
    assert str(error) == "a; b"


def test_telemetry_is_off_before_anything_is_imported(repository, tmp_path):
    """A process whose environment says nothing leaves no trace in its home directory."""
    code = (
        "import sys, os\n"
        "from build.__main__ import main\n"
        "assert not {'mlflow', 'onnxruntime_genai'} & set(sys.modules)\n"
        "status = main(['inspect', sys.argv[1]])\n"
        "from mlflow.telemetry.utils import is_telemetry_disabled\n"
        "assert is_telemetry_disabled()\n"
        "assert os.environ['ORT_DISABLE_TELEMETRY'] == '1'\n"
    )
    home = tmp_path / "home"
    home.mkdir()
    done = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path)],
        cwd=repository,
        env={"PATH": os.environ["PATH"], "HOME": str(home)},
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert list(home.iterdir()) == []


def test_silence_covers_every_switch(monkeypatch):
    for name in telemetry.SILENCE:
        monkeypatch.setenv(name, "0")
    telemetry.silence()
    assert {name: os.environ[name] for name in telemetry.SILENCE} == telemetry.SILENCE
