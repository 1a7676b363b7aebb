"""The official `openai` client against the real process: what its users will do with it."""

from __future__ import annotations

import asyncio
import json
from typing import Literal

import httpx2
import openai
import pytest
from openai import AsyncOpenAI, OpenAI
from pydantic import BaseModel

QUESTION = [{"role": "user", "content": "What is the capital of Spain?"}]


def said(text, **more):
    return [{"role": "user", "content": text, **more}]


@pytest.fixture(scope="module")
def client(echo):
    with OpenAI(base_url=f"{echo.url}/v1", api_key="none", max_retries=0) as one:
        yield one


@pytest.fixture(scope="module")
def talker(model):
    with OpenAI(base_url=f"{model.url}/v1", api_key="none", max_retries=0) as one:
        yield one


@pytest.fixture(scope="module")
def guarded(serve, tmp_path_factory):
    path = tmp_path_factory.mktemp("keys") / "keys"
    path.write_text("first-key\nsecond-key\n")
    return serve("--scripted", "echo", api_key_file=path)


class TestModels:
    def test_the_listing_has_the_one_model(self, client):
        (entry,) = client.models.list().data
        assert (entry.id, entry.object, entry.owned_by) == ("echo", "model", "phial")

    def test_a_model_by_its_id(self, client):
        assert client.models.retrieve("echo").id == "echo"

    @pytest.mark.parametrize("name", ["demo:1", "demo@champion", "models:/demo/1"])
    def test_a_model_by_its_names_in_the_registry(self, talker, name):
        assert talker.models.retrieve(name).id == name
        answer = talker.completions.create(model=name, prompt="a", max_tokens=1)
        assert answer.model == "demo"

    @pytest.mark.parametrize("name", ["gpt-4", "models:/other/1"])
    def test_another_model(self, client, name):
        with pytest.raises(openai.NotFoundError) as caught:
            client.models.retrieve(name)
        assert caught.value.code == "model_not_found"
        with pytest.raises(openai.NotFoundError) as caught:
            client.chat.completions.create(model=name, messages=QUESTION)
        assert caught.value.param == "model"


class TestChat:
    def test_an_answer(self, client):
        answer = client.chat.completions.create(model="echo", messages=said("Grüße, 世界 😀"))
        (choice,) = answer.choices
        assert choice.message.role == "assistant"
        assert choice.message.content == "Grüße, 世界 😀"
        assert choice.finish_reason == "stop"
        assert answer.usage is not None
        assert answer.usage.total_tokens == (
            answer.usage.prompt_tokens + answer.usage.completion_tokens
        )
        assert answer.usage.completion_tokens == len("Grüße, 世界 😀".encode())

    def test_a_conversation_with_the_answer_sent_back(self, client):
        first = client.chat.completions.create(model="echo", messages=said("one"))
        messages = [
            {"role": "developer", "content": "Repeat."},
            *said("one", name="Ann"),
            first.choices[0].message.model_dump(),
            *said([{"type": "text", "text": "two"}, {"type": "text", "text": "three"}]),
        ]
        second = client.chat.completions.create(model="echo", messages=messages)
        assert second.choices[0].message.content == "two\nthree"

    def test_a_stream_with_usage(self, client):
        text = "Grüße, 世界 😀 and so on"
        stream = client.chat.completions.create(
            model="echo",
            messages=said(text),
            stream=True,
            stream_options={"include_usage": True},
        )
        chunks = list(stream)
        assert chunks[0].choices[0].delta.role == "assistant"
        assert all(chunk.usage is None for chunk in chunks[:-1])
        assert chunks[-1].choices == []
        assert chunks[-1].usage is not None
        assert chunks[-1].usage.completion_tokens == len(text.encode())
        pieces = [chunk.choices[0].delta.content or "" for chunk in chunks[:-1]]
        assert "".join(pieces) == text
        assert "\ufffd" not in "".join(pieces)
        assert chunks[-2].choices[0].finish_reason == "stop"
        assert len({chunk.id for chunk in chunks}) == 1

    def test_a_stream_without_usage(self, client):
        chunks = list(
            client.chat.completions.create(model="echo", messages=said("abc"), stream=True)
        )
        assert all(len(chunk.choices) == 1 for chunk in chunks)
        assert all(chunk.usage is None for chunk in chunks)

    def test_the_stream_helper_of_the_client(self, client):
        with client.chat.completions.stream(model="echo", messages=said("abc")) as stream:
            texts = [event.delta for event in stream if event.type == "content.delta"]
            final = stream.get_final_completion()
        assert "".join(texts) == "abc"
        assert final.choices[0].message.content == "abc"

    def test_two_streams_on_one_connection(self, client):
        for text in ("first", "second"):
            stream = client.chat.completions.create(model="echo", messages=said(text), stream=True)
            pieces = [chunk.choices[0].delta.content or "" for chunk in stream]
            assert "".join(pieces) == text

    def test_several_choices(self, client):
        answer = client.chat.completions.create(model="echo", messages=said("x"), n=3)
        assert [choice.index for choice in answer.choices] == [0, 1, 2]
        stream = client.chat.completions.create(
            model="echo", messages=said("xyz"), n=3, stream=True
        )
        texts = dict.fromkeys(range(3), "")
        for chunk in stream:
            texts[chunk.choices[0].index] += chunk.choices[0].delta.content or ""
        assert texts == dict.fromkeys(range(3), "xyz")

    def test_max_tokens(self, client):
        for name in ("max_tokens", "max_completion_tokens"):
            answer = client.chat.completions.create(
                model="echo", messages=said("abcdef"), **{name: 2}
            )
            assert answer.choices[0].message.content == "ab"
            assert answer.choices[0].finish_reason == "length"

    @pytest.mark.parametrize("stop", ["END", ["nothing", "END"]])
    @pytest.mark.parametrize("stream", [False, True])
    def test_stop_strings_span_tokens_and_do_not_leak(self, client, stop, stream):
        text = "before E EN END after"
        answer = client.chat.completions.create(
            model="echo", messages=said(text), stop=stop, stream=stream
        )
        if stream:
            chunks = list(answer)
            content = "".join(chunk.choices[0].delta.content or "" for chunk in chunks)
            reason = chunks[-1].choices[0].finish_reason
        else:
            content = answer.choices[0].message.content
            reason = answer.choices[0].finish_reason
        assert (content, reason) == ("before E EN ", "stop")

    def test_metadata_comes_back(self, client):
        answer = client.chat.completions.create(
            model="echo", messages=said("x"), metadata={"trace": "7"}, user="ann", store=False
        )
        assert answer.metadata == {"trace": "7"}


class TestCompletions:
    def test_an_answer(self, client):
        answer = client.completions.create(model="echo", prompt="abc")
        assert answer.object == "text_completion"
        assert (answer.choices[0].text, answer.choices[0].finish_reason) == ("abc", "stop")

    def test_several_prompts_and_choices(self, client):
        answer = client.completions.create(model="echo", prompt=["a", "b"], n=2)
        assert [choice.text for choice in answer.choices] == ["a", "a", "b", "b"]

    def test_token_ids(self, client):
        answer = client.completions.create(model="echo", prompt=[104, 105])
        assert answer.choices[0].text == "hi"
        answer = client.completions.create(model="echo", prompt=[[104], [105, 105]])
        assert [choice.text for choice in answer.choices] == ["h", "ii"]

    def test_a_stream(self, client):
        stream = client.completions.create(
            model="echo", prompt="abc", stream=True, stream_options={"include_usage": True}
        )
        chunks = list(stream)
        assert "".join(chunk.choices[0].text for chunk in chunks[:-1]) == "abc"
        assert chunks[-2].choices[0].finish_reason == "stop"
        assert chunks[-1].usage is not None

    def test_echo_with_log_probabilities(self, client):
        answer = client.completions.create(
            model="echo", prompt="ab", echo=True, logprobs=1, max_tokens=1
        )
        (choice,) = answer.choices
        assert choice.text == "aba"
        assert choice.logprobs is not None
        assert choice.logprobs.token_logprobs is not None
        assert choice.logprobs.token_logprobs[0] is None


class TestErrors:
    @pytest.mark.parametrize(
        ("parameters", "param"),
        [
            ({"temperature": 3}, "temperature"),
            ({"n": 0}, "n"),
            ({"stop": ["a"] * 5}, "stop"),
            ({"tools": [{"type": "function", "function": {"name": "f"}}]}, "tools"),
            ({"modalities": ["text", "audio"]}, "modalities"),
            ({"extra_body": {"repeat_penalty": 1.1}}, "repeat_penalty"),
            ({"logit_bias": {"x": 1}}, "logit_bias"),
            ({"response_format": {"type": "yaml"}}, "response_format.type"),
            ({"top_logprobs": 3}, "top_logprobs"),
            ({"stream_options": {"include_usage": True}}, "stream_options"),
        ],
    )
    def test_a_bad_request_names_its_parameter(self, client, parameters, param):
        with pytest.raises(openai.BadRequestError) as caught:
            client.chat.completions.create(model="echo", messages=QUESTION, **parameters)
        assert caught.value.param == param
        assert caught.value.type == "invalid_request_error"
        assert param.split(".")[0] in caught.value.message

    def test_an_image_is_refused(self, client):
        parts = [{"type": "image_url", "image_url": {"url": "data:image/png;base64,AAAA"}}]
        with pytest.raises(openai.BadRequestError) as caught:
            client.chat.completions.create(model="echo", messages=said(parts))
        assert caught.value.param == "messages[0].content[0].type"

    @pytest.mark.parametrize("stream", [False, True])
    def test_a_failing_model(self, client, stream):
        with pytest.raises(openai.InternalServerError) as caught:
            client.chat.completions.create(model="echo", messages=said("boom"), stream=stream)
        assert caught.value.status_code == 500
        assert "Traceback" not in caught.value.message
        assert "/" not in caught.value.message

    def test_a_route_that_is_not_there(self, client):
        with pytest.raises(openai.NotFoundError) as caught:
            client.embeddings.create(model="echo", input="x")
        assert caught.value.code == "unknown_url"

    def test_a_wrong_method(self, echo):
        reply = httpx2.get(f"{echo.url}/v1/chat/completions")
        assert (reply.status_code, reply.headers["allow"]) == (405, "POST")
        assert reply.json()["error"]["code"] == "method_not_supported"

    def test_a_body_that_is_no_json(self, echo):
        reply = httpx2.post(
            f"{echo.url}/v1/chat/completions",
            content=b"{'messages': []}",
            headers={"Content-Type": "application/json"},
        )
        assert reply.status_code == 400
        assert "line 1 column 2" in reply.json()["error"]["message"]

    def test_a_request_keeps_its_id(self, client):
        reply = client.chat.completions.with_raw_response.create(
            model="echo", messages=said("x"), extra_headers={"X-Request-Id": "mine-1"}
        )
        assert reply.headers["x-request-id"] == "mine-1"
        with pytest.raises(openai.BadRequestError) as caught:
            client.chat.completions.create(model="echo", messages=[])
        assert caught.value.request_id


class TestKeys:
    @pytest.mark.parametrize("key", ["first-key", "second-key"])
    def test_a_key_of_the_file_opens(self, guarded, key):
        with OpenAI(base_url=f"{guarded.url}/v1", api_key=key) as one:
            assert one.models.list().data[0].id == "echo"

    def test_any_other_is_turned_away(self, guarded):
        with (
            OpenAI(base_url=f"{guarded.url}/v1", api_key="third", max_retries=0) as one,
            pytest.raises(openai.AuthenticationError) as caught,
        ):
            one.chat.completions.create(model="echo", messages=QUESTION)
        assert caught.value.code == "invalid_api_key"


class Weather(BaseModel):
    """What `parse` is asked for: bounded, so that any model comes to its end."""

    sky: Literal["blue", "grey"]
    is_raining: bool


class TestRealModel:
    def test_greedy_answers_repeat_and_stream_alike(self, talker):
        whole = talker.chat.completions.create(
            model="demo", messages=QUESTION, temperature=0, max_tokens=24
        )
        stream = talker.chat.completions.create(
            model="demo", messages=QUESTION, temperature=0, max_tokens=24, stream=True
        )
        text = "".join(chunk.choices[0].delta.content or "" for chunk in stream)
        assert whole.choices[0].message.content == text
        assert text

    def test_seeded_samples_repeat_and_differ(self, talker):
        def sample(seed):
            answer = talker.completions.create(
                model="demo", prompt="The", temperature=1.5, seed=seed, n=2, max_tokens=16
            )
            return [choice.text for choice in answer.choices]

        assert sample(7) == sample(7)
        assert len({*sample(7), *sample(8)}) > 2

    def test_chat_log_probabilities(self, talker):
        answer = talker.chat.completions.create(
            model="demo",
            messages=QUESTION,
            temperature=0,
            max_tokens=8,
            logprobs=True,
            top_logprobs=3,
        )
        (choice,) = answer.choices
        assert choice.logprobs is not None
        content = choice.logprobs.content
        assert content is not None
        assert answer.usage is not None
        assert len(content) == answer.usage.completion_tokens
        for token in content:
            assert len(token.top_logprobs) == 3
            assert token.logprob == pytest.approx(token.top_logprobs[0].logprob)
            assert token.logprob <= 0
        raw = b"".join(bytes(token.bytes or []) for token in content)
        assert (choice.message.content or "") in raw.decode(errors="replace")

    def test_log_probabilities_of_a_stream_add_up(self, talker):
        parameters = {
            "model": "demo",
            "prompt": "The capital",
            "temperature": 0,
            "max_tokens": 8,
            "logprobs": 2,
        }
        whole = talker.completions.create(**parameters).choices[0].logprobs
        parts = [
            chunk.choices[0].logprobs
            for chunk in talker.completions.create(**parameters, stream=True)
            if chunk.choices[0].logprobs
        ]
        assert whole is not None
        assert [token for part in parts for token in part.tokens] == whole.tokens
        scores = [score for part in parts for score in part.token_logprobs]
        assert scores == pytest.approx(whole.token_logprobs)
        assert [offset for part in parts for offset in part.text_offset] == whole.text_offset

    def test_scores_of_a_prompt_alone(self, talker):
        answer = talker.completions.create(
            model="demo", prompt="The capital of Spain", echo=True, logprobs=1, max_tokens=0
        )
        (choice,) = answer.choices
        assert choice.text == "The capital of Spain"
        assert choice.logprobs is not None
        assert answer.usage is not None
        assert len(choice.logprobs.tokens) == answer.usage.prompt_tokens
        first, *rest = choice.logprobs.token_logprobs
        assert first is None
        assert all(score <= 0 for score in rest)
        assert answer.usage.completion_tokens == 0

    def test_a_bias_decides(self, talker):
        answer = talker.completions.create(
            model="demo", prompt="a", max_tokens=4, temperature=0, logit_bias={"40": 100}
        )
        scored = talker.completions.create(
            model="demo",
            prompt="a",
            max_tokens=4,
            temperature=0,
            logit_bias={"40": 100},
            logprobs=0,
        )
        assert scored.choices[0].text == answer.choices[0].text
        assert len(set(scored.choices[0].logprobs.tokens)) == 1

    def test_a_bias_beyond_the_vocabulary_is_refused(self, talker):
        for stream in (False, True):
            with pytest.raises(openai.BadRequestError) as caught:
                talker.completions.create(
                    model="demo", prompt="a", logit_bias={"99999999": 1}, stream=stream
                )
            assert caught.value.param == "logit_bias"

    def test_a_json_object(self, talker):
        answer = talker.chat.completions.create(
            model="demo",
            messages=QUESTION,
            response_format={"type": "json_object"},
            temperature=0,
            max_tokens=128,
        )
        (choice,) = answer.choices
        assert choice.message.content is not None
        assert choice.message.content.lstrip().startswith("{")
        if choice.finish_reason == "stop":
            assert isinstance(json.loads(choice.message.content), dict)

    def test_a_schema_is_kept_to(self, talker):
        schema = {
            "type": "object",
            "properties": {"size": {"enum": ["small", "large"]}},
            "required": ["size"],
            "additionalProperties": False,
        }
        form = {"type": "json_schema", "json_schema": {"name": "s", "schema": schema}}
        answer = talker.chat.completions.create(
            model="demo", messages=QUESTION, response_format=form, temperature=0
        )
        assert json.loads(answer.choices[0].message.content or "")["size"] in ("small", "large")

    def test_a_pydantic_model(self, talker):
        answer = talker.chat.completions.parse(
            model="demo", messages=QUESTION, response_format=Weather, temperature=0
        )
        assert isinstance(answer.choices[0].message.parsed, Weather)

    def test_a_schema_that_is_none(self, talker):
        form = {
            "type": "json_schema",
            "json_schema": {"name": "s", "schema": {"type": "no such type"}},
        }
        with pytest.raises(openai.BadRequestError) as caught:
            talker.chat.completions.create(model="demo", messages=QUESTION, response_format=form)
        assert caught.value.param == "response_format"

    def test_a_prompt_beyond_the_context_names_both_figures(self, talker):
        length = talker.models.list().data[0].max_model_len
        with pytest.raises(openai.BadRequestError) as caught:
            talker.completions.create(model="demo", prompt=[40] * (length + 5))
        assert caught.value.code == "context_length_exceeded"
        assert str(length) in caught.value.message
        assert str(length + 5) in caught.value.message

    def test_many_clients_at_once_get_their_own_answers(self, talker, model):
        prompts = [f"The number {number} is" for number in range(12)]
        alone = {
            prompt: talker.completions.create(
                model="demo", prompt=prompt, temperature=0, max_tokens=12
            )
            .choices[0]
            .text
            for prompt in prompts
        }

        async def ask(client, prompt):
            answer = await client.completions.create(
                model="demo", prompt=prompt, temperature=0, max_tokens=12
            )
            return prompt, answer.choices[0].text

        async def ask_all():
            async with AsyncOpenAI(base_url=f"{model.url}/v1", api_key="none") as client:
                return dict(await asyncio.gather(*(ask(client, prompt) for prompt in prompts)))

        assert asyncio.run(ask_all()) == alone
