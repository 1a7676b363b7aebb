"""How many prompt tokens to run in one call so that the call takes a given time."""

from __future__ import annotations

_FIRST_TOKENS = 32
_LEAST_TOKENS = 8
_MOST_TOKENS = 512
_WEIGHT = 0.3
# Nobody's next token waits then, only cancels and new requests do; longer calls are more efficient.
_PATIENCE = 4


class Pace:
    """Steers the length of prefill chunks towards `target_s` seconds."""

    def __init__(self, target_s: float) -> None:
        """While `is_patient` is set, calls may take four times `target_s`."""
        self.is_patient = False
        self._target_s = target_s
        self._seconds_per_token: float | None = None

    @property
    def tokens(self) -> int:
        """Tokens for the next call."""
        if self._seconds_per_token is None:
            return _FIRST_TOKENS
        target_s = self._target_s * (_PATIENCE if self.is_patient else 1)
        fitting = int(target_s / self._seconds_per_token)
        return max(_LEAST_TOKENS, min(_MOST_TOKENS, fitting))

    def note(self, tokens: int, seconds: float) -> None:
        """Learn from a call that ran `tokens` in `seconds`."""
        measured = max(seconds / tokens, 1e-7)
        known = self._seconds_per_token
        self._seconds_per_token = (
            measured if known is None else known + _WEIGHT * (measured - known)
        )
