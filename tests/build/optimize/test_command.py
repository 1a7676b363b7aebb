"""`python -m build optimize` from end to end."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys

import onnx
import pytest

from build import positions
from build.optimize import subjects
from tests.build.optimize.conftest import CHAT

QUICK = ("--rounds", 1, "--prompt-tokens", 16, "--new-tokens", 4, "--text-tokens", 64)


def test_an_onnx_folder_is_retuned_and_the_best_is_written(cli, stock, text_file, tmp_path, runner):
    out = tmp_path / "out"
    names = ["embed+head", "b128+embed+head", "last8", "b32"]
    asked = [word for name in names for word in ("--variant", name)]
    done = cli("optimize", stock, "--out", out, *QUICK, "--text", text_file, "--json", *asked)
    assert done.status == 0, done.err
    report = done.json
    tried = {result["variant"]: result for result in report["results"]}
    assert list(tried) == ["stock", "embed+head", "b128+embed+head"]
    assert "int8 cannot bring back" in report["left_out"]["last8"][0]
    assert "nothing would change" in report["left_out"]["b32"][0]
    assert tried["stock"]["loss"] == 0
    assert tried["stock"]["agreement"] == 1
    assert tried["b128+embed+head"]["size_bytes"] < tried["stock"]["size_bytes"] * 0.6
    assert report["reference"] == "stock"
    assert report["out"] == str(out)
    size = sum(path.stat().st_size for path in out.iterdir())
    # A pruned head that is written can be asked for the logits of more positions.
    assert size == pytest.approx(tried[report["chosen"]]["size_bytes"], rel=1e-3)
    inputs = {port.name for port in onnx.load(out / "model.onnx").graph.input}
    assert (positions.INPUT in inputs) == ("head" in report["chosen"])
    assert runner(out).says(CHAT).startswith("The capital of Spain is Madrid.")
    assert [path.name for path in tmp_path.iterdir() if path.name.startswith(".")] == []


def test_the_decoder_engine_serves_what_was_written(cli, stock, text_file, tmp_path):
    out = tmp_path / "out"
    name = "b128+embed+head"
    done = cli("optimize", stock, "--out", out, *QUICK, "--text", text_file, "--choose", name)
    assert done.status == 0, done.err
    assert done.out.splitlines()[-1] == f"chosen: {name}, as told, written to {out}"
    with subjects.started(out, "written", threads=1) as subject:
        assert subject.engine == "decoder"
    assert cli("export", out, "--out", tmp_path / "bundle").status == 0


def test_without_an_output_it_only_measures(cli, demo_model, text_file, tmp_path):
    done = cli("optimize", demo_model, *QUICK, "--text", text_file, "--variant", "acc1")
    assert done.status == 0, done.err
    rows = [line for line in done.out.splitlines() if line.startswith("| `")]
    assert len(rows) == 2
    assert "written" not in done.out
    assert "acc1: 1 rounds" in done.err
    assert [path.name for path in tmp_path.iterdir()] == ["chats.txt"]


@pytest.mark.torch
@pytest.mark.timeout(900)  # three exports
def test_weights_are_exported_and_held_against_the_unquantized_model(
    cli, weights, text_file, tmp_path, stock
):
    out = tmp_path / "out"
    asked = ["--variant", "b128+embed+head+kquant+kv8"]
    done = cli("optimize", weights, "--out", out, *QUICK, "--text", text_file, "--json", *asked)
    assert done.status == 0, done.err
    report = done.json
    assert report["reference"] == "the unquantized model"
    assert [result["variant"] for result in report["results"]] == ["stock", asked[1]]
    first, second = report["results"]
    assert first["size_bytes"] == sum(path.stat().st_size for path in stock.iterdir())
    assert second["size_bytes"] < 0.6 * first["size_bytes"]  # the builder's k-quant keeps fp32
    assert second["agreement"] > 0.9
    assert (out / "genai_config.json").is_file()


def test_a_variant_that_cannot_be_had_ends_it_where_it_is_the_only_one(cli, demo_model, tmp_path):
    out = tmp_path / "out"
    done = cli("optimize", demo_model, "--out", out, *QUICK, "--variant", "b16+kquant")
    assert done.status == 1
    first, second = [line for line in done.err.splitlines() if line.startswith("optimize: ")]
    assert first.startswith("optimize: b16+kquant: b16: what blocks of 128 rounded away")
    assert "the search for codes" in second
    assert not out.exists()


def test_the_table_is_shown_where_the_bounds_hold_for_none(
    cli, stock, text_file, tmp_path, monkeypatch
):
    from build.optimize.choice import Bounds

    monkeypatch.setattr(Bounds, "hold", lambda self, result: False)
    argv = ("--out", tmp_path / "out", *QUICK, "--text", text_file, "--variant", "head")
    done = cli("optimize", stock, *argv)
    assert done.status == 1
    assert done.out.splitlines()[-1].startswith("none chosen")
    assert not (tmp_path / "out").exists()


def test_an_output_that_is_there_stays(cli, demo_model, tmp_path):
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "mine").write_text("kept")
    done = cli("optimize", demo_model, "--out", tmp_path / "out")
    assert done.status == 1
    assert done.err.endswith("is not empty: it is left as it is; name a new folder\n")
    done = cli("optimize", demo_model, "--out", tmp_path / "out" / "mine")
    assert "is not a folder" in done.err
    assert (tmp_path / "out" / "mine").read_text() == "kept"


@pytest.mark.parametrize(
    ("argv", "said"),
    [
        (("--variant", "hed", "--variant", "b1"), "did you mean 'head'?\n--variant 'b1'"),
        (("--text", "absent.txt"), "--text 'absent.txt' cannot be read"),
        (("--rounds", 0), "--rounds: is '0', expected a whole number from 1 to 1000"),
        (("--most-loss", "much"), "--most-loss: is 'much', expected a number from 0 to 1000"),
        (("--reference", "llama"), "invalid choice: 'llama'"),
    ],
)
def test_a_command_line_that_makes_no_sense(cli, demo_model, argv, said):
    done = cli("optimize", demo_model, *argv)
    assert done.status == 2
    assert said in done.err
    assert done.out == ""


def test_a_model_that_is_none(cli, tmp_path):
    done = cli("optimize", tmp_path)
    assert done.status == 1
    assert done.err.startswith(f"optimize: {tmp_path} holds neither config.json")


def test_help_names_every_word_of_a_variant(cli):
    from build.optimize import variant

    done = cli("optimize", "--help")
    assert done.status == 0
    for word in {*variant._WORDS, "stock"} - {f"b{n}" for n in (32, 64, 128)} - {"acc2", "acc3"}:
        assert word in done.out


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_being_told_to_stop_leaves_nothing(repository, demo_model, text_file, tmp_path, number):
    place = tmp_path / "place"
    scratch = tmp_path / "scratch"
    place.mkdir()
    scratch.mkdir()
    words = ["optimize", str(demo_model), "--out", str(place / "out"), "--text", str(text_file)]
    with subprocess.Popen(
        [sys.executable, "-m", "build", *words, "--variant", "acc1", "--rounds", "1000"],
        cwd=repository,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=os.environ | {"TMPDIR": str(scratch)},
    ) as process:
        said = ""
        while "1000 rounds" not in said:
            said = process.stderr.readline()
            assert said, "it ended by itself"
        assert any(place.iterdir())
        process.send_signal(number)
        out, err = process.communicate(timeout=60)
    assert process.returncode == 130
    assert err == "optimize: interrupted\n"
    assert out == ""
    assert list(place.iterdir()) == []
    assert list(scratch.iterdir()) == []


def test_the_usual_variants_are_those_that_change_the_graph(cli, demo_model, text_file):
    done = cli("optimize", demo_model, *QUICK, "--text", text_file, "--json")
    assert done.status == 0, done.err
    report = json.loads(done.out)
    tried = [result["variant"] for result in report["results"]]
    assert tried == ["stock", "embed+head+kv8"]
    assert list(report["left_out"]) == ["b64+embed+head"]
