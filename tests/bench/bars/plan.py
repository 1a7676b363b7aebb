"""How much the bars ask for. The defaults are those of the published tables."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Plan:
    """Lengths are in tokens; `quotas` in cores; `flash_attention` are llama.cpp's settings tried.

    `arriving` is the prompt that disturbs a running stream of `running` tokens.
    """

    rounds: int = 5
    threads: int = 2
    clients: int = 8
    depths: tuple[int, ...] = (32, 300)
    new_tokens: int = 64
    prefill: int = 512
    history: int = 1000
    added: int = 30
    arriving: int = 1500
    running: int = 512
    held: int = 1000
    quotas: tuple[float, ...] = (0.5, 1.0, 1.5)
    flash_attention: tuple[str, ...] = ("on", "off")
    settings: dict[str, str] = field(default_factory=dict)
    """The appliance's, beside its threads and slots."""

    @property
    def environment(self) -> dict[str, str]:
        """The appliance's variables."""
        mine = {
            "EDGE_THREADS": str(self.threads),
            "EDGE_SLOTS": str(self.clients),
            # Greedy answers of random weights fall into loops, which would be drafted.
            "EDGE_SPECULATION": "0",
        }
        return {**mine, **self.settings}

    @property
    def context_tokens(self) -> int:
        """What the longest sequence that llama.cpp gets needs, with some to spare."""
        decoded = max(self.depths) + self.new_tokens
        longest = (decoded, self.prefill, self.history + self.added, self.arriving, self.running)
        return max(longest) + 64
