"""The model in this process: it answers, and its thread is gone afterwards."""

from __future__ import annotations

import threading

import pytest

from edge import bundle, loaders, service
from edge.commands import local
from edge.config import Settings
from edge.errors import EngineFailed, StartupError
from edge.generation import Message, Prompt, Request


def engine_threads():
    return [thread for thread in threading.enumerate() if thread.name == "engine"]


def request(text):
    return Request("chat", (Prompt(messages=(Message("user", text),)),))


def test_it_answers_and_ends(folder, engine):
    with local.loaded(bundle.peek(folder), Settings()) as model:
        answer = service.collect(model.service.generate(request("hello")))
        assert answer.choices[0].text == "hello"
        assert model.load_s >= 0
        assert model.warm_up_s > 0
        assert len(engine_threads()) == 1
    assert engine_threads() == []
    assert engine.open_rows == 0


def test_it_ends_in_the_middle_of_an_answer(folder, engine):
    with local.loaded(bundle.peek(folder), Settings()) as model:
        model.service.generate(request("x" * 200))
    assert engine_threads() == []
    assert engine.open_rows == 0


def test_it_ends_after_an_error(folder, engine):
    with pytest.raises(KeyboardInterrupt), local.loaded(bundle.peek(folder), Settings()):
        raise KeyboardInterrupt
    assert engine_threads() == []


def test_a_failure_of_the_engine_reaches_the_caller(folder, engine):
    with local.loaded(bundle.peek(folder), Settings()) as model:
        engine.fail_after = 0
        with pytest.raises(EngineFailed):
            service.collect(model.service.generate(request("hello")))


def test_what_cannot_be_loaded(folder, monkeypatch):
    def load():
        raise StartupError(["model: broken"])

    monkeypatch.setattr(loaders, "loader", lambda *_: load)
    with (
        pytest.raises(StartupError, match="broken"),
        local.loaded(bundle.peek(folder), Settings()),
    ):
        pass
