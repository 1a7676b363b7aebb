"""LoRA adapters on their way into a bundle: what is read, what is refused, what is written."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto

from build import adapters, weights
from build.errors import InvalidModel
from build.options import Options
from build.source import Source
from build.validate import validate
from edge import tensors
from edge.bundle import Lineage, adapter_path
from tests import adapting

FIRST = "model.layers.0.attn.qkv_proj.lora_A.weight"
ZERO = {FIRST: np.zeros((256, 4), np.float32)}


@pytest.fixture
def lora(demo_model, tmp_path):
    """The demo model with LoRA inputs; its adapters lie beside the graph."""
    return adapting.copy(demo_model, tmp_path / "lora")


@pytest.fixture
def away(lora, tmp_path):
    """The file of an adapter somewhere else."""
    values = adapting.values(lora / "model.onnx", 9, rank=2)
    return adapting.write(tmp_path / "away.onnx_adapter", values)


@pytest.fixture
def check(findings):
    """`check(folder, name=file)`: the model as it would be sealed."""

    def run(folder, trial=False, lineage=None, **files):
        chosen = Options(trial=trial, adapters=tuple(files.items()))
        return validate(Source(folder, lineage or Lineage(), "demo"), chosen, findings)

    return run


@pytest.fixture
def problems(check):
    def run(folder, **files):
        with pytest.raises(InvalidModel) as caught:
            check(folder, **files)
        return list(caught.value.problems)

    return run


def test_an_adapter_becomes_a_file_of_the_bundle(cli, lora, away, tmp_path):
    out = tmp_path / "out"
    done = cli("export", lora, "--out", out, "--name", "demo", "--adapter", f"far={away}")
    assert done.status == 0, done.err
    assert "adapters" in done.out
    manifest = json.loads((out / "manifest.json").read_text())
    assert manifest["adapters"] == ["far"]
    assert adapter_path("far") in [file["path"] for file in manifest["files"]]
    found = tensors.read(out / adapter_path("far"))
    expected = adapting.values(lora / "model.onnx", 9, rank=2)
    assert found.keys() == expected.keys()
    assert all(np.array_equal(found[name], expected[name]) for name in expected)
    assert cli("verify", out).status == 0


def test_the_same_twice_to_the_last_byte(cli, lora, away, tmp_path):
    for name in ("one", "two"):
        flags = ("--adapter", f"far={away}", "--adapter", "poet=poet.onnx_adapter", "--skip-trial")
        assert cli("export", lora, "--out", tmp_path / name, *flags).status == 0
    files = {path.relative_to(tmp_path / "one") for path in (tmp_path / "one").rglob("*.*")}
    assert len(files) > 5
    for file in files:
        one, two = tmp_path / "one" / file, tmp_path / "two" / file
        assert one.read_bytes() == two.read_bytes()
        assert one.stat().st_mtime == two.stat().st_mtime
        assert one.stat().st_mode == two.stat().st_mode


def test_a_file_of_the_models_folder_by_its_name(check, lora):
    """It goes into the bundle once: as an adapter, not as a file of the model."""
    model = check(lora, pirate=Path("pirate.onnx_adapter"))
    assert model.adapters == {"pirate": (lora / "pirate.onnx_adapter").resolve()}
    assert "pirate.onnx_adapter" not in model.files
    assert "poet.onnx_adapter" in model.files


def test_a_file_here_goes_before_one_of_the_model(check, lora, away, monkeypatch):
    away.rename(away.with_name("pirate.onnx_adapter"))
    monkeypatch.chdir(away.parent)
    model = check(lora, pirate=Path("pirate.onnx_adapter"))
    assert model.adapters["pirate"] == away.with_name("pirate.onnx_adapter").resolve()


def test_a_file_that_nobody_named_is_pointed_out(check, lora, findings):
    check(lora, pirate=Path("pirate.onnx_adapter"))
    assert findings.advice == ["--adapter NAME=poet.onnx_adapter serves that LoRA adapter as well"]
    assert findings.facts["adapters"] == "pirate"


def test_a_model_without_adapters_has_none(check, demo_model, findings):
    assert check(demo_model).adapters == {}
    assert "adapters" not in findings.facts
    assert findings.advice == []


def test_lora_inputs_are_no_weights_of_the_model(lora, demo_model):
    """Two small matrices for every large one would have the label say fp32."""
    assert weights.read(lora / "model.onnx").precision == "int4"
    plain, adapted = weights.read(demo_model / "model.onnx"), weights.read(lora / "model.onnx")
    assert adapted.parameters == plain.parameters


def test_no_such_file(problems, lora):
    (problem,) = problems(lora, ghost=Path("ghost.onnx_adapter"))
    assert problem.startswith("--adapter ghost=ghost.onnx_adapter: there is no such file")


def test_a_link_out_of_the_models_folder_is_not_followed(problems, lora, away):
    (lora / "far.onnx_adapter").symlink_to(away)
    told = problems(lora, far=Path("far.onnx_adapter"))
    assert any("there is no such file" in problem for problem in told)
    assert any("leaves the model's folder" in problem for problem in told)


@pytest.mark.parametrize("cut", [0, 7, 900, -1])
def test_a_file_that_is_no_adapter(problems, lora, cut):
    path = lora / "pirate.onnx_adapter"
    path.write_bytes(path.read_bytes()[:cut] if cut >= 0 else b"PK\x03\x04" * 300)
    told = problems(lora, pirate=Path("pirate.onnx_adapter"))
    assert "--adapter pirate=pirate.onnx_adapter: pirate.onnx_adapter is no adapter file " in (
        " ".join(told)
    )
    assert str(lora) not in " ".join(told)


@pytest.mark.parametrize(
    ("values", "told"),
    [
        ({}, "the file holds no tensors"),
        (
            {"other.weight": np.zeros((2, 2), np.float32)},
            "1 of its 1 tensors are no optional input",
        ),
        ({**ZERO, "input_ids": np.zeros((1, 1), np.int64)}, "1 of its 2 tensors are no optional"),
        ({"logits_positions": np.zeros(1, np.int64)}, "no optional input of the graph: logits_pos"),
        (
            {FIRST: np.zeros((256, 4), np.float16)},
            "is float16 [256, 4], expected float32",
        ),
        (
            {FIRST: np.zeros((255, 4), np.float32)},
            "is float32 [255, 4], expected float32",
        ),
        ({FIRST: np.zeros(256, np.float32)}, "is float32 [256], expected float32 [256, 'any']"),
    ],
)
def test_values_that_do_not_fit(problems, lora, tmp_path, values, told):
    path = adapting.write(tmp_path / "odd.onnx_adapter", values)
    (problem,) = problems(lora, odd=path)
    assert problem.startswith(f"--adapter odd={path}: ")
    assert told in problem


def test_a_type_that_numpy_has_not(problems, lora, tmp_path):
    value = onnxruntime.OrtValue.ortvalue_from_numpy_with_onnx_type(
        np.zeros((256, 4), np.uint16), TensorProto.BFLOAT16
    )
    form = onnxruntime.AdapterFormat()
    form.set_parameters({FIRST: value})
    form.export_adapter(str(tmp_path / "odd"))
    (problem,) = problems(lora, odd=tmp_path / "odd")
    assert problem.endswith(f"{FIRST} is a tensor(bfloat16), which is not supported")


def test_a_graph_without_lora_inputs(problems, demo_model, away):
    (problem,) = problems(demo_model, far=away)
    assert "40 of its 40 tensors are no optional input of the graph" in problem
    assert "a graph for adapters has LoRA inputs with a default" in problem


def test_lora_inputs_without_a_default(problems, lora, away):
    """The base model could not run without them."""
    path = lora / "model.onnx"
    graph = onnx.load(path, load_external_data=False)
    kept = [tensor for tensor in graph.graph.initializer if "lora" not in tensor.name]
    graph.graph.ClearField("initializer")
    graph.graph.initializer.extend(kept)
    onnx.save(graph, path)
    (problem,) = problems(lora, far=away)
    assert "a graph for adapters has LoRA inputs with a default" in problem


@pytest.mark.parametrize("name", ["demo", "phi3", "3"])
def test_names_of_the_model_itself(check, lora, away, name):
    lineage = Lineage(model_name="phi3", model_version="3")
    with pytest.raises(InvalidModel, match="the model itself answers to that name"):
        check(lora, lineage=lineage, **{name: away})


def test_the_trial_runs_every_adapter(check, lora, away):
    assert check(lora, trial=True, far=away).adapters


def test_what_only_a_run_shows(check, lora, tmp_path):
    """A of one rank and B of another: each fits the graph, and both together do not."""
    path = lora / "model.onnx"
    low, high = adapting.values(path, 1, rank=2), adapting.values(path, 1, rank=3)
    mixed = {name: (low if "lora_A" in name else high)[name] for name in low}
    file = adapting.write(tmp_path / "mixed.onnx_adapter", mixed)
    assert check(lora, mixed=file).adapters
    with pytest.raises(InvalidModel) as caught:
        check(lora, trial=True, mixed=file)
    (problem,) = caught.value.problems
    assert problem.startswith("the runtime cannot run the model with adapter mixed: ")
    assert str(tmp_path) not in problem


def test_a_broken_graph_is_told_once(problems, lora, away):
    (lora / "model.onnx").write_bytes(b"no graph")
    assert any("model.onnx is not an ONNX model" in problem for problem in problems(lora, far=away))


def test_every_type_that_the_format_of_adapters_has_is_read(tmp_path):
    values = {
        name: np.ones((2, 3), dtype) for name, dtype in tensors.DTYPES.items() if name != "BOOL"
    }
    found = adapters.read(adapting.write(tmp_path / "all.onnx_adapter", values))
    assert {name: array.dtype for name, array in found.items()} == {
        name: array.dtype for name, array in values.items()
    }
