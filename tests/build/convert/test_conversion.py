"""The steps of a conversion, on a sealed pipeline."""

from __future__ import annotations

import argparse
import os
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path

import pytest

from build import convert
from build.convert import conversion, likeness
from build.errors import BuildFailed, InvalidModel, ToolMissing, UnlikeParent, UsageError
from build.optimize.choice import Bounds
from build.optimize.variant import parse
from build.stages import Stages
from tests.build.convert.conftest import LINEAGE, SPAIN

pytestmark = pytest.mark.torch
QUIET = Stages(is_silent=True)


def parsed(*words: object) -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    convert.add_parser(parser.add_subparsers())
    return parser.parse_args(["convert", "models:/phi3-chat@champion", *map(str, words)])


@pytest.fixture
def order(chats, tmp_path):
    """`order("--variant", ...)` is a small conversion as the command line asks for it."""
    (tmp_path / "chats.txt").write_text(chats)
    small = ("--name", "phi3-onnx", "--no-measure", "--text", tmp_path / "chats.txt")
    small += ("--text-tokens", 96, "--prompt", SPAIN, "--answer-tokens", 16, "--threads", 1)
    return lambda *words: convert.order_of(parsed(*small, *words))


def test_it_is_logged_as_what_it_is_and_came_from(order, pipeline_bundle, ready_made, scratch):
    entry = conversion.convert(order(), pipeline_bundle, scratch, QUIET)
    assert ready_made == [
        (
            {
                "block_size": "128",
                "op_types_to_quantize": "MatMul/Gather",
                "prune_lm_head": "true",
            },
            "int4",
        )
    ]
    assert entry.name == "phi3-onnx"
    assert entry.made_of == LINEAGE.model_id
    assert entry.tags["phial.parent_uri"] == "models:/phi3-chat/3"
    assert entry.tags["phial.precision"] == "int4"
    assert entry.params["variant"] == "b128+embed+head"
    assert entry.params["parent_dtype"] == "float32"
    assert entry.description.startswith("phi3, 4.2 M parameters, int4 in blocks of 128")
    assert "made of models:/phi3-chat/3 as b128+embed+head in int4: " in entry.description


def test_its_defaults_are_the_parent_s(order, pipeline_bundle, ready_made, scratch):
    entry = conversion.convert(order("--max-tokens", 9), pipeline_bundle, scratch, QUIET)
    assert entry.config == {
        "max_tokens": 9,
        "temperature": 0.0,
        "top_p": 1.0,
        "top_k": 0,
        "repetition_penalty": 1.0,
        "stop": ["###"],
        "seed": None,
        "prompt_format": "chat",
    }


def test_its_figures_are_those_of_both_models(order, pipeline_bundle, ready_made, scratch):
    figures = conversion.convert(order(), pipeline_bundle, scratch, QUIET).metrics
    assert figures["judged_tokens"] == 95
    assert figures["greedy_agreement"] > 0.9
    assert figures["perplexity"] == pytest.approx(figures["parent_perplexity"], rel=0.1)
    assert figures["compared_answers"] == figures["same_answers"] == 1
    assert "decode_tokens_per_second" not in figures  # --no-measure


@pytest.mark.parametrize(("words", "is_chat"), [((), True), (("--prompt-format", "raw"), False)])
def test_prompts_are_put_as_they_will_be(order, pipeline_bundle, monkeypatch, words, is_chat):
    def look(_: object, task: likeness.Task) -> None:
        raise BuildFailed(str(task.is_chat))

    monkeypatch.setattr(conversion, "_account", look)
    with pytest.raises(BuildFailed, match=f"parent: {is_chat}"):
        conversion.convert(order(*words), pipeline_bundle, Path(), QUIET)


def test_licence_and_card_come_along(order, pipeline_bundle, ready_made, scratch):
    folder = conversion.convert(order(), pipeline_bundle, scratch, QUIET).folder
    assert (folder / "LICENSE").read_text() == "Do as you please.\n"
    assert not (folder / "model.safetensors").exists()


def test_a_description_of_one_s_own_stands(order, pipeline_bundle, ready_made, scratch):
    said = order("--description", "Smaller.", "--tag", "source_run=mine")
    entry = conversion.convert(said, pipeline_bundle, scratch, QUIET)
    assert entry.description == "Smaller."
    assert entry.tags["source_run"] == "mine"


def test_one_that_is_too_unlike_its_parent_is_refused(order, pipeline_bundle, ready_made, scratch):
    strict = replace(order(), bounds=Bounds(most_loss=-1, least_agreement=1.1))
    with pytest.raises(UnlikeParent) as caught:
        conversion.convert(strict, pipeline_bundle, scratch, QUIET)
    loss, agreement = caught.value.problems
    assert loss.startswith("compare: its perplexity of the text is ")
    assert loss.endswith("(--most-loss); nothing is logged")
    assert "the same token likeliest as its parent at " in agreement


def test_every_kind_of_variant_is_made(order, pipeline_bundle, ready_made, scratch):
    """An int8 cache takes tokens of the text, which only the parent has cut at that point."""
    entry = conversion.convert(order("--variant", "kv8"), pipeline_bundle, scratch, QUIET)
    assert entry.folder.name == "kv8"
    assert entry.params["kv_bytes_per_token"] == 4 * 4 * 64 * 2
    conversion.convert(order("--precision", "fp32"), pipeline_bundle, scratch, QUIET)
    assert ready_made[-1] == ({"prune_lm_head": "true"}, "fp32")


def test_a_full_disk_says_where_and_what_helps(
    order, pipeline_bundle, ready_made, scratch, monkeypatch
):
    def full(*_: object) -> None:
        raise OSError(28, os.strerror(28))

    monkeypatch.setattr(conversion.positions, "open_pruned", full)
    with pytest.raises(BuildFailed, match=r"convert: No space left.*TMPDIR may name"):
        conversion.convert(order(), pipeline_bundle, scratch, QUIET)


@pytest.mark.parametrize(
    ("words", "problem"),
    [
        (("--precision", "fp32", "--variant", "b64"), "expected head or stock with fp32"),
        (("--variant", "hed"), "did you mean 'head'"),
        (("--prompt", ""), "--prompt is empty"),
        (("--text", "absent.txt"), "--text 'absent.txt' cannot be read"),
    ],
)
def test_a_command_line_that_makes_no_sense(words, problem):
    with pytest.raises(UsageError, match=problem):
        convert.order_of(parsed("--name", "x", *words))


def test_without_a_variant_the_recommended_one_is_made(order):
    assert order().variant == parse("b128+embed+head")
    assert order("--precision", "fp32").variant == parse("head")


def test_an_onnx_model_needs_no_conversion(order, scratch, demo_model: Path):
    asked = order()
    job = replace(asked.job, uri=str(demo_model))
    with pytest.raises(InvalidModel, match=r"parent: the model is an ONNX one already, there is "):
        conversion.sealed(replace(asked, job=job), scratch, QUIET)


def test_a_parent_that_cannot_be_sealed_tells_every_problem(order, scratch, tmp_path):
    (tmp_path / "model").mkdir()
    job = replace(order().job, uri=str(tmp_path / "model"))
    with pytest.raises(InvalidModel, match="parent: the folder has neither MLmodel nor"):
        conversion.sealed(replace(order(), job=job), scratch, QUIET)


def test_packages_that_are_missing_are_told_before_anything_is_done(cli, monkeypatch, tmp_path):
    from build.optimize import source

    monkeypatch.setattr(source, "find_spec", lambda n: None if n == "torch" else find_spec(n))
    with pytest.raises(ToolMissing):
        source.check_tools()
    done = cli("convert", tmp_path / "absent", "--name", "x")
    assert done.status == 1
    assert done.err == (
        "convert: exporting weights of Hugging Face needs torch, not installed here; "
        "scripts/install demo installs what is missing\n"
    )
