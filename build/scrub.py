"""What must not travel in a bundle: credentials, and paths of the machine that logged or exported.

A bundle is published; its lineage says which model it is, not whose disk it lay on.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import PurePosixPath, PureWindowsPath

_USERINFO = re.compile(r"(?<=://)[^/\s@]+@")
_SECRET_QUERY = re.compile(
    r"(?i)([?&][^=&\s]*(?:token|secret|password|pwd|key|sig)[^=&\s]*=)[^&\s]+"
)
_FILE_URI = re.compile(r"(?i)\bfile:(?://)?(/\S*)")
_UNIX_PATH = re.compile(r"(?<![\w:/.}@-])~?(?:/[^\s/'\",;:=]+){2,}/?")
_WINDOWS_PATH = re.compile(r"(?<![\w/])[A-Za-z]:\\[^\s'\",;]+")
# The history repeats the whole MLmodel a version, artifact paths and all.
_DROPPED_TAGS = ("mlflow.log-model.history", "mlflow.modelVersions")


def credentials(value: str) -> str:
    """`value` without user info in URLs and secret query values: fit for the caller's terminal."""
    return _SECRET_QUERY.sub(r"\1***", _USERINFO.sub("", value))


def text(value: str) -> str:
    """`value` without credentials and absolute paths: fit to be published.

    A path shrinks to its last part: `/home/me/train.py` to `train.py`.
    """
    value = credentials(value)
    value = _FILE_URI.sub(lambda match: PurePosixPath(match[1]).name, value)
    value = _WINDOWS_PATH.sub(lambda match: PureWindowsPath(match[0]).name, value)
    return _UNIX_PATH.sub(lambda match: PurePosixPath(match[0]).name, value)


def tags(found: Mapping[str, str]) -> dict[str, str]:
    """Tracking tags fit to be published."""
    return {
        key: text(str(value)) for key, value in sorted(found.items()) if key not in _DROPPED_TAGS
    }
