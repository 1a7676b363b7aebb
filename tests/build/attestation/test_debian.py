"""Control stanzas and copyright files, as Debian and as attackers write them."""

from contextlib import suppress
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from packageurl import PackageURL

from build.attestation import debian
from build.attestation.licence import Licence
from build.errors import InvalidImage
from tests.build.attestation.image_samples import (
    DEP5_COPYRIGHT,
    EXPAT,
    FREE_COPYRIGHT,
    LIBC,
    LIBSTDC,
)

COPYRIGHT = "usr/share/doc/x/copyright"
WHERE = "var/lib/dpkg/status.d/x"


def package(raw):
    return debian.package(raw, WHERE, "debian-12")


def with_copyright(stanza, raw):
    return debian.with_copyright(package(stanza), raw, COPYRIGHT)


def test_a_stanza_is_a_package():
    found = package(LIBC)
    assert (found.name, found.version, found.architecture) == ("libc6", "2.36-9+deb12u13", "amd64")
    assert (found.source, found.source_version) == ("glibc", "2.36-9+deb12u13")
    assert found.homepage == "https://www.gnu.org/software/libc/libc.html"
    assert found.maintainer == "GNU Libc Maintainers"
    assert (found.sha256, found.licences, found.mentioned) == ("", (), ())


def test_a_source_may_have_a_version_of_its_own():
    found = package(LIBSTDC.replace(b"(12.2.0-14+deb12u1)", b"(12.2.0-13)"))
    assert (found.source, found.source_version) == ("gcc-12", "12.2.0-13")
    assert found.sha256.startswith("90fafc0a")


def test_a_package_without_a_source_field_is_its_own_source():
    raw = b"Package: tzdata\nVersion: 2025b-0+deb12u1\nArchitecture: all\n"
    found = package(raw)
    assert (found.source, found.source_version) == ("tzdata", "2025b-0+deb12u1")
    assert found.purl == "pkg:deb/debian/tzdata@2025b-0%2Bdeb12u1?arch=all&distro=debian-12"


def test_the_purl_names_the_source_that_advisories_are_about():
    assert package(LIBC).purl == (
        "pkg:deb/debian/libc6@2.36-9%2Bdeb12u13?arch=amd64&distro=debian-12&upstream=glibc"
    )
    other = package(LIBSTDC.replace(b"(12.2.0-14+deb12u1)", b"(12.2.0-13)"))
    assert other.purl.endswith("&upstream=gcc-12%4012.2.0-13")


def test_an_epoch_is_a_version():
    assert package(LIBC.replace(b"2.36-9", b"1:2.36-9")).version == "1:2.36-9+deb12u13"


@pytest.mark.parametrize("around", [b"\n\n%b\n\n", b"%b\n", b"%b"])
def test_blank_lines_around_a_stanza_do_not_matter(around):
    assert package(around % LIBC) == package(LIBC)


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b"\n\n",
        b"not a stanza at all\n",
        b"Package: a1\nthis line is broken\nVersion: 1\n",
        b" Package: a1\n",
        LIBC + b"\n" + EXPAT,
        b"\x7fELF\x02\x01\x01\x00",
        b"{}",
    ],
)
def test_what_is_not_one_stanza_is_refused_with_its_place(raw):
    with pytest.raises(InvalidImage, match=r"status\.d/x"):
        package(raw)


def test_other_encodings_are_refused():
    with pytest.raises(InvalidImage, match=r"status\.d/x is not UTF-8"):
        package(b"Package: caf\xe9\n")


@pytest.mark.parametrize("digest", [b"md5", b"0" * 63, b"G" * 64])
def test_a_digest_that_is_none_is_refused(digest):
    with pytest.raises(InvalidImage, match="SHA256 is '"):
        package(LIBC + b"SHA256: " + digest + b"\n")


def test_every_bad_field_is_named_with_its_value():
    with pytest.raises(InvalidImage) as caught:
        package(b"Package: Not OK\nVersion: 1 2\nHomepage: x\n")
    assert [problem.split(", expected")[0] for problem in caught.value.problems] == [
        f"{WHERE}: Package is 'Not OK'",
        f"{WHERE}: Version is '1 2'",
        f"{WHERE}: Architecture is ''",
    ]


def test_a_machine_readable_copyright_declares_licences():
    found = with_copyright(EXPAT, DEP5_COPYRIGHT)
    assert found.licences == (
        Licence("GPL-2+ or Artistic", "GPL-2.0-or-later OR Artistic-1.0"),
        Licence("MIT", "MIT"),
        Licence("public-domain", "", "Nobody claims anything here."),
    )
    assert found.mentioned == ()


def test_free_text_declares_nothing_and_mentions_the_common_licences():
    found = with_copyright(LIBC, FREE_COPYRIGHT)
    assert (found.licences, found.mentioned) == ((), ("GPL-2", "LGPL-2.1"))


def test_the_old_address_of_the_format_counts():
    raw = b"Format: http://www.debian.org/doc/packaging-manuals/copyright-format/1.0\n"
    raw += b"\nFiles: *\nLicense: Zlib\n"
    assert with_copyright(EXPAT, raw).licences == (Licence("Zlib", "Zlib"),)


def test_texts_of_licences_keep_their_empty_lines():
    raw = DEP5_COPYRIGHT + b"\nFiles: x\nLicense: odd-one\n First.\n .\n  Second, indented.\n"
    found = with_copyright(EXPAT, raw).licences
    texts = {licence.name: licence.text for licence in found}
    assert texts["odd-one"] == "First.\n\n Second, indented."


@pytest.mark.parametrize("raw", [b"", b"\xff\xfe\x00", b"Format: x\n", b"\n" * 50, b"License: MIT"])
def test_a_copyright_file_of_another_kind_declares_nothing(raw):
    assert with_copyright(LIBC, raw) == replace(package(LIBC), copyright_path=COPYRIGHT)


def test_a_licence_field_without_a_name_declares_nothing():
    raw = DEP5_COPYRIGHT.split(b"\n\n")[0] + b"\n\nFiles: *\nLicense:\n some text\n"
    assert with_copyright(EXPAT, raw).licences == ()


@settings(deadline=None)
@given(st.binary(max_size=200))
def test_whatever_the_bytes_there_is_a_package_or_a_refusal(raw):
    for stanza in (raw, LIBC + raw, raw + LIBC):
        with suppress(InvalidImage):
            assert PackageURL.from_string(package(stanza).purl).type == "deb"


@settings(deadline=None)
@given(st.binary(max_size=200))
def test_whatever_the_bytes_a_copyright_file_is_read(raw):
    for text in (raw, FREE_COPYRIGHT + raw, DEP5_COPYRIGHT + raw):
        assert with_copyright(EXPAT, text).copyright_path == COPYRIGHT
