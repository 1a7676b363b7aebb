"""Prompts from the command line, from a pipe and from a terminal; the model echoes them."""

from __future__ import annotations

import io
import logging

import pytest

from edge.commands import chat
from edge.engine.scripted import FAILING_PROMPT
from edge.errors import StartupError


@pytest.fixture(autouse=True)
def restored():
    """The command sets up the log of its own process; this process goes on."""
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield
    root.handlers[:], root.level = handlers, level


@pytest.fixture
def stdin(monkeypatch):
    """Puts text on standard input, as a pipe would or, with `is_terminal`, a terminal."""

    def put(text, is_terminal=False):
        stream = io.StringIO(text)
        stream.isatty = lambda: is_terminal
        monkeypatch.setattr("sys.stdin", stream)

    return put


@pytest.fixture
def run(folder, engine):
    return lambda *arguments: chat.run(["--bundle", str(folder), *arguments])


def test_words_are_a_prompt(run, capsys):
    assert run("hello", "there") == 0
    assert capsys.readouterr() == ("hello there\n", "")


def test_a_pipe_is_a_prompt(run, stdin, capsys):
    stdin("  hello\nthere \n")
    assert run() == 0
    assert capsys.readouterr().out == "hello\nthere\n"


def test_words_win_over_a_pipe(run, stdin, capsys):
    stdin("piped")
    assert run("said") == 0
    assert capsys.readouterr().out == "said\n"


@pytest.mark.parametrize("text", ["", " \n"])
def test_an_empty_pipe(run, stdin, text):
    stdin(text)
    with pytest.raises(StartupError, match="no prompt"):
        run()


def test_no_standard_input_at_all(run, monkeypatch):
    monkeypatch.setattr("sys.stdin", None)
    with pytest.raises(StartupError, match="no prompt"):
        run()


def test_the_end_of_a_long_answer_is_said(run, capsys):
    assert run("--max-tokens", "3", "hello") == 0
    output, errors = capsys.readouterr()
    assert output == "hel\n"
    assert "--max-tokens" in errors


def test_the_bundle_says_how_long_an_answer_is(run, capsys):
    assert run("x" * 50) == 0
    assert capsys.readouterr().out == "x" * 40 + "\n"


def test_a_prompt_that_is_too_long(run, capsys):
    assert run("x" * 2000) == 1
    output, errors = capsys.readouterr()
    assert output == ""
    assert "context holds 1024" in errors


def test_a_prompt_that_fails(run, capsys, engine):
    engine.fail_after = 3
    assert run("hello") == 1
    output, errors = capsys.readouterr()
    assert output == "hel\n"
    assert errors.startswith("phial: ")


@pytest.mark.parametrize("flag", [["--temperature", "3"], ["--max-tokens", "0"]])
def test_a_flag_out_of_range_is_found_before_the_model_is_loaded(run, engine, flag):
    with pytest.raises(StartupError, match="expected"):
        run(*flag, "hello")
    assert engine.steps == 0


def test_a_loop_of_prompts(run, stdin, capsys):
    stdin("one\n\n/reset\ntwo\n/exit\nthree\n", is_terminal=True)
    assert run() == 0
    output, errors = capsys.readouterr()
    assert output.replace("> ", "") == "one\ntwo\n"
    assert "/reset forgets" in errors


def test_the_loop_ends_with_its_input(run, stdin, capsys):
    stdin("one\n", is_terminal=True)
    assert run() == 0
    assert capsys.readouterr().out.replace("> ", "") == "one\n\n"


def test_the_loop_survives_what_cannot_be_answered(run, stdin, capsys):
    stdin("x" * 2000 + "\ntwo\n", is_terminal=True)
    assert run() == 0
    output, errors = capsys.readouterr()
    assert "two" in output
    assert "/reset forgets what was said" in errors


def test_ctrl_c_in_an_answer_leads_back_to_the_prompt(run, stdin, capsys, monkeypatch):
    from edge.commands.conversation import Conversation

    asked, ask = [], Conversation.ask

    def interrupted(self, prompt, write):
        asked.append(prompt)
        if len(asked) == 1:
            raise KeyboardInterrupt
        return ask(self, prompt, write)

    monkeypatch.setattr(Conversation, "ask", interrupted)
    stdin("one\ntwo\n", is_terminal=True)
    assert run() == 0
    assert asked == ["one", "two"]
    assert "two" in capsys.readouterr().out


def test_ctrl_c_in_a_single_answer_ends_it(run, monkeypatch, engine):
    from edge.commands.conversation import Conversation

    def interrupted(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(Conversation, "ask", interrupted)
    assert run("one") == 130
    assert engine.open_rows == 0


def test_it_works_without_readline(run, stdin, capsys, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "readline", None)
    stdin("one\n", is_terminal=True)
    assert run() == 0
    assert "one" in capsys.readouterr().out


def test_the_log_is_silent_unless_it_is_asked_for(run, capsys, monkeypatch):
    run("hello")
    assert capsys.readouterr().err == ""
    run(FAILING_PROMPT)
    assert capsys.readouterr().err == "phial: the model failed on this prompt\n"
    monkeypatch.setenv("EDGE_LOG_LEVEL", "info")
    run("hello")
    output, errors = capsys.readouterr()
    assert output == "hello\n"
    assert '"message": "request"' in errors


def test_no_bundle(capsys):
    with pytest.raises(StartupError, match="no bundle"):
        chat.run(["hello"])
