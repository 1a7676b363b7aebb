"""From a request to tickets: what is checked before anything is queued."""

from __future__ import annotations

import dataclasses
import queue
import time

import numpy as np
import pytest

from edge import admission
from edge.admission import Rules
from edge.bundle import Defaults
from edge.engine.base import Limits
from edge.engine.scripted import BOS, MARKS, ByteTokenizer
from edge.errors import InvalidRequest, MemoryExceeded, PromptTooLong
from edge.generation import Guidance, Message, Prompt, Request, Sampling, Tool, ToolUse

RULES = Rules(
    tokenizer=ByteTokenizer(),
    limits=Limits(
        context_length=50, eos_ids=frozenset({257}), vocab_size=262, kv_bytes_per_token=8
    ),
    defaults=Defaults(max_tokens=20),
    kv_limit_bytes=1000,
    max_rows=6,
    deadline_s=60.0,
)


def tickets(request, **rules):
    return admission.tickets(request, dataclasses.replace(RULES, **rules), queue.SimpleQueue())


def ask(*texts, operation="text_completion", **fields):
    prompts = tuple(Prompt(text=text) for text in texts or ("hello",))
    return Request(operation, fields.pop("prompts", prompts), **fields)


def test_one_ticket_for_each_prompt_and_sample_in_order():
    found = tickets(ask("a", "bb", n=3))
    assert [one.index for one in found] == list(range(6))
    assert [len(one.prompt) for one in found] == [2, 2, 2, 3, 3, 3]
    assert all(one.prompt.dtype == np.int32 for one in found)


def test_every_ticket_knows_the_adapter():
    assert {one.adapter for one in tickets(ask("a", "b", n=2))} == {""}
    assert {one.adapter for one in tickets(ask("a", "b", n=2, adapter="pirate"))} == {"pirate"}


def test_all_tickets_share_outbox_and_deadline():
    before_s = time.monotonic()
    found = tickets(ask("a", "b", timeout_s=5.0))
    assert len({id(one.outbox) for one in found}) == 1
    assert {one.deadline_s for one in found} == {found[0].deadline_s}
    assert found[0].deadline_s == pytest.approx(before_s + 5, abs=1)


def test_a_caller_may_shorten_the_time_limit_and_not_lengthen_it():
    now_s = time.monotonic()
    assert tickets(ask(timeout_s=1e6))[0].deadline_s == pytest.approx(now_s + 60, abs=1)
    assert tickets(ask())[0].deadline_s == pytest.approx(now_s + 60, abs=1)


@pytest.mark.parametrize(
    ("texts", "n", "param"), [(("a",), 7, "n"), (("a",) * 7, 1, "prompt"), (("a", "b"), 4, "n")]
)
def test_too_many_sequences(texts, n, param):
    with pytest.raises(InvalidRequest, match="at most 6") as caught:
        tickets(ask(*texts, n=n))
    assert caught.value.param == param


def test_max_tokens_is_capped_by_the_context():
    assert tickets(ask("x" * 9))[0].max_tokens == 20
    assert tickets(ask("x" * 9, max_tokens=7))[0].max_tokens == 7
    assert tickets(ask("x" * 9, max_tokens=0))[0].max_tokens == 0
    assert tickets(ask("x" * 39, max_tokens=99))[0].max_tokens == 10
    assert tickets(ask("x" * 48))[0].max_tokens == 1


@pytest.mark.parametrize(("operation", "param"), [("chat", "messages"), ("invocations", "prompt")])
def test_a_prompt_beyond_the_context_names_both_figures(operation, param):
    with pytest.raises(PromptTooLong) as caught:
        tickets(ask("x" * 49, operation=operation))
    assert "50 tokens" in str(caught.value)
    assert "context holds 50" in str(caught.value)
    assert caught.value.param == param


def test_one_prompt_too_long_refuses_the_whole_request():
    with pytest.raises(PromptTooLong):
        tickets(ask("fine", "x" * 60))


def test_more_memory_than_there_is():
    assert tickets(ask("x" * 4, max_tokens=20), kv_limit_bytes=200)
    with pytest.raises(MemoryExceeded) as caught:
        tickets(ask("x" * 4, max_tokens=21), kv_limit_bytes=200)
    assert "208" in str(caught.value)
    assert "200" in str(caught.value)
    assert caught.value.param == "max_tokens"


def test_unknown_kv_sizes_are_not_held_against_anybody():
    limits = dataclasses.replace(RULES.limits, kv_bytes_per_token=0)
    assert tickets(ask(), limits=limits, kv_limit_bytes=0)


def test_a_chat_goes_through_the_template():
    turns = (Message("system", "s"), Message("user", "u"))
    (one,) = tickets(ask(prompts=(Prompt(messages=turns),), operation="chat"))
    expected = f"{MARKS['system']}s{MARKS['end']}{MARKS['user']}u{MARKS['end']}{MARKS['assistant']}"
    assert one.prompt.tolist() == ByteTokenizer().encode(expected).tolist()


def test_ids_are_taken_as_they_are():
    (one,) = tickets(ask(prompts=(Prompt(ids=(5, 0, 261)),)))
    assert one.prompt.tolist() == [5, 0, 261]
    assert one.prompt.dtype == np.int32


@pytest.mark.parametrize("ids", [(1, -1), (1, 262), (1, 1 << 40)])
def test_ids_that_the_model_does_not_have(ids):
    with pytest.raises(InvalidRequest, match=r"prompt\[1\]") as caught:
        tickets(ask(prompts=(Prompt(ids=ids),)))
    assert caught.value.param == "prompt"


class Empty(ByteTokenizer):
    """Like a model's: no token for no text."""

    def encode(self, text, *, is_chat=False):
        return super().encode(text)[1:]


def test_an_empty_prompt_starts_with_the_start_token():
    assert tickets(ask(""), tokenizer=Empty())[0].prompt.tolist() == [BOS]
    assert tickets(ask(prompts=(Prompt(ids=()),)))[0].prompt.tolist() == [BOS]


def test_an_empty_prompt_without_a_start_token_is_refused():
    tokenizer = Empty()
    tokenizer.bos_id = None
    with pytest.raises(InvalidRequest, match="empty"):
        tickets(ask(""), tokenizer=tokenizer)


def test_samples_differ_though_they_share_a_seed():
    found = tickets(ask("a", "b", n=2, sampling=Sampling(seed=7)))
    assert [one.sampling.seed for one in found] == [7, 8, 7, 8]
    assert [one.sampling.seed for one in tickets(ask("a", n=2))] == [None, None]


def test_the_largest_seed_with_samples():
    found = tickets(ask("a", n=2, sampling=Sampling(seed=2**63 - 1)))
    assert found[1].sampling.seed == 2**63


def test_prompt_log_probabilities_only_for_an_echo_with_logprobs():
    for echo in (False, True):
        for logprobs in (None, 0, 3):
            found = tickets(ask(echo=echo, sampling=Sampling(logprobs=logprobs)))
            assert found[0].echo_logprobs == (echo and logprobs is not None)


def test_each_sample_has_a_constraint_of_its_own():
    class Guided(ByteTokenizer):
        def constrain(self, guidance):
            return [guidance]

    guidance = Guidance("regex", "a")
    first, second = tickets(ask(n=2, sampling=Sampling(guidance=guidance)), tokenizer=Guided())
    assert first.constraint == second.constraint == [guidance]
    assert first.constraint is not second.constraint


def test_a_bad_grammar_is_found_before_anything_is_queued():
    with pytest.raises(InvalidRequest):
        tickets(ask(sampling=Sampling(guidance=Guidance("regex", "a"))))


class Constraining(ByteTokenizer):
    """Says what it was asked to constrain, and what to show."""

    def constrain(self, guidance):
        return ("text", guidance)

    def constrain_calls(self, use, text):
        return ("calls", use, text)

    def apply_chat_template(self, messages, tools=()):
        return super().apply_chat_template(messages) + "".join(tool.name for tool in tools)


def test_tools_are_shown_and_bind_every_choice():
    tools, use = (Tool("now"), Tool("add")), ToolUse((Tool("now"),))
    prompt = Prompt(messages=(Message("user", "u"),), tools=tools)
    guidance = Guidance("json_object")
    asked = ask(
        prompts=(prompt,), operation="chat", n=2, tool_use=use, sampling=Sampling(guidance=guidance)
    )
    found = tickets(asked, tokenizer=Constraining())
    assert [one.constraint for one in found] == [("calls", use, guidance)] * 2
    assert ByteTokenizer().decode(found[0].prompt.tolist()).endswith("nowadd")
    (plain,) = tickets(ask(sampling=Sampling(guidance=guidance)), tokenizer=Constraining())
    assert plain.constraint == ("text", guidance)
    assert tickets(ask())[0].constraint is None
