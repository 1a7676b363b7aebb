"""Who has the last word on a generation setting."""

import math
from dataclasses import replace

import pytest

from build import defaults, genai_config
from build.findings import Findings
from build.options import Options
from edge.bundle import Defaults, Param, Signature


@pytest.fixture
def gather(demo_model, findings):
    genai = genai_config.read(demo_model, Findings())

    def run(flags=None, params=(), config=None, search=None, **options):
        signed = Signature("prompt", params=tuple(params))
        chosen = Options(generation=flags or {}, **options)
        settings = replace(genai, search=search or {"do_sample": True})
        return defaults.gather(chosen, signed, config or {}, settings, findings)

    return run


def test_nobody_says_anything(gather, findings):
    assert gather() == Defaults()
    assert findings.facts == {}


def test_from_the_strongest_to_the_weakest(gather, findings):
    everyone = {
        "flags": {"temperature": 0.1},
        "params": [Param("temperature", "double", 0.2)],
        "config": {"temperature": 0.3},
        "search": {"do_sample": True, "temperature": 0.4},
    }
    origins = {0.1: "flag", 0.2: "signature", 0.3: "model_config", 0.4: "genai_config.json"}
    for value, origin in origins.items():
        assert gather(**everyone).temperature == value
        assert findings.facts["temperature"] == f"{value} ({origin})"
        everyone.pop(next(iter(everyone)))


def test_silence_and_empty_lists_let_the_next_one_speak(gather):
    params = [Param("max_tokens", "long", None), Param("stop", "string", [], is_list=True)]
    found = gather(params=params, config={"max_tokens": 5, "stop": ["a"]})
    assert (found.max_tokens, found.stop) == (5, ("a",))


def test_every_setting_by_model_config(gather):
    config = {
        "max_tokens": 5,
        "temperature": 1,
        "top_p": 0.5,
        "top_k": 3,
        "repetition_penalty": 1.1,
        "stop": "END",
        "seed": 4,
        "prompt_format": "raw",
    }
    assert gather(config=config) == Defaults(
        max_tokens=5,
        temperature=1.0,
        top_p=0.5,
        top_k=3,
        repetition_penalty=1.1,
        stop=("END",),
        seed=4,
        prompt_format="raw",
    )


def test_the_format_by_flag(gather, findings):
    assert gather(prompt_format="chat", config={"prompt_format": "raw"}).prompt_format == "chat"
    assert findings.facts["prompt_format"] == "chat (flag)"


@pytest.mark.parametrize("name", ["max_length", "max_new_tokens"])
def test_other_names_of_the_length(gather, findings, name):
    assert gather(config={name: 300}).max_tokens == 300
    assert findings.shims == [f"model_config: {name} 300 is taken as max_tokens"]


def test_the_proper_name_of_the_length_wins(gather, findings):
    assert gather(config={"max_length": 300, "max_tokens": 20}).max_tokens == 20
    assert findings.shims == []


def test_a_runtime_that_does_not_sample_is_greedy(gather):
    found = gather(search={"do_sample": False, "temperature": 0.7, "top_k": 50, "top_p": 0.9})
    assert (found.temperature, found.top_k, found.top_p) == (0.0, None, None)


def test_a_runtime_that_samples(gather):
    search = {"do_sample": True, "temperature": 0.7, "top_k": 50, "top_p": 0.9, "max_length": 4096}
    found = gather(search=search)
    assert (found.temperature, found.top_k, found.top_p, found.max_tokens) == (0.7, 50, 0.9, 300)


@pytest.mark.parametrize(("penalty", "expected"), [(1, None), (1.0, None), (1.2, 1.2)])
def test_a_penalty_of_one_is_none(gather, penalty, expected):
    assert gather(search={"repetition_penalty": penalty}).repetition_penalty == expected


@pytest.mark.parametrize(
    ("name", "value", "expected"),
    [
        ("max_tokens", 0, "a whole number from 1 to"),
        ("max_tokens", 2.5, "a whole number from 1 to"),
        ("max_tokens", True, "a whole number from 1 to"),
        ("temperature", -1, "a number from 0 to 2"),
        ("temperature", "hot", "a number from 0 to 2"),
        ("temperature", math.nan, "a number from 0 to 2"),
        ("top_p", 1.5, "a number from 0 to 1"),
        ("top_k", -1, "a whole number from 0 to"),
        ("repetition_penalty", 0, "a number from 0.01 to 10"),
        ("seed", 1.5, "a whole number from"),
        ("stop", [""], "a list of strings that are not empty"),
        ("stop", [1], "a list of strings that are not empty"),
        ("stop", 5, "a list of strings that are not empty"),
        ("prompt_format", "markdown", "auto, chat, raw"),
    ],
)
def test_bad_values_are_problems_with_their_origin(gather, findings, name, value, expected):
    gather(config={name: value})
    assert len(findings.problems) == 1
    assert findings.problems[0].startswith(
        f"model_config: {name} is {value!r}, expected {expected}"
    )


def test_all_bad_values_at_once(gather, findings):
    gather(config={"max_tokens": 0, "temperature": -1, "seed": "x"})
    assert len(findings.problems) == 3
