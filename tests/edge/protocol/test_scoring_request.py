"""From an invocation to the request that the engine understands."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

import pytest

from edge.bundle import Defaults, Manifest, Param, Signature
from edge.engine import scripted
from edge.errors import InvalidRequest
from edge.generation import Message, Prompt, Request
from edge.protocol import scoring_request
from edge.protocol.scoring import Invocation
from edge.protocol.scoring_llm import OPTIONS

BARE = replace(scripted.manifest("echo"), generation=Defaults(), chat_template="template")
SPECIAL = frozenset({"<|user|>", "<|end|>"})


def request(params: dict[str, Any], manifest: Manifest = BARE) -> Request:
    return scoring_request.to_request(Invocation(("a",), params, True), manifest, SPECIAL)


def test_every_row_is_a_prompt_in_order() -> None:
    invocation = Invocation(("a", "b"), {}, True)
    found = scoring_request.to_request(invocation, BARE, SPECIAL, request_id="r")
    assert [prompt.messages for prompt in found.prompts] == [
        (Message("user", "a"),),
        (Message("user", "b"),),
    ]
    assert (found.operation, found.n, found.request_id) == ("invocations", 1, "r")


def test_what_nobody_sets_is_greedy_and_left_to_the_bundle() -> None:
    found = request({})
    assert found.sampling.temperature == 0.0
    assert (found.max_tokens, found.stop, found.sampling.seed) == (None, (), None)
    assert (found.sampling.top_p, found.sampling.top_k, found.sampling.min_p) == (1.0, 0, 0.0)


def test_params_become_settings() -> None:
    found = request(
        {
            "max_tokens": 5,
            "temperature": 0.5,
            "top_p": 0.9,
            "top_k": 40,
            "min_p": 0.1,
            "seed": -7,
            "stop": ["x", "yy"],
            "n": 3,
            "repetition_penalty": 1.1,
            "presence_penalty": -1.0,
            "frequency_penalty": 0.5,
        }
    )
    assert (found.max_tokens, found.stop, found.n) == (5, ("x", "yy"), 3)
    sampling = found.sampling
    assert (sampling.temperature, sampling.top_p, sampling.top_k) == (0.5, 0.9, 40)
    assert (sampling.min_p, sampling.seed, sampling.repetition_penalty) == (0.1, -7, 1.1)
    assert (sampling.presence_penalty, sampling.frequency_penalty) == (-1.0, 0.5)


def test_max_new_tokens_is_another_name() -> None:
    assert request({"max_new_tokens": 7}).max_tokens == 7


@pytest.mark.parametrize(
    ("params", "default", "temperature"),
    [
        ({"do_sample": False, "temperature": 0.5}, 0.9, 0.0),
        ({"do_sample": True, "temperature": 0.5}, 0.9, 0.5),
        ({"do_sample": True}, 0.9, 0.9),
        ({"do_sample": True}, None, 0.7),
        ({"do_sample": True}, 0.0, 0.7),
        ({"do_sample": None}, 0.9, 0.9),
        ({"do_sample": None, "temperature": 0.0}, 0.9, 0.0),
    ],
)
def test_do_sample_decides_whether_a_temperature_counts(
    params: dict[str, Any], default: float | None, temperature: float
) -> None:
    found = request(params, replace(BARE, generation=Defaults(temperature=default)))
    assert found.sampling.temperature == temperature


TUNED = Defaults(
    temperature=0.2, top_p=0.8, top_k=5, repetition_penalty=1.2, stop=("<end>",), seed=4
)


@pytest.mark.parametrize("params", [{}, {"temperature": None, "top_p": None, "stop": []}])
def test_the_bundle_decides_what_is_left_open(params: dict[str, Any]) -> None:
    found = request(params, replace(BARE, generation=TUNED))
    sampling = found.sampling
    assert (sampling.temperature, sampling.top_p, sampling.top_k) == (0.2, 0.8, 5)
    assert (sampling.repetition_penalty, sampling.seed, found.stop) == (1.2, 4, ("<end>",))


def test_a_param_wins_over_the_bundle_even_where_it_is_zero() -> None:
    found = request(
        {"temperature": 0.0, "top_k": 0, "seed": 0, "stop": ["x"]}, replace(BARE, generation=TUNED)
    )
    assert (found.sampling.temperature, found.sampling.top_k, found.sampling.seed) == (0.0, 0, 0)
    assert found.stop == ("x",)


@pytest.mark.parametrize(
    ("name", "value", "expected"),
    [
        ("max_tokens", 0, "a whole number from 1"),
        ("max_tokens", 1 << 40, "a whole number from 1"),
        ("temperature", -0.1, "a number from 0 to 100"),
        ("temperature", float("nan"), "a number from 0 to 100"),
        ("temperature", float("inf"), "a number from 0 to 100"),
        ("top_p", 0.0, "to 1"),
        ("top_p", 1.5, "to 1"),
        ("top_k", -1, "a whole number from 0"),
        ("min_p", 2.0, "a number from 0 to 1"),
        ("seed", 1 << 63, "a whole number from"),
        ("n", 0, "a whole number from 1 to 128"),
        ("repetition_penalty", 0.0, "to 100"),
        ("presence_penalty", 3.0, "a number from -2 to 2"),
        ("frequency_penalty", -3.0, "a number from -2 to 2"),
    ],
)
def test_values_out_of_range(name: str, value: object, expected: str) -> None:
    with pytest.raises(InvalidRequest) as caught:
        request({name: value})
    assert caught.value.param == name
    assert expected in str(caught.value)


@pytest.mark.parametrize("stop", ["", None, "\ud800"])
def test_stop_strings_that_cannot_stop_anything(stop: str | None) -> None:
    with pytest.raises(InvalidRequest, match=re.escape("stop[1]")):
        request({"stop": ["x", stop]})


def test_a_single_stop_string_may_be_declared() -> None:
    assert request({"stop": "x"}).stop == ("x",)


DECLARED = replace(
    BARE, signature=Signature("prompt", params=(Param("beams", "long", 4), Param("x", "string")))
)


@pytest.mark.parametrize("params", [{"beams": 4}, {"beams": None, "x": None}])
def test_other_declared_params_may_have_their_default(params: dict[str, Any]) -> None:
    assert request(params, DECLARED).max_tokens is None


@pytest.mark.parametrize("params", [{"beams": 5}, {"x": "y"}])
def test_other_declared_params_cannot_be_changed(params: dict[str, Any]) -> None:
    with pytest.raises(InvalidRequest, match="declared by the model but cannot be changed here"):
        request(params, DECLARED)


@pytest.mark.parametrize(
    ("style", "template", "text", "is_raw"),
    [
        ("raw", "template", "hi", True),
        ("raw", "template", "<|user|>hi", True),
        ("chat", "template", "hi", False),
        ("chat", "template", "<|user|>hi", False),
        ("auto", "template", "hi", False),
        ("auto", "template", "<|user|>\nhi<|end|>", True),
        ("auto", "", "hi", True),
    ],
)
def test_prompt_formats(
    style: Literal["auto", "chat", "raw"], template: str, text: str, is_raw: bool
) -> None:
    manifest = replace(BARE, generation=Defaults(prompt_format=style), chat_template=template)
    found = scoring_request.to_request(Invocation((text,), {}, True), manifest, SPECIAL)
    expected = Prompt(text=text) if is_raw else Prompt(messages=(Message("user", text),))
    assert found.prompts == (expected,)


@pytest.mark.parametrize(
    ("style", "signature", "is_raw"),
    [
        ("auto", Signature("completions"), True),
        ("auto", Signature("prompt", reply="full"), True),
        ("auto", Signature("prompt", reply="stripped"), True),
        ("auto", Signature("prompt"), False),
        ("chat", Signature("completions"), False),
        ("chat", Signature("prompt", reply="full"), False),
    ],
)
def test_pipelines_continue_the_prompt_as_it_stands(
    style: Literal["auto", "chat", "raw"], signature: Signature, is_raw: bool
) -> None:
    manifest = replace(BARE, generation=Defaults(prompt_format=style), signature=signature)
    found = scoring_request.to_request(Invocation(("hi",), {}, True), manifest, SPECIAL)
    expected = Prompt(text="hi") if is_raw else Prompt(messages=(Message("user", "hi"),))
    assert found.prompts == (expected,)


def test_conversations_go_through_as_they_are() -> None:
    chat = (Message("system", "be brief"), Message("user", "<|end|>"))
    options: dict[str, Any] = {param.name: None for param in OPTIONS} | {
        "n": 2,
        "stream": True,
    }
    found = scoring_request.to_request(Invocation((chat,), options, False), BARE, SPECIAL)
    assert found.prompts == (Prompt(messages=chat),)
    assert found.n == 2


def test_every_setting_is_documented() -> None:
    page = (Path(__file__).parents[3] / "docs" / "api.md").read_text()
    start = page.index("### Params\n")
    section = page[start : page.index("\n### ", start)]
    table = [line for line in section.splitlines() if line.startswith("|")]
    named = {name for row in table for name in re.findall(r"`(\w+)`", row.split("|")[1])}
    assert named == {*scoring_request.SETTINGS, *scoring_request.ALIASES} - {"stream"}
