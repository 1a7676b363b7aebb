"""What is printed."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from build.optimize.choice import Bounds
from build.optimize.measure import Plan
from build.optimize.report import Report
from tests.build.optimize.test_choice import PLAIN


@pytest.fixture
def report() -> Report:
    other = replace(PLAIN, variant="b128", size_bytes=295_400_000, decode_ratio=1.3, loss=0.012)
    return Report(
        plan=Plan(),
        bounds=Bounds(0.1, 0.8),
        reference="the unquantized model",
        reference_perplexity=12.0,
        tokens=512,
        load=(0.1, 2.04),
        results=(PLAIN, other),
        left_out={"kquant": ("kquant: cannot", "kquant: why")},
        chosen="b128",
    )


def test_the_table_has_a_row_a_variant(report):
    lines = report.as_text().splitlines()
    assert lines[0].count("|") == lines[1].count("|") == lines[2].count("|") == 8
    assert lines[3] == (
        "| `b128` | 295.4 MB | 500 (1.00x) | 50 (1.30x) | 1.00x | 12 (+1.2%) | 100.0% |"
    )
    assert lines[4] == ""


def test_how_it_was_measured_is_said(report):
    text = report.as_text()
    assert "prefill of 512 tokens and decode of 64 more" in text
    assert "medians of 5 rounds taken in turn with stock" in text
    assert "load average 0.1 before, 2.0 after" in text
    assert "over 512 tokens of text, against the unquantized model (perplexity 12)" in text
    assert "left out: kquant: cannot\nleft out: kquant: why" in text


def test_another_engine_than_the_first_one_s_is_named(report):
    assert "runs on" not in report.as_text()
    report.results = (PLAIN, replace(PLAIN, variant="kv8", engine="genai"))
    assert "kv8 runs on the genai engine" in report.as_text()


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({}, "chosen: b128, the least on disk of the fastest (3% are the same) with at most 10%"),
        ({"is_told": True, "out": "x"}, "chosen: b128, as told, written to x"),
        ({"chosen": ""}, "none chosen: no variant has at most 10% more perplexity and 80%"),
    ],
)
def test_the_last_line_is_the_verdict(report, changes, said):
    assert replace(report, **changes).as_text().splitlines()[-1].startswith(said)


def test_the_json_holds_everything(report):
    data = json.loads(report.as_json())
    assert data["chosen"] == "b128"
    assert data["results"][0]["variant"] == "stock"
    assert data["results"][1]["decode_ratio"] == 1.3
    assert data["left_out"] == {"kquant": ["kquant: cannot", "kquant: why"]}
    assert data["plan"] == {"rounds": 5, "prompt_tokens": 512, "new_tokens": 64}
