"""One HTTP exchange, byte for byte as the test wants it."""

from __future__ import annotations

import http.client
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

TIMEOUT_S = 60.0


@dataclass(frozen=True, slots=True)
class Call:
    """A request for one of the two scripted models; `content_type` None sends none."""

    id: str
    body: bytes | None = None
    model: str = "echo"
    method: str = "POST"
    path: str = "/invocations"
    content_type: str | None = "application/json"
    headers: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Reply:
    """What came back."""

    status: int
    content_type: str | None
    body: bytes
    headers: Mapping[str, str]

    @property
    def json(self) -> Any:
        """The body read as JSON."""
        return json.loads(self.body)

    @property
    def error_code(self) -> str | None:
        """MLflow's `error_code`; None where the body is no JSON object that has one."""
        try:
            data = self.json
        except ValueError:
            return None
        return data.get("error_code") if isinstance(data, dict) else None


def send(port: int, call: Call) -> Reply:
    """Send `call` to 127.0.0.1 on a connection of its own."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=TIMEOUT_S)
    headers = dict(call.headers)
    if call.content_type is not None:
        headers["Content-Type"] = call.content_type
    is_chunked = headers.get("Transfer-Encoding") == "chunked"
    body = iter([call.body or b""]) if is_chunked else call.body
    try:
        connection.request(call.method, call.path, body, headers, encode_chunked=is_chunked)
        response = connection.getresponse()
        content = response.read()
    finally:
        connection.close()
    kind = response.getheader("Content-Type")
    return Reply(response.status, kind, content, dict(response.getheaders()))
