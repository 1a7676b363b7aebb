"""From a model folder to an engine, or to the reason why there is none."""

from __future__ import annotations

import gc
import json
import shutil

import pytest

from edge.engine.decoder.engine import DecoderEngine
from edge.engine.decoder.opening import Misfit
from edge.errors import StartupError
from tests.edge.engine.decoder.driving import GREEDY, load, prompt_of, run


@pytest.fixture
def folder(demo_model, tmp_path):
    return shutil.copytree(demo_model, tmp_path / "model")


def is_loaded(folder):
    """Whether the process has the weights in `folder` mapped, as the runtime does on loading."""
    gc.collect()
    with open("/proc/self/maps") as maps:
        return any(str(folder) in line for line in maps)


def test_an_engine_has_the_slots_and_the_room_that_were_asked_for(folder):
    engine = load(folder, slots=3, row_tokens=40)
    assert isinstance(engine, DecoderEngine)
    assert is_loaded(folder)
    rows = [engine.open(prompt_of(20, engine.limits, seed), 20, GREEDY) for seed in range(3)]
    assert [len(tokens) for tokens in run(engine, rows, 2)] == [2] * 3
    engine.shutdown()


def test_a_model_that_does_not_fit_is_let_go(folder):
    """Found out once it is loaded: it must not stay in memory beside the engine that serves it."""
    path = folder / "genai_config.json"
    config = json.loads(path.read_text())
    config["model"]["vocab_size"] += 1
    path.write_text(json.dumps(config))
    with pytest.raises(Misfit, match="logits is float32"):
        load(folder)
    assert not is_loaded(folder)


def test_a_model_that_the_runtime_cannot_load(folder):
    (folder / "model.onnx.data").unlink()
    with pytest.raises(StartupError) as caught:
        load(folder)
    assert caught.value.problems[0].startswith("model: the runtime cannot load it: ")


def test_slots_that_no_address_space_can_hold(folder):
    with pytest.raises(StartupError) as caught:
        load(folder, slots=1 << 40)
    assert "EDGE_SLOTS" in caught.value.problems[0]
    assert not is_loaded(folder)
