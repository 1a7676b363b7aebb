"""Bars for people, silence for logs."""

import io
import sys
import time

import pytest

from build.progress import LARGE_BYTES, Progress


@pytest.mark.parametrize("is_terminal", [True, False])
def test_bars_are_for_terminals(monkeypatch, is_terminal):
    screen = io.StringIO()
    screen.isatty = lambda: is_terminal
    monkeypatch.setattr(sys, "stderr", screen)
    with Progress.for_terminal().bar("seal", LARGE_BYTES) as bar:
        bar.add(LARGE_BYTES)
    assert bool(screen.getvalue()) == is_terminal


def test_no_bars_for_small_files(capsys):
    with Progress(enabled=True).bar("seal", LARGE_BYTES - 1) as bar:
        bar.add(10)
    assert capsys.readouterr().err == ""


def test_a_bar_for_large_files(capsys):
    with Progress(enabled=True).bar("seal", LARGE_BYTES) as bar:
        bar.add(LARGE_BYTES)
    shown = capsys.readouterr().err
    assert "seal: 100%" in shown
    assert "64.0M/64.0M" in shown


def test_a_growing_file_is_followed_to_its_end(capsys, tmp_path):
    path = tmp_path / "file"
    with Progress(enabled=True, threshold_bytes=0).bar("download", 3000) as bar, bar.watch(path):
        path.write_bytes(b"x" * 1000)
        time.sleep(0.5)
        path.write_bytes(b"x" * 3000)
    assert "2.93k/2.93k" in capsys.readouterr().err


def test_a_file_that_never_comes_adds_nothing(tmp_path):
    with Progress(enabled=True, threshold_bytes=0).bar("download", 10) as bar:
        with bar.watch(tmp_path / "never"):
            pass
        assert bar._drawn.n == 0
