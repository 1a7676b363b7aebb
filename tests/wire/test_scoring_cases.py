"""What MLflow's own server was recorded to answer, replayed against the appliance.

`data/scoring_cases.jsonl`: one request and MLflow 3.18's reply a line. A case in `DIFFERENCES` is
answered otherwise on purpose; docs/api.md says why.
"""

from __future__ import annotations

import base64
import json
from pathlib import Path
from typing import Any

import pytest

from tests.wire.conftest import Served
from tests.wire.exchange import Call, Reply, send

CASES = [
    json.loads(line)
    for line in (Path(__file__).parent / "data" / "scoring_cases.jsonl").read_text().splitlines()
]
JSON, TEXT = "application/json", "text/plain; charset=utf-8"
NOT_TEXT = (400, JSON, "INVALID_PARAMETER_VALUE")
DIFFERENCES = {
    "echo/get_ping_slash": (200, JSON, None),
    "echo/llm_prompt_list": NOT_TEXT,
    "echo/bad_int_value": NOT_TEXT,
    "echo/bad_bool_value": NOT_TEXT,
    "echo/bad_list_value": NOT_TEXT,
    "echo/bad_object_value": NOT_TEXT,
    "echo/bad_nan_literal": NOT_TEXT,
    "echo/bad_inputs_int": NOT_TEXT,
    "echo/bad_instances_ints": NOT_TEXT,
    "echo/bad_csv_ragged": NOT_TEXT,
    "echo/bad_parquet_garbage": (415, TEXT, None),
    "echo/model_raises": (500, JSON, "INTERNAL_ERROR"),
    "echo/deep_nesting": (400, JSON, "BAD_REQUEST"),
}


@pytest.fixture
def models(echo: Served, echo_params: Served) -> dict[str, Served]:
    """Both scripted models."""
    return {"echo": echo, "echo_params": echo_params}


def call_of(case: dict[str, Any]) -> Call:
    body = case["body"].encode() if case["body"] is not None else None
    if case["body_b64"] is not None:
        body = base64.b64decode(case["body_b64"])
    headers = dict(line.split(": ", 1) for line in case["headers"])
    return Call(
        case["id"], body, case["model"], case["method"], case["path"], case["content_type"], headers
    )


def answer(models: dict[str, Served], case: dict[str, Any]) -> Reply:
    return send(models[case["model"]].port, call_of(case))


SAME = [case for case in CASES if case["id"] not in DIFFERENCES]
OTHERWISE = [case for case in CASES if case["id"] in DIFFERENCES]


@pytest.mark.parametrize("case", SAME, ids=lambda case: case["id"])
def test_the_reply_is_the_recorded_one(models: dict[str, Served], case: dict[str, Any]) -> None:
    reply = answer(models, case)
    assert (reply.status, reply.content_type) == (case["status"], case["response_content_type"])
    if case["status"] == 200:
        assert reply.body.decode() == case["response_body"]
    else:
        assert reply.error_code == case["response_error_code"]


@pytest.mark.parametrize("case", OTHERWISE, ids=lambda case: case["id"])
def test_the_reply_differs_on_purpose(models: dict[str, Served], case: dict[str, Any]) -> None:
    reply = answer(models, case)
    assert (reply.status, reply.content_type, reply.error_code) == DIFFERENCES[case["id"]]


def test_every_difference_is_a_recorded_case() -> None:
    assert {case["id"] for case in OTHERWISE} == DIFFERENCES.keys()
    assert len(SAME) + len(OTHERWISE) == len(CASES) == 77
