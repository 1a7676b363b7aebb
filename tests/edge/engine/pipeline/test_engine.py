"""What the engine promises beside its tokens: scores, draws, cancels, failures, memory."""

from __future__ import annotations

import dataclasses
import threading

import numpy as np
import pytest

from edge import cpu
from edge.engine.pipeline import opening
from edge.engine.pipeline.runner import Piece
from edge.errors import EngineFailed, InvalidRequest, StartupError
from edge.generation import Sampling
from tests.edge.engine.pipeline import families
from tests.edge.engine.pipeline.conftest import manifest, options

GREEDY = Sampling(temperature=0)
PROMPT = np.arange(2, 30, dtype=np.int32)


@pytest.fixture(scope="module")
def pair(pair_of):
    """The engine and its reference on a llama."""
    return pair_of("llama")


@pytest.fixture
def engine(pair):
    """The engine alone."""
    return pair.engine


def finish(engine, row, tokens):
    """Steps of a row that runs by itself until it has `tokens`."""
    steps = []
    while sum(step.choice is not None for step in steps) < tokens:
        (step,) = engine.advance([row])
        assert step.error is None
        steps.append(step)
    engine.close(row)
    return steps


def said(engine, sampling, tokens=12, **how):
    row = engine.open(PROMPT, tokens, sampling, **how)
    return [step.choice.token for step in finish(engine, row, tokens) if step.choice]


def log_softmax(logits):
    shifted = logits - logits.max(axis=-1, keepdims=True)
    return shifted - np.log(np.exp(shifted).sum(axis=-1, keepdims=True))


def test_log_probabilities_are_those_of_the_model(pair):
    engine, reference = pair
    row = engine.open(PROMPT, 6, Sampling(temperature=0, logprobs=3))
    choices = [step.choice for step in finish(engine, row, 6) if step.choice]
    tokens = [*PROMPT.tolist(), *(choice.token for choice in choices)]
    scores = log_softmax(reference.logits(tokens))[len(PROMPT) - 1 :]
    for choice, own in zip(choices, scores[:-1], strict=True):
        assert choice.logprob == pytest.approx(own[choice.token], abs=1e-3)
        assert [token for token, _ in choice.top] == np.argsort(-own)[:3].tolist()


def test_a_prompt_is_scored_through_its_chunks(pair):
    engine, reference = pair
    sampling = Sampling(temperature=0, logprobs=1)
    row = engine.open(PROMPT, 1, sampling, echo_logprobs=True)
    steps = finish(engine, row, 1)
    choices = [choice for step in steps for choice in step.prompt_choices]
    assert [choice.token for choice in choices] == PROMPT.tolist()
    assert choices[0].logprob is None
    scores = log_softmax(reference.logits(PROMPT.tolist()))
    wanted = scores[np.arange(len(PROMPT) - 1), PROMPT[1:]]
    assert [c.logprob for c in choices[1:]] == pytest.approx(wanted.tolist(), abs=1e-3)


def test_a_seed_repeats_a_draw_whoever_else_runs(engine):
    drawn = Sampling(temperature=1.5, seed=11)
    alone = said(engine, drawn)
    other = engine.open(PROMPT[:5], 40, GREEDY)
    row = engine.open(PROMPT, 12, drawn)
    beside = []
    while len(beside) < 12:
        _, step = engine.advance([other, row])
        beside += [step.choice.token] if step.choice else []
    assert beside == alone
    assert said(engine, dataclasses.replace(drawn, seed=12)) != alone


class Only:
    """A grammar that allows one token."""

    def __init__(self, token):
        self.token = token
        self.accepted = []

    def allowed(self, vocab_size):
        mask = np.zeros(vocab_size, dtype=np.bool_)
        mask[self.token] = True
        return mask

    def forced(self):
        return [self.token]

    def accept(self, token):
        self.accepted.append(token)


def test_a_grammar_decides(engine):
    grammar = Only(77)
    assert said(engine, GREEDY, 4, constraint=grammar) == [77] * 4
    assert grammar.accepted == [77] * 4


def test_a_cancel_ends_a_prefill_and_the_row_goes_on(engine, pair):
    """The chunk under way is dropped; the same row then says what it would have said."""
    row = engine.open(PROMPT, 5, GREEDY)
    runner, run = engine._runner, engine._runner._forward

    def cancelled(pieces, cache):
        engine.interrupt(row)
        return run(pieces, cache)

    runner._forward = cancelled
    try:
        (step,) = engine.advance([row])
    finally:
        del runner._forward
    assert (step.prefilled, step.choice, step.error) == (0, None, None)
    tokens = [s.choice.token for s in finish(engine, row, 5) if s.choice]
    assert tokens == pair.reference.greedy(PROMPT, 5)


def test_a_cancel_of_a_prompt_costs_the_others_nothing(engine, pair):
    running = engine.open(PROMPT[:9], 8, GREEDY)
    tokens = [engine.advance([running])[0].choice.token]
    row = engine.open(PROMPT, 5, GREEDY)
    runner, run = engine._runner, engine._runner._forward

    def cancelled(pieces, cache):
        engine.interrupt(row)
        return run(pieces, cache)

    runner._forward = cancelled
    try:
        kept, dropped = engine.advance([running, row])
    finally:
        del runner._forward
    assert dropped.prefilled == 0
    engine.close(row)
    tokens.append(kept.choice.token)
    while len(tokens) < 8:
        tokens.append(engine.advance([running])[0].choice.token)
    engine.close(running)
    assert tokens == pair.reference.greedy(PROMPT[:9], 8)


def test_a_late_cancel_ends_nothing(engine, pair):
    """Of a row that is not being read: neither this call nor the next is ended."""
    row = engine.open(PROMPT, 4, GREEDY)
    engine.interrupt(row)
    assert [s.choice.token for s in finish(engine, row, 4) if s.choice] == pair.reference.greedy(
        PROMPT, 4
    )


def test_a_failure_strikes_the_prompt_that_was_read(engine, pair):
    running = engine.open(PROMPT[:9], 4, GREEDY)
    tokens = [engine.advance([running])[0].choice.token]
    broken = engine.open(PROMPT, 4, GREEDY)
    broken.memory = engine._runner.room(1)  # where the chunk does not fit
    kept, failed = engine.advance([running, broken])
    assert isinstance(failed.error, EngineFailed)
    assert str(failed.error) == "the runtime failed on this request"
    tokens.append(kept.choice.token)
    assert tokens == pair.reference.greedy(PROMPT[:9], 2)


def test_what_it_cannot_honour_is_refused(engine):
    with pytest.raises(InvalidRequest, match="logit_bias"):
        engine.open(PROMPT, 4, Sampling(logit_bias={families.VOCABULARY: 1.0}))
    with pytest.raises(EngineFailed, match="adapters"):
        engine.open(PROMPT, 4, GREEDY, adapter="pirate")


def test_what_a_row_takes_is_what_its_tokens_take(engine):
    layers, heads, size, keys_and_values, float32 = 3, 2, 8, 2, 4
    token_bytes = layers * heads * size * keys_and_values * float32
    assert engine.limits.kv_bytes_per_token == token_bytes
    assert engine.open(PROMPT, 4, GREEDY).kv_bytes == (len(PROMPT) + 4) * token_bytes


def test_memory_is_committed_by_use_and_given_back(folder_of):
    engine = opening.load(folder_of("llama"), manifest(context_length=1 << 22), options())
    before = cpu.resident_bytes()
    rows = [engine.open(PROMPT, 200_000, GREEDY) for _ in range(8)]
    assert sum(row.kv_bytes for row in rows) > 500 << 20
    for _ in range(3):
        engine.advance(rows)
    assert cpu.resident_bytes() - before < 60 << 20
    for row in rows:
        engine.close(row)
        assert row.memory is None


def test_another_number_of_threads_is_taken_between_steps(engine, pair):
    row = engine.open(PROMPT, 6, GREEDY)
    tokens = [engine.advance([row])[0].choice.token]
    changer = threading.Thread(target=engine.rethread, args=[1])
    changer.start()
    changer.join()
    tokens += [step.choice.token for step in finish(engine, row, 5)]
    engine.rethread(2)
    assert tokens == pair.reference.greedy(PROMPT, 6)


@pytest.mark.parametrize(
    ("dtype", "least"), [("bfloat16", 0.9), ("float16", 0.9)], ids=["bf16", "fp16"]
)
def test_half_precision_is_near_the_model(folder_of, pair, dtype, least):
    engine = opening.load(folder_of("llama"), manifest(), options(dtype=dtype))
    assert engine.limits.kv_bytes_per_token * 2 == pair.engine.limits.kv_bytes_per_token
    assert _likeness(engine, pair.reference) > least


def test_int8_is_near_the_model_and_smaller(folder_of, pair):
    engine = opening.load(folder_of("llama"), manifest(), options(quantize="int8"))
    assert _likeness(engine, pair.reference) > 0.9
    kinds = {type(module).__module__ for module in engine._runner._model.modules()}
    assert any("quantized.dynamic" in kind for kind in kinds)
    assert type(engine._runner._model.lm_head).__module__ != "torch.nn.modules.linear"


def _likeness(engine, reference):
    """The correlation of the logits after a prompt."""
    memory = engine._runner.room(len(PROMPT))
    (own,) = engine._runner.run([Piece(memory, PROMPT, 0, True)])
    wanted = reference.logits(PROMPT.tolist())
    return float(np.corrcoef(own.ravel(), wanted.ravel())[0, 1])


def test_weights_that_are_missing_are_named(folder_of, tmp_path):
    import shutil

    from safetensors.numpy import load_file, save_file

    folder = shutil.copytree(folder_of("llama"), tmp_path / "model")
    tensors = load_file(folder / "model.safetensors")
    gone = tensors.pop("model.layers.1.mlp.up_proj.weight")
    tensors["model.layers.1.mlp.sideways.weight"] = gone
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(StartupError) as raised:
        opening.load(folder, manifest(), options())
    problems = "\n".join(raised.value.problems)
    assert "no weights for model.layers.1.mlp.up_proj.weight" in problems
    assert "does not know: model.layers.1.mlp.sideways.weight" in problems


@pytest.mark.parametrize(
    ("name", "content", "reason"),
    [
        ("config.json", b"{", "transformers cannot load it"),
        ("config.json", b'{"model_type": "nothing"}', "transformers cannot load it"),
        ("config.json", b'{"model_type": "t5"}', "encoder-decoder"),
        ("model.safetensors", b"\0" * 64, "transformers cannot load it"),
    ],
    ids=["broken", "unknown", "encoder", "damaged"],
)
def test_a_model_that_cannot_be_loaded_ends_the_start(folder_of, tmp_path, name, content, reason):
    import shutil

    folder = shutil.copytree(folder_of("llama"), tmp_path / "model")
    (folder / name).write_bytes(content)
    with pytest.raises(StartupError, match=reason):
        opening.load(folder, manifest(), options())
