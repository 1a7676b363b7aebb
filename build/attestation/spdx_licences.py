"""Declared licences as SPDX 2.3 says them: expressions, and `LicenseRef-` for what has no id."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence
from typing import TypeAlias

from license_expression import LicenseExpression  # type: ignore[import-untyped]
from spdx_tools.spdx.model.extracted_licensing_info import ExtractedLicensingInfo
from spdx_tools.spdx.model.spdx_no_assertion import SpdxNoAssertion
from spdx_tools.spdx.model.spdx_none import SpdxNone
from spdx_tools.spdx.parser.jsonlikedict.license_expression_parser import LicenseExpressionParser

from build.attestation import licence
from build.attestation.licence import Licence

Expression: TypeAlias = "LicenseExpression | SpdxNoAssertion | SpdxNone"
_OUTSIDE_IDS = re.compile(r"[^A-Za-z0-9.]+")


class SpdxLicences:
    """Makes expressions, and remembers the texts that their references stand for."""

    def __init__(self) -> None:
        self._extracted: dict[str, ExtractedLicensingInfo] = {}

    def expression(self, declared: Sequence[Licence]) -> Expression:
        """What all of `declared` say together; no assertion where nothing was declared."""
        if not declared:
            return SpdxNoAssertion()
        known = [one if one.spdx else Licence(one.name, self._reference(one)) for one in declared]
        return LicenseExpressionParser().parse_license_expression(licence.together(known))

    def extracted(self) -> list[ExtractedLicensingInfo]:
        """The texts behind the references, sorted."""
        return [info for _, info in sorted(self._extracted.items())]

    def _reference(self, declared: Licence) -> str:
        """The same name with another text is another licence, hence the hash."""
        text = declared.text or declared.name
        digest = hashlib.sha256(f"{declared.name}\0{text}".encode()).hexdigest()
        readable = _OUTSIDE_IDS.sub("-", declared.name).strip("-.")[:40]
        reference = f"LicenseRef-{readable}-{digest[:8]}"
        self._extracted[reference] = ExtractedLicensingInfo(
            license_id=reference, extracted_text=text, license_name=declared.name
        )
        return reference
