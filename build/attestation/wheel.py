"""Python wheels as an image holds them: `<name>-<version>.dist-info/METADATA`.

Sources: the core metadata specifications (PyPA), PEP 639 for `License-Expression`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from packageurl import PackageURL
from packaging.metadata import RawMetadata, parse_email
from packaging.utils import InvalidName, canonicalize_name
from packaging.version import InvalidVersion, Version

from build import scrub
from build.attestation import licence
from build.attestation.licence import Licence
from build.errors import InvalidImage

_HOMEPAGES = ("homepage", "home-page", "source", "source code", "repository", "documentation")


@dataclass(frozen=True, slots=True, order=True)
class Wheel:
    """An installed wheel; `name` is the normalised one."""

    name: str
    version: str
    homepage: str = ""
    licences: tuple[Licence, ...] = ()

    @property
    def purl(self) -> str:
        """`pkg:pypi/...`."""
        return PackageURL("pypi", None, self.name, self.version).to_string()


def wheel(raw: bytes, where: str) -> Wheel:
    """The wheel of the METADATA `raw`; `where` names it in errors.

    Lenient as installers are: only a name and a version must be there and be valid, else
    `InvalidImage` is raised.
    """
    metadata, _ = parse_email(raw)
    name, version = metadata.get("name", ""), metadata.get("version", "")
    try:
        return Wheel(
            name=canonicalize_name(name, validate=True),
            version=str(Version(version)),
            homepage=_homepage(metadata),
            licences=_licences(metadata),
        )
    except InvalidName as error:
        raise InvalidImage(f"{where}: Name is {name[:80]!r}, expected a package's name") from error
    except InvalidVersion as error:
        raise InvalidImage(f"{where}: Version is {version[:80]!r}, expected a version") from error


def _licences(metadata: RawMetadata) -> tuple[Licence, ...]:
    """The most exact declaration that there is: an expression, a name, or classifiers."""
    expression = metadata.get("license_expression", "")
    if expression:
        return (licence.of_expression(expression),)
    named = licence.of_text(metadata.get("license", ""))
    if named.spdx:
        return (named,)
    classified = map(licence.of_classifier, metadata.get("classifiers", []))
    exact = {found for found in classified if found is not None}
    if exact:
        return tuple(sorted(exact))
    return (named,) if named.name else ()


def _homepage(metadata: RawMetadata) -> str:
    """Where the project stands: the field of old, else the best of the labelled URLs."""
    labelled: Mapping[str, str] = metadata.get("project_urls", {})
    urls = {label.lower(): url for label, url in labelled.items()}
    found = [urls[label] for label in _HOMEPAGES if label in urls]
    return scrub.credentials(metadata.get("home_page", "") or next(iter(found), ""))
