"""The model's load and speed as findings, on a scripted engine, and what is written meanwhile."""

from __future__ import annotations

import os
import re

import pytest

from edge import bundle, loaders
from edge.commands import trial
from edge.config import Settings
from edge.errors import StartupError


def test_a_model_that_speaks(folder, engine):
    found = {item.check: item for item in trial.run(bundle.peek(folder), Settings())}
    assert {item.status for item in found.values()} == {"ok"}
    assert re.match(r"\d+\.\d\d s, then \d+\.\d\d s to the first token", found["load"].fact)
    assert "4.0 MiB for the KV cache" in found["load"].fact
    speed = re.search(r"prompt of (\d+) tokens, then ([\d.]+) tokens/s", found["speed"].fact)
    assert int(speed[1]) > len("Tell me")
    assert float(speed[2]) > 0
    assert "nothing was written" in found["file system"].fact


def test_a_model_that_cannot_be_loaded(folder, monkeypatch):
    def load():
        raise StartupError(["model: no graph", "model: no weights"])

    monkeypatch.setattr(loaders, "loader", lambda *_: load)
    found = trial.run(bundle.peek(folder), Settings())
    assert [(item.status, item.fact) for item in found[:2]] == [
        ("fail", "model: no graph"),
        ("fail", "model: no weights"),
    ]


def test_a_model_that_breaks_off(folder, engine):
    engine.fail_after = 5  # the warm-up takes two steps
    found = {item.check: item for item in trial.run(bundle.peek(folder), Settings())}
    assert found["load"].status == "ok"
    assert found["speed"].status == "fail"


def test_a_context_that_the_prompt_does_not_fit(folder, engine):
    engine.context_length = 8
    found = {item.check: item for item in trial.run(bundle.peek(folder), Settings())}
    assert found["speed"].status == "fail"
    assert "context" in found["speed"].fact


def test_what_this_process_writes_is_counted(tmp_path):
    before = trial.written_bytes()
    assert before is not None
    with (tmp_path / "file").open("wb") as stream:
        stream.write(b"x" * 100_000)
        stream.flush()
        os.fsync(stream.fileno())
    grown = trial.written_bytes() - before
    # A file system in memory sends nothing to storage.
    assert grown == 0 or grown >= 100_000


@pytest.mark.parametrize("content", [None, "", "odd", "wchar: 5\n"])
def test_a_kernel_that_does_not_count(tmp_path, monkeypatch, content):
    if content is not None:
        (tmp_path / "io").write_text(content)
    monkeypatch.setattr(trial, "_IO", tmp_path / "io")
    assert trial.written_bytes() is None
    assert "written" not in trial.file_system(None).fact.replace("written to", "")


def test_whatever_was_written_is_a_warning():
    assert trial.file_system(0).status == "ok"
    found = trial.file_system(8192)
    assert (found.status, found.fact.startswith("8.0 KiB were written")) == ("warn", True)
    assert "--read-only" in found.advice


def test_a_root_that_is_read_only(monkeypatch):
    class Mounted:
        f_flag = os.ST_RDONLY

    monkeypatch.setattr(os, "statvfs", lambda _: Mounted())
    assert trial.file_system(0).fact == "nothing was written, the root is read-only"
