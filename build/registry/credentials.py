"""What `docker login` and `podman login` left: who we are to a registry.

Files: docker/cli `config.json` (`auths`, `credHelpers`, `credsStore`) and containers/image
`auth.json`, which has the same form. Helpers: docker-credential-helpers' protocol, the host on
standard input of `docker-credential-NAME get`, JSON on its output.
"""

from __future__ import annotations

import base64
import binascii
import json
import os
import subprocess
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from build.errors import PublishFailed

_HUB, _HUB_KEY = "docker.io", "https://index.docker.io/v1/"
_HELPER_TIMEOUT_S = 60  # a person may have to unlock a keychain
_TOKEN_USER = "<token>"  # noqa: S105 - a helper's way to say that the secret is a refresh token


@dataclass(frozen=True, slots=True)
class Credentials:
    """A user with a password, or the refresh token of a registry's token service."""

    user: str = ""
    password: str = field(default="", repr=False)
    refresh_token: str = field(default="", repr=False)

    def basic(self) -> str:
        """The value of an Authorization header (RFC 7617)."""
        pair = f"{self.user}:{self.password}".encode()
        return f"Basic {base64.b64encode(pair).decode()}"


def find(host: str, environment: Mapping[str, str] = os.environ) -> Credentials | None:
    """The credentials for the registry `host` (with its port), where a login left some.

    Raises `PublishFailed` for a file that cannot be read and a helper that is missing.
    """
    keys = (_HUB_KEY, _HUB) if host == _HUB else (host,)
    for path in _files(environment):
        config = _read(path)
        for key in keys:
            if (found := _of_key(config, key)) is not None:
                return found
    return None


def _files(environment: Mapping[str, str]) -> Iterator[Path]:
    """Where logins are kept, the most particular place first."""
    if chosen := environment.get("REGISTRY_AUTH_FILE"):
        yield Path(chosen)
    folder = environment.get("DOCKER_CONFIG")
    yield (Path(folder) if folder else Path.home() / ".docker") / "config.json"
    if runtime := environment.get("XDG_RUNTIME_DIR"):
        yield Path(runtime) / "containers" / "auth.json"


def _read(path: Path) -> dict[str, Any]:
    try:
        config = json.loads(path.read_bytes())
    except FileNotFoundError:
        return {}
    except (OSError, ValueError) as error:
        raise PublishFailed(f"login file {path} cannot be read: {type(error).__name__}") from error
    return config if isinstance(config, dict) else {}


def _of_key(config: Mapping[str, Any], key: str) -> Credentials | None:
    helper = _object(config, "credHelpers").get(key) or config.get("credsStore")
    kept = _object(_object(config, "auths"), key)
    if token := kept.get("identitytoken"):
        return Credentials(refresh_token=str(token))
    if kept.get("auth"):
        return _decoded(str(kept["auth"]), key)
    return _from_helper(str(helper), key) if helper else None


def _object(data: Mapping[str, Any], key: str) -> Mapping[str, Any]:
    found = data.get(key)
    return found if isinstance(found, dict) else {}


def _decoded(auth: str, key: str) -> Credentials:
    try:
        user, colon, password = base64.b64decode(auth, validate=True).decode().partition(":")
    except (binascii.Error, UnicodeDecodeError):
        colon = ""
    if not colon:
        raise PublishFailed(f"the kept login for {key} is malformed: log in with `docker login`")
    return Credentials(user, password.rstrip("\0"))


def _from_helper(name: str, key: str) -> Credentials | None:
    """What the helper knows of `key`; None where it fails, as it does for what it does not know."""
    program = f"docker-credential-{name}"
    try:
        answer = subprocess.run(
            [program, "get"], input=key.encode(), capture_output=True, timeout=_HELPER_TIMEOUT_S
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise PublishFailed(f"{program}, which keeps the logins, does not run") from error
    if answer.returncode:
        return None
    try:
        said = json.loads(answer.stdout)
        user, secret = str(said["Username"]), str(said["Secret"])
    except (ValueError, KeyError, TypeError) as error:
        raise PublishFailed(f"{program} answered for {key} with no user and secret") from error
    return Credentials(refresh_token=secret) if user == _TOKEN_USER else Credentials(user, secret)
