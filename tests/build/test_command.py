"""Programs that are run for the user: what they say is kept, shown, or told when they fail."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from build import command
from build.errors import BuildFailed, PublishFailed


def python(code: str) -> list[str]:
    return [sys.executable, "-c", code]


def test_a_good_end_is_silent(capfd):
    command.run(python("print('hello')"), "greeting", error=BuildFailed)
    assert capfd.readouterr() == ("", "")


def test_a_loud_one_is_heard_as_it_speaks(capfd):
    command.run(python("print('hello')"), "greeting", error=BuildFailed, is_loud=True)
    assert capfd.readouterr().err == "hello\n"


def test_a_failure_tells_what_failed_and_the_end_of_what_was_said():
    code = "import sys; [print(n) for n in range(100)]; print('no space', file=sys.stderr); exit(7)"
    with pytest.raises(PublishFailed) as caught:
        command.run(python(code), "pushing", error=PublishFailed)
    (problem,) = caught.value.problems
    assert problem.startswith(f"pushing: {sys.executable} ended with status 7 after saying:")
    assert problem.endswith("no space")
    assert "\n    99" in problem
    assert "\n    9\n" not in problem


def test_what_was_shown_is_not_told_again():
    with pytest.raises(BuildFailed) as caught:
        command.run(python("print('x'); exit(1)"), "it", error=BuildFailed, is_loud=True)
    assert caught.value.problems == (f"it: {sys.executable} ended with status 1",)


def test_credentials_in_the_output_are_left_out():
    code = "print('cannot reach https://me:secret@host/packages'); exit(1)"
    with pytest.raises(BuildFailed) as caught:
        command.run(python(code), "it", error=BuildFailed)
    assert "https://host/packages" in str(caught.value)
    assert "secret" not in str(caught.value)


def test_a_traceback_is_told_by_its_last_words():
    code = (
        "def inner(): raise NotImplementedError('no such model\\nneither this nor that')\n"
        "try: 1 / 0\n"
        "except ArithmeticError: inner()"
    )
    with pytest.raises(BuildFailed) as caught:
        command.run(python(code), "it", error=BuildFailed)
    said = caught.value.problems[0].split("after saying:")[1]
    assert said == "\n    NotImplementedError: no such model\n    neither this nor that"


def test_output_that_is_no_text_does_no_harm():
    code = "import sys; sys.stdout.buffer.write(b'\\xff\\xfe\\n'); exit(1)"
    with pytest.raises(BuildFailed, match="status 1"):
        command.run(python(code), "it", error=BuildFailed)


def test_a_program_that_is_not_there_is_named():
    with pytest.raises(BuildFailed, match="no-such-program cannot be started: No such file"):
        command.run(["no-such-program"], "it", error=BuildFailed)


def test_it_gets_the_environment_that_was_asked_for(capfd):
    code = "import os; print(os.environ['COLOUR'])"
    command.run(
        python(code), "it", error=BuildFailed, is_loud=True, environment={"COLOUR": "green"}
    )
    assert capfd.readouterr().err == "green\n"


def test_an_interrupt_ends_the_program_too(tmp_path, repository):
    mark = tmp_path / "pid"
    code = f"import os,time; open({str(mark)!r}, 'w').write(str(os.getpid())); time.sleep(60)"
    outer = (
        "import sys, signal; from build import command; from build.errors import BuildFailed\n"
        "signal.signal(signal.SIGTERM, signal.default_int_handler)\n"
        f"command.run([sys.executable, '-c', {code!r}], 'it', error=BuildFailed)"
    )
    process = subprocess.Popen(python(outer), cwd=repository, stderr=subprocess.DEVNULL)
    inner = int(_await_text(mark))
    process.send_signal(signal.SIGTERM)
    assert process.wait(20) != 0
    deadline = time.monotonic() + 10
    while Path(f"/proc/{inner}").exists() and time.monotonic() < deadline:
        time.sleep(0.05)
    with pytest.raises(ProcessLookupError):
        os.kill(inner, 0)


def _await_text(path: Path) -> str:
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline:
        if path.exists() and path.read_text():
            return path.read_text()
        time.sleep(0.02)
    raise AssertionError("the program never started")
