"""Shapes of Phi-3-architecture networks to measure with; their weights are random."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Shape:
    """The sizes of a network; every head has `hidden_size / heads` dimensions."""

    hidden_size: int
    intermediate_size: int
    layers: int
    heads: int
    vocab_size: int = 32_064
    context_length: int = 4096

    @property
    def parameters(self) -> int:
        """Weights of all matrices: attention, gated MLP, embedding and output head."""
        attention = 4 * self.hidden_size**2
        mlp = 3 * self.hidden_size * self.intermediate_size
        return self.layers * (attention + mlp) + 2 * self.vocab_size * self.hidden_size


SHAPES = {
    "tiny": Shape(256, 512, 2, 4, vocab_size=4096),
    "100m": Shape(768, 2048, 12, 8),
    "0.5b": Shape(1536, 4096, 16, 16),
    "phi3-mini": Shape(3072, 8192, 32, 32),
}
"""`phi3-mini` is that of Phi-3-mini-4k-instruct; heads have 96 dimensions as there (`tiny`: 64)."""
