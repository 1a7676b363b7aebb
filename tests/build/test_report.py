"""What a logging command prints."""

import json
from pathlib import Path

import pytest

from build import report
from build.record import Entry, Receipt

ENTRY = Entry(
    folder=Path("phi3"),
    name="phi3",
    config={"max_tokens": 300},
    params={"layers": 4},
    metrics={"decode_tokens_per_second": 123.456},
    tags={},
    description="phi3, 4.2 M parameters",
)


@pytest.fixture
def receipt():
    return Receipt("models:/m-1", "run-1", "0", "sqlite:///mlflow.db", "")


def test_one_json_object(receipt):
    found = json.loads(report.as_json(ENTRY, receipt))
    assert found["model_uri"] == "models:/m-1"
    assert (found["name"], found["params"], found["model_config"]) == (
        "phi3",
        {"layers": 4},
        {"max_tokens": 300},
    )
    assert found["metrics"] == {"decode_tokens_per_second": 123.456}


def test_a_table_without_empty_lines(receipt):
    lines = dict(line.split(maxsplit=1) for line in report.as_text(ENTRY, receipt).splitlines())
    assert lines == {
        "model": "phi3, 4.2 M parameters",
        "logged": "models:/m-1",
        "run": "run-1",
        "version": "not registered",
        "decode_tokens_per_second": "123.5",
    }
