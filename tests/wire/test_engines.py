"""Which engine serves a bundle, and that the choice shows in nothing but speed."""

from __future__ import annotations

import json
import threading
import time
import urllib.request

import pytest

from edge import bundle, loaders
from edge.config import Settings
from edge.engine.decoder import graph
from edge.errors import StartupError

QUESTIONS = (
    "What is the capital of Spain?",
    "Which country has the capital Tokyo?",
    "What is 12 plus 7?",
    "Tell me a joke.",
    "zzz qqq ### 12345",
)


def post(served, body):
    request = urllib.request.Request(
        f"{served.url}/v1/chat/completions",
        json.dumps(body).encode(),
        {"Content-Type": "application/json"},
    )
    with urllib.request.urlopen(request, timeout=60) as answer:
        return json.loads(answer.read())


def ask(served, question, **settings):
    messages = [{"role": "user", "content": question}]
    settings = {"temperature": 0, "max_tokens": 40, **settings}
    choices = post(served, {"messages": messages, **settings})["choices"]
    return [choice["message"]["content"] for choice in choices]


def engine_of(served):
    with urllib.request.urlopen(f"{served.url}/v1/version", timeout=10) as answer:
        return json.loads(answer.read())["engine"]


@pytest.fixture(scope="module")
def genai(serve, model_bundle):
    """The bundle on onnxruntime-genai's generators."""
    return serve("--bundle", str(model_bundle), engine="genai")


def test_auto_takes_the_fast_engine_and_says_why(model):
    assert engine_of(model) == {"name": "decoder", "reason": "the graph fits it"}
    assert '"engine": "decoder"' in model.log


def test_the_other_one_can_be_asked_for(genai):
    assert engine_of(genai) == {"name": "genai", "reason": "EDGE_ENGINE says so"}


def test_both_give_the_same_answers(model, genai):
    for question in QUESTIONS:
        assert ask(model, question) == ask(genai, question)


@pytest.mark.parametrize(
    "settings",
    [
        {"temperature": 1.2, "seed": 3},
        {"temperature": 0.8, "top_p": 0.9, "seed": 4, "n": 3},
        {"temperature": 0, "frequency_penalty": 1.0},
        {"response_format": {"type": "json_object"}},
    ],
)
def test_sampling_is_the_same_too(model, genai, settings):
    assert ask(model, QUESTIONS[3], **settings) == ask(genai, QUESTIONS[3], **settings)


def test_many_at_once_get_what_each_gets_alone(model):
    alone = {question: ask(model, question) for question in QUESTIONS}
    wrong = []

    def work(number):
        question = QUESTIONS[number % len(QUESTIONS)]
        if ask(model, question) != alone[question]:
            wrong.append(question)

    threads = [threading.Thread(target=work, args=[number]) for number in range(40)]
    for thread in threads:
        thread.start()
        time.sleep(0.002)
    for thread in threads:
        thread.join()
    assert wrong == []


def test_rows_decode_together(serve, model_bundle):
    served = serve("--bundle", str(model_bundle), slots=8, prefill_chunk_ms=5)
    ask(served, QUESTIONS[3], n=8, temperature=1.5, seed=1, max_tokens=200)
    with urllib.request.urlopen(f"{served.url}/metrics", timeout=10) as answer:
        text = answer.read().decode()
    small, all_ = (
        float(next(line for line in text.splitlines() if line.startswith(start)).split()[-1])
        for start in ('edge_batch_size_bucket{le="1.0"', "edge_batch_size_count")
    )
    assert all_ > small


def test_a_model_that_does_not_fit_is_served_by_the_other(model_bundle, monkeypatch):
    def refuse(folder):
        raise graph.Misfit("2 of 4 layers have GroupQueryAttention")

    monkeypatch.setattr(graph, "read", refuse)
    opened = bundle.read(model_bundle)
    loaded = loaders.onnx_loader(opened, Settings(threads=1, spin=False))()
    assert (loaded.name, loaded.reason) == ("genai", "2 of 4 layers have GroupQueryAttention")
    loaded.engine.shutdown()
    with pytest.raises(StartupError, match="EDGE_ENGINE is decoder, which cannot run this model"):
        loaders.onnx_loader(opened, Settings(engine="decoder", threads=1))()
