"""How a registry lets us in: HTTP Basic, or a token from the service that it names.

Sources: distribution's "Token Authentication Specification" (GET with the password) and "Oauth2
Token Authentication" (POST with a refresh token); RFC 7617.
"""

from __future__ import annotations

from collections.abc import Callable
from urllib.parse import urlsplit
from urllib.request import parse_http_list, parse_keqv_list

import requests
from requests.auth import AuthBase

from build.destination import Reference, is_loopback
from build.errors import PublishFailed
from build.registry import failure
from build.registry.credentials import Credentials

_CLIENT = "phial"
_STAGE = "login"
_TIMEOUT_S = (10, 60)  # to connect, and for an answer


class Access(AuthBase):
    """Signs requests to `target`; knows nothing until it was challenged."""

    def __init__(
        self,
        target: Reference,
        session: requests.Session,
        find: Callable[[str], Credentials | None],
        *,
        insecure: bool,
    ) -> None:
        self._target = target
        self._session = session
        self._find = find
        self._insecure = insecure
        self._header = ""

    def __call__(self, request: requests.PreparedRequest) -> requests.PreparedRequest:
        """Add what is known; being there keeps `requests` from adding a login out of ~/.netrc."""
        if self._header:
            request.headers["Authorization"] = self._header
        return request

    def renew(self, challenge: str) -> bool:
        """Answer the header WWW-Authenticate; False where there is nothing to answer with.

        Raises `PublishFailed` where the token service refuses.
        """
        scheme, fields = _read_challenge(challenge)
        credentials = self._find(self._target.host)
        if scheme == "basic" and credentials and not credentials.refresh_token:
            changed, self._header = credentials.basic() != self._header, credentials.basic()
            return changed
        if scheme == "bearer" and fields.get("realm"):
            self._header = f"Bearer {self._token(fields, credentials)}"
            return True
        return False

    def _token(self, fields: dict[str, str], credentials: Credentials | None) -> str:
        realm = fields["realm"]
        self._check(realm)
        wanted = {"scope": f"repository:{self._target.repository}:pull,push"}
        if fields.get("service"):
            wanted["service"] = fields["service"]
        try:
            answer = self._ask(realm, wanted, credentials)
        except requests.RequestException as error:
            raise failure.of_silence(_STAGE, self._target, error) from error
        if answer.status_code != requests.codes.ok:
            raise failure.of_answer(_STAGE, self._target, answer)
        return self._read(answer)

    def _ask(
        self, realm: str, wanted: dict[str, str], credentials: Credentials | None
    ) -> requests.Response:
        if credentials and credentials.refresh_token:
            grant = {"grant_type": "refresh_token", "client_id": _CLIENT}
            data = wanted | grant | {"refresh_token": credentials.refresh_token}
            return self._session.post(realm, data=data, auth=nobody, timeout=_TIMEOUT_S)
        headers = {"Authorization": credentials.basic()} if credentials else {}
        return self._session.get(
            realm, params=wanted, headers=headers, auth=nobody, timeout=_TIMEOUT_S
        )

    def _read(self, answer: requests.Response) -> str:
        try:
            said = answer.json()
            token = said.get("token") or said.get("access_token")
        except (ValueError, AttributeError):
            token = None
        if not isinstance(token, str):
            host = self._target.host
            raise PublishFailed(f"{_STAGE}: the token service of {host} answered without a token")
        return token

    def _check(self, realm: str) -> None:
        """Passwords travel encrypted, unless plain HTTP was asked for."""
        parts = urlsplit(realm)
        if parts.scheme == "https" or (
            parts.scheme == "http" and (self._insecure or is_loopback(parts.netloc))
        ):
            return
        raise PublishFailed(
            f"{_STAGE}: {self._target.host} names {parts.scheme}://{parts.hostname} as its token "
            "service, expected https"
        )


def _read_challenge(challenge: str) -> tuple[str, dict[str, str]]:
    """The scheme in small letters and its parameters (RFC 9110, "WWW-Authenticate")."""
    scheme, _, rest = challenge.partition(" ")
    try:
        return scheme.lower(), parse_keqv_list(parse_http_list(rest))
    except ValueError:
        return "", {}


def nobody(request: requests.PreparedRequest) -> requests.PreparedRequest:
    """No login of ~/.netrc for the token service."""
    return request
