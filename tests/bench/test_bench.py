"""The whole benchmark, small: its structure is asserted, never a speed."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from edge import bundle
from tests.bench import __main__ as bench
from tests.bench import subject
from tests.bench.bars import prompt
from tests.bench.bars import run as run_bars
from tests.bench.peer import source, stub
from tests.bench.shapes import SHAPES

ROOT = Path(__file__).resolve().parents[2]
ROUNDS = 2
SMALL = ("--rounds", str(ROUNDS), "--clients", "1,2", "--new-tokens", "400")
SMALL += ("--prompt-tokens", "64", "--starts", "1", "--idle-s", "0.2", "--threads", "1")


def run(*arguments):
    return subprocess.run(
        [sys.executable, "-m", "tests.bench", *map(str, arguments)],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=200,
        check=False,
    )


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    folder = tmp_path_factory.mktemp("bench") / "tiny"
    done = run("--make-model", "--shape", "tiny", "--out", folder)
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == str(folder)
    return folder


@pytest.mark.torch
def test_a_made_model_has_its_shape_and_never_ends_by_itself(model, tmp_path):
    made = subject.open_(subject.export(model, tmp_path / "bundle"))
    shape = SHAPES["tiny"]
    assert made.vocab_size == shape.vocab_size
    assert made.context_length == shape.context_length
    assert made.parameters == pytest.approx(shape.parameters, rel=0.02)
    assert "int4 in blocks of 128" in made.description
    assert set(made.eos_ids).isdisjoint(made.ordinary_ids)


@pytest.mark.torch
def test_a_model_is_made_once(model):
    before = {path.name: path.stat().st_mtime_ns for path in model.iterdir()}
    assert subject.of_shape("tiny", model) == model
    assert {path.name: path.stat().st_mtime_ns for path in model.iterdir()} == before


@pytest.mark.torch
def test_every_quantity_is_measured_on_both_sides(model):
    done = run("--model", model, *SMALL, "--json", "--set", "EDGE_QUEUE=3")
    assert done.returncode == 0, done.stderr
    report = json.loads(done.stdout)
    assert report["is_endless"] is False
    assert report["settings"] == {"EDGE_SLOTS": "2", "EDGE_THREADS": "1", "EDGE_QUEUE": "3"}
    assert set(report["samples"]["loads"]) == {"1", "2"}
    for load in report["samples"]["loads"].values():
        assert len(load.pop("gap_s")) == ROUNDS
        for both in load.values():
            assert len(both["bare"]) == len(both["served"]) == ROUNDS
            assert min(both["bare"] + both["served"]) > 0
    assert report["decode_share"] > 0
    found = report["footprint"]
    for held in (found["worker"], found["bare"], found["idle"]["arbiter"]):
        assert 0 < held["pss_bytes"] <= held["rss_bytes"] <= held["peak_bytes"]
    assert found["start_s"]["served"][0] > 0
    assert "bar 95%" in done.stderr


@pytest.mark.parametrize(
    "arguments",
    [
        ["--rounds", "0"],
        ["--clients", "1,x"],
        ["--set", "SLOTS=1"],
        ["--set", "EDGE_SLOTS"],
        ["--bundle", "a", "--model", "b"],
        ["--shape", "huge"],
        ["--bars", "decode,huge"],
        ["--flash-attn", "maybe"],
    ],
)
def test_bad_arguments_are_refused(arguments, capsys):
    with pytest.raises(SystemExit) as refused:
        bench.parser().parse_args(arguments)
    assert refused.value.code == 2
    assert arguments[0] in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--peer", "vllm"], "--peer is 'vllm', expected llama.cpp"),
        (["--bars", "decode", "--model", "m"], "bars are measured on the random model"),
    ],
)
def test_what_bars_cannot_be_measured_on_is_refused(arguments, message, capsys):
    assert bench.main(arguments) == bench.FAILED
    assert message in capsys.readouterr().err


def test_a_peer_that_cannot_be_had_ends_the_benchmark(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(run_bars.source, "PACKAGE", "no-such-package-of-phial")
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    arguments = ["--peer", "llama.cpp", "--cache", str(tmp_path / "cache"), "--bars", "decode"]
    assert bench.main(arguments) == bench.FAILED
    assert "pip cannot download no-such-package-of-phial" in capsys.readouterr().err


@pytest.mark.torch
def test_bars_are_measured_against_a_peer_in_the_cache(model, tmp_path, monkeypatch, capsys):
    """The whole way but the compilation: a stub stands where the build would have left a server."""
    monkeypatch.setattr(subject, "CACHE", tmp_path / "models")
    for kind in ("model", "stock"):
        (tmp_path / "models" / "tiny").mkdir(parents=True, exist_ok=True)
        (tmp_path / "models" / "tiny" / kind).symlink_to(model)
    cache = tmp_path / "cache"
    sources = cache / source.FOLDER / "vendor" / "llama.cpp"
    sources.mkdir(parents=True)
    (sources / "CMakeLists.txt").touch()
    stub.install(cache / f"llama.cpp-{source.VERSION}" / "bin" / "llama-server", ROOT)
    bars = "decode,together,prefill,history,arrival,python,roofline"
    arguments = ["--peer", "llama.cpp", "--shape", "tiny", "--cache", str(cache), "--json"]
    arguments += ["--bars", bars, "--rounds", "1", "--threads", "1", "--clients", "2"]
    monkeypatch.setattr(prompt, "UNDISTURBED_S", 0.02)
    assert bench.main(arguments) == 0
    report = json.loads(capsys.readouterr().out)
    assert list(report["bars"]) == bars.split(",")
    found = [row for bar in report["bars"].values() for row in bar["outcome"]["rows"]]
    assert {row["verdict"] for row in found} <= {"met", "missed", ""}
    assert len(found) > 10
    assert "int4 in blocks of 128" in report["model"]
    assert source.VERSION in report["peer"]
    assert (cache / "tiny-q4_0.gguf").is_file()


def test_a_folder_without_a_bundle_is_named(tmp_path, capsys):
    assert bench.main(["--bundle", str(tmp_path)]) == bench.FAILED
    assert bundle.MANIFEST_NAME in capsys.readouterr().err


def test_a_folder_without_a_model_is_named(tmp_path, capsys):
    assert bench.main(["--model", str(tmp_path)]) == bench.FAILED
    assert str(tmp_path) in capsys.readouterr().err
