"""Token batches from the chat stream: encoded, sorted by length, cut by a token budget."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from random import Random

import torch
from tokenizers import Tokenizer
from torch import Tensor

from build.demo import corpus, layout
from build.demo.corpus import Chat, Mix

WINDOW = 8192
"""Chats that are made, sorted and shuffled together."""


@dataclass(frozen=True, slots=True)
class Encoded:
    """Token ids of one chat and, for each, whether the model has to say it."""

    ids: list[int]
    said: list[bool]


@dataclass(frozen=True, slots=True)
class Batch:
    """`ids` [rows, length] int64 and `said` [rows, length] bool, padded at the end."""

    ids: Tensor
    said: Tensor


def encode(chat: Chat, vocabulary: Tokenizer, limit: int) -> Encoded:
    """Encode `chat` part by part, cut after `limit` tokens."""
    ids: list[int] = []
    said: list[bool] = []
    for text, own in layout.segments(chat):
        part = vocabulary.encode(text).ids
        ids += part
        said += [own] * len(part)
    return Encoded(ids[:limit], said[:limit])


def collate(encoded: Sequence[Encoded], padding: int = 0) -> Batch:
    length = max(len(each.ids) for each in encoded)
    ids = torch.full((len(encoded), length), padding, dtype=torch.int64)
    said = torch.zeros((len(encoded), length), dtype=torch.bool)
    for row, each in enumerate(encoded):
        ids[row, : len(each.ids)] = torch.tensor(each.ids)
        said[row, : len(each.said)] = torch.tensor(each.said)
    return Batch(ids, said)


def cut(encoded: Iterable[Encoded], budget: int) -> Iterator[list[Encoded]]:
    """Group neighbours so that rows times longest row stays within `budget` tokens."""
    group: list[Encoded] = []
    longest = 0
    for each in encoded:
        longest = max(longest, len(each.ids))
        if group and longest * (len(group) + 1) > budget:
            yield group
            group, longest = [], len(each.ids)
        group.append(each)
    if group:
        yield group


def window(
    seed: int,
    number: int,
    vocabulary: Tokenizer,
    budget: int,
    limit: int,
    mix: Mix = corpus.BROAD,
) -> list[Batch]:
    """The batches of window `number`, in a random order that depends on `seed` alone."""
    chats = corpus.chats(seed, number * WINDOW, WINDOW, mix)
    encoded = sorted((encode(chat, vocabulary, limit) for chat in chats), key=_length)
    batches = [collate(group) for group in cut(encoded, budget)]
    Random(f"{seed}/order/{number}").shuffle(batches)
    return batches


def _length(encoded: Encoded) -> int:
    return len(encoded.ids)
