"""Several requests on one connection, also where an answer comes before its body was read."""

from __future__ import annotations

import http.client
import json
import socket

import httpx2
import pytest


def raw(path, body, content_type="application/json"):
    head = (
        f"POST {path} HTTP/1.1\r\nHost: localhost\r\nContent-Type: {content_type}\r\n"
        f"Content-Length: {len(body)}\r\n\r\n"
    )
    return head.encode() + body


def replies(connection, count):
    """Status and JSON body of the next `count` replies on a connection."""
    with connection.makefile("rb") as stream:
        for _ in range(count):
            status = int(stream.readline().split()[1])
            headers = http.client.parse_headers(stream)
            yield status, json.loads(stream.read(int(headers["Content-Length"])))


REFUSED = {
    "media": (raw("/v1/completions", b"{}", "text/plain"), 415),
    "route": (raw("/v1/nothing", b"{}"), 404),
    "method": (raw("/v1/models", b"{}"), 405),
}


@pytest.mark.parametrize("kind", sorted(REFUSED))
def test_a_request_behind_one_whose_body_nobody_read(echo, kind):
    refused, status = REFUSED[kind]
    asked = raw("/v1/completions", b'{"prompt": "second"}')
    with socket.create_connection(("127.0.0.1", echo.port), timeout=20) as connection:
        connection.sendall(refused + asked)
        (first, _), (second, answer) = replies(connection, 2)
    assert (first, second) == (status, 200)
    assert answer["choices"][0]["text"] == "second"


def test_many_requests_at_once_are_answered_in_order(echo):
    prompts = [f"number {number}" for number in range(40)]
    with socket.create_connection(("127.0.0.1", echo.port), timeout=20) as connection:
        bodies = [json.dumps({"prompt": prompt}).encode() for prompt in prompts]
        connection.sendall(b"".join(raw("/v1/completions", body) for body in bodies))
        texts = [answer["choices"][0]["text"] for _, answer in replies(connection, len(prompts))]
    assert texts == prompts


def test_refusals_and_answers_alternate_on_one_connection(echo):
    with httpx2.Client(base_url=echo.url, timeout=20) as client:
        for _ in range(50):
            refused = client.post(
                "/v1/completions", content=b"{}", headers={"Content-Type": "text/plain"}
            )
            answered = client.post("/v1/completions", json={"prompt": "x"})
            assert (refused.status_code, answered.status_code) == (415, 200)


def test_a_large_upload_that_is_refused_still_gets_its_answer(echo):
    # 8 MB against a limit of 4 MiB: refused before it is read.
    reply = httpx2.post(f"{echo.url}/v1/completions", json={"prompt": "x" * 8_000_000}, timeout=30)
    assert reply.status_code == 413
    assert reply.json()["error"]["code"] == "body_too_large"
