"""The prompt of a completion request."""

from __future__ import annotations

import pytest

from edge.errors import InvalidRequest
from edge.generation import Prompt
from edge.protocol import openai_prompt


@pytest.mark.parametrize(
    ("value", "prompts"),
    [
        ("a", (Prompt(text="a"),)),
        ("", (Prompt(text=""),)),
        (["a", "b"], (Prompt(text="a"), Prompt(text="b"))),
        ([1, 2], (Prompt(ids=(1, 2)),)),
        ([[1], [2, 3]], (Prompt(ids=(1,)), Prompt(ids=(2, 3)))),
        ([0], (Prompt(ids=(0,)),)),
    ],
)
def test_the_four_shapes(value, prompts):
    assert openai_prompt.read(value) == prompts


@pytest.mark.parametrize(
    ("value", "param"),
    [
        ([], "prompt"),
        (3, "prompt"),
        ({"text": "a"}, "prompt"),
        (["a", 1], "prompt[1]"),
        ([1, "a"], "prompt[1]"),
        ([True], "prompt[0]"),
        ([-1], "prompt[0]"),
        ([2**31], "prompt[0]"),
        ([1.5], "prompt[0]"),
        ([None], "prompt[0]"),
        ([[1], []], "prompt[1]"),
        ([[1], 2], "prompt[1]"),
        ([[1], [2, "x"]], "prompt[1][1]"),
        (["\ud800"], "prompt[0]"),
        (["a"] * 2049, "prompt"),
        ([[1]] * 2049, "prompt"),
    ],
)
def test_the_item_at_fault_is_named(value, param):
    with pytest.raises(InvalidRequest) as caught:
        openai_prompt.read(value)
    assert caught.value.param == param


def test_many_token_ids_are_one_prompt():
    assert openai_prompt.read(list(range(5000))) == (Prompt(ids=tuple(range(5000))),)
