"""The prefix cache as clients, dashboards and the log see it."""

from __future__ import annotations

import json
import urllib.request

import pytest

LONG = "Answer in one word. " * 12
CITIES = ("Spain", "Japan", "France", "Italy")


def ask(served, messages, **settings):
    body = {"messages": messages, "temperature": 0, "max_tokens": 12, **settings}
    request = urllib.request.Request(
        f"{served.url}/v1/chat/completions",
        json.dumps(body).encode(),
        {"Content-Type": "application/json"},
    )
    with urllib.request.urlopen(request, timeout=60) as answer:
        return json.loads(answer.read())


def chat(question, system=LONG):
    return [{"role": "system", "content": system}, {"role": "user", "content": question}]


def counter(served, name):
    with urllib.request.urlopen(f"{served.url}/metrics", timeout=10) as answer:
        lines = answer.read().decode().splitlines()
    return sum(float(line.rsplit(" ", 1)[1]) for line in lines if line.startswith(name + "{"))


def cached(answer):
    return answer["usage"]["prompt_tokens_details"]["cached_tokens"]


@pytest.fixture(scope="module")
def caching(serve, model_bundle):
    return serve("--bundle", str(model_bundle))


@pytest.fixture(scope="module")
def forgetful(serve, model_bundle):
    return serve("--bundle", str(model_bundle), prefixes=0)


def test_answers_are_the_same_and_usage_tells_what_was_saved(caching, forgetful):
    saved = 0
    for country in CITIES:
        messages = chat(f"What is the capital of {country}?")
        with_cache, without = ask(caching, messages), ask(forgetful, messages)
        assert with_cache["choices"] == without["choices"]
        assert cached(without) == 0
        saved += cached(with_cache)
        assert cached(with_cache) < with_cache["usage"]["prompt_tokens"]
    assert saved > 3 * 60


def test_the_metrics_add_up(caching):
    names = ("edge_prompt_tokens_total", "edge_cached_prompt_tokens_total")
    before = [counter(caching, name) for name in names]
    answers = [ask(caching, chat(f"What is {n} plus 2?", LONG + "!")) for n in range(3)]
    prefilled, saved = (
        counter(caching, name) - old for name, old in zip(names, before, strict=True)
    )
    assert saved == sum(map(cached, answers)) > 0
    assert prefilled + saved == sum(answer["usage"]["prompt_tokens"] for answer in answers)


def test_the_log_tells(caching):
    ask(caching, chat("What is 1 plus 1?"), n=2)
    entry = json.loads(caching.log.strip().splitlines()[-1])
    assert entry["cached_tokens"] > 60


def test_a_stream_tells_in_its_usage(caching, talker):
    talker = talker.with_options(base_url=f"{caching.url}/v1")
    for _ in range(2):
        stream = talker.chat.completions.create(
            model="demo",
            messages=chat("What is 8 plus 1?"),
            max_tokens=3,
            stream=True,
            stream_options={"include_usage": True},
        )
        (usage,) = (chunk.usage for chunk in stream if chunk.usage)
    assert usage.prompt_tokens_details.cached_tokens == usage.prompt_tokens - 1


def test_system_prompts_are_run_before_readiness(serve, model_bundle, tmp_path):
    path = tmp_path / "prompts.json"
    path.write_text(json.dumps([LONG, "x " * 100_000, "Be kind, whatever you are asked."]))
    served = serve("--bundle", str(model_bundle), system_prompts_file=path)
    ready = next(json.loads(line) for line in served.log.splitlines() if "model ready" in line)
    assert ready["preloaded_tokens"] > 80
    assert "a system prompt is not kept ready" in served.log
    first = ask(served, chat("What is the capital of Spain?"))
    assert 60 < cached(first) < ready["preloaded_tokens"]
    assert cached(ask(served, chat("Hello", system="Another one. " * 20))) == 0


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        ("no json", "holds no JSON"),
        ('{"a": 1}', "expected a JSON list of texts"),
        ('["a", ""]', "expected a JSON list of texts"),
        (None, "cannot be read"),
    ],
)
def test_a_file_of_system_prompts_that_is_none(serve, model_bundle, tmp_path, content, expected):
    path = tmp_path / "prompts.json"
    if content is not None:
        path.write_text(content)
    served = serve("--bundle", str(model_bundle), system_prompts_file=path, await_ready=False)
    assert served.process.wait(60) != 0
    assert expected in served.log
    assert "Traceback" not in served.log
