"""Another number of threads while rows are in the engine: they do not notice."""

from __future__ import annotations

import shutil
import threading

import pytest

from edge.errors import EngineFailed
from tests.edge.engine.decoder.driving import GREEDY, Job, load, prompt_of, run, simulate


def test_running_answers_do_not_notice_other_threads(exact_model):
    """Token for token, with prompts coming in, rows moving and the graph loaded anew meanwhile."""
    jobs = [
        Job(arrives=3 * n, length=20 + 30 * (n % 4), seed=n, max_tokens=30, leaves=None)
        for n in range(8)
    ]
    still, changed = load(exact_model), load(exact_model)
    expected = [(said.job, said.tokens) for said in simulate(still, jobs, [17, 64])]
    is_over, given = threading.Event(), []

    def change():
        while not is_over.is_set():
            given.append(2 - len(given) % 2)
            changed.rethread(given[-1])

    worker = threading.Thread(target=change)
    worker.start()
    try:
        found = [(said.job, said.tokens) for said in simulate(changed, jobs, [17, 64])]
    finally:
        is_over.set()
        worker.join()
    assert found == expected
    assert len(given) > 1
    assert changed._runs._session.threads == given[-1]
    still.shutdown()
    changed.shutdown()


def test_a_model_that_cannot_be_loaded_anew_goes_on_as_it_was(exact_model, tmp_path):
    folder = tmp_path / "model"
    shutil.copytree(exact_model, folder)
    engine = load(folder)
    (folder / "model.onnx").write_bytes(b"broken")
    with pytest.raises(EngineFailed):
        engine.rethread(2)
    row = engine.open(prompt_of(5, engine.limits), 3, GREEDY)
    assert len(run(engine, [row], 3)[0]) >= 1
    engine.shutdown()
