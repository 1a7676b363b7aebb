"""API keys: who may use the model."""

from __future__ import annotations

import hmac
from collections.abc import Callable, Sequence
from pathlib import Path

import flask

from edge.errors import StartupError, Unauthorized


def read_keys(path: Path | None) -> tuple[bytes, ...]:
    """The keys in a file, one a line; raises `StartupError` where there is none."""
    if path is None:
        return ()
    try:
        lines = path.read_bytes().split()
    except OSError as error:
        raise StartupError([f"EDGE_API_KEY_FILE cannot be read: {error.strerror}"]) from error
    if not lines:
        raise StartupError(["EDGE_API_KEY_FILE holds no key, expected one a line"])
    return tuple(lines)


def guard(keys: Sequence[bytes]) -> Callable[[], None]:
    """A check of the current request's `Authorization: Bearer KEY`; raises `Unauthorized`."""

    def check() -> None:
        scheme, _, given = flask.request.headers.get("Authorization", "").partition(" ")
        offered = given.strip().encode("utf-8", "replace")
        # Compare with every key, so that the time taken tells nothing.
        matches = [hmac.compare_digest(offered, key) for key in keys]
        if keys and (scheme.lower() != "bearer" or not any(matches)):
            raise Unauthorized("the API key is missing or wrong")

    return check
