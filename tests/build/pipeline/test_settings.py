"""Generation settings, held against what a real transformers pipeline would do."""

import copy

import pytest

from build.options import Options
from build.pipeline import settings

pytestmark = pytest.mark.torch
NONE: dict = {}


@pytest.fixture
def gather(findings):
    def go(config=NONE, generation=NONE, params=NONE, **flags):
        return settings.gather(Options(generation=flags), params, config, generation, findings)

    return go


VOICES = [
    ({}, {}),
    ({"max_new_tokens": 20, "do_sample": False}, {}),
    ({"do_sample": False, "temperature": 0.9}, {"top_p": 0.5}),
    ({"temperature": 0.3, "top_k": 5}, {}),
    ({}, {"do_sample": False}),
    ({}, {"do_sample": True, "temperature": 0.6, "top_p": 0.9}),
    ({"do_sample": True}, {"do_sample": False, "max_new_tokens": 7}),
    ({}, {"max_length": 512}),
    ({"repetition_penalty": 1.2}, {"repetition_penalty": 1.5, "top_k": 0}),
]


@pytest.fixture
def applied(demo_pipeline):
    """What the pipeline hands to `generate`, with what that takes by itself for a missing top_k."""

    def go(config, generation):
        pipeline = copy.copy(demo_pipeline)
        pipeline.model = copy.copy(demo_pipeline.model)
        pipeline.model.generation_config = copy.deepcopy(demo_pipeline.model.generation_config)
        pipeline.model.generation_config.update(**generation)
        kwargs = pipeline._prepare_generate_kwargs(dict(config))
        final, _ = pipeline.model._prepare_generation_config(None, **kwargs)
        return final

    return go


@pytest.mark.parametrize(("config", "generation"), VOICES)
def test_it_is_what_the_pipeline_does(gather, applied, config, generation):
    found, real = gather(config, generation), applied(config, generation)
    assert found.max_tokens == (real.max_new_tokens or generation["max_length"])
    if not real.do_sample:
        assert (found.temperature, found.top_p, found.top_k) == (0.0, None, None)
    else:
        assert found.temperature == real.temperature
        assert (found.top_p or 1.0) == (real.top_p or 1.0)
        assert found.top_k == real.top_k
    assert (found.repetition_penalty or 1.0) == (real.repetition_penalty or 1.0)


def test_flags_go_before_all(gather, findings):
    found = gather(
        {"max_new_tokens": 5, "do_sample": False}, max_tokens=9, temperature=0.5, stop=("END",)
    )
    assert (found.max_tokens, found.temperature, found.stop) == (9, 0.5, ("END",))
    assert findings.facts["temperature"] == "0.5 (flag)"


def test_the_signatures_defaults_go_before_the_model_config(gather, findings):
    params = {"max_new_tokens": 11, "temperature": 0.4, "top_p": None}
    found = gather({"max_new_tokens": 5, "temperature": 0.9, "top_p": 0.8}, params=params)
    assert (found.max_tokens, found.temperature, found.top_p) == (11, 0.4, 0.8)
    assert findings.facts["max_tokens"] == "11 (signature)"


def test_a_greedy_model_says_who_made_it_so(gather, findings):
    gather(generation={"do_sample": False})
    assert findings.facts["temperature"] == "0.0 (generation_config.json: do_sample is false)"


def test_openais_name_in_a_model_config(gather):
    assert gather({"max_tokens": 12, "max_new_tokens": 13}).max_tokens == 12


def test_a_whole_length_is_taken_as_that_of_the_answer(gather, findings):
    assert gather({"max_length": 30}).max_tokens == 30
    assert findings.shims == ["model_config: max_length 30 is taken as max_tokens"]


def test_what_the_appliance_has_not_is_noted(gather, findings):
    gather(
        {"num_beams": 4, "no_repeat_ngram_size": 3, "pad_token_id": 0, "num_return_sequences": 1}
    )
    assert findings.shims == [
        "model_config: num_beams 4, no_repeat_ngram_size 3 mean nothing to the appliance: left out"
    ]


def test_what_is_off_is_not_noted(gather, findings):
    gather({"num_beams": 1, "no_repeat_ngram_size": 0, "bad_words_ids": None, "typical_p": 1.0})
    assert findings.shims == []


@pytest.mark.parametrize(
    ("config", "told"),
    [
        ({"temperature": "hot"}, "model_config: temperature is 'hot', expected a number"),
        ({"max_new_tokens": 0}, "model_config: max_tokens is 0, expected a whole number"),
        ({"temperature": 3.0}, "model_config: temperature is 3.0, expected a number from 0 to 2"),
    ],
)
def test_settings_out_of_range_are_problems(gather, findings, config, told):
    gather(config)
    (problem,) = findings.problems
    assert told in problem
