"""How long the runtime's threads stay awake, told by the CPU time of this process."""

from __future__ import annotations

import time

import numpy as np
import pytest

from edge.engine import ort, spin

IDLE_S = 0.2


@pytest.fixture
def awake_s(demo_model):
    """CPU seconds that go by while nothing is asked of a session that has just run."""

    def measure(spins):
        session = ort.Session(demo_model / "model.onnx", threads=2, spin=spins)
        binding, arrays = ort.Binding(session), []
        for port in (*session.inputs, *session.outputs):
            # One row of 64 tokens; the KV cache holds as many, and has four heads of 64.
            shape = (1, 4, 64, 64) if len(port.shape) == 4 else (1, 64)
            shape = (1, 1, port.shape[-1]) if port.name == "logits" else shape
            arrays.append(np.ones(shape, dtype=port.dtype))
            bind = binding.input if port in session.inputs else binding.output
            bind(port.name, ort.Tensor.over(arrays[-1]))
        for _ in range(3):
            session.run(binding, ort.RunOptions())
        before_s = time.process_time()
        time.sleep(IDLE_S)
        spent_s = time.process_time() - before_s
        session.close()
        return spent_s

    return measure


@pytest.mark.parametrize("spins", [False, True])
def test_between_steps_the_threads_sleep(awake_s, spins):
    """The runtime's own default burns 15 ms and more after each run."""
    assert min(awake_s(spins) for _ in range(3)) < 0.005


def test_the_default_of_the_runtime_does_not(awake_s, monkeypatch):
    """Else the test above would tell nothing."""
    monkeypatch.setattr(spin, "entries", lambda _: {"session.intra_op.allow_spinning": "1"})
    assert max(awake_s(True) for _ in range(5)) > 0.005


def test_values_are_texts_as_the_runtime_wants_them():
    for spins in (False, True):
        entries = spin.entries(spins)
        assert all(isinstance(text, str) for text in (*entries, *entries.values()))
        assert entries["session.intra_op.allow_spinning"] == str(int(spins))
