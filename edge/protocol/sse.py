"""Server-sent events as OpenAI's streams use them: unnamed events with one `data:` line.

Format: https://html.spec.whatwg.org/multipage/server-sent-events.html#parsing-an-event-stream
"""

from __future__ import annotations

import json
from collections.abc import Mapping

DONE = b"data: [DONE]\n\n"


def event(data: Mapping[str, object]) -> bytes:
    """One event whose data is the JSON of `data`.

    Every character beyond ASCII is escaped: some clients split lines at U+2028 and U+0085 too.
    """
    text = json.dumps(data, ensure_ascii=True, allow_nan=False, separators=(",", ":"))
    return f"data: {text}\n\n".encode("ascii")
