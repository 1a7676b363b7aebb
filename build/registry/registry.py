"""A repository of a registry: blobs and manifests go in (OCI distribution-spec 1.1, "Push")."""

from __future__ import annotations

from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import requests

from build.destination import Reference
from build.errors import PublishFailed
from build.oci import media
from build.oci.descriptor import Descriptor
from build.progress import Progress
from build.registry.session import Session, Upload

_OK, _CREATED, _ACCEPTED, _NO_CONTENT, _NOT_FOUND = 200, 201, 202, 204, 404
_STORED_S = 600  # a registry may copy a blob of gigabytes before it answers
_BINARY = "application/octet-stream"
_SUBJECT = "OCI-Subject"  # says that the registry lists the manifest as a referrer
_DIGEST = "Docker-Content-Digest"


class Registry:
    """Pushes to the repository that `session` talks to; every method raises `PublishFailed`."""

    def __init__(self, session: Session, progress: Progress) -> None:
        self._session = session
        self._progress = progress
        self.target: Reference = session.target

    def check(self) -> None:
        """Find out before the work whether we may push: begin an upload, and give it up."""
        stage = "check"
        place = self._session.repeat(lambda: self._begin(stage))
        expected = range(_OK, 500)  # a registry that cannot give up lets uploads run out
        self._session.send(stage, "DELETE", place, expected=expected)

    def push_blob(self, blob: Descriptor, path: Path) -> None:
        """Upload the file `path` unless the repository has it; `path` is read piece by piece."""
        stage = f"upload of blob {blob.digest}"
        if not self._session.repeat(lambda: self._has(stage, blob)):
            self._session.repeat(lambda: self._upload(stage, blob, path))

    def push_manifest(self, manifest: Descriptor, content: bytes, tag: str = "") -> bool:
        """Store a manifest or index byte for byte, by its digest or under `tag`.

        True says that the registry will list it as a referrer of its subject.
        """
        name = tag or manifest.digest
        stage = f"upload of manifest {name}"
        answer = self._session.repeat(
            lambda: self._session.send(
                stage,
                "PUT",
                self._session.url(f"manifests/{name}"),
                expected=(_OK, _CREATED, _ACCEPTED),
                headers={"Content-Type": manifest.media_type},
                body=content,
            )
        )
        stored = answer.headers.get(_DIGEST, manifest.digest)
        if stored != manifest.digest:
            found = f"stored {stored}, expected {manifest.digest}"
            raise PublishFailed(f"{stage}: {self.target.name} {found}")
        return _SUBJECT in answer.headers

    def pull_index(self, tag: str) -> Any | None:
        """The JSON of the index under `tag`; None where there is none."""
        answer = self._session.repeat(
            lambda: self._session.send(
                f"download of index {tag}",
                "GET",
                self._session.url(f"manifests/{tag}"),
                expected=(_OK, _NOT_FOUND),
                headers={"Accept": media.INDEX},
            )
        )
        try:
            return answer.json() if answer.status_code == _OK else None
        except ValueError as error:
            name = self.target.name
            raise PublishFailed(f"download of index {tag}: {name} answered no JSON") from error

    def _has(self, stage: str, blob: Descriptor) -> bool:
        url = self._session.url(f"blobs/{blob.digest}")
        answer = self._session.send(stage, "HEAD", url, expected=(_OK, _NOT_FOUND))
        return answer.status_code == _OK

    def _upload(self, stage: str, blob: Descriptor, path: Path) -> requests.Response:
        place = self._begin(stage)
        digest = urlencode({"digest": blob.digest})
        with self._progress.bar(blob.digest[:19], blob.size_bytes) as bar:
            return self._session.send(
                stage,
                "PUT",
                f"{place}{'&' if '?' in place else '?'}{digest}",
                expected=(_CREATED, _NO_CONTENT),
                headers={"Content-Type": _BINARY},
                body=lambda: Upload(path, bar),
                answer_s=_STORED_S,
            )

    def _begin(self, stage: str) -> str:
        """The address of a new upload."""
        url = self._session.url("blobs/uploads/")
        return self._session.location(self._session.send(stage, "POST", url, expected=(_ACCEPTED,)))
