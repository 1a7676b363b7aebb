"""Licences as packages declare them, and the SPDX expressions that these declarations mean.

Three vocabularies come in: SPDX itself, Debian's short names (the copyright format 1.0, "DEP-5",
section 7) and the free text of Python wheels. What is not known to mean one SPDX licence keeps
its declared name: nothing is guessed.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass

from cyclonedx.spdx import is_expression
from packaging.licenses import InvalidLicenseExpression, canonicalize_license_expression

_OPERATORS = re.compile(r"\s+(and|or)\s+", re.IGNORECASE)
_GNU = re.compile(r"(?i)(gpl|lgpl|agpl|gfdl)(-niv)?-(\d+)(\.\d+)?(\+?)")
_DEBIAN = {
    "apache-2": "Apache-2.0",
    "artistic": "Artistic-1.0",
    "artistic-1": "Artistic-1.0",
    "artistic-2": "Artistic-2.0",
    "cc0": "CC0-1.0",
    "expat": "MIT",
    "mpl-2": "MPL-2.0",
}
_TROVE = "License :: OSI Approved :: "
_FREE_TEXT = {
    "3-clause bsd license": "BSD-3-Clause",
    "apache 2": "Apache-2.0",
    "apache 2.0": "Apache-2.0",
    "apache 2.0 license": "Apache-2.0",
    "apache license 2.0": "Apache-2.0",
    "apache license, version 2.0": "Apache-2.0",
    "bsd 2-clause license": "BSD-2-Clause",
    "bsd 3-clause license": "BSD-3-Clause",
    "isc license": "ISC",
    "isc license (iscl)": "ISC",
    "mit license": "MIT",
    "mozilla public license 2.0 (mpl 2.0)": "MPL-2.0",
    "new bsd license": "BSD-3-Clause",
    "the unlicense (unlicense)": "Unlicense",
}


@dataclass(frozen=True, slots=True, order=True)
class Licence:
    """One declaration: `name` as it was made, `spdx` its expression where it is known.

    `text` is what the package says under a name that SPDX does not know.
    """

    name: str
    spdx: str = ""
    text: str = ""


def spdx(expression: str) -> str:
    """The canonical form of an SPDX expression; empty for what is none.

    A `LicenseRef-` counts as none: what it refers to stands elsewhere.
    """
    try:
        canonical = str(canonicalize_license_expression(expression))
    except InvalidLicenseExpression:
        return ""
    return canonical if is_expression(canonical) else ""


def of_debian(name: str, text: str = "") -> Licence:
    """What a `License` field of a Debian copyright file declares, e.g. `GPL-2+ or Expat`."""
    words = _OPERATORS.split(name)
    expression = spdx(" ".join(map(_debian_word, words)))
    return Licence(name, expression, "" if expression else text)


def of_expression(expression: str) -> Licence:
    """What a wheel's `License-Expression` field declares (PEP 639)."""
    return Licence(expression, spdx(expression))


def of_text(text: str) -> Licence:
    """What a wheel's `License` field declares: a name, or a whole text of which a line names it."""
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    name = lines[0] if lines else ""
    whole = text.strip() if len(lines) > 1 else ""
    return Licence(name, "" if whole else _free_text(name), whole)


def of_classifier(classifier: str) -> Licence | None:
    """What a trove classifier declares; None for one that is about something else.

    `BSD License` and the like name a family: they stay without an expression.
    """
    if not classifier.startswith(_TROVE):
        return None
    name = classifier.removeprefix(_TROVE)
    meant = "Apache-2.0" if name == "Apache Software License" else _free_text(name)
    return Licence(name, meant)


def _free_text(name: str) -> str:
    return _FREE_TEXT.get(name.lower()) or spdx(name)


def _debian_word(word: str) -> str:
    gnu = _GNU.fullmatch(word)
    if gnu is None:
        return _DEBIAN.get(word.lower(), word)
    family, invariants, major, minor, later = gnu.groups()
    middle = "-no-invariants" if invariants else ""
    end = "or-later" if later else "only"
    return f"{family.upper()}-{major}{minor or '.0'}{middle}-{end}"


def together(declared: Iterable[Licence]) -> str:
    """One expression for all of `declared`; empty where one of them has none, or there is none."""
    found = list(dict.fromkeys(one.spdx for one in declared))
    if not all(found):
        return ""
    if len(found) == 1:
        return found[0]
    return " AND ".join(f"({one})" if " OR " in one else one for one in found)
