"""Greedy, in float32: the appliance says what MLflow's pyfunc and transformers' `generate` say."""

from __future__ import annotations

import json
from typing import Any

import mlflow.deployments
import openai
import pytest
import requests
from mlflow.pyfunc.scoring_server.client import ScoringServerClient
from mlflow.types.llm import ChatCompletionChunk, ChatCompletionResponse

from tests.wire.pipeline.chats import CHATS, SEVERAL_TURNS, SPAIN, Body
from tests.wire.pipeline.conftest import Sides

pytestmark = pytest.mark.torch

# A sentence to be gone on with, chats written out, and texts that are no chat at all.
PROMPTS = (
    "The capital of Spain is",
    "<|user|>\nWhat is the capital of Spain?<|end|>\n<|assistant|>\n",
    "<|system|>\nOnly the name.<|end|>\n<|user|>\nCapital of Peru?<|end|>\n<|assistant|>\n",
    "  a b ",
    "日本 🎉 naïve",
    "x\n",
)
NAMES = ("id", "created", "model")


def plain(data: Any) -> Any:
    """Predictions without what differs from call to call and from server to server."""
    if isinstance(data, dict) and "predictions" in data:
        return {"predictions": plain(data["predictions"])}
    return [
        {name: value for name, value in row.items() if name not in NAMES}
        if isinstance(row, dict)
        else row
        for row in data
    ]


@pytest.mark.parametrize("place", range(len(CHATS)))
def test_a_chat_equals_predict_and_generate(sides: Sides, place: int) -> None:
    (answer,) = sides.ours("chat", CHATS[place]).json
    predicted, generated = sides.predicted[place], sides.generated[place]
    assert plain([answer]) == plain([predicted])
    assert answer["choices"][0]["message"]["content"] == generated["text"]
    assert answer["usage"]["prompt_tokens"] == generated["prompt_tokens"]
    assert answer["usage"]["completion_tokens"] == generated["tokens"]


def test_the_members_are_mlflows_in_their_order_and_types(sides: Sides) -> None:
    for model, body in (("chat", {"messages": SPAIN}), ("completions", {"prompt": "a"})):
        (ours,), (theirs,) = sides.ours(model, body).json, sides.theirs(model, body).json
        assert list(ours) == list(theirs)
        assert list(ours["choices"][0]) == list(theirs["choices"][0])
        assert {name: type(value) for name, value in ours.items()} == {
            name: type(value) for name, value in theirs.items()
        }
        assert len(ours["id"]) == len(theirs["id"])
        assert abs(ours["created"] - theirs["created"]) < 60
        assert (ours["model"], theirs["model"].split("/")[-1]) == (model, "weights")


@pytest.mark.parametrize("model", ["completions", "text"])
@pytest.mark.parametrize("prompt", PROMPTS)
def test_a_prompt_is_gone_on_with_as_by_mlflow(sides: Sides, model: str, prompt: str) -> None:
    for body in ({"prompt": prompt}, {"dataframe_records": [{"prompt": prompt}]}):
        ours, theirs = sides.ours(model, body), sides.theirs(model, body)
        assert (ours.status, theirs.status) == (200, 200)
        assert plain(ours.json) == plain(theirs.json)


@pytest.mark.parametrize("place", range(0, len(CHATS), 3))
def test_the_openai_route_says_the_same(sides: Sides, place: int) -> None:
    url = f"{sides.served['chat'].url}/v1"
    with openai.OpenAI(base_url=url, api_key="none", max_retries=0) as client:
        answer = client.chat.completions.create(model="chat", temperature=0, **CHATS[place])
        chunks = client.chat.completions.create(
            model="chat", temperature=0, stream=True, **CHATS[place]
        )
        streamed = "".join(chunk.choices[0].delta.content or "" for chunk in chunks)
    message = sides.predicted[place]["choices"][0]["message"]
    assert answer.choices[0].message.content == streamed == message["content"]
    assert answer.choices[0].finish_reason == sides.predicted[place]["choices"][0]["finish_reason"]


@pytest.mark.parametrize("prompt", PROMPTS[:3])
def test_the_openai_route_goes_on_with_a_prompt(sides: Sides, prompt: str) -> None:
    url = f"{sides.served['completions'].url}/v1"
    (theirs,) = sides.theirs("completions", {"prompt": prompt}).json
    with openai.OpenAI(base_url=url, api_key="none", max_retries=0) as client:
        answer = client.completions.create(model="completions", prompt=prompt, temperature=0)
    # Here nothing is taken off the text.
    assert answer.choices[0].text.lstrip() == theirs["choices"][0]["text"]


def test_a_stream_says_the_same(sides: Sides) -> None:
    for place in (0, 5, 18):
        url = f"{sides.served['chat'].url}/invocations"
        with requests.post(
            url, json={**CHATS[place], "stream": True}, stream=True, timeout=60
        ) as r:
            events = [line.removeprefix(b"data: ") for line in r.iter_lines() if line]
            assert r.headers["Content-Type"] == "text/event-stream; charset=utf-8"
        assert events.pop() == b"[DONE]"
        *chunks, last = map(json.loads, events)
        read = [ChatCompletionChunk.from_dict(chunk) for chunk in chunks]
        text = "".join(chunk.choices[0].delta.content or "" for chunk in read)
        assert text == sides.predicted[place]["choices"][0]["message"]["content"]
        assert last["usage"] == sides.predicted[place]["usage"]


def test_mlflows_own_clients_read_the_answers(sides: Sides) -> None:
    served = sides.served["chat"]
    client = ScoringServerClient("127.0.0.1", served.port)
    client.wait_server_ready(timeout=10)
    body: Body = {"dataframe_records": [{"messages": SPAIN}, {"messages": SEVERAL_TURNS}]}
    url = f"{served.url}/invocations"
    rows = requests.post(url, json=body, timeout=60).json()["predictions"]
    answers = [ChatCompletionResponse.from_dict(row) for row in rows]
    texts = [answer.choices[0].message.content for answer in answers]
    assert texts == ["The capital of Spain is Madrid.", "The capital of Peru is Lima."]


def test_deployment_clients_read_the_predictions(sides: Sides) -> None:
    for side in (sides.ours, sides.theirs):
        reply = side("text", {"inputs": ["The capital of Spain is"]})
        response = mlflow.deployments.PredictionsResponse.from_json(reply.body.decode())
        predictions = response.get_predictions(predictions_format="ndarray")
        assert predictions.tolist() == ["The capital of Spain is Madrid."]
