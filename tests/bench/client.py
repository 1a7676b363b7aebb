"""A client that costs little: bytes are stamped as they arrive and parsed after the answer.

It shares the machine's cores with what it measures, so whatever can wait until the end does.
"""

from __future__ import annotations

import http.client
import json
import re
import socket
import time
from bisect import bisect_right
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import accumulate, pairwise
from typing import Any

TIMEOUT_S = 900.0
EVENT = re.compile(rb"(?<=\n)data: (.*?)\n\n")
_END = b"\r\n0\r\n\r\n"
_RECEIVE_BYTES = 1 << 16


class BadAnswer(Exception):
    """The server's answer is not what the measurement needs; the text says what it was."""


@dataclass(frozen=True, slots=True)
class Stream:
    """One streamed answer. Moments are seconds since the request was sent, one an event.

    `cached_tokens` of the prompt came from a cache, as the server says.
    """

    moments: tuple[float, ...]
    tokens: int
    finish: str
    cached_tokens: int = 0

    @property
    def first_s(self) -> float:
        """Seconds to the first event."""
        return self.moments[0]

    @property
    def gaps_s(self) -> list[float]:
        """Seconds from each event to the next."""
        return [later - earlier for earlier, later in pairwise(self.moments)]

    @property
    def tokens_per_event(self) -> float:
        """1 where every token brought its event."""
        return self.tokens / len(self.moments)


@dataclass(frozen=True, slots=True)
class Address:
    """Where the server listens."""

    host: str
    port: int

    def stream(self, body: Mapping[str, Any]) -> Stream:
        """Ask for a streamed completion over a new connection. Raises `BadAnswer`."""
        wanted = {**body, "stream": True, "stream_options": {"include_usage": True}}
        request = self._request(json.dumps(wanted).encode())
        with socket.create_connection((self.host, self.port), TIMEOUT_S) as connection:
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            started = time.perf_counter()
            connection.sendall(request)
            parts, moments = _receive(connection)
        return parsed(parts, [moment - started for moment in moments])

    def streams(self, bodies: Sequence[Mapping[str, Any]]) -> list[Stream]:
        """As many clients at a time as there are bodies."""
        with ThreadPoolExecutor(len(bodies)) as pool:
            return list(pool.map(self.stream, bodies))

    def unary(self, bodies: Sequence[Mapping[str, Any]]) -> list[float]:
        """Seconds for each of `bodies`, one after the other over one connection."""
        connection = http.client.HTTPConnection(self.host, self.port, timeout=TIMEOUT_S)
        try:
            return [_timed(connection, json.dumps(body).encode()) for body in bodies]
        finally:
            connection.close()

    def _request(self, payload: bytes) -> bytes:
        head = (
            f"POST /v1/completions HTTP/1.1\r\nHost: {self.host}:{self.port}\r\n"
            f"Content-Type: application/json\r\nContent-Length: {len(payload)}\r\n\r\n"
        )
        return head.encode() + payload


def parsed(parts: Sequence[bytes], moments: Sequence[float]) -> Stream:
    """Read the received `parts`, the last byte of each of which was there at its moment."""
    raw = b"".join(parts)
    if b" 200 " not in raw.partition(b"\r\n")[0]:
        raise BadAnswer(raw[:500].decode(errors="replace") or "the server closed the connection")
    ends = list(accumulate(map(len, parts)))
    found: list[float] = []
    tokens, finish, cached = 0, "", 0
    for event in EVENT.finditer(raw):
        data = {} if event[1] == b"[DONE]" else json.loads(event[1])
        if "error" in data:
            raise BadAnswer(f"an error event: {data['error']}")
        usage = data.get("usage") or {}
        tokens = usage.get("completion_tokens", tokens)
        cached = (usage.get("prompt_tokens_details") or {}).get("cached_tokens", cached)
        for choice in data.get("choices", ()):
            finish = choice["finish_reason"] or finish
            if choice["text"]:
                found.append(moments[bisect_right(ends, event.end() - 1)])
    if not found or not tokens:
        raise BadAnswer(f"{len(found)} events with text, {tokens} tokens, expected some")
    return Stream(tuple(found), tokens, finish, cached)


def _receive(connection: socket.socket) -> tuple[list[bytes], list[float]]:
    parts: list[bytes] = []
    moments: list[float] = []
    tail = b""
    while part := connection.recv(_RECEIVE_BYTES):
        moments.append(time.perf_counter())
        parts.append(part)
        tail = (tail + part)[-len(_END) :]
        if tail == _END or (len(parts) == 1 and b" 200 " not in part[:16]):
            break
    return parts, moments


def _timed(connection: http.client.HTTPConnection, payload: bytes) -> float:
    started = time.perf_counter()
    connection.request("POST", "/v1/completions", payload, {"Content-Type": "application/json"})
    response = connection.getresponse()
    answer = response.read()
    spent_s = time.perf_counter() - started
    if response.status != http.client.OK:
        raise BadAnswer(answer[:500].decode(errors="replace"))
    return spent_s
