"""Trials as they are made, without the command line around them."""

from __future__ import annotations

import pytest

from build.errors import InvalidModel
from build.optimize import source, variant
from build.optimize.choice import Bounds
from build.optimize.measure import Plan
from build.optimize.trials import Task, Trials
from build.stages import Stages
from tests.build.optimize.conftest import TEXT

ANY = Bounds(most_loss=100, least_agreement=0)


def task(*names, **changes):
    given = {
        "variants": variant.parse_all(["stock", *names]),
        "text": TEXT,
        "tokens": 64,
        "plan": Plan(rounds=1, prompt_tokens=8, new_tokens=4),
        "bounds": ANY,
        "threads": 1,
    }
    return Task(**given | changes)


def run(folder, place, wanted):
    trials = Trials(source.find(folder), wanted, place, Stages(is_silent=True))
    return trials, trials.run()


def test_every_variant_is_held_against_the_first_one(demo_model, tmp_path):
    _, report = run(demo_model, tmp_path, task("acc1", "b256"))
    stock, exact, coarse = report.results
    assert [one.variant for one in report.results] == ["stock", "acc1", "b256"]
    assert (stock.loss, stock.agreement, stock.request_ratio) == (0, 1, 1)
    assert abs(exact.loss) < 0.05
    assert exact.agreement >= coarse.agreement - 0.02
    assert coarse.perplexity != stock.perplexity
    assert all(one.prefill > 0 and one.decode > 0 for one in report.results)
    assert report.tokens == 64


def test_the_chosen_folder_is_where_it_was_made(demo_model, tmp_path):
    trials, report = run(demo_model, tmp_path, task("acc1", told=variant.parse("acc1")))
    assert (report.chosen, report.is_told) == ("acc1", True)
    assert trials.folder("acc1") == tmp_path / "acc1"
    assert trials.folder("stock") == demo_model


def test_a_variant_that_was_told_but_cannot_be_had_is_not_chosen(demo_model, tmp_path):
    wanted = task("acc1", "b16", told=variant.parse("b16"))
    _, report = run(demo_model, tmp_path, wanted)
    assert report.chosen == ""
    assert list(report.left_out) == ["b16"]


def test_each_result_says_its_engine(demo_model, tmp_path):
    _, report = run(demo_model, tmp_path, task("kv8"))
    stock, quantized = report.results
    assert stock.engine == "decoder"
    assert quantized.engine in ("decoder", "genai")
    assert quantized.agreement > 0.9


def test_a_text_that_is_too_short_ends_it(demo_model, tmp_path):
    with pytest.raises(InvalidModel, match="stock: --text has"):
        run(demo_model, tmp_path, task("acc1", text="Madrid."))


def test_the_plan_shrinks_with_the_context(onnx_folder, edit, tmp_path):
    edit(onnx_folder, "model.context_length", 96)
    wanted = task("acc1", plan=Plan(rounds=1, prompt_tokens=512, new_tokens=64), tokens=512)
    _, report = run(onnx_folder, tmp_path / "scratch", wanted)
    assert (report.plan.prompt_tokens, report.plan.new_tokens) == (48, 47)
    assert report.tokens == 95
