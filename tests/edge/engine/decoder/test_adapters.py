"""LoRA adapters: each row answers as its own adapter alone would, whatever runs beside it.

The judge is onnxruntime-genai with its own adapters, a sequence at a time.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import onnxruntime_genai as og
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edge.engine.decoder.engine import DecoderEngine
from edge.engine.decoder.prefixes import LEAST_TOKENS
from edge.errors import EngineFailed, StartupError
from edge.generation import Sampling
from tests import adapting
from tests.edge.engine.decoder.driving import (
    GREEDY,
    SLOTS,
    Fixed,
    Job,
    Tally,
    check_slots,
    load,
    prompt_of,
    run,
    simulate,
)
from tests.edge.engine.decoder.test_speculation import Prophet

NAMES = ("", *adapting.NAMES)
NEAR = 1e-4  # of logits: float activations, whatever the cut
APART = 0.5
LAYERS_OFF_THE_END = "model.layers.7.attn.qkv_proj.lora_A.weight"

JOBS = st.lists(
    st.builds(
        Job,
        arrives=st.integers(0, 30),
        length=st.one_of(st.integers(1, 12), st.integers(1, 120)),
        seed=st.integers(0, 1000),
        max_tokens=st.integers(1, 24),
        leaves=st.one_of(st.none(), st.integers(0, 25)),
        head=st.sampled_from([0, 20, 90, 200]),
        adapter=st.sampled_from(NAMES),
    ),
    min_size=2,
    max_size=12,
)
CHUNKS = st.lists(st.integers(1, 70), min_size=1, max_size=4)


class Judge:
    """onnxruntime-genai's generator with its own adapters."""

    def __init__(self, folder: Path) -> None:
        self._model = og.Model(str(folder))
        self._adapters = og.Adapters(self._model)
        for name in adapting.NAMES:
            self._adapters.load(str(folder / f"{name}.onnx_adapter"), name)

    def logits(self, prompt: np.ndarray, tokens: Sequence[int], adapter: str) -> Iterator:
        """The logits that precede each of `tokens`, float32 of shape (vocab,)."""
        params = og.GeneratorParams(self._model)
        params.set_search_options(max_length=len(prompt) + len(tokens))
        generator = og.Generator(self._model, params)
        if adapter:
            generator.set_active_adapter(self._adapters, adapter)
        for part in (prompt, *np.array(tokens[:-1], np.int32).reshape(-1, 1)):
            generator.append_tokens(np.ascontiguousarray(part))
            yield generator.get_logits().reshape(-1)

    def gaps(self, prompt: np.ndarray, tokens: Sequence[int], adapter: str) -> list[float]:
        """How far each of `tokens` was from being chosen: 0 where it has the highest logit."""
        rows = self.logits(prompt, tokens, adapter) if tokens else ()
        pairs = zip(rows, tokens, strict=True)
        return [float(row.max() - row[token]) for row, token in pairs]


@pytest.fixture(scope="module")
def judge(adapting_model) -> Judge:
    return Judge(adapting_model)


def tensors_of(folder: Path) -> dict[str, adapting.Tensors]:
    model = folder / "model.onnx"
    return {
        name: adapting.values(model, seed, 3 * seed) for seed, name in enumerate(adapting.NAMES, 1)
    }


@pytest.fixture(scope="module")
def caching(adapting_model) -> Iterator[DecoderEngine]:
    """An engine with room for four prefixes."""
    engine = load(adapting_model, prefixes=4, adapters=tensors_of(adapting_model))
    yield engine
    engine.shutdown()


@pytest.fixture
def engine(caching) -> DecoderEngine:
    """The same, empty before and after."""
    assert caching._placement.rows == []
    caching._pace = Fixed(32)
    caching.keep(0)
    return caching


def ask(engine, prompt, adapter, tokens=8):
    """Answer `prompt` alone: the tokens, and how many of the prompt were cached."""
    row = engine.open(prompt, tokens, GREEDY, adapter=adapter)
    said, cached = [], 0
    while len(said) < tokens:
        (step,) = engine.advance([row])
        assert step.error is None
        cached += step.cached
        said += [step.choice.token] if step.choice else []
    engine.close(row)
    return said, cached


def logits_of(engine, adapter, prompt, chunk=512, slot=0):
    """The engine's logits after `prompt`."""
    found = None
    for start in range(0, len(prompt), chunk):
        found = engine._runs.prefill(slot, prompt[start : start + chunk], start, adapter)
    return found.copy()


@pytest.mark.parametrize("adapter", NAMES)
@pytest.mark.parametrize("chunk", [1, 7, 512])
def test_logits_are_those_of_the_adapter_alone(engine, judge, adapter, chunk):
    prompt = prompt_of(60, engine.limits)
    (expected,) = judge.logits(prompt, [0], adapter)
    assert np.allclose(logits_of(engine, adapter, prompt, chunk, slot=2), expected, atol=NEAR)


def test_adapters_make_a_difference(engine):
    """Or all that follows would prove nothing."""
    prompt = prompt_of(60, engine.limits)
    found = [logits_of(engine, adapter, prompt) for adapter in NAMES]
    for one, other in ((0, 1), (0, 2), (1, 2)):
        assert np.abs(found[one] - found[other]).max() > APART


def test_the_base_model_is_what_it_was(engine, paired, exact_model):
    """Before and after runs with adapters: nothing of them stays bound."""
    plain = paired(exact_model).engine
    prompts = [prompt_of(length, engine.limits, length) for length in (4, 30, 77)]
    expected = [logits_of(plain, "", prompt) for prompt in prompts]
    for adapter in ("", *adapting.NAMES):
        for prompt, logits in zip(prompts, expected, strict=True):
            logits_of(engine, adapter, prompt)
            assert np.allclose(logits_of(engine, "", prompt), logits, atol=NEAR)


def test_any_schedule_of_rows_of_several_adapters(caching, judge):
    tally = Tally()

    @settings(max_examples=40, deadline=None)
    @given(JOBS, CHUNKS)
    def any_schedule(jobs, chunks):
        ended = simulate(caching, jobs, chunks)
        assert len(ended) == len(jobs)
        for said in ended:
            tally.cached += said.cached
            tally.add(judge.gaps(said.prompt, said.tokens, said.job.adapter))
            assert tally.worst <= NEAR

    any_schedule()
    print(f"{tally}")
    assert tally.tokens > 500
    assert tally.cached > 500
    assert tally.ties <= 2 + tally.tokens // 1000


@pytest.mark.parametrize("order", [(0, 0, 1, 1, 2, 2), (0, 1, 2, 0, 1, 2), (1, 0, 0, 2, 2, 1)])
def test_full_slots_in_any_order(engine, judge, order):
    prompts = [prompt_of(3 + 19 * n, engine.limits, n) for n in range(SLOTS)]
    rows = [
        engine.open(prompt, 20, GREEDY, adapter=NAMES[place])
        for prompt, place in zip(prompts, order, strict=True)
    ]
    answers = run(engine, rows, 20)
    for prompt, tokens, place in zip(prompts, answers, order, strict=True):
        assert max(judge.gaps(prompt, tokens, NAMES[place])) <= NEAR


@pytest.fixture
def runs(engine, monkeypatch):
    """The runs of one step over `rows`: first slot, rows, adapter."""
    found, decode = [], engine._runs.decode

    def watch(tokens, lengths, slot, adapter):
        found.append((slot, len(tokens), adapter))
        return decode(tokens, lengths, slot, adapter)

    monkeypatch.setattr(engine._runs, "decode", watch)

    def step(rows):
        found.clear()
        engine.advance(rows)
        return list(found)

    return step


def start(engine, order):
    """Rows of the adapters in `order`, ready to decode."""
    prompts = [prompt_of(10 + n, engine.limits, n) for n in range(len(order))]
    rows = [engine.open(p, 40, GREEDY, adapter=a) for p, a in zip(prompts, order, strict=True)]
    while any(row.is_prefilling for row in rows):
        engine.advance(rows)
        check_slots(engine)
    return rows


@pytest.mark.parametrize(
    "order",
    [
        ("pirate", "pirate", "", "poet", "poet", "poet"),
        ("pirate", "", "poet", "pirate", "poet", "poet"),
        ("pirate", "poet", "", "poet", "pirate", "poet"),
    ],
)
def test_rows_of_one_adapter_share_a_run(engine, runs, order):
    """They lie side by side, in whatever order they came."""
    rows = start(engine, order)
    found = runs(rows)
    assert sorted((adapter, count) for _, count, adapter in found) == [
        ("", 1),
        ("pirate", 2),
        ("poet", 3),
    ]
    assert [slot for slot, _, _ in found] == [0, *np.cumsum([count for _, count, _ in found])[:-1]]
    for leaver in (rows[1], rows[0], rows[4]):
        engine.close(leaver)
        rows.remove(leaver)
        check_slots(engine)
        left = {row.adapter for row in rows}
        assert {adapter for _, _, adapter in runs(rows)} == left
        assert len(runs(rows)) == len(left)
    for row in rows:
        engine.close(row)


def test_prefixes_are_never_shared_between_adapters(engine, judge):
    prompt = prompt_of(80, engine.limits, seed=3)
    for adapter in NAMES:
        said, cached = ask(engine, prompt, adapter)
        assert cached == 0
        assert max(judge.gaps(prompt, said, adapter)) <= NEAR
    for adapter in NAMES:
        said, cached = ask(engine, prompt, adapter)
        assert cached == len(prompt) - 1
        assert max(judge.gaps(prompt, said, adapter)) <= NEAR


def test_a_running_row_lends_only_to_its_adapter(engine, judge):
    prompt = prompt_of(70, engine.limits, seed=4)
    first = engine.open(prompt, 40, GREEDY, adapter="pirate")
    while first.is_prefilling:
        engine.advance([first])
    found = {}
    for adapter in NAMES:
        row, cached, tokens = engine.open(prompt, 4, GREEDY, adapter=adapter), 0, []
        while len(tokens) < 4:
            step = engine.advance([first, row])[1]
            cached += step.cached
            tokens += [step.choice.token] if step.choice else []
        engine.close(row)
        found[adapter] = cached
        assert max(judge.gaps(prompt, tokens, adapter)) <= NEAR
    engine.close(first)
    assert found == {"": 0, "pirate": 69, "poet": 0}


def test_an_ended_row_replaces_only_prefixes_of_its_adapter(engine):
    """A longer sequence stands for the shorter one that it repeats, of the same adapter alone."""
    prompt = prompt_of(60, engine.limits, seed=5)
    head = prompt[: LEAST_TOKENS + 4]
    for ids, adapter in ((head, ""), (head, "poet"), (prompt, "poet")):
        ask(engine, ids, adapter, tokens=1)
    kept = {(prefix.adapter, len(prefix.ids)) for prefix in engine._placement.prefixes._kept}
    assert kept == {("", len(head)), ("poet", len(prompt))}


def test_a_preloaded_prompt_is_the_base_models(engine):
    prompt = prompt_of(50, engine.limits, seed=6)
    engine.preload(prompt)
    longer = np.concatenate([prompt, prompt_of(5, engine.limits)]).astype(np.int32)
    assert [ask(engine, longer, adapter)[1] for adapter in ("poet", "")] == [0, 50]


@pytest.mark.parametrize("adapter", NAMES)
def test_scores_of_a_prompt_are_the_adapters(engine, judge, adapter):
    prompt = prompt_of(12, engine.limits, seed=8)
    scoring = Sampling(temperature=0, logprobs=0)
    row = engine.open(prompt, 1, scoring, echo_logprobs=True, adapter=adapter)
    found = []
    while row.is_prefilling:
        (step,) = engine.advance([row])
        found += [choice.logprob for choice in step.prompt_choices]
    engine.close(row)
    expected = []
    for token, logits in zip(
        prompt[1:], judge.logits(prompt[:1], prompt[1:], adapter), strict=True
    ):
        wide = logits.astype(np.float64)
        expected.append(wide[token] - np.log(np.exp(wide - wide.max()).sum()) - wide.max())
    assert found[0] is None
    assert np.allclose(found[1:], expected, atol=10 * NEAR)


@pytest.mark.parametrize("adapter", NAMES)
def test_drafts_are_verified_by_the_adapter(adapting_model, judge, adapter):
    engine = load(adapting_model, speculates=True, adapters=tensors_of(adapting_model))
    engine._pace = Fixed(64)
    verified, verify = [], engine._runs.verify

    def watch(slot, tokens, seen, chosen):
        verified.append(chosen)
        return verify(slot, tokens, seen, chosen)

    engine._runs.verify = watch
    for seed in range(6):
        prompt = prompt_of(32, engine.limits, seed)
        (plain,) = run(engine, [engine.open(prompt, 50, GREEDY, adapter=adapter)], 50)
        row = engine.open(prompt, 50, GREEDY, adapter=adapter)
        row.drafter = Prophet(engine._costs, prompt, plain)
        assert run(engine, [row], 50) == [plain]
        assert max(judge.gaps(prompt, plain, adapter)) <= NEAR
    assert len(verified) > 3
    assert set(verified) == {adapter}
    engine.shutdown()


def test_an_unknown_adapter_is_refused(engine):
    with pytest.raises(EngineFailed, match="no such adapter"):
        engine.open(prompt_of(5, engine.limits), 5, GREEDY, adapter="parrot")
    assert engine._placement.rows == []


@pytest.mark.parametrize(
    ("name", "array", "told"),
    [
        (LAYERS_OFF_THE_END, np.zeros((256, 4), np.float32), "is no input of the graph"),
        ("logits_positions", np.array([-1]), "is no input of the graph"),
        ("input_ids", np.zeros((1, 1), np.int64), "is no input of the graph"),
        ("", np.zeros((7, 4), np.float32), r"is float32 \[7, 4\], expected float32 \[256, 'any'\]"),
        ("", np.zeros((256, 4), np.float16), r"is float16 \[256, 4\], expected float32"),
        ("", np.zeros(256, np.float32), r"is float32 \[256\], expected float32"),
    ],
)
def test_values_that_do_not_fit_the_graph(adapting_model, name, array, told):
    place = name or "model.layers.0.attn.qkv_proj.lora_A.weight"
    with pytest.raises(StartupError, match=f"adapter odd: {place} {told}"):
        load(adapting_model, adapters={"odd": {place: array}})


def test_a_graph_without_lora_takes_none(exact_model, adapting_model):
    with pytest.raises(StartupError) as caught:
        load(exact_model, adapters=tensors_of(adapting_model))
    assert len(caught.value.problems) == sum(map(len, tensors_of(adapting_model).values()))
