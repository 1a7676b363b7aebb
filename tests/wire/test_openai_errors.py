"""What the official `openai` client raises: names of models, parameters, routes and keys."""

from __future__ import annotations

import httpx2
import openai
import pytest
from openai import OpenAI

QUESTION = [{"role": "user", "content": "What is the capital of Spain?"}]


def said(text, **more):
    return [{"role": "user", "content": text, **more}]


def test_the_listing_has_the_one_model(client):
    (entry,) = client.models.list().data
    assert (entry.id, entry.object, entry.owned_by) == ("echo", "model", "phial")


def test_a_model_by_its_id(client):
    assert client.models.retrieve("echo").id == "echo"


@pytest.mark.parametrize("name", ["demo:1", "demo@champion", "models:/demo/1"])
def test_a_model_by_its_names_in_the_registry(talker, name):
    assert talker.models.retrieve(name).id == name
    answer = talker.completions.create(model=name, prompt="a", max_tokens=1)
    assert answer.model == "demo"


@pytest.mark.parametrize("name", ["gpt-4", "models:/other/1"])
def test_another_model(client, name):
    with pytest.raises(openai.NotFoundError) as caught:
        client.models.retrieve(name)
    assert caught.value.code == "model_not_found"
    with pytest.raises(openai.NotFoundError) as caught:
        client.chat.completions.create(model=name, messages=QUESTION)
    assert caught.value.param == "model"


@pytest.mark.parametrize(
    ("parameters", "param"),
    [
        ({"temperature": 3}, "temperature"),
        ({"n": 0}, "n"),
        ({"stop": ["a"] * 5}, "stop"),
        ({"tools": [{"type": "function", "function": {"name": "a b"}}]}, "tools[0].function.name"),
        ({"modalities": ["text", "audio"]}, "modalities"),
        ({"extra_body": {"repeat_penalty": 1.1}}, "repeat_penalty"),
        ({"logit_bias": {"x": 1}}, "logit_bias"),
        ({"response_format": {"type": "yaml"}}, "response_format.type"),
        ({"top_logprobs": 3}, "top_logprobs"),
        ({"stream_options": {"include_usage": True}}, "stream_options"),
    ],
)
def test_a_bad_request_names_its_parameter(client, parameters, param):
    with pytest.raises(openai.BadRequestError) as caught:
        client.chat.completions.create(model="echo", messages=QUESTION, **parameters)
    assert caught.value.param == param
    assert caught.value.type == "invalid_request_error"
    assert param.split(".")[0] in caught.value.message


def test_an_image_is_refused(client):
    parts = [{"type": "image_url", "image_url": {"url": "data:image/png;base64,AAAA"}}]
    with pytest.raises(openai.BadRequestError) as caught:
        client.chat.completions.create(model="echo", messages=said(parts))
    assert caught.value.param == "messages[0].content[0].type"


@pytest.mark.parametrize("stream", [False, True])
def test_a_failing_model(client, stream):
    with pytest.raises(openai.InternalServerError) as caught:
        client.chat.completions.create(model="echo", messages=said("boom"), stream=stream)
    assert caught.value.status_code == 500
    assert "Traceback" not in caught.value.message
    assert "/" not in caught.value.message


def test_a_route_that_is_not_there(client):
    with pytest.raises(openai.NotFoundError) as caught:
        client.embeddings.create(model="echo", input="x")
    assert caught.value.code == "unknown_url"


def test_a_wrong_method(echo):
    reply = httpx2.get(f"{echo.url}/v1/chat/completions")
    assert (reply.status_code, reply.headers["allow"]) == (405, "POST")
    assert reply.json()["error"]["code"] == "method_not_supported"


def test_a_body_that_is_no_json(echo):
    reply = httpx2.post(
        f"{echo.url}/v1/chat/completions",
        content=b"{'messages': []}",
        headers={"Content-Type": "application/json"},
    )
    assert reply.status_code == 400
    assert "line 1 column 2" in reply.json()["error"]["message"]


def test_a_request_keeps_its_id(client):
    reply = client.chat.completions.with_raw_response.create(
        model="echo", messages=said("x"), extra_headers={"X-Request-Id": "mine-1"}
    )
    assert reply.headers["x-request-id"] == "mine-1"
    with pytest.raises(openai.BadRequestError) as caught:
        client.chat.completions.create(model="echo", messages=[])
    assert caught.value.request_id


@pytest.fixture(scope="module")
def guarded(serve, tmp_path_factory):
    path = tmp_path_factory.mktemp("keys") / "keys"
    path.write_text("first-key\nsecond-key\n")
    return serve("--scripted", "echo", api_key_file=path)


@pytest.mark.parametrize("key", ["first-key", "second-key"])
def test_a_key_of_the_file_opens(guarded, key):
    with OpenAI(base_url=f"{guarded.url}/v1", api_key=key) as one:
        assert one.models.list().data[0].id == "echo"


def test_any_other_is_turned_away(guarded):
    with (
        OpenAI(base_url=f"{guarded.url}/v1", api_key="third", max_retries=0) as one,
        pytest.raises(openai.AuthenticationError) as caught,
    ):
        one.chat.completions.create(model="echo", messages=QUESTION)
    assert caught.value.code == "invalid_api_key"
