"""A way to export a model, and its name: words joined by `+`, such as `b128+embed+head`.

stock          an ONNX folder as it is; a Hugging Face folder with the model builder's options
b32 ... b256   weights in blocks of so many: one scale for each block
embed          the table of embeddings in int4 too
head           logits of the last position only
last8          the last MatMul, which makes the logits, in int8
rtn, kquant    how codes are found: rounding to nearest, or llama.cpp's k-quant search
acc1 ... acc4  activations of a MatMul in fp32, fp16, bf16 or int8 (MatMulNBits' accuracy_level)
kv8            the KV cache in int8, with scales found by running the model on the text
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Any

from build.errors import UsageError

STOCK = "stock"
BLOCK_SIZES = (16, 32, 64, 128, 256)
STOCK_BLOCK_SIZE = 32
"""What the model builder takes where nothing is said."""

_WORDS: dict[str, dict[str, Any]] = {
    **{f"b{size}": {"block_size": size} for size in BLOCK_SIZES},
    "embed": {"embeddings": True},
    "head": {"head": True},
    "last8": {"last8": True},
    "rtn": {"algorithm": "rtn"},
    "kquant": {"algorithm": "k_quant"},
    **{f"acc{level}": {"accuracy_level": level} for level in (1, 2, 3, 4)},
    "kv8": {"kv8": True},
}


@dataclass(frozen=True, slots=True)
class Variant:
    """Options of an export. `block_size` and `accuracy_level` 0 and `algorithm` "" change nothing.

    `algorithm` is the model builder's own word, `rtn` or `k_quant`.
    """

    block_size: int = 0
    embeddings: bool = False
    head: bool = False
    last8: bool = False
    algorithm: str = ""
    accuracy_level: int = 0
    kv8: bool = False

    @property
    def name(self) -> str:
        """Its words in one order: equal variants have equal names."""
        return "+".join(_words(self)) or STOCK

    def builder_options(self) -> dict[str, str]:
        """The model builder's `--extra_options`; the KV cache is not among them."""
        options = {}
        if self.block_size:
            options["block_size"] = str(self.block_size)
        if self.embeddings:
            options["op_types_to_quantize"] = "MatMul/Gather"
        if self.head:
            options["prune_lm_head"] = "true"
        if self.algorithm:
            options["algo_config"] = self.algorithm
        if self.last8:
            options["matmul_mixed_precision"] = "last_matmul:int8"
        if self.accuracy_level:
            options["accuracy_level"] = str(self.accuracy_level)
        return options


def parse(name: str) -> Variant:
    """The variant that `name` spells, its words in any order; raises `UsageError`."""
    if name == STOCK:
        return Variant()
    chosen: dict[str, Any] = {}
    for word in name.split("+"):
        if word not in _WORDS:
            raise UsageError(f"--variant {name!r}: {word!r} is no word of a variant{_hint(word)}")
        ((option, value),) = _WORDS[word].items()
        if option in chosen and chosen[option] != value:
            raise UsageError(f"--variant {name!r}: {word!r} contradicts the word before it")
        chosen[option] = value
    return Variant(**chosen)


def parse_all(names: Sequence[str]) -> tuple[Variant, ...]:
    """Every variant once, in order; raises `UsageError` that tells all problems."""
    found, problems = [], []
    for name in names:
        try:
            found.append(parse(name))
        except UsageError as error:
            problems.append(str(error))
    if problems:
        raise UsageError("\n".join(problems))
    return tuple(dict.fromkeys(found))


def _words(variant: Variant) -> Iterator[str]:
    for word, meaning in _WORDS.items():
        ((option, value),) = meaning.items()
        if getattr(variant, option) == value:
            yield word


def _hint(word: str) -> str:
    close = get_close_matches(word, _WORDS, n=1)
    known = f", expected {', '.join(_WORDS)}, or {STOCK} alone"
    return f"; did you mean {close[0]!r}?" if close else known
