"""The appliance on a bundle of transformers weights, as its clients meet it."""

from __future__ import annotations

import json
import re
import threading
import time
import urllib.request

import pytest
from openai import OpenAI

QUESTIONS = (
    "What is the capital of Spain?",
    "Which country has the capital Tokyo?",
    "What is 12 plus 7?",
    "Tell me a joke.",
)
WEATHER = {
    "type": "function",
    "function": {
        "name": "get_weather",
        "parameters": {
            "type": "object",
            "properties": {"city": {"type": "string", "enum": ["Paris", "Rome"]}},
            "required": ["city"],
        },
    },
}


def messages(text):
    return [{"role": "user", "content": text}]


def get(served, path):
    with urllib.request.urlopen(f"{served.url}{path}", timeout=30) as answer:
        return answer.read().decode()


def sample(text, start):
    line = next(line for line in text.splitlines() if line.startswith(start))
    return float(line.split()[-1])


@pytest.fixture(scope="module")
def pipeline(serve, pipeline_bundle):
    return serve("--bundle", str(pipeline_bundle))


@pytest.fixture(scope="module")
def talk(pipeline):
    with OpenAI(base_url=f"{pipeline.url}/v1", api_key="none", max_retries=0) as client:

        def ask(text, **settings):
            settings = {"temperature": 0, "max_tokens": 40, **settings}
            return client.chat.completions.create(model="demo", messages=messages(text), **settings)

        yield ask


def test_it_answers(talk):
    answer = talk(QUESTIONS[0])
    assert answer.choices[0].message.content == "The capital of Spain is Madrid."
    assert answer.choices[0].finish_reason == "stop"
    assert answer.usage.completion_tokens > 3


def test_a_stream_gives_the_same_text(talk):
    whole = talk(QUESTIONS[3]).choices[0].message.content
    pieces = [chunk.choices[0].delta.content or "" for chunk in talk(QUESTIONS[3], stream=True)]
    assert len([piece for piece in pieces if piece]) > 3
    assert "".join(pieces) == whole


def test_stop_strings_end_an_answer(talk):
    answer = talk(QUESTIONS[0], stop=["Spain"])
    assert answer.choices[0].message.content == "The capital of "
    assert answer.choices[0].finish_reason == "stop"


def test_seeds_repeat_and_samples_differ(talk):
    settings = {"temperature": 1.5, "seed": 5, "n": 2}
    first, second = (
        [choice.message.content for choice in talk(QUESTIONS[3], **settings).choices]
        for _ in range(2)
    )
    assert first == second
    assert first[0] != first[1]


def test_logprobs_are_of_the_tokens_that_were_chosen(talk):
    scores = talk(QUESTIONS[0], logprobs=True, top_logprobs=2).choices[0].logprobs.content
    assert "".join(score.token for score in scores) == "The capital of Spain is Madrid."
    assert all(score.top_logprobs[0].token == score.token for score in scores)
    assert all(score.logprob <= 0 for score in scores)


def test_an_answer_follows_a_schema(talk):
    schema = {
        "type": "object",
        "properties": {"answer": {"type": "integer", "minimum": 0, "maximum": 99}},
        "required": ["answer"],
        "additionalProperties": False,
    }
    form = {"type": "json_schema", "json_schema": {"name": "a", "schema": schema, "strict": True}}
    answer = talk(QUESTIONS[2], response_format=form, max_tokens=300)
    assert isinstance(json.loads(answer.choices[0].message.content)["answer"], int)


def test_a_tool_is_called(talk):
    answer = talk("How is the weather in Rome?", tools=[WEATHER], tool_choice="required")
    call = answer.choices[0].message.tool_calls[0].function
    assert call.name == "get_weather"
    assert json.loads(call.arguments)["city"] in ("Paris", "Rome")


def test_a_completion_scores_its_own_prompt(pipeline):
    body = {"prompt": "The capital of", "max_tokens": 0, "echo": True, "logprobs": 1}
    request = urllib.request.Request(
        f"{pipeline.url}/v1/completions",
        json.dumps({"model": "demo", "temperature": 0, **body}).encode(),
        {"Content-Type": "application/json"},
    )
    with urllib.request.urlopen(request, timeout=60) as answer:
        choice = json.loads(answer.read())["choices"][0]
    assert choice["text"] == "The capital of"
    scores = choice["logprobs"]["token_logprobs"]
    assert scores[0] is None
    assert all(score < 0 for score in scores[1:])


def test_a_client_that_leaves_ends_its_sequence(pipeline, talk):
    stream = talk(QUESTIONS[3], max_tokens=1500, stream=True, logit_bias={"0": -100, "4": -100})
    next(iter(stream))
    stream.close()
    deadline = time.monotonic() + 20
    while sample(get(pipeline, "/metrics"), "edge_requests_running ") > 0:
        assert time.monotonic() < deadline
        time.sleep(0.05)
    assert re.search(r'finish_reason="cancelled"\S* [1-9]', get(pipeline, "/metrics"))


def test_streams_decode_together_and_say_what_each_says_alone(pipeline, talk):
    alone = {text: talk(text).choices[0].message.content for text in QUESTIONS}
    said = {}

    def work(text):
        pieces = [chunk.choices[0].delta.content or "" for chunk in talk(text, stream=True)]
        said[text] = "".join(pieces)

    for _ in range(3):
        threads = [threading.Thread(target=work, args=[text]) for text in QUESTIONS]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert said == alone
    text = get(pipeline, "/metrics")
    alone_steps = sample(text, 'edge_batch_size_bucket{le="1.0"')
    assert sample(text, "edge_batch_size_count") > alone_steps


def test_metrics_and_version_tell_the_flavor(pipeline):
    lines = get(pipeline, "/metrics").splitlines()
    info = next(line for line in lines if line.startswith("edge_model_info{"))
    assert 'flavor="pipeline"' in info
    assert 'quantization="fp16"' in info
    version = json.loads(get(pipeline, "/v1/version"))
    assert version["engine"] == {"name": "pipeline", "reason": "the bundle's flavor is pipeline"}
    assert version["runtimes"]["torch"]
    assert version["runtimes"]["transformers"]


def test_nothing_but_json_is_written_to_the_log(pipeline):
    lines = [line for line in pipeline.log.splitlines() if line]
    assert all(isinstance(json.loads(line), dict) for line in lines)
    assert any('"message": "model opened"' in line for line in lines)


def test_a_setting_of_the_other_flavor_ends_the_start(serve, model_bundle):
    served = serve("--bundle", str(model_bundle), await_ready=False, quantize="int8")
    assert served.process.wait(60) != 0
    assert "EDGE_QUANTIZE is int8, which only bundles of the flavor pipeline know" in served.log
