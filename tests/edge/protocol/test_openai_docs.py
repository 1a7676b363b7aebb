"""docs/api.md against the code: parameters, neutral values, ranges, error codes, routes."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from edge import errors
from edge.protocol import openai_prompt, openai_refusals, openai_request, openai_sampling
from edge.web import failures

PAGE = (Path(__file__).parents[3] / "docs" / "api.md").read_text()


def section(title):
    """The text under a heading, up to the next one of its level or above."""
    level = re.search(rf"^(#+) {re.escape(title)}$", PAGE, re.MULTILINE)
    assert level is not None, f"docs/api.md has no section {title!r}"
    rest = PAGE[level.end() :]
    end = re.search(rf"^#{{1,{len(level[1])}}} ", rest, re.MULTILINE)
    return rest[: end.start()] if end else rest


def rows(title):
    """The cells of the table's rows under a heading, without its head."""
    lines = [line for line in section(title).splitlines() if line.startswith("|")]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines[2:]]


def names(cell):
    return re.findall(r"`([^`]+)`", cell)


def documented(*titles):
    return {name for title in titles for row in rows(title) for name in names(row[0])}


COMMON = "Parameters of both operations"


@pytest.mark.parametrize(
    ("title", "known", "refused"),
    [
        (
            "Parameters of chat completions",
            openai_request.CHAT_KNOWN,
            openai_refusals.CHAT,
        ),
        (
            "Parameters of completions",
            openai_request.COMPLETION_KNOWN,
            openai_refusals.COMPLETION,
        ),
    ],
)
def test_every_parameter_is_documented_and_no_other(title, known, refused):
    assert documented(COMMON, title) == known - refused.keys()


def test_what_is_refused_is_documented_with_its_neutral_values():
    told = {name: set(names(row[1])) for row in rows("What is refused") for name in names(row[0])}
    real = {
        name: {json.dumps(value) for value in neutral} or {"null"}
        for name, neutral in (openai_refusals.CHAT | openai_refusals.COMPLETION).items()
    }
    assert told == real | {"stream_options.include_obfuscation": {"false"}}


@pytest.mark.parametrize(
    ("name", "limits"),
    [
        ("n", [1, openai_sampling.MAX_CHOICES]),
        ("stop", [openai_sampling.MAX_STOPS]),
        ("logit_bias", [-100, 100, openai_sampling.MAX_BIASES]),
        ("metadata", [openai_request.MAX_METADATA, openai_request.MAX_METADATA_VALUE]),
        ("temperature", [0, 2]),
        ("repetition_penalty", [0.1, 10]),
    ],
)
def test_limits(name, limits):
    (row,) = [row for row in rows(COMMON) if name in names(row[0])]
    numbers = [float(number) for number in re.findall(r"-?\d+(?:\.\d+)?", row[1])]
    assert all(limit in numbers for limit in limits)


def test_top_logprobs_and_prompt_shapes():
    chat = section("Parameters of chat completions")
    assert f"0 to {openai_sampling.MAX_LOGPROBS}" in chat
    assert "a list of token ids" in openai_prompt.EXPECTED
    assert "a list of token ids" in section("Parameters of completions")


# What no caller of this API can see: the caller is gone, or nothing is served.
UNSEEN = {errors.StartupError, errors.Cancelled}


def leaves(kind):
    found = [leaf for child in kind.__subclasses__() for leaf in leaves(child)]
    return found or [kind]


def test_every_error_is_documented_with_its_status():
    told = {(int(row[0]), code) for row in rows("Errors") for code in names(row[1])}
    real = {
        (failures.STATUSES[kind], kind.code)
        for kind in leaves(errors.EdgeError)
        if kind not in UNSEEN
    }
    routing = {(404, "unknown_url"), (405, "method_not_supported")}
    assert told == real | routing


def test_the_example_of_an_error_is_a_real_one():
    example = re.search(r"```json\n(.*?)\n```", section("Errors"), re.DOTALL)
    assert example is not None
    with pytest.raises(errors.InvalidRequest) as caught:
        openai_request.completion({"prompt": "x", "temperature": 3}, openai_request.Defaults())
    assert json.loads(example[1]) == failures.openai_body(caught.value)
