"""API keys: who may use the model."""

from __future__ import annotations

import hmac
from collections.abc import Callable, Sequence

import flask

from edge.errors import Unauthorized


def guard(keys: Sequence[bytes]) -> Callable[[], None]:
    """A check of the current request's `Authorization: Bearer KEY`; raises `Unauthorized`."""

    def check() -> None:
        scheme, _, given = flask.request.headers.get("Authorization", "").partition(" ")
        # WSGI hands the header's bytes over as Latin-1.
        offered = given.strip().encode("latin-1", "replace")
        # Compare with every key, so that the time taken tells nothing.
        matches = [hmac.compare_digest(offered, key) for key in keys]
        if keys and (scheme.lower() != "bearer" or not any(matches)):
            raise Unauthorized("the API key is missing or wrong")

    return check
