"""The official `openai` client and a real model: sampling, scores, guided output, batches."""

from __future__ import annotations

import asyncio
import json
from typing import Literal

import openai
import pytest
from openai import AsyncOpenAI
from pydantic import BaseModel

QUESTION = [{"role": "user", "content": "What is the capital of Spain?"}]


class Weather(BaseModel):
    """What `parse` is asked for: bounded, so that any model comes to its end."""

    sky: Literal["blue", "grey"]
    is_raining: bool


def test_greedy_answers_repeat_and_stream_alike(talker):
    whole = talker.chat.completions.create(
        model="demo", messages=QUESTION, temperature=0, max_tokens=24
    )
    stream = talker.chat.completions.create(
        model="demo", messages=QUESTION, temperature=0, max_tokens=24, stream=True
    )
    text = "".join(chunk.choices[0].delta.content or "" for chunk in stream)
    assert whole.choices[0].message.content == text
    assert text


def test_seeded_samples_repeat_and_differ(talker):
    def sample(seed):
        answer = talker.completions.create(
            model="demo", prompt="The", temperature=1.5, seed=seed, n=2, max_tokens=16
        )
        return [choice.text for choice in answer.choices]

    assert sample(7) == sample(7)
    assert len({*sample(7), *sample(8)}) > 2


def test_chat_log_probabilities(talker):
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


def test_log_probabilities_of_a_stream_add_up(talker):
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


def test_scores_of_a_prompt_alone(talker):
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


def test_a_bias_decides(talker):
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


def test_a_bias_beyond_the_vocabulary_is_refused(talker):
    for stream in (False, True):
        with pytest.raises(openai.BadRequestError) as caught:
            talker.completions.create(
                model="demo", prompt="a", logit_bias={"99999999": 1}, stream=stream
            )
        assert caught.value.param == "logit_bias"


def test_a_json_object(talker):
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


def test_a_schema_is_kept_to(talker):
    schema = {
        "type": "object",
        "properties": {"size": {"enum": ["small", "large"]}},
        "required": ["size"],
        "additionalProperties": False,
    }
    form = {"type": "json_schema", "json_schema": {"name": "s", "schema": schema}}
    answer = talker.chat.completions.create(
        model="demo", messages=QUESTION, response_format=form, temperature=0, max_tokens=512
    )
    assert json.loads(answer.choices[0].message.content or "")["size"] in ("small", "large")


def test_a_pydantic_model(talker):
    answer = talker.chat.completions.parse(
        model="demo", messages=QUESTION, response_format=Weather, temperature=0, max_tokens=512
    )
    assert isinstance(answer.choices[0].message.parsed, Weather)


def test_a_schema_that_is_none(talker):
    form = {
        "type": "json_schema",
        "json_schema": {"name": "s", "schema": {"type": "no such type"}},
    }
    with pytest.raises(openai.BadRequestError) as caught:
        talker.chat.completions.create(model="demo", messages=QUESTION, response_format=form)
    assert caught.value.param == "response_format"


def test_a_prompt_beyond_the_context_names_both_figures(talker):
    length = talker.models.list().data[0].max_model_len
    with pytest.raises(openai.BadRequestError) as caught:
        talker.completions.create(model="demo", prompt=[40] * (length + 5))
    assert caught.value.code == "context_length_exceeded"
    assert str(length) in caught.value.message
    assert str(length + 5) in caught.value.message


def test_many_clients_at_once_get_their_own_answers(talker, model):
    prompts = [f"The number {number} is" for number in range(12)]
    alone = {
        prompt: talker.completions.create(model="demo", prompt=prompt, temperature=0, max_tokens=12)
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
