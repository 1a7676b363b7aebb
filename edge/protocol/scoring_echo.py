"""How the scripted models turn an invocation into text to be echoed."""

from __future__ import annotations

from edge.bundle import Manifest
from edge.generation import Prompt, Request, Sampling
from edge.protocol.scoring import Invocation


def to_request(
    invocation: Invocation,
    manifest: Manifest,
    special_tokens: frozenset[str] = frozenset(),
    *,
    request_id: str = "",
) -> Request:
    """Ask for each row's echo, whole: params are part of the text and cut nothing short.

    A model with a params schema answers `<prompt>|<sorted params>`, one without answers the
    prompt. Takes what `scoring_request.to_request` takes, and stands in for it.
    """
    suffix = f"|{sorted(invocation.params.items())}" if manifest.signature.params else ""
    texts = [f"{row}{suffix}" for row in invocation.rows]
    longest = max((len(text.encode()) for text in texts), default=0)
    return Request(
        operation="invocations",
        prompts=tuple(Prompt(text=text) for text in texts),
        sampling=Sampling(temperature=0.0),
        max_tokens=longest + 1,
        request_id=request_id,
    )
