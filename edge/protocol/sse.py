"""Server-sent events as OpenAI's streams use them: unnamed events with one `data:` line.

Format: https://html.spec.whatwg.org/multipage/server-sent-events.html#parsing-an-event-stream
"""

from __future__ import annotations

import json
from collections.abc import Mapping

CONTENT_TYPE = "text/event-stream; charset=utf-8"
HEADERS: Mapping[str, str] = {
    "Content-Type": CONTENT_TYPE,
    "Cache-Control": "no-cache",
    # Tells nginx not to hold events back.
    "X-Accel-Buffering": "no",
}
DONE = b"data: [DONE]\n\n"


def event(data: Mapping[str, object]) -> bytes:
    """One event whose data is the JSON of `data`.

    Every character beyond ASCII is escaped: some clients split lines at U+2028 and U+0085 too.
    """
    text = json.dumps(data, ensure_ascii=True, allow_nan=False, separators=(",", ":"))
    return f"data: {text}\n\n".encode("ascii")


def comment(text: str = "") -> bytes:
    """A comment, which clients skip; keeps an idle connection open."""
    if "\n" in text or "\r" in text:
        raise ValueError("a comment has one line")
    return f": {text}\n\n".encode()
