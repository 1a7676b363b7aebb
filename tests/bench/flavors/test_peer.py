"""How MLflow's own server is started."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from tests.bench.client import Address
from tests.bench.flavors import peer
from tests.bench.sides import NotStarted


def test_it_runs_in_this_environment():
    words = peer.command("models:/m@bench", Address("127.0.0.1", 99))
    assert words[:5] == [sys.executable, "-m", "mlflow", "models", "serve"]
    assert words[words.index("--env-manager") + 1] == "local"
    assert words[words.index("-m", 5) + 1] == "models:/m@bench"
    assert words[-1] == "99"


def test_it_finds_the_model_and_its_own_programs(monkeypatch):
    monkeypatch.setenv("PATH", "/usr/bin")
    found = peer.environment("sqlite:///x.db")
    assert found["MLFLOW_TRACKING_URI"] == "sqlite:///x.db"
    assert found["PATH"] == f"{Path(sys.executable).parent}:/usr/bin"
    assert found["HF_HUB_OFFLINE"] == "1"


def test_a_server_that_does_not_start_is_told_with_its_last_words(tmp_path, monkeypatch):
    words = [sys.executable, "-c", "print('no such model'); raise SystemExit(3)"]
    monkeypatch.setattr(peer, "command", lambda uri, address: words)
    with (
        pytest.raises(NotStarted, match="no such model"),
        peer.served("models:/m/1", "sqlite:///x.db", tmp_path / "log"),
    ):
        pass
