"""Bounded admission, the ticket a caller holds, and the one thread that owns the engine."""
