"""The official `openai` client and a pipeline bundle: the same API as any other model's."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from openai import OpenAI

from tests.wire.conftest import Serve, Served
from tests.wire.exchange import Call, send
from tests.wire.pipeline.conftest import Sides
from tests.wire.traffic import Stream, eventually, figure, is_idle

pytestmark = pytest.mark.torch

QUESTION = [{"role": "user", "content": "What is the capital of Spain?"}]
ENDLESS = {"0": -100, "4": -100}
LONG = {"prompt": "The capital", "max_tokens": 1500, "logit_bias": ENDLESS}
LOOK = {
    "type": "function",
    "function": {
        "name": "look",
        "parameters": {
            "type": "object",
            "properties": {"at": {"enum": ["sky", "sea"]}},
            "required": ["at"],
        },
    },
}


@pytest.fixture(scope="module")
def served(sides: Sides) -> Served:
    """The appliance with the chat model."""
    return sides.served["chat"]


@pytest.fixture(scope="module")
def client(served: Served) -> Iterator[OpenAI]:
    with OpenAI(base_url=f"{served.url}/v1", api_key="none", max_retries=0) as one:
        yield one


def ask(client: OpenAI, **options: object):
    return client.chat.completions.create(
        **{"model": "chat", "messages": QUESTION, "temperature": 0, "max_tokens": 24, **options}
    )


def test_whole_and_streamed_answers_are_alike(client):
    whole = ask(client)
    assert "Madrid" in whole.choices[0].message.content
    assert whole.choices[0].finish_reason == "stop"
    chunks = list(ask(client, stream=True))
    assert len(chunks) > 3
    text = "".join(chunk.choices[0].delta.content or "" for chunk in chunks)
    assert text == whole.choices[0].message.content


def test_a_stop_string_ends_it(client):
    answer = ask(client, stop=["Madrid"])
    assert "Madrid" not in answer.choices[0].message.content
    assert answer.choices[0].finish_reason == "stop"


def test_seeds_repeat_and_samples_differ(client):
    def sample(seed):
        answer = client.completions.create(
            model="chat", prompt="The", temperature=1.5, seed=seed, n=2, max_tokens=16
        )
        return [choice.text for choice in answer.choices]

    assert sample(3) == sample(3)
    assert len({*sample(3), *sample(4)}) > 2


def test_log_probabilities(client):
    answer = ask(client, logprobs=True, top_logprobs=2, max_tokens=6)
    content = answer.choices[0].logprobs.content
    assert len(content) == answer.usage.completion_tokens
    assert all(token.logprob == token.top_logprobs[0].logprob <= 0 for token in content)


def test_an_answer_follows_its_schema(client):
    schema = {
        "type": "object",
        "properties": {"capital": {"enum": ["Madrid", "Paris"]}},
        "required": ["capital"],
        "additionalProperties": False,
    }
    form = {"type": "json_schema", "json_schema": {"name": "city", "schema": schema}}
    answer = ask(client, response_format=form, max_tokens=300)
    assert json.loads(answer.choices[0].message.content)["capital"] in {"Madrid", "Paris"}


def test_a_tool_is_called(client):
    answer = ask(
        client, tools=[LOOK], tool_choice="required", parallel_tool_calls=False, max_tokens=300
    )
    call, *_ = answer.choices[0].message.tool_calls
    assert call.function.name == "look"
    assert json.loads(call.function.arguments)["at"] in {"sky", "sea"}
    assert answer.choices[0].finish_reason == "tool_calls"


def test_streams_at_the_same_time_share_steps(client, served):
    def batched():
        return figure(served, "edge_batch_size_sum") - figure(served, "edge_batch_size_count")

    before = batched()
    texts: list[str] = []

    def run():
        chunks = ask(client, stream=True, max_tokens=200, logit_bias=ENDLESS)
        texts.append("".join(chunk.choices[0].delta.content or "" for chunk in chunks))

    threads = [threading.Thread(target=run) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(texts) == 4
    assert len(set(texts)) == 1
    assert batched() - before > 100


def test_a_client_that_leaves_ends_its_work(served):
    stream = Stream(served, "/v1/completions", LONG)
    next(stream.events())
    stream.close()
    eventually(lambda: is_idle(served), 5)


def test_what_it_is_can_be_seen(served):
    metrics = send(served.port, Call("", method="GET", path="/metrics")).body.decode()
    (line,) = [row for row in metrics.splitlines() if row.startswith("edge_model_info{")]
    assert 'flavor="pipeline"' in line
    version = send(served.port, Call("", method="GET", path="/v1/version")).json
    assert version["engine"]["name"] == "pipeline"
    assert {"torch", "transformers"} <= set(version["runtimes"])


def test_a_setting_of_the_other_flavor_ends_the_start(serve: Serve, model_bundle: Path):
    served = serve("--bundle", str(model_bundle), await_ready=False, quantize="int8")
    assert served.process.wait(60) != 0
    assert "EDGE_QUANTIZE is int8, which only bundles of the flavor pipeline know" in served.log
