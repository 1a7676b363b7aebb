"""A model's URI, read into what it names. Pure: no store is asked."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from build.errors import UsageError

EXPECTED = (
    "models:/NAME/VERSION, models:/NAME@ALIAS, models:/NAME/latest, models:/m-ID, "
    "runs:/RUN/NAME, mlflow-artifacts:/PATH, another artifact URI or a folder"
)
LOGGED_MODEL_ID = re.compile(r"m-[0-9a-f]{32}")
_SCHEME = re.compile(r"[A-Za-z][A-Za-z0-9+.-]+:")


@dataclass(frozen=True, slots=True)
class Registered:
    """A version of a registered model: by number, by alias, or (with neither) the latest."""

    name: str
    version: str = ""
    alias: str = ""


@dataclass(frozen=True, slots=True)
class Logged:
    """A logged model by its id, `m-` and hexadecimal digits."""

    model_id: str


@dataclass(frozen=True, slots=True)
class OfRun:
    """What a run logged under a name (or, before MLflow 3, under an artifact path)."""

    run_id: str
    name: str


@dataclass(frozen=True, slots=True)
class Stored:
    """A place in an artifact store, e.g. `mlflow-artifacts:/1/models/m-ID/artifacts`."""

    uri: str


@dataclass(frozen=True, slots=True)
class Local:
    """A folder of this machine."""

    folder: Path


Remote = Registered | Logged | OfRun | Stored
Address = Remote | Local


def parse(uri: str) -> Address:
    """Read `uri`; raises `UsageError` that says what was expected."""
    if not _SCHEME.match(uri):
        return Local(Path(uri))
    scheme, _, rest = uri.partition(":")
    if scheme == "models":
        return _model(uri, rest.strip("/"))
    if scheme == "runs":
        run_id, _, name = rest.strip("/").partition("/")
        if not run_id or not name:
            raise _malformed(uri, "runs:/RUN/NAME")
        return OfRun(run_id, name)
    if scheme == "file":
        return Local(Path(urlsplit(uri).path))
    return Stored(uri.rstrip("/"))


def _model(uri: str, rest: str) -> Address:
    name, slash, version = rest.partition("/")
    if LOGGED_MODEL_ID.fullmatch(rest):
        return Logged(rest)
    if not slash and "@" in name:
        name, _, alias = name.rpartition("@")
        return Registered(name, alias=alias) if name and alias else _refuse(uri)
    if name and version.lower() == "latest":
        return Registered(name)
    return Registered(name, version=version) if name and version.isdecimal() else _refuse(uri)


def _refuse(uri: str) -> Address:
    raise _malformed(uri, EXPECTED)


def _malformed(uri: str, expected: str) -> UsageError:
    return UsageError(f"URI is {uri!r}, expected {expected}")
