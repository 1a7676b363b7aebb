"""Where an image goes and what it is called, read from the command line. Pure: nobody is asked.

The grammar of names and tags is that of the OCI distribution-spec 1.1 ("Pulling manifests"); what
a name without a host means is Docker's rule: the Docker Hub.
"""

from __future__ import annotations

import ipaddress
import re
from dataclasses import dataclass
from pathlib import Path

from build.errors import UsageError

EXPECTED = (
    "oci-archive:FILE, oci:FOLDER, docker-archive:FILE, local, or a repository of a registry "
    "such as registry.example.com/acme/phi3"
)
DOCKER_HUB = "docker.io"
_HUB_NAMES = (DOCKER_HUB, "index.docker.io", "registry-1.docker.io")
_PART = r"[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*"
_REPOSITORY = re.compile(rf"{_PART}(?:/{_PART})*")
_TAG = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]{0,127}")
_LABEL = r"[A-Za-z0-9](?:[A-Za-z0-9-]*[A-Za-z0-9])?"
_HOST = re.compile(rf"(?:{_LABEL}(?:\.{_LABEL})*|\[[0-9A-Fa-f:.]+\])(?::[0-9]{{1,5}})?")
_MOST_CHARACTERS = 255  # of host and repository together, for what most clients take


@dataclass(frozen=True, slots=True)
class Reference:
    """A repository, perhaps with its registry's host (and port), and a tag in it."""

    host: str
    repository: str
    tag: str = ""

    @property
    def name(self) -> str:
        """`HOST/REPOSITORY` without the tag."""
        return f"{self.host}/{self.repository}" if self.host else self.repository

    def __str__(self) -> str:
        return f"{self.name}:{self.tag}" if self.tag else self.name


@dataclass(frozen=True, slots=True)
class OciArchive:
    """A tar of an OCI image layout."""

    path: Path

    def __str__(self) -> str:
        return f"oci-archive:{self.path}"


@dataclass(frozen=True, slots=True)
class OciFolder:
    """An OCI image layout."""

    path: Path

    def __str__(self) -> str:
        return f"oci:{self.path}"


@dataclass(frozen=True, slots=True)
class DockerArchive:
    """What `docker load` takes: one platform."""

    path: Path

    def __str__(self) -> str:
        return f"docker-archive:{self.path}"


@dataclass(frozen=True, slots=True)
class Local:
    """The container tool of this machine."""

    def __str__(self) -> str:
        return "local"


Destination = OciArchive | OciFolder | DockerArchive | Local | Reference
_FILES: dict[str, type[OciArchive | OciFolder | DockerArchive]] = {
    "oci-archive": OciArchive,
    "oci": OciFolder,
    "docker-archive": DockerArchive,
}


def parse(text: str) -> Destination:
    """Read a value of `--to`; raises `UsageError` that says what was expected."""
    kind, colon, path = text.partition(":")
    if text == "local":
        return Local()
    if colon and kind in _FILES:
        if not path or Path(path).resolve() in (Path.cwd(), Path("/")):
            raise UsageError(
                f"destination is {text!r}, expected a file or new folder after {kind}:"
            )
        return _FILES[kind](Path(path))
    found = _reference(text)
    if found is None:
        raise UsageError(f"destination is {text!r}, expected {EXPECTED}")
    return absolute(found)


def parse_tag(text: str) -> Reference:
    """Read a value of `--tag`, REPOSITORY:TAG; raises `UsageError` that says what was expected."""
    found = _reference(text)
    if found is None or not found.tag:
        raise UsageError(f"tag is {text!r}, expected REPOSITORY:TAG such as acme/phi3:3")
    return found


def is_loopback(host: str) -> bool:
    """Whether `HOST[:PORT]` is this machine, so that nobody can listen to plain HTTP."""
    name = re.sub(r":[0-9]+$", "", host).strip("[]").lower()
    try:
        return ipaddress.ip_address(name).is_loopback
    except ValueError:
        return name == "localhost" or name.endswith(".localhost")


def _reference(text: str) -> Reference | None:
    first, slash, rest = text.partition("/")
    has_host = bool(slash) and (first == "localhost" or any(mark in first for mark in ".:["))
    host, path = (first, rest) if has_host else ("", text)
    repository, colon, tag = path.partition(":")
    is_right = (
        (not host or _HOST.fullmatch(host))
        and _REPOSITORY.fullmatch(repository)
        and (not colon or _TAG.fullmatch(tag))
        and len(host) + len(repository) < _MOST_CHARACTERS
    )
    return Reference(host, repository, tag) if is_right else None


def absolute(found: Reference) -> Reference:
    """What a name means to `docker push`: no host is the Docker Hub, no owner there `library`."""
    if found.host and found.host not in _HUB_NAMES:
        return found
    official = "" if "/" in found.repository else "library/"
    return Reference(DOCKER_HUB, official + found.repository, found.tag)
