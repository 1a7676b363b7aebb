"""Whatever is sent to /v1 is answered in OpenAI's shape, blames the caller and breaks nothing."""

from __future__ import annotations

import http.client
import json
import socket

import httpx2
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from edge.protocol import openai_request

PATHS = ("/v1/chat/completions", "/v1/completions")
BASES = {
    PATHS[0]: {"messages": [{"role": "user", "content": "Hello"}]},
    PATHS[1]: {"prompt": "Hello"},
}
KNOWN = sorted(openai_request.CHAT_KNOWN | openai_request.COMPLETION_KNOWN)

text = st.text(st.characters(), max_size=6)
values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | text,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(text, inner, max_size=3),
    max_leaves=8,
)
exhaustive = settings(
    max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)


@pytest.fixture(scope="module")
def caller(echo):
    with httpx2.Client(base_url=echo.url, timeout=60) as client:
        yield client


def post(caller, path, raw, content_type="application/json"):
    return caller.post(path, content=raw, headers={"Content-Type": content_type})


def assert_proper(reply):
    """An answer, or a refusal in OpenAI's shape that tells nothing about the server's inside."""
    if reply.status_code == 200:
        assert reply.json()["choices"]
        return
    assert reply.status_code in (400, 404, 413, 415), reply.text
    error = reply.json()["error"]
    assert set(error) == {"message", "type", "param", "code"}
    assert error["type"] == "invalid_request_error"
    assert error["message"]
    assert "Traceback" not in error["message"]
    assert reply.headers["x-request-id"]


@exhaustive
@given(path=st.sampled_from(PATHS), raw=st.binary(max_size=60))
def test_any_bytes(caller, path, raw):
    reply = post(caller, path, raw)
    assert_proper(reply)
    assert reply.status_code == 400


@exhaustive
@given(path=st.sampled_from(PATHS), body=values)
def test_any_json(caller, path, body):
    assert_proper(post(caller, path, json.dumps(body).encode()))


@exhaustive
@given(
    path=st.sampled_from(PATHS),
    members=st.dictionaries(
        st.sampled_from([name for name in KNOWN if name != "stream"]), values, max_size=3
    ),
)
def test_any_values_of_parameters(caller, path, members):
    assert_proper(post(caller, path, json.dumps({**BASES[path], **members}).encode()))


@exhaustive
@given(path=st.sampled_from(PATHS), prompt=text.filter(lambda value: value != "boom"))
def test_any_prompt_is_repeated_or_refused(caller, path, prompt):
    is_chat = "chat" in path
    body = {"messages": [{"role": "user", "content": prompt}]} if is_chat else {"prompt": prompt}
    reply = post(caller, path, json.dumps(body).encode())
    assert_proper(reply)
    if reply.status_code == 200 and prompt.isprintable() and not is_chat:
        assert reply.json()["choices"][0]["text"] == prompt


@pytest.mark.parametrize(
    "raw",
    [
        b"[" * 1_000_000,
        b'{"messages": ' * 100_000,
        b'{"prompt": "x", "n": ' + b"9" * 5000 + b"}",
        b'{"prompt": "x", "temperature": 1e400}',
        b'{"prompt": "x", "prompt": "\\ud800"}',
        b'{"prompt": "\\u0000"}',
    ],
)
def test_bodies_made_to_hurt(caller, raw):
    assert_proper(post(caller, "/v1/completions", raw))


@pytest.mark.parametrize("content_type", ["text/plain", "multipart/form-data; boundary=x", "x"])
def test_other_media_types(caller, content_type):
    assert post(caller, PATHS[0], b"{}", content_type).status_code == 415


@pytest.mark.parametrize("method", ["GET", "PUT", "DELETE", "PATCH"])
@pytest.mark.parametrize("path", [*PATHS, "/v1/nothing", "/v1/%00", "/v1/%ff%fe", "/v1/a/../b"])
def test_other_methods_and_paths(caller, method, path):
    reply = caller.request(method, path)
    assert reply.status_code in (404, 405)
    assert reply.json()["error"]["type"] == "invalid_request_error"


def test_a_body_beyond_the_limit_is_not_read(serve):
    small = serve("--scripted", "echo", max_body_bytes=1000)
    reply = httpx2.post(f"{small.url}/v1/completions", json={"prompt": "x" * 2000})
    assert reply.status_code == 413
    assert reply.json()["error"]["code"] == "body_too_large"


def test_a_chunked_body_beyond_the_limit(serve):
    small = serve("--scripted", "echo", max_body_bytes=1000)
    reply = httpx2.post(
        f"{small.url}/v1/completions",
        content=(b"x" * 100 for _ in range(50)),
        headers={"Content-Type": "application/json"},
    )
    assert reply.status_code == 413


def test_a_body_that_ends_early(echo):
    with socket.create_connection(("127.0.0.1", echo.port), timeout=30) as connection:
        connection.sendall(
            b"POST /v1/completions HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
            b'Content-Length: 100\r\n\r\n{"prompt"'
        )
        connection.shutdown(socket.SHUT_WR)
        reply = http.client.HTTPResponse(connection)
        reply.begin()
        assert reply.status == 400
        assert json.load(reply)["error"]["type"] == "invalid_request_error"


def test_after_all_that_it_still_answers(caller):
    reply = caller.post("/v1/completions", json={"prompt": "still here"})
    assert reply.json()["choices"][0]["text"] == "still here"
