"""What passes from a model to the one that is made of it."""

from __future__ import annotations

import argparse
from dataclasses import fields, replace

import pytest

from build import log
from build.convert import parentage
from edge.bundle import Defaults, Lineage, Signature
from tests.build.convert.conftest import LINEAGE
from tests.build.convert.test_likeness import ALIKE


def flags(*words: str) -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    log.add_flags(parser)
    parser.set_defaults(prompt_format=None)
    return parser.parse_args(["--name", "x", *words])


def test_the_parent_s_settings_stand_where_no_flag_does(pipeline_bundle):
    found = parentage.inherited(flags(), pipeline_bundle.manifest)
    assert (found.max_tokens, found.temperature, found.stop) == (77, 0.0, ["###"])
    assert (found.top_p, found.top_k, found.seed, found.repetition_penalty) == (None,) * 4
    assert found.name == "x"


def test_every_setting_of_a_bundle_is_passed_on(pipeline_bundle):
    said = Defaults(11, 0.5, 0.9, 40, 1.1, ("a", "b"), 7, "raw")
    parent = replace(pipeline_bundle.manifest, generation=said, signature=Signature("prompt"))
    found = parentage.inherited(flags(), parent)
    kept = {item.name: getattr(found, item.name) for item in fields(Defaults)}
    assert kept == {item.name: getattr(said, item.name) for item in fields(Defaults)} | {
        "stop": ["a", "b"]
    }


def test_flags_win(pipeline_bundle):
    words = ("--max-tokens", "5", "--temperature", "1", "--stop", "!", "--prompt-format", "raw")
    found = parentage.inherited(flags(*words), pipeline_bundle.manifest)
    assert (found.max_tokens, found.temperature, found.stop) == (5, 1.0, ["!"])
    assert found.prompt_format == "raw"


def test_the_flags_themselves_stay_as_they_were(pipeline_bundle):
    given = flags()
    parentage.inherited(given, pipeline_bundle.manifest)
    assert given.max_tokens is None


@pytest.mark.parametrize(
    ("kind", "wrapping"), [("chat", "chat"), ("prompt", "auto"), ("completions", "raw")]
)
def test_a_bare_prompt_is_wrapped_as_the_parent_would_have(pipeline_bundle, kind, wrapping):
    parent = replace(pipeline_bundle.manifest, signature=Signature(kind))
    assert parentage.inherited(flags(), parent).prompt_format == wrapping


def test_tags_name_the_parent_and_its_run():
    assert parentage.tags(LINEAGE) == {
        "phial.parent_uri": "models:/phi3-chat/3",
        "phial.parent_model": "phi3-chat",
        "phial.parent_version": "3",
        "phial.parent_alias": "champion",
        "phial.parent_model_id": LINEAGE.model_id,
        "phial.parent_run_id": LINEAGE.run_id,
        "source_run": LINEAGE.run_id,
    }


def test_a_folder_is_named_and_nothing_more():
    assert parentage.tags(Lineage(source_uri="phi3", resolved_uri="phi3")) == {
        "phial.parent_uri": "phi3"
    }


def test_the_description_says_what_it_was_made_of():
    assert parentage.sentence(LINEAGE, "b128 in int4", ALIKE) == (
        "made of models:/phi3-chat/3 as b128 in int4: +5.0% perplexity, 90.0% of tokens and 75% of "
        "answers the same"
    )
