"""A tokenizer of any size: the demo's recipe, widened until every id stands for some text."""

from __future__ import annotations

import json
from collections.abc import Iterator
from itertools import islice

from tokenizers import Tokenizer

from build.demo import corpus, layout, tokenizer

CHATS = 4000
LEARNT = 2048
SEED = 7


def widened(vocab_size: int) -> Tokenizer:
    """A byte-level BPE tokenizer with exactly `vocab_size` entries.

    The first entries are learnt from the demo's corpus, the others are pairs of those. An answer
    of random ids is then text, and streams as a real model's does.
    """
    chats = islice(corpus.chats(SEED, 0, CHATS), CHATS)
    learnt = tokenizer.fit(map(layout.text, chats), min(LEARNT, vocab_size))
    definition = json.loads(learnt.to_str())
    vocabulary = definition["model"]["vocab"]
    missing = vocab_size - learnt.get_vocab_size()
    for left, right in islice(_pairs(list(vocabulary)), missing):
        vocabulary[left + right] = len(vocabulary)
        definition["model"]["merges"].append([left, right])
    return Tokenizer.from_str(json.dumps(definition))


def _pairs(entries: list[str]) -> Iterator[tuple[str, str]]:
    """Pairs of ASCII entries whose text is no entry yet, nor another pair's."""
    known = set(entries)
    plain = [text for text in entries if text.isascii() and text.isalpha()]
    for left in plain:
        for right in plain:
            if left + right not in known:
                known.add(left + right)
                yield left, right
