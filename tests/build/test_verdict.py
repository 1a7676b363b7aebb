"""Verdicts, for people and for machines."""

import json
from pathlib import Path

import pytest

from build.findings import Findings
from build.verdict import Verdict
from edge.bundle import Bundle, Defaults, Lineage, Manifest, Signature

LINEAGE = Lineage(
    source_uri="models:/phi3@champion",
    resolved_uri="models:/phi3/3",
    model_id="m-1",
    run_id="r1",
    experiment_id="7",
    experiment_name="trials",
)
MANIFEST = Manifest("phi3", "onnx", (), Signature("prompt"), Defaults(), 8, (1,), 2)
BUNDLE = Bundle(Path("box"), MANIFEST, "ab" * 32)


@pytest.fixture
def full():
    findings = Findings(
        facts={"architecture": "phi3", "max_tokens": "300 (flag)"},
        shims=["torch is left out"],
        advice=["say --temperature"],
    )
    return Verdict("models:/phi3@champion", LINEAGE, findings, BUNDLE)


def test_the_table(full):
    assert full.as_text().splitlines() == [
        "asked for        models:/phi3@champion",
        "resolved         models:/phi3/3",
        "model id         m-1",
        "run              r1",
        "experiment       trials (7)",
        "architecture     phi3",
        "max tokens       300 (flag)",
        "bundle           box",
        f"manifest sha256  {'ab' * 32}",
        "",
        "supplied or left out:",
        "  - torch is left out",
        "",
        "to say by flag:",
        "  - say --temperature",
        "",
        "verdict: good",
    ]


def test_what_is_unknown_is_left_out():
    assert Verdict("folder").as_text() == "asked for  folder\n\nverdict: good"


def test_problems(full):
    full.findings.problems = ["one", "two"]
    full.bundle = None
    assert not full.is_good
    assert full.as_text().endswith("problems:\n  - one\n  - two\n\nverdict: cannot be sealed")
    assert "manifest" not in full.as_text()


def test_json(full):
    data = json.loads(full.as_json())
    assert data["ok"] is True
    assert data["uri"] == "models:/phi3@champion"
    assert data["bundle"] == "box"
    assert data["manifest_sha256"] == "ab" * 32
    assert data["lineage"]["experiment_name"] == "trials"
    assert data["shims"] == ["torch is left out"]
    assert data["advice"] == ["say --temperature"]
    assert data["problems"] == []
    assert data["facts"]["architecture"] == "phi3"


def test_json_of_a_failure():
    verdict = Verdict("x", findings=Findings(problems=["gone"]))
    data = json.loads(verdict.as_json())
    assert (data["ok"], data["bundle"], data["manifest_sha256"]) == (False, None, None)


def test_verdicts_do_not_share_their_findings():
    one, other = Verdict("one"), Verdict("other")
    one.findings.problems.append("mine")
    assert other.is_good
