"""Requests to one repository of a registry: signed, bounded in time, repeated where that may help.

The library `oras` does this too, but reads a blob into memory, waits for ever for an answer,
keeps a token that has run out, and writes a manifest's JSON anew, which changes its digest.
"""

from __future__ import annotations

import io
import time
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from http.cookiejar import DefaultCookiePolicy
from pathlib import Path
from typing import IO, TypeVar
from urllib.parse import urljoin, urlsplit

import requests

from build.destination import DOCKER_HUB, Reference, is_loopback
from build.errors import PublishFailed
from build.progress import Bar
from build.registry import credentials, failure
from build.registry.access import Access, nobody
from build.registry.credentials import Credentials
from build.registry.failure import Transient
from edge import __version__

_HUB_HOST = "registry-1.docker.io"
_CONNECT_S = 10
_ANSWER_S = 60
_PAUSES_S = (1.0, 3.0, 9.0)  # before the second, third and fourth attempt
_Result = TypeVar("_Result")


class Upload(io.FileIO):
    """A blob on its way: read piece by piece, each of which `bar` sees."""

    def __init__(self, path: Path, bar: Bar) -> None:
        super().__init__(path)
        self._bar = bar

    def read(self, size: int | None = -1, /) -> bytes:
        """The next piece."""
        data = super().read(size)
        self._bar.add(len(data))
        return data


@dataclass(frozen=True, slots=True)
class _Call:
    method: str
    url: str
    headers: dict[str, str]
    body: bytes | Callable[[], IO[bytes]]
    answer_s: float

    @contextmanager
    def opened(self) -> Iterator[bytes | IO[bytes]]:
        """The body from its start."""
        if isinstance(self.body, bytes):
            yield self.body
        else:
            with self.body() as stream:
                yield stream


class Session:
    """Talks to the registry of `target`: HTTPS, or HTTP with this machine or where `insecure`."""

    def __init__(
        self,
        target: Reference,
        *,
        insecure: bool = False,
        find: Callable[[str], Credentials | None] = credentials.find,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self.target = target
        self._insecure = insecure
        self._sleep = sleep
        self._host = _HUB_HOST if target.host == DOCKER_HUB else target.host
        is_here = is_loopback(target.host)
        scheme = "http" if insecure or is_here else "https"
        self._base = f"{scheme}://{self._host}/v2/"
        self._session = requests.Session()
        self._session.trust_env = not is_here  # no proxy stands before this machine
        self._session.headers["User-Agent"] = f"phial/{__version__}"
        self._session.cookies.set_policy(DefaultCookiePolicy(allowed_domains=[]))
        self._access = Access(target, self._session, find, insecure=insecure)

    def url(self, path: str) -> str:
        """The address of `path`, e.g. `blobs/uploads/`, in the repository."""
        return f"{self._base}{self.target.repository}/{path}"

    def location(self, answer: requests.Response) -> str:
        """Where the answer sends us; raises `PublishFailed` for a place that is not encrypted."""
        place = urljoin(answer.url, answer.headers.get("Location", ""))
        if urlsplit(place).scheme != "https" and self._base.startswith("https"):
            raise PublishFailed(f"{self.target.host} sends uploads to plain HTTP, expected HTTPS")
        return place

    def repeat(self, attempt: Callable[[], _Result]) -> _Result:
        """What `attempt` returns, which is made up to four times while its failure may pass."""
        for pause_s in _PAUSES_S:
            try:
                return attempt()
            except Transient as failure:
                self._sleep(failure.pause_s or pause_s)
        return attempt()

    def send(
        self,
        stage: str,
        method: str,
        url: str,
        *,
        expected: Collection[int],
        headers: Mapping[str, str] | None = None,
        body: bytes | Callable[[], IO[bytes]] = b"",
        answer_s: float = _ANSWER_S,
    ) -> requests.Response:
        """Send a request, once more where the registry wants to know who we are.

        `body` may be a function that opens it, at every sending. Raises `PublishFailed` about
        `stage` for an answer whose status is not `expected`, `Transient` where it may pass.
        """
        call = _Call(method, url, dict(headers or {}), body, answer_s)
        answer = self._answer(stage, call)
        if answer.status_code == requests.codes.unauthorized:
            challenge = answer.headers.get("WWW-Authenticate", "")
            answer = self._answer(stage, call) if self._access.renew(challenge) else answer
        if answer.status_code not in expected:
            raise failure.of_answer(stage, self.target, answer)
        return answer

    def _answer(self, stage: str, call: _Call) -> requests.Response:
        try:
            with call.opened() as body:
                return self._session.request(
                    call.method,
                    call.url,
                    data=body,
                    headers=call.headers,
                    auth=self._access if urlsplit(call.url).netloc == self._host else nobody,
                    timeout=(_CONNECT_S, call.answer_s),
                )
        except requests.RequestException as error:
            raise failure.of_silence(stage, self.target, error) from error
