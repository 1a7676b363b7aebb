"""How long a thread of the runtime waits for its next piece of work before it sleeps."""

from __future__ import annotations

# Between two operators of a step the next piece comes within microseconds, and waking a thread
# costs more than waiting so long. The runtime's own default, a thousand times as much, burns a
# core that a neighbour or the CPU quota needs (docs/decisions/0009-cpu-sense.md).
_SPIN_US = 10


def entries(spin: bool) -> dict[str, str]:
    """Entries of a session's configuration, by the keys of onnxruntime 1.26 and later."""
    if not spin:
        return {"session.intra_op.allow_spinning": "0"}
    return {
        "session.intra_op.allow_spinning": "1",
        "session.intra_op.spin_duration_us": str(_SPIN_US),
    }
