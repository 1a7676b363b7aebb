"""How the image build reaches package indexes: as build secrets, which no layer ever holds."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from build.errors import UsageError

MOUNTED = Path("/run/secrets")  # where the Dockerfiles find them
_CA = "ca.pem"
_INDEXES = ("PIP_INDEX_URL",)
_PROXIES = ("HTTPS_PROXY", "https_proxy", "HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy")
_AUTHORITIES = ("PIP_CERT", "SSL_CERT_FILE", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE")


@dataclass(frozen=True, slots=True)
class Network:
    """A package index, a proxy and a file of certificate authorities; each may be absent.

    `mode` is the container tool's word for the network of a build, empty for its usual one.
    """

    index_url: str = ""
    proxy: str = ""
    ca: Path | None = None
    mode: str = ""

    @classmethod
    def chosen(cls, index_url: str, proxy: str, ca: Path | None, mode: str = "") -> Network:
        """What the flags say, else what the environment says to pip and others.

        Raises `UsageError` for what cannot be an address or cannot be read.
        """
        environment = os.environ
        authority = _first(_AUTHORITIES, environment)
        if ca is None and authority and Path(authority).is_file():
            ca = Path(authority)
        return cls(
            _url("--index-url", index_url or _first(_INDEXES, environment)),
            _url("--proxy", proxy or _first(_PROXIES, environment)),
            _readable(ca),
            mode,
        )

    def write_secrets(self, folder: Path) -> dict[str, Path]:
        """Write the secrets into `folder`, readable by the owner alone; returns id -> file."""
        texts = {"pip.conf": self._pip(), "apt.conf": self._apt()}
        if self.ca is not None:
            texts[_CA] = self.ca.read_text()
        written = {}
        for name, text in texts.items():
            if text:
                written[name] = folder / name
                written[name].touch(mode=0o600)
                written[name].write_text(text)
        return written

    def _pip(self) -> str:
        settings = {"index-url": self.index_url, "proxy": self.proxy}
        if self.ca is not None:
            settings["cert"] = str(MOUNTED / _CA)
        lines = [f"{name} = {value}" for name, value in settings.items() if value]
        return "\n".join(["[global]", *lines, ""]) if lines else ""

    def _apt(self) -> str:
        lines = []
        if self.proxy:
            lines += [f'Acquire::{scheme}::Proxy "{self.proxy}";' for scheme in ("http", "https")]
        if self.ca is not None:
            lines.append(f'Acquire::https::CAInfo "{MOUNTED / _CA}";')
        return "\n".join([*lines, ""]) if lines else ""


def _first(names: tuple[str, ...], environment: Mapping[str, str]) -> str:
    return next((environment[name] for name in names if environment.get(name)), "")


def _url(flag: str, text: str) -> str:
    if not text:
        return ""
    has_quotes = any(character in text for character in '"\n\\;')
    if urlsplit(text).scheme not in ("http", "https") or not urlsplit(text).netloc or has_quotes:
        raise UsageError(f"{flag} is no address, expected http://... or https://...")
    return text


def _readable(ca: Path | None) -> Path | None:
    if ca is None:
        return None
    try:
        is_certificate = "BEGIN " in ca.read_text()
    except (OSError, UnicodeDecodeError):
        is_certificate = False
    if not is_certificate:
        raise UsageError(f"--ca is {str(ca)!r}, expected a readable file of PEM certificates")
    return ca
