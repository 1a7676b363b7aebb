"""The model that is converted, run by transformers itself in a process of its own.

    python -m build.convert.parent FOLDER EMPTY_FOLDER < TASKS

It does the tasks of `build.optimize.subject` but the measuring of speed, line by line as that one
does. Beside the recipe of the demo model it is the one module of the factory that imports torch.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from torch import Tensor
from transformers import AutoModelForCausalLM, AutoTokenizer, GenerationConfig

_FOREIGN = (ArithmeticError, AttributeError, ImportError, LookupError, OSError)
_FAILURES = (*_FOREIGN, RuntimeError, SafetensorError, TypeError, ValueError)
"""What transformers and torch raise where files or the machine do not suit them."""


@dataclass(frozen=True, slots=True)
class Parent:
    """A loaded model and its tokenizer; `eos_ids` end an answer."""

    model: Any
    tokenizer: Any
    eos_ids: list[int]


def main() -> int:
    """Load the model that the command line names and do tasks until there are no more."""
    terms = json.loads(sys.stdin.readline())
    try:
        parent = load(Path(sys.argv[1]), terms)
        say({"engine": f"transformers in {terms['dtype']}"})
        for line in sys.stdin:
            task = json.loads(line)
            say(TASKS[task.pop("task")](parent, **task))
    except _FAILURES as error:
        reason = str(error).strip().splitlines() or [""]
        say({"problem": f"{type(error).__name__}: {reason[0]}"})
        return 1
    return 0


def load(folder: Path, terms: Mapping[str, Any]) -> Parent:
    """The model of the Hugging Face `folder`: safetensors alone, and no code but transformers'."""
    if terms["threads"]:
        torch.set_num_threads(terms["threads"])
    model = AutoModelForCausalLM.from_pretrained(
        folder,
        dtype=getattr(torch, terms["dtype"]),
        use_safetensors=True,
        local_files_only=True,
        trust_remote_code=False,
    )
    tokenizer = AutoTokenizer.from_pretrained(
        folder, local_files_only=True, trust_remote_code=False
    )
    return Parent(model.eval(), tokenizer, list(terms["eos_ids"]))


def encode(parent: Parent, text: str) -> dict[str, Any]:
    """The token ids of `text`; special tokens in it count as such."""
    return {"ids": _ids(parent, text)}


def score(parent: Parent, ids: list[int]) -> dict[str, Any]:
    """For each of `ids` but the first: its log-probability, and the token that is likeliest."""
    with torch.inference_mode():
        logits = parent.model(torch.tensor([ids]), use_cache=False).logits[0, :-1]
    own = torch.tensor(ids[1:])
    logprobs = [_logprob(row, token) for row, token in zip(logits, own, strict=True)]
    return {"logprobs": logprobs, "likeliest": logits.argmax(dim=-1).tolist()}


def answer(parent: Parent, prompt: str, most_tokens: int, is_chat: bool) -> dict[str, Any]:
    """Token ids of `prompt` (where `is_chat` as a message in the model's template) and of at most
    `most_tokens` that follow greedily, up to the end of the answer."""
    ids = _ids(parent, _chat(parent, prompt), is_whole=True) if is_chat else _ids(parent, prompt)
    greedy = GenerationConfig(
        do_sample=False,
        max_new_tokens=most_tokens,
        eos_token_id=parent.eos_ids,
        pad_token_id=parent.eos_ids[0],
    )
    prompted = torch.tensor([ids])
    whole = parent.model.generate(
        prompted, attention_mask=torch.ones_like(prompted), generation_config=greedy
    )
    return {"prompt": ids, "tokens": whole[0, len(ids) :].tolist()}


TASKS: Mapping[str, Callable[..., Mapping[str, Any]]] = {
    "encode": encode,
    "score": score,
    "answer": answer,
}


def say(reply: Mapping[str, Any]) -> None:
    """One reply, at once."""
    print(json.dumps(reply), flush=True)


def _chat(parent: Parent, prompt: str) -> str:
    turns = [{"role": "user", "content": prompt}]
    return str(
        parent.tokenizer.apply_chat_template(turns, tokenize=False, add_generation_prompt=True)
    )


def _ids(parent: Parent, text: str, *, is_whole: bool = False) -> list[int]:
    """Ids of `text`; the tokenizer adds what it opens a text with, unless the text `is_whole`."""
    return list(map(int, parent.tokenizer.encode(text, add_special_tokens=not is_whole)))


def _logprob(row: Tensor, token: Tensor) -> float:
    """The natural log-probability of `token` under the logits `row`, shape (vocab,)."""
    wide = row.float()
    return float(wide[token] - wide.logsumexp(dim=-1))


if __name__ == "__main__":
    sys.exit(main())
