"""A registry in memory whose failures can be scripted; it speaks plain HTTP on loopback."""

from __future__ import annotations

import base64
import hashlib
import json
import re
import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

from build.destination import Reference
from build.progress import Progress
from build.registry import push, registry
from build.registry import session as registry_session
from build.registry.credentials import Credentials

REPOSITORY = "acme/phi3"
USER = Credentials("ada", "s3cret:word")
_MOST_PATIENCE_S = 10


@dataclass(frozen=True)
class Seen:
    """A request as it came."""

    method: str
    path: str
    headers: dict[str, str]
    body: bytes


@dataclass
class Reply:
    """An answer that is not the registry's own; `status` 0 hangs up."""

    status: int
    headers: dict[str, str] = field(default_factory=dict)
    body: bytes = b""


@dataclass
class Stub:
    """What the registry holds and heard; `script` may answer a request in its place."""

    host: str = ""
    blobs: dict[str, bytes] = field(default_factory=dict)
    manifests: dict[str, tuple[str, bytes]] = field(default_factory=dict)
    seen: list[Seen] = field(default_factory=list)
    script: Callable[[Seen], Reply | None] = lambda seen: None
    lists_referrers: bool = False
    auth: str = ""  # "", "basic" or "bearer"
    tokens: list[str] = field(default_factory=list)  # those that were given out
    swallowed_bytes: int = 0
    swallows: bool = False  # bodies are counted, and blobs taken for what they are said to be

    @property
    def target(self) -> Reference:
        return Reference(self.host, REPOSITORY)

    def heard(self, method: str = "", path: str = "") -> list[Seen]:
        """The requests with this method whose path contains `path`."""
        return [one for one in self.seen if method in ("", one.method) and path in one.path]


class Failures:
    """Answers the first requests that match with `replies`, one after the other."""

    def __init__(self, method: str, path: str, *replies: Reply) -> None:
        self._method, self._path, self._replies = method, path, list(replies)

    def __call__(self, seen: Seen) -> Reply | None:
        matches = seen.method == self._method and self._path in seen.path
        return self._replies.pop(0) if matches and self._replies else None


@contextmanager
def running(**options: Any) -> Iterator[Stub]:
    """A registry that answers until the end of the block."""
    stub = Stub(**options)
    handler = type("Handler", (_Handler,), {"stub": stub})
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        stub.host = f"127.0.0.1:{server.server_port}"
        thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
        thread.start()
        try:
            yield stub
        finally:
            server.shutdown()
            thread.join(_MOST_PATIENCE_S)


def swallowing() -> AbstractContextManager[Stub]:
    """A registry that keeps nothing, for blobs that are large."""
    return running(swallows=True)


def session(stub: Stub, *, credentials=None, pauses=None, **options) -> registry_session.Session:
    """A session whose pauses are only noted, in `pauses`."""
    return registry_session.Session(
        stub.target,
        find=lambda host: credentials,
        sleep=[].append if pauses is None else pauses.append,
        **options,
    )


def client(stub: Stub, **options) -> registry.Registry:
    return registry.Registry(session(stub, **options), Progress(enabled=False))


def push_to(stub: Stub, store, index, artifacts=(), tag="3", **options) -> str:
    return push.push(client(stub, **options), store, index, artifacts, tag)


class _Handler(BaseHTTPRequestHandler):
    stub: Stub
    protocol_version = "HTTP/1.1"
    timeout = _MOST_PATIENCE_S

    def log_message(self, *args: Any) -> None:
        """Say nothing."""

    def do_GET(self) -> None:
        seen = Seen(self.command, self.path, dict(self.headers), self._body())
        self.stub.seen.append(seen)
        reply = self.stub.script(seen) or self._refusal(seen) or self._reply(seen)
        if reply.status == 0:
            self.close_connection = True
            self.connection.shutdown(2)
            return
        self.send_response(reply.status)
        for name, value in reply.headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(reply.body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(reply.body)

    do_HEAD = do_POST = do_PUT = do_DELETE = do_GET

    def _body(self) -> bytes:
        left = int(self.headers.get("Content-Length", 0))
        if not self.stub.swallows:
            return self.rfile.read(left)
        while left > 0:
            size = len(self.rfile.read(min(left, 65536)))
            left -= size
            self.stub.swallowed_bytes += size
        return b""

    def _refusal(self, seen: Seen) -> Reply | None:
        given = seen.headers.get("Authorization", "")
        if seen.path.startswith("/token"):
            return self._token(seen, given)
        basic = self.stub.auth == "basic"
        wanted = [USER.basic()] if basic else [f"Bearer {one}" for one in self.stub.tokens[-1:]]
        if not self.stub.auth or given in wanted:
            return None
        realm = f'http://{self.stub.host}/token",service="stub",scope="repository:x:pull'
        challenge = 'Basic realm="stub, inc"' if basic else f'Bearer realm="{realm}"'
        body = b'{"errors":[{"code":"UNAUTHORIZED","message":"authentication required"}]}'
        return Reply(401, {"WWW-Authenticate": challenge}, body)

    def _token(self, seen: Seen, given: str) -> Reply:
        form = parse_qs(seen.body.decode())
        if given != USER.basic() and form.get("refresh_token") != ["refresh me"]:
            return Reply(401, {}, b'{"errors":[{"code":"DENIED","message":"who are you"}]}')
        self.stub.tokens.append(f"token-{len(self.stub.tokens)}")
        name = "access_token" if form else "token"
        return Reply(200, {}, json.dumps({name: self.stub.tokens[-1]}).encode())

    def _reply(self, seen: Seen) -> Reply:
        parts = urlsplit(seen.path)
        kind, _, name = parts.path.removeprefix(f"/v2/{REPOSITORY}/").partition("/")
        if (kind, seen.method) == ("blobs", "HEAD"):
            return Reply(200 if name in self.stub.blobs else 404)
        if (kind, seen.method) == ("blobs", "POST"):
            return Reply(202, {"Location": f"{parts.path}1?_state=x"})
        if (kind, seen.method) == ("blobs", "DELETE"):
            return Reply(204)
        if (kind, seen.method) == ("blobs", "PUT"):
            return self._put_blob(parse_qs(parts.query)["digest"][0], seen.body)
        if (kind, seen.method) == ("manifests", "PUT"):
            return self._put_manifest(name, seen)
        if name in self.stub.manifests:
            media_type, content = self.stub.manifests[name]
            return Reply(200, {"Content-Type": media_type}, content)
        return Reply(404, {}, b'{"errors":[{"code":"MANIFEST_UNKNOWN","message":"unknown"}]}')

    def _put_blob(self, digest: str, content: bytes) -> Reply:
        if _digest(content) != digest and not self.stub.swallows:
            return Reply(400, {}, b'{"errors":[{"code":"DIGEST_INVALID","message":"other"}]}')
        self.stub.blobs[digest] = content
        return Reply(201)

    def _put_manifest(self, name: str, seen: Seen) -> Reply:
        value = json.loads(seen.body)
        digest = _digest(seen.body)
        needed = [value["config"], *value["layers"]] if "config" in value else value["manifests"]
        known = {*self.stub.blobs, *self.stub.manifests}
        if any(one["digest"] not in known for one in needed):
            return Reply(404, {}, b'{"errors":[{"code":"MANIFEST_BLOB_UNKNOWN"}]}')
        for key in (name, digest):
            self.stub.manifests[key] = (seen.headers["Content-Type"], seen.body)
        subject = {"OCI-Subject": value["subject"]["digest"]} if "subject" in value else {}
        headers = subject if self.stub.lists_referrers else {}
        return Reply(201, {"Docker-Content-Digest": digest, **headers})


def _digest(content: bytes) -> str:
    return f"sha256:{hashlib.sha256(content).hexdigest()}"


def basic_pair(header: str) -> str:
    """The user and password of an Authorization header."""
    return base64.b64decode(re.sub("^Basic ", "", header)).decode()
