"""What declared licences mean in SPDX, and what nobody may guess."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from license_expression import get_spdx_licensing

from build.attestation import licence
from build.attestation.licence import Licence


@pytest.mark.parametrize(
    ("said", "meant"),
    [
        ("MIT", "MIT"),
        ("mit", "MIT"),
        ("Apache-2.0 or bsd-2-clause", "Apache-2.0 OR BSD-2-Clause"),
        ("BSD-3-Clause AND 0BSD", "BSD-3-Clause AND 0BSD"),
        ("MIT OR (Apache-2.0 AND ISC)", "MIT OR (Apache-2.0 AND ISC)"),
        ("GPL-2.0-or-later with gcc-exception-3.1", "GPL-2.0-or-later WITH GCC-exception-3.1"),
        ("BSD", ""),
        ("MIT License", ""),
        ("LicenseRef-mine", ""),
        ("(MIT", ""),
        ("(" * 5000 + "MIT", ""),
        ("", ""),
    ],
)
def test_only_spdx_expressions_are_spdx(said, meant):
    assert licence.spdx(said) == meant


@pytest.mark.parametrize(
    ("said", "meant"),
    [
        ("Expat", "MIT"),
        ("MIT", "MIT"),
        ("GPL-2+", "GPL-2.0-or-later"),
        ("GPL-2", "GPL-2.0-only"),
        ("GPL-2.0+", "GPL-2.0-or-later"),
        ("LGPL-2.1+", "LGPL-2.1-or-later"),
        ("lgpl-3", "LGPL-3.0-only"),
        ("GFDL-NIV-1.3+", "GFDL-1.3-no-invariants-or-later"),
        ("BSD-3-clause", "BSD-3-Clause"),
        ("Apache-2", "Apache-2.0"),
        ("GPL-1+ or Artistic", "GPL-1.0-or-later OR Artistic-1.0"),
        ("LGPL-3+ or GPL-2+ and Expat", "LGPL-3.0-or-later OR GPL-2.0-or-later AND MIT"),
        ("GPL-2+ or AFL-2.1, and Expat", ""),
        ("GPL-2+ with Autoconf exception", ""),
        ("public-domain", ""),
        ("GPL", ""),
        ("MIT/X11", ""),
    ],
)
def test_debian_short_names(said, meant):
    assert licence.of_debian(said) == Licence(said, meant)


def test_the_text_is_kept_where_the_name_alone_says_nothing():
    assert licence.of_debian("public-domain", "Nobody claims it.").text == "Nobody claims it."
    assert licence.of_debian("Expat", "Permission is hereby granted").text == ""


@pytest.mark.parametrize(
    ("said", "meant"),
    [
        ("MIT License", "MIT"),
        ("MIT", "MIT"),
        ("Apache 2.0", "Apache-2.0"),
        ("3-Clause BSD License", "BSD-3-Clause"),
        ("MPL-2.0 AND MIT", "MPL-2.0 AND MIT"),
        ("BSD", ""),
        ("Dual License", ""),
        ("", ""),
    ],
)
def test_free_text_of_wheels(said, meant):
    assert licence.of_text(said) == Licence(said, meant)


def test_a_whole_text_is_named_by_its_first_line_and_means_nothing_by_itself():
    found = licence.of_text("\n  MIT License\n\nCopyright 2020 me\n")
    assert found == Licence("MIT License", "", "MIT License\n\nCopyright 2020 me")


@pytest.mark.parametrize(
    ("said", "found"),
    [
        ("License :: OSI Approved :: MIT License", Licence("MIT License", "MIT")),
        (
            "License :: OSI Approved :: Apache Software License",
            Licence("Apache Software License", "Apache-2.0"),
        ),
        ("License :: OSI Approved :: BSD License", Licence("BSD License")),
        ("License :: OSI Approved", None),
        ("Programming Language :: Python", None),
    ],
)
def test_classifiers(said, found):
    assert licence.of_classifier(said) == found


@pytest.mark.parametrize(
    ("expressions", "whole"),
    [
        (["MIT"], "MIT"),
        (["MIT OR ISC"], "MIT OR ISC"),
        (["MIT", "ISC", "MIT"], "MIT AND ISC"),
        (["MIT OR ISC", "Zlib"], "(MIT OR ISC) AND Zlib"),
        (["MIT", ""], ""),
        ([""], ""),
        ([], ""),
    ],
)
def test_licences_of_one_package_hold_together(expressions, whole):
    assert licence.together([Licence("x", spdx) for spdx in expressions]) == whole


SPDX = get_spdx_licensing()
WORDS = st.sampled_from(
    ["MIT", "Expat", "GPL-2+", "GPL-2", "LGPL-2.1+", "and", "or", "with", "BSD", "(", ")", "+", ","]
)


@settings(deadline=None)  # other work on the machine is no failure
@given(st.lists(WORDS, max_size=8).map(" ".join))
def test_whatever_is_declared_an_expression_is_one_that_spdx_tools_read(said):
    for found in (licence.of_debian(said), licence.of_text(said), licence.of_expression(said)):
        if found.spdx:
            assert SPDX.validate(found.spdx).errors == []
