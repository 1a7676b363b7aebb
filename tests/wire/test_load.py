"""More than it can do: everybody gets an answer, 200 or 429, and none twice."""

from __future__ import annotations

import json
from collections import Counter
from concurrent.futures import ThreadPoolExecutor

import pytest

from .traffic import Stream, eventually, figure, is_idle, post

CLIENTS = 50


@pytest.fixture(scope="module")
def narrow(serve):
    """Two slots and room for eight to wait."""
    return serve("--scripted", "echo", slots=2, queue=8)


def test_fifty_clients_and_a_queue_of_eight(narrow):
    holders = [Stream(narrow, "/v1/completions", {"prompt": "x" * 400_000, "max_tokens": 400_000})
               for _ in range(2)]  # fmt: skip
    for holder in holders:
        next(holder.events())

    def ask(number):
        prompt = f"client {number}"
        status, body, headers = post(narrow, "/v1/completions", {"prompt": prompt})
        return prompt, status, json.loads(body), headers

    with ThreadPoolExecutor(CLIENTS) as pool:
        asked = [pool.submit(ask, number) for number in range(CLIENTS)]
        rejected = ("edge_requests_rejected_total", "reason", "queue_full")
        eventually(lambda: figure(narrow, *rejected) >= CLIENTS - 8)
        assert figure(narrow, "edge_requests_waiting") == 8
        for holder in holders:
            holder.close()
        answers = [one.result() for one in asked]
    assert Counter(status for _, status, _, _ in answers) == {200: 8, 429: CLIENTS - 8}
    for prompt, status, body, headers in answers:
        if status == 200:
            assert body["choices"][0]["text"] == prompt
        else:
            assert body["error"]["code"] == "queue_full"
            assert body["error"]["type"] == "rate_limit_error"
            assert 1 <= int(headers["Retry-After"]) <= 120
    eventually(lambda: is_idle(narrow))


def test_a_storm_of_short_requests(narrow):
    """Nobody holds the slots: many are served, the rest is told to come back, and nobody waits."""

    def ask(number):
        statuses = []
        for turn in range(4):
            status, body, _ = post(narrow, "/v1/completions", {"prompt": f"{number} {turn}"})
            if status == 200:
                assert json.loads(body)["choices"][0]["text"] == f"{number} {turn}"
            statuses.append(status)
        return statuses

    with ThreadPoolExecutor(CLIENTS) as pool:
        statuses = Counter(status for found in pool.map(ask, range(CLIENTS)) for status in found)
    assert statuses.keys() <= {200, 429}
    assert statuses[200] >= 8
    assert sum(statuses.values()) == 4 * CLIENTS
    eventually(lambda: is_idle(narrow))


def test_streams_are_refused_before_they_begin(narrow):
    """A full queue is a status, not an event of a stream that says 200."""
    body = {"prompt": "x" * 400_000, "max_tokens": 400_000, "n": 2}
    holder = Stream(narrow, "/v1/completions", body)
    next(holder.events())
    many = {"prompt": ["y"] * 9, "stream": True}
    status, answer, headers = post(narrow, "/v1/completions", many)
    assert status == 429
    assert headers["Content-Type"] == "application/json"
    assert json.loads(answer)["error"]["code"] == "queue_full"
    holder.close()
    eventually(lambda: is_idle(narrow))


def test_a_queue_of_zero_serves_who_comes_one_by_one(serve):
    served = serve("--scripted", "echo", slots=1, queue=0)
    for number in range(30):
        assert post(served, "/v1/completions", {"prompt": f"n{number}"})[0] == 200
    holder = Stream(served, "/v1/completions", {"prompt": "x" * 400_000, "max_tokens": 400_000})
    next(holder.events())
    assert post(served, "/v1/completions", {"prompt": "y"})[0] == 429
    holder.close()
    eventually(lambda: is_idle(served))
    assert post(served, "/v1/completions", {"prompt": "y"})[0] == 200
    assert served.stop() == 0


def test_a_deadline_is_a_504(serve):
    served = serve("--scripted", "echo", deadline_s=0.3, slots=1)
    body = {"prompt": "x" * 600_000, "max_tokens": 600_000}
    status, answer, _ = post(served, "/v1/completions", body)
    assert status == 504
    assert json.loads(answer)["error"]["code"] == "deadline_exceeded"
    # In a stream it is the last event: the status went out long before.
    events = list(Stream(served, "/v1/completions", body).events())
    assert json.loads(events[-1])["error"]["code"] == "deadline_exceeded"
    assert "[DONE]" not in events
    eventually(lambda: is_idle(served), 5)
    assert post(served, "/v1/completions", {"prompt": "quick"})[0] == 200
    assert figure(served, "edge_requests_rejected_total", "reason", "deadline") == 0
    assert served.stop() == 0


def test_memory_bounds_what_runs_together(serve, model_bundle):
    manifest = json.loads((model_bundle / "manifest.json").read_bytes())
    per_token = manifest["kv_bytes_per_token"]
    served = serve("--bundle", str(model_bundle), kv_limit=per_token * 100, slots=8)
    fits = {"prompt": [[20] * 10] * 6, "max_tokens": 30}
    status, body, _ = post(served, "/v1/completions", fits)
    assert status == 200
    assert len(json.loads(body)["choices"]) == 6
    status, body, _ = post(served, "/v1/completions", {"prompt": [20] * 60, "max_tokens": 60})
    assert status == 400
    assert json.loads(body)["error"]["code"] == "memory_exceeded"
    assert figure(served, "edge_requests_rejected_total", "reason", "memory") == 1
    assert figure(served, "edge_kv_cache_limit_bytes") == per_token * 100
    assert served.stop() == 0
