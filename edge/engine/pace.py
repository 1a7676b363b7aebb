"""How many prompt tokens to run in one call so that the call takes a given time."""

from __future__ import annotations

_FIRST_TOKENS = 32
_LEAST_TOKENS = 8
_MOST_TOKENS = 512
_WEIGHT = 0.3
# Nobody's next token waits then, only cancels and new requests do; longer calls are more efficient.
_PATIENCE = 4
# Beside running answers a call may take so many of their steps: the gap is then one more.
_STEPS = 2
# A token of a short call costs more than one of a long call: so much more, until it was measured.
_SHORT = 1.5
# Nobody reads faster than that.
_LEAST_S = 0.01


class Pace:
    """Steers the length of prefill chunks towards `target_s` seconds, or some decode steps."""

    def __init__(self, target_s: float) -> None:
        """While `is_patient` is set, calls may take four times `target_s`."""
        self.is_patient = False
        self._target_s = target_s
        self._seconds_per_token: dict[bool, float] = {}  # by patience
        self._step_s: float | None = None

    @property
    def tokens(self) -> int:
        """Tokens for the next call."""
        if not self._seconds_per_token:
            return _FIRST_TOKENS
        fitting = int(self._aim_s / self._rate)
        return max(_LEAST_TOKENS, min(_MOST_TOKENS, fitting))

    def note(self, tokens: int, seconds: float) -> None:
        """Learn from a call that ran `tokens` in `seconds`."""
        known = self._seconds_per_token.get(self.is_patient)
        self._seconds_per_token[self.is_patient] = _mixed(known, max(seconds / tokens, 1e-7))

    def note_step(self, seconds: float) -> None:
        """Learn how long running answers wait for a token anyway."""
        self._step_s = _mixed(self._step_s, seconds)

    @property
    def _rate(self) -> float:
        rates = self._seconds_per_token
        if self.is_patient in rates:
            return rates[self.is_patient]
        return rates[not self.is_patient] * (1 if self.is_patient else _SHORT)

    @property
    def _aim_s(self) -> float:
        if self.is_patient:
            return self._target_s * _PATIENCE
        if self._step_s is None:
            return self._target_s
        return min(self._target_s, max(_LEAST_S, _STEPS * self._step_s))


def _mixed(known: float | None, measured: float) -> float:
    return measured if known is None else known + _WEIGHT * (measured - known)
