"""What a registry's refusal means, and what to do about it, as sentences without credentials."""

from __future__ import annotations

import ssl
from collections.abc import Sequence
from typing import Any

import requests

from build import scrub
from build.destination import DOCKER_HUB, Reference
from build.errors import PublishFailed

_MOST_CHARACTERS = 300
_MOST_PAUSE_S = 60.0
_UNAUTHORIZED, _FORBIDDEN, _NOT_FOUND, _TOO_LARGE, _BUSY = 401, 403, 404, 413, 429


class Transient(PublishFailed):
    """A failure that may pass; `pause_s` is how long the registry asks to wait, or 0."""

    def __init__(self, problems: str | Sequence[str], pause_s: float = 0) -> None:
        super().__init__(problems)
        self.pause_s = pause_s


def of_answer(stage: str, target: Reference, answer: requests.Response) -> PublishFailed:
    """The failure of `stage`, e.g. "upload of blob sha256:...", that was answered so."""
    status = answer.status_code
    problem = f"{stage}: {target.name} answered {status}{_reasons(answer)}{_advice(status, target)}"
    if status == _BUSY or status >= requests.codes.server_error:
        return Transient(problem, _pause_s(answer.headers.get("Retry-After", "")))
    return PublishFailed(problem)


def of_silence(stage: str, target: Reference, error: requests.RequestException) -> PublishFailed:
    """The failure of `stage` that got no answer."""
    host = target.host
    if isinstance(error, requests.exceptions.SSLError):
        return PublishFailed(
            f"{stage}: no TLS connection to {host} ({_root(error)}): if its certificate is right, "
            "name the file of its CA in REQUESTS_CA_BUNDLE; if it speaks plain HTTP, say --insecure"
        )
    if isinstance(error, requests.Timeout):
        return Transient(f"{stage}: {host} did not answer in time")
    if isinstance(error, requests.ConnectionError | requests.exceptions.ChunkedEncodingError):
        return Transient(
            f"{stage}: {host} cannot be reached ({_root(error)}): check its name and the network"
        )
    return PublishFailed(f"{stage}: request to {host} failed ({type(error).__name__})")


def login(host: str) -> str:
    """The command that makes us known to the registry `host`."""
    return "docker login" if host == DOCKER_HUB else f"docker login {host}"


def _advice(status: int, target: Reference) -> str:
    return {
        _UNAUTHORIZED: f": log in with `{login(target.host)}`",
        _FORBIDDEN: f": log in with `{login(target.host)}` as a user who may push to "
        f"{target.repository}",
        _NOT_FOUND: f": check that {target.host} is a registry and {target.repository} may be made",
        _TOO_LARGE: ": the registry or a proxy before it limits the size of uploads",
        _BUSY: ": too many requests, try again later",
    }.get(status, "")


def _reasons(answer: requests.Response) -> str:
    """The codes and messages of an error body (distribution-spec, "Error Codes")."""
    try:
        errors = answer.json()["errors"]
        reasons = [f"{error['code']}: {error.get('message', '')}" for error in errors]
    except (ValueError, KeyError, TypeError, AttributeError):
        return ""
    text = "".join(c for c in scrub.credentials("; ".join(reasons)) if c.isprintable())
    return f" ({text[:_MOST_CHARACTERS]})" if text else ""


def _pause_s(text: str) -> float:
    return min(float(text), _MOST_PAUSE_S) if text.isdecimal() else 0


def _root(error: BaseException) -> str:
    """The innermost cause that the system names; never a URL, which may carry secrets."""
    found, seen = "connection broken", error
    for _ in range(16):
        if isinstance(seen, ssl.SSLCertVerificationError):
            return seen.verify_message
        if isinstance(seen, OSError) and seen.strerror:
            found = seen.strerror
        inner: Any = getattr(seen, "reason", None) or next(iter(seen.args), None)
        causes = (inner, seen.__cause__, seen.__context__)
        following = next((one for one in causes if isinstance(one, BaseException)), None)
        if following is None:
            break
        seen = following
    return found
