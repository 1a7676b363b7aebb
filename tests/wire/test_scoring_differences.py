"""Where the appliance answers otherwise than MLflow's server, on purpose.

Each test stands in the table of docs/api.md, section "MLflow scoring".
"""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from tests.wire.conftest import Serve, Served
from tests.wire.exchange import Call, Reply, send

RECORDS = b'{"dataframe_records": [{"prompt": "a"}]}'
# A prompt that takes the echo longer than the least time limit there is.
LONG_PROMPT = "x" * 400_000


def ask(served: Served, body: object, content_type: str | None = "application/json") -> Reply:
    raw = body if isinstance(body, bytes) else json.dumps(body).encode()
    return send(served.port, Call("", raw, content_type=content_type))


def check(reply: Reply, status: int, error_code: str) -> str:
    """The message of an error in MLflow's shape."""
    assert (reply.status, reply.content_type) == (status, "application/json")
    assert reply.json.keys() == {"error_code", "message"}
    assert reply.error_code == error_code
    return str(reply.json["message"])


def test_a_missing_media_type_is_415(echo: Served) -> None:
    reply = ask(echo, RECORDS, content_type=None)
    assert (reply.status, reply.content_type) == (415, "text/plain; charset=utf-8")
    assert b"Content-Type is missing, expected application/json or text/csv" in reply.body


def test_parquet_is_415(echo: Served) -> None:
    reply = ask(echo, b"PAR1", content_type="application/vnd.apache.parquet")
    assert (reply.status, reply.content_type) == (415, "text/plain; charset=utf-8")
    assert b"parquet is not supported here, send application/json or text/csv" in reply.body


@pytest.mark.parametrize(
    "body", [{"dataframe_records": [{"prompt": "boom"}]}, {"inputs": ["a", "boom"]}]
)
def test_a_model_error_is_500_without_a_stack_trace(echo: Served, body: object) -> None:
    reply = ask(echo, body)
    message = check(reply, 500, "INTERNAL_ERROR")
    assert message
    assert not re.search(rb'Traceback|\.py|File "|/', reply.body)


def test_the_appliance_serves_on_after_a_model_error(echo: Served) -> None:
    ask(echo, {"prompt": "boom"})
    assert ask(echo, RECORDS).json == {"predictions": ["a"]}


def test_a_deadline_is_504_in_json(serve: Serve) -> None:
    hasty = serve("--scripted", "echo", deadline_s=0.1)
    reply = ask(hasty, {"prompt": LONG_PROMPT})
    message = check(reply, 504, "DEADLINE_EXCEEDED")
    assert "time limit" in message


@pytest.mark.parametrize("value", ["null", "5", "1.5", "true", '["a"]', "[]", '{"a": 1}', "NaN"])
@pytest.mark.parametrize(
    "shape",
    [
        '{"dataframe_records": [{"prompt": "a"}, {"prompt": %s}]}',
        '{"dataframe_split": {"columns": ["prompt"], "data": [["a"], [%s]]}}',
        '{"instances": ["a", %s]}',
        '{"instances": [{"prompt": "a"}, {"prompt": %s}]}',
        '{"inputs": ["a", %s]}',
        '{"inputs": [{"prompt": %s}]}',
        '{"prompt": %s}',
    ],
)
def test_a_prompt_that_is_no_string_is_400(echo: Served, shape: str, value: str) -> None:
    reply = ask(echo, (shape % value).encode())
    assert (reply.status, reply.content_type) == (400, "application/json")
    assert reply.error_code in ("INVALID_PARAMETER_VALUE", "BAD_REQUEST")


@pytest.mark.parametrize(
    ("body", "content_type"),
    [
        (b'{"dataframe_records": [{"prompt": "a"}, {"x": "b"}]}', "application/json"),
        (b'{"dataframe_split": {"columns": ["prompt"], "index": [1], "data": []}}', None),
        (b"prompt\na\nNA\n", "text/csv"),
        (b'prompt\n""\n', "text/csv"),
        (b"prompt\na,b,c\nd\n", "text/csv"),
    ],
)
def test_a_missing_prompt_is_400(echo: Served, body: bytes, content_type: str | None) -> None:
    reply = ask(echo, body, content_type or "application/json")
    message = check(reply, 400, "INVALID_PARAMETER_VALUE")
    assert re.fullmatch(r"prompt of row \d is null, expected a string", message)


@pytest.mark.parametrize(
    "body",
    [
        b'{"dataframe_records":' + b"[" * 100_000 + b"]" * 100_000 + b"}",
        b'{"prompt":"a","x":' + b'{"a":' * 50_000 + b"1" + b"}" * 50_000 + b"}",
        b'{"prompt":"a","x":' + b"9" * 5000 + b"}",
    ],
    ids=["lists", "objects", "digits"],
)
def test_deep_nesting_and_endless_numbers_are_400(echo: Served, body: bytes) -> None:
    message = check(ask(echo, body), 400, "BAD_REQUEST")
    assert len(message) < 100


@pytest.mark.parametrize("path", ["/ping/", "/health/", "/version/"])
def test_a_trailing_slash_is_answered_directly(echo: Served, path: str) -> None:
    slashed = send(echo.port, Call("", method="GET", path=path, content_type=None))
    plain = send(echo.port, Call("", method="GET", path=path.rstrip("/"), content_type=None))
    assert slashed.status == plain.status == 200
    assert slashed.body == plain.body


def test_a_trailing_slash_after_invocations_is_answered_directly(echo: Served) -> None:
    reply = send(echo.port, Call("", RECORDS, path="/invocations/"))
    assert (reply.status, reply.body) == (200, b'{"predictions": ["a"]}')


@pytest.mark.parametrize("name", ["inputs", "instances"])
def test_nul_at_the_end_of_a_prompt_is_kept(echo: Served, name: str) -> None:
    assert ask(echo, {name: ["a\0", "\0"]}).json == {"predictions": ["a\0", "\0"]}


@pytest.mark.parametrize("label", [{"prompt": "x"}, {}, ["prompt"]])
def test_a_column_label_that_is_no_scalar_is_400(echo: Served, label: object) -> None:
    reply = ask(echo, {"dataframe_split": {"columns": [label, "x"], "data": [["a", "b"]]}})
    check(reply, 400, "INVALID_PARAMETER_VALUE")


def test_a_lone_surrogate_is_400(echo: Served) -> None:
    for body in ('{"dataframe_records": [{"prompt": "\\ud800"}]}', '{"prompt": "\\udc00"}'):
        message = check(ask(echo, body.encode()), 400, "INVALID_PARAMETER_VALUE")
        assert "lone surrogate" in message


@pytest.mark.parametrize("path", ["/docs", "/redoc", "/openapi.json"])
def test_there_are_no_generated_pages(echo: Served, path: str) -> None:
    reply = send(echo.port, Call("", method="GET", path=path))
    assert (reply.status, reply.json) == (404, {"detail": "Not Found"})


def test_the_version_is_that_of_the_protocol(echo: Served) -> None:
    reply = send(echo.port, Call("", method="GET", path="/version"))
    assert re.fullmatch(rb"3\.18\.\d+", reply.body)


def test_errors_hold_no_prompt_text(echo: Served) -> None:
    for body in (
        b'{"dataframe_records": [{"question": "the secret"}]}',
        b'{"instances": [["the secret"]]}',
        b'{"prompt": "the secret", }',
        b'{"dataframe_split": {"columns": ["prompt"], "data": [["the secret", 1]]}}',
    ):
        reply = ask(echo, body)
        assert reply.status == 400
        assert b"secret" not in reply.body


def test_limits_of_the_appliance_have_their_own_statuses(serve: Serve, tmp_path: Path) -> None:
    keys = tmp_path / "keys"
    keys.write_text("sesame\n")
    small = serve("--scripted", "echo", max_body_bytes="1KiB", max_rows=2, api_key_file=keys)
    check(ask(small, RECORDS), 401, "UNAUTHENTICATED")
    known = {"Authorization": "Bearer sesame"}

    def ask_known(body: bytes) -> Reply:
        return send(small.port, Call("", body, headers=known))

    assert ask_known(RECORDS).json == {"predictions": ["a"]}
    check(ask_known(b'{"prompt": "' + b"x" * 2000 + b'"}'), 413, "BAD_REQUEST")
    check(ask_known(b'{"inputs": ["a", "b", "c"]}'), 400, "INVALID_PARAMETER_VALUE")
    assert send(small.port, Call("", method="GET", path="/ping")).status == 200


def test_streams_are_for_clients_that_accept_them(echo: Served) -> None:
    body = b'{"prompt": "ab", "stream": true}'
    assert ask(echo, body).body == b'["ab"]'
    reply = send(echo.port, Call("", body, headers={"Accept": "text/event-stream"}))
    assert reply.content_type == "text/event-stream; charset=utf-8"
    *events, last, done = reply.body.decode().rstrip("\n").split("\n\n")
    chunks = [json.loads(event.removeprefix("data: ")) for event in (*events, last)]
    choices = [chunk["choices"][0] for chunk in chunks[:-1]]
    assert "".join(choice["text"] for choice in choices) == "ab"
    assert [choice["finish_reason"] for choice in choices][-1] == "stop"
    assert chunks[-1]["usage"]["completion_tokens"] == 2
    assert done == "data: [DONE]"


def test_a_stream_that_cannot_start_has_its_status(echo: Served) -> None:
    call = Call("", b'{"prompt": "boom", "stream": true}', headers={"Accept": "text/event-stream"})
    check(send(echo.port, call), 500, "INTERNAL_ERROR")


def test_every_row_of_the_table_names_a_test_of_this_file(repository: Path) -> None:
    page = (repository / "docs" / "api.md").read_text()
    section = page[page.index("### Differences from MLflow's server") :]
    rows = [line for line in section.splitlines() if line.startswith("|")][2:]
    named = {name for row in rows for name in re.findall(r"`(test_\w+)`", row.split("|")[-2])}
    here = {name for name in globals() if name.startswith("test_")}
    assert named == here - {"test_every_row_of_the_table_names_a_test_of_this_file"}
