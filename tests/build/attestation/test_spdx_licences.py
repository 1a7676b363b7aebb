"""Declared licences as SPDX expressions and references."""

import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from spdx_tools.spdx.model.spdx_no_assertion import SpdxNoAssertion
from spdx_tools.spdx.validation.extracted_licensing_info_validator import (
    validate_extracted_licensing_infos,
)

from build.attestation.licence import Licence
from build.attestation.spdx_licences import SpdxLicences


def said(*declared):
    return str(SpdxLicences().expression(declared))


def test_nothing_declared_asserts_nothing():
    assert SpdxLicences().expression(()) == SpdxNoAssertion()


def test_known_licences_are_expressions_without_references():
    licences = SpdxLicences()
    assert str(licences.expression([Licence("Expat", "MIT"), Licence("z", "Zlib")])) == (
        "MIT AND Zlib"
    )
    assert licences.extracted() == []


def test_a_choice_keeps_its_parentheses_among_others():
    assert said(Licence("a", "MIT OR ISC"), Licence("b", "Zlib")) == "(MIT OR ISC) AND Zlib"
    assert said(Licence("a", "MIT OR ISC")) == "MIT OR ISC"


def test_an_unknown_name_is_a_reference_to_its_text():
    licences = SpdxLicences()
    reference = str(licences.expression([Licence("public-domain", "", "Nobody claims it.")]))
    (info,) = licences.extracted()
    assert re.fullmatch(r"LicenseRef-public-domain-[0-9a-f]{8}", reference)
    assert info.license_id == reference
    assert (info.license_name, info.extracted_text) == ("public-domain", "Nobody claims it.")


def test_a_name_without_a_text_is_its_own_text():
    licences = SpdxLicences()
    licences.expression([Licence("BSD License")])
    assert [info.extracted_text for info in licences.extracted()] == ["BSD License"]


def test_references_are_listed_once_and_sorted():
    licences = SpdxLicences()
    for name in ("z", "a", "z", "m"):
        licences.expression([Licence(name)])
    assert [info.license_name for info in licences.extracted()] == ["a", "m", "z"]


@pytest.mark.parametrize("name", ["", "NONE", "…", " ", "a b/c", "x" * 500])
def test_a_reference_has_the_form_that_spdx_wants(name):
    assert re.fullmatch(r"LicenseRef-[A-Za-z0-9.-]+", said(Licence(name, "", "text")))


@settings(deadline=None)
@given(st.text(min_size=1, max_size=40), st.text(max_size=20))
def test_whatever_the_name_the_references_are_valid(name, text):
    licences = SpdxLicences()
    licences.expression([Licence(name, "", text)])
    assert validate_extracted_licensing_infos(licences.extracted()) == []
