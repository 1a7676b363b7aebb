"""One JSON object a line."""

from __future__ import annotations

import json
import logging
import re
import sys
from pathlib import Path

import pytest

from edge import log


@pytest.fixture(autouse=True)
def logging_put_back():
    """Logging as it was, after each test."""
    root = logging.getLogger()
    before = root.level, root.handlers[:]
    yield
    root.setLevel(before[0])
    root.handlers[:] = before[1]


def lines(capsys):
    return [json.loads(line) for line in capsys.readouterr().err.split("\n") if line]


def test_a_line_is_a_json_object(capsys):
    log.start("info")
    logging.getLogger("edge.test").info("hello %s", "you", extra={"tokens": 3, "share": 0.5})
    (entry,) = lines(capsys)
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", entry.pop("time"))
    assert entry == {
        "level": "info",
        "logger": "edge.test",
        "message": "hello you",
        "tokens": 3,
        "share": 0.5,
    }


@pytest.mark.parametrize(
    ("level", "seen"),
    [
        ("debug", ["debug", "info", "warning", "error"]),
        ("info", ["info", "warning", "error"]),
        ("error", ["error"]),
    ],
)
def test_levels(capsys, level, seen):
    log.start(level)
    logger = logging.getLogger("edge.test")
    for name in ("debug", "info", "warning", "error"):
        getattr(logger, name)("x")
    assert [entry["level"] for entry in lines(capsys)] == seen


def test_an_exception_stays_on_its_line(capsys):
    log.start("info")
    try:
        raise ValueError("broken\nin two lines")
    except ValueError:
        logging.getLogger("edge.test").exception("it failed")
    (entry,) = lines(capsys)
    assert "ValueError: broken" in entry["exception"]
    assert entry["level"] == "error"


def test_what_json_does_not_know_is_written_as_text(capsys):
    log.start("info")
    logging.getLogger("edge.test").info("x", extra={"path": Path("/p"), "text": "é\n\u2028😀"})
    (entry,) = lines(capsys)
    assert entry["path"] == "/p"
    assert entry["text"] == "é\n\u2028😀"


def test_a_lone_surrogate_does_not_lose_the_line(tmp_path):
    """Prompts may be logged; standard error writes what UTF-8 cannot hold as an escape."""
    formatter = log.JsonFormatter()
    record = logging.makeLogRecord({"msg": "x", "prompt": "\ud800"})
    path = tmp_path / "log"
    path.write_text(formatter.format(record), encoding="utf-8", errors=sys.__stderr__.errors)
    assert json.loads(path.read_text())["prompt"] == "\ud800"


def test_starting_twice_does_not_write_twice(capsys):
    log.start("info")
    log.start("info")
    logging.getLogger("edge.test").info("once")
    assert len(lines(capsys)) == 1
