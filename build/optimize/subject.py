"""One model on the appliance's own engine, in a process of its own: measured from outside.

    python -m build.optimize.subject FOLDER EMPTY_FOLDER < TASKS

The first line of standard input says how to load it. Each later line is a task and each line of
standard output its answer; the first answer says which engine the model got. It is the one module
of the factory that loads what serves: what is measured is what the appliance will do.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from edge import loaders
from edge.bundle import MODEL_FOLDER, Bundle, Defaults, Manifest, Signature
from edge.config import Settings
from edge.engine.base import Choice, Step
from edge.errors import EdgeError
from edge.generation import Message, Sampling

_GREEDY = Sampling(temperature=0)
_SCORED = Sampling(temperature=0, logprobs=1)


def main() -> int:
    """Load the model that the command line names and do tasks until there are no more."""
    folder, place, terms = Path(sys.argv[1]), Path(sys.argv[2]), json.loads(sys.stdin.readline())
    try:
        loaded = load(folder, terms, place)
        say({"engine": loaded.name, "reason": loaded.reason})
        for line in sys.stdin:
            task = json.loads(line)
            say(TASKS[task.pop("task")](loaded, **task))
    except EdgeError as error:
        say({"problem": str(error)})
        return 1
    return 0


def load(folder: Path, terms: Mapping[str, Any], place: Path) -> loaders.Loaded:
    """The model on the engine that the appliance would choose; `place` is an empty folder."""
    (place / MODEL_FOLDER).symlink_to(folder.resolve())
    manifest = Manifest(
        name="subject",
        flavor="onnx",
        files=(),
        signature=Signature("prompt"),
        generation=Defaults(),
        context_length=terms["context_length"],
        eos_ids=tuple(terms["eos_ids"]),
        kv_bytes_per_token=terms["kv_bytes_per_token"],
        chat_template=terms["chat_template"],
    )
    # Threads that spin would fight with what else runs here, the other model's among it.
    settings = Settings(threads=terms["threads"] or None, spin=False, slots=1)
    return loaders.onnx_loader(Bundle(place, manifest, ""), settings)()


def encode(loaded: loaders.Loaded, text: str) -> dict[str, Any]:
    """The token ids of `text`; special tokens count as such."""
    return {"ids": [int(token) for token in loaded.tokenizer.encode(text)]}


def speed(loaded: loaders.Loaded, ids: list[int], new_tokens: int) -> dict[str, Any]:
    """Seconds until the first token after the prompt `ids`, and for `new_tokens` more."""
    engine = loaded.engine
    row = engine.open(np.array(ids, dtype=np.int32), new_tokens + 1, _GREEDY)
    try:
        began = time.perf_counter()
        while _checked(engine.advance([row])[0]).choice is None:
            pass
        first = time.perf_counter()
        for _ in range(new_tokens):
            _checked(engine.advance([row])[0])
        return {"prefill_s": first - began, "decode_s": time.perf_counter() - first}
    finally:
        engine.close(row)


def score(loaded: loaders.Loaded, ids: list[int]) -> dict[str, Any]:
    """For each of `ids` but the first: its log-probability, and the token that is likeliest."""
    engine = loaded.engine
    row = engine.open(np.array(ids, dtype=np.int32), 1, _SCORED, echo_logprobs=True)
    choices: list[Choice] = []
    try:
        while len(choices) < len(ids):
            choices += _checked(engine.advance([row])[0]).prompt_choices
    finally:
        engine.close(row)
    return {
        "logprobs": [choice.logprob for choice in choices[1:]],
        "likeliest": [choice.top[0][0] for choice in choices[1:]],
    }


def answer(loaded: loaders.Loaded, prompt: str, most_tokens: int, is_chat: bool) -> dict[str, Any]:
    """Token ids of `prompt` (where `is_chat` as a message in the model's template) and of at most
    `most_tokens` that follow greedily, up to the end of the answer."""
    engine, chat = loaded.engine, [Message("user", prompt)]
    text = loaded.tokenizer.apply_chat_template(chat) if is_chat else prompt
    ids, said = loaded.tokenizer.encode(text), list[int]()
    row = engine.open(ids, most_tokens, _GREEDY)
    try:
        while len(said) < most_tokens and not engine.limits.eos_ids & set(said):
            choice = _checked(engine.advance([row])[0]).choice
            said += [] if choice is None else [choice.token]
    finally:
        engine.close(row)
    return {"prompt": ids.tolist(), "tokens": said}


TASKS: Mapping[str, Callable[..., Mapping[str, Any]]] = {
    "encode": encode,
    "speed": speed,
    "score": score,
    "answer": answer,
}


def say(answer: Mapping[str, Any]) -> None:
    """One answer, at once."""
    print(json.dumps(answer), flush=True)


def _checked(step: Step) -> Step:
    if step.error is not None:
        raise step.error
    return step


if __name__ == "__main__":
    sys.exit(main())
