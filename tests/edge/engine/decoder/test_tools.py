"""Random models of several shapes that must call a tool: they do, side by side with others."""

from __future__ import annotations

import pytest

from edge.calls import CallReader
from edge.engine.genai_tokenizer import GenaiTokenizer
from edge.generation import Sampling, ToolCall, ToolUse
from tests.edge.engine import templates
from tests.edge.engine.decoder import driving
from tests.edge.engine.tool_samples import ORDER, TOOLS, WEATHER, is_valid

MOST_TOKENS = 400
ONCE = ToolUse((WEATHER, ORDER), is_required=True, is_parallel=False)


def calls_of(tokenizer, ids, ends):
    """The calls that an answer holds, with nothing beside them."""
    reader = CallReader(tokenizer.tool_format, [tool.name for tool in TOOLS])
    stream = tokenizer.stream(shows_markers=True)
    deltas = []
    for token in ids:
        if token not in ends:
            reading = reader.read(stream(token))
            assert reading.text == ""
            deltas += reading.calls
    names = [delta.name for delta in deltas if delta.name]
    texts = [
        "".join(delta.arguments for delta in deltas if delta.index == index)
        for index in range(len(names))
    ]
    return [ToolCall("", *pair) for pair in zip(names, texts, strict=True)]


@pytest.mark.parametrize("template", [templates.PLAIN, templates.BARE], ids=["tagged", "bare"])
@pytest.mark.parametrize("name", ["phi3", "llama", "qwen2", "gemma2"])
def test_a_call_that_is_required_is_made(exports, name, template):
    engine = driving.load(exports / name)
    tokenizer = GenaiTokenizer(exports / name, template)
    prompt = tokenizer.encode("What is the weather?")
    rows = [
        engine.open(
            prompt,
            MOST_TOKENS,
            Sampling(temperature=1.0, seed=seed),
            constraint=tokenizer.constrain_calls(ONCE, None) if seed % 3 else None,
        )
        for seed in range(6)
    ]
    answers = driving.run(engine, rows, MOST_TOKENS)
    for seed, ids in enumerate(answers):
        if seed % 3:
            assert ids[-1] in engine.limits.eos_ids
            (call,) = calls_of(tokenizer, ids, engine.limits.eos_ids)
            assert is_valid(call)
    assert engine._placement.rows == []
    engine.shutdown()


def test_a_greedy_call_does_not_depend_on_its_neighbours(exports):
    engine = driving.load(exports / "llama")
    tokenizer = GenaiTokenizer(exports / "llama", templates.PLAIN)
    prompt = tokenizer.encode("What is the weather?")

    def answer(beside):
        rows = [
            engine.open(
                prompt,
                MOST_TOKENS,
                Sampling(temperature=0),
                constraint=tokenizer.constrain_calls(ONCE, None),
            )
        ]
        rows += [engine.open(prompt[: 1 + n], 40, Sampling(seed=n)) for n in range(beside)]
        limit = MOST_TOKENS if not beside else 40
        return driving.run(engine, rows, limit)[0]

    alone, together = answer(0), answer(4)
    assert alone[: len(together)] == together
    engine.shutdown()
