"""The speed of a model folder: figures that hang together, from real runs."""

import shutil
from pathlib import Path

import pytest

from build import measure
from build.errors import InvalidModel
from build.measure import Speed


@pytest.fixture(scope="module")
def speed(demo_model: Path) -> Speed:
    return measure.measure(demo_model, 2048, repeats=2)


def test_every_figure_is_a_positive_number(speed: Speed) -> None:
    metrics = speed.metrics()
    assert set(metrics) == {
        "load_seconds",
        "time_to_first_token_seconds",
        "prefill_tokens_per_second",
        "decode_tokens_per_second",
        "prompt_tokens",
        "new_tokens",
    }
    assert all(isinstance(value, float) and value > 0 for value in metrics.values())


def test_the_first_token_takes_at_least_the_prefill(speed: Speed) -> None:
    prefill_s = speed.prompt_tokens / speed.prefill_tokens_per_second
    assert speed.time_to_first_token_seconds > prefill_s / 2
    assert (speed.prompt_tokens, speed.new_tokens) == (128, 64)


def test_a_short_context_is_measured_within_it(demo_model: Path) -> None:
    short = measure.measure(demo_model, 16, repeats=1)
    assert (short.prompt_tokens, short.new_tokens) == (8, 8)
    assert short.decode_tokens_per_second > 0


def test_a_model_that_does_not_run_is_refused(demo_model: Path, tmp_path: Path) -> None:
    broken = Path(shutil.copytree(demo_model, tmp_path / "broken"))
    (broken / "model.onnx").write_bytes(b"")
    with pytest.raises(InvalidModel, match="onnxruntime-genai does not run the model"):
        measure.measure(broken, 2048)
