"""A model on the appliance's engine, in a process of its own."""

from __future__ import annotations

import numpy as np
import pytest

from build.errors import BuildFailed, InvalidModel
from build.optimize import subjects
from tests.build.optimize.conftest import CHAT, TEXT


@pytest.fixture(scope="module")
def subject(demo_model):
    with subjects.started(demo_model, "demo", threads=1) as running:
        yield running


def test_it_runs_on_the_engine_that_the_appliance_would_choose(subject):
    assert subject.engine == "decoder"
    assert (subject.vocab_size, subject.context_length) == (3072, 2048)


def test_text_becomes_the_model_s_tokens(subject, demo_model):
    import onnxruntime_genai as og

    ids = og.Tokenizer(og.Model(str(demo_model))).encode(TEXT)
    assert subject.encode(TEXT) == [int(token) for token in ids]


def test_a_score_is_the_model_s_own_opinion(subject, runner, demo_model):
    ids = subject.encode(CHAT + "The capital of Spain is Madrid.")
    scored = subject.score(ids)
    assert len(scored.logprobs) == len(scored.likeliest) == len(ids) - 1
    assert all(value <= 0 for value in scored.logprobs)
    # The prompt is given; of the answer the model is sure, word for word.
    start = len(subject.encode(CHAT))
    assert list(scored.likeliest[start:]) == ids[start + 1 :]
    assert min(scored.logprobs[start:]) > -0.5
    last = runner(demo_model).logits(CHAT)[-1]
    shifted = last - last.max()
    expected = shifted[ids[start]] - np.log(np.exp(shifted).sum())
    assert scored.logprobs[start - 1] == pytest.approx(expected, abs=0.05)


def test_a_lap_takes_its_time(subject):
    prefill_s, decode_s = subject.speed(list(range(20, 120)), 16)
    assert prefill_s > 0
    assert decode_s > 0


def test_an_answer_goes_up_to_its_end_or_its_limit(subject):
    question = "What is the capital of Spain?"
    chat = subject.answer(question, 24, is_chat=True)
    assert list(chat.prompt) == subject.encode(CHAT)
    assert list(chat.tokens) == subject.encode("The capital of Spain is Madrid.<|end|>")
    assert subject.answer(CHAT, 24, is_chat=False) == chat
    assert subject.answer(question, 3, is_chat=True).tokens == chat.tokens[:3]


def test_laps_leave_nothing_behind(subject):
    for _ in range(3):  # there is one slot only
        subject.speed(list(range(20, 40)), 2)
        subject.score(list(range(20, 40)))


def test_a_failure_names_the_model_and_the_reason(demo_model, tmp_path, onnx_folder):
    (onnx_folder / "tokenizer.json").write_text("{}")
    with (
        pytest.raises(BuildFailed, match=r"b7: "),
        subjects.started(onnx_folder, "b7", threads=1),
    ):
        pytest.fail("it started")


def test_a_process_that_dies_is_told_as_such(demo_model):
    with subjects.started(demo_model, "demo", threads=1) as running:
        running._process.kill()
        running._process.wait()
        with pytest.raises(BuildFailed, match=r"demo: .*signal 9.*memory"):
            running.encode("x")


def test_the_process_ends_with_the_context(demo_model):
    with subjects.started(demo_model, "demo", threads=1) as running:
        process = running._process
        assert process.poll() is None
    assert process.poll() is not None


def test_a_folder_that_is_no_model_starts_nothing(onnx_folder, edit):
    edit(onnx_folder, "model.vocab_size", None)
    with (
        pytest.raises(InvalidModel, match="vocab_size"),
        subjects.started(onnx_folder, "none", threads=1),
    ):
        pytest.fail("it started")
