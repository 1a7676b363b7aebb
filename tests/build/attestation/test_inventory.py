"""What is in an image: real packages, broken ones, and what other layers took away."""

import hashlib
from dataclasses import replace
from importlib.metadata import distribution

import pytest

from build.attestation.inventory import take
from build.errors import InvalidImage
from build.oci.store import Store
from edge.bundle import encode
from tests.build.attestation.image_samples import (
    AMD64,
    APPLIANCE,
    BUNDLE,
    DEBIAN,
    LIBC,
    MANIFEST,
    WEIGHTS,
    WHEELS,
    Symlink,
    image_of,
    wheels,
    whole_image,
)


@pytest.fixture
def store(tmp_path):
    return Store(tmp_path / "store")


def inventory(store, *layers):
    return take(image_of(store, *layers), store)


def test_a_whole_image(tmp_path):
    found = take(*whole_image(tmp_path / "store"))
    assert found.platform == AMD64
    assert [one.name for one in found.debian] == ["gcc-12-base", "libc6", "libexpat1", "libstdc++6"]
    assert [one.name for one in found.wheels] == sorted(WHEELS)
    assert found.packages == (*found.debian, *found.wheels)
    assert found.has_appliance
    assert found.model == MANIFEST
    assert found.bundle_sha256 == hashlib.sha256(BUNDLE["model/manifest.json"]).hexdigest()


def test_every_regular_file_is_counted_with_its_bytes(store):
    found = inventory(store, DEBIAN, BUNDLE)
    regular = [one for one in {**DEBIAN, **BUNDLE}.values() if isinstance(one, bytes)]
    assert (found.files, found.size_bytes) == (len(regular), sum(map(len, regular)))


def test_an_empty_image_holds_nothing(store):
    found = inventory(store, {})
    assert (found.packages, found.model, found.bundle_sha256, found.files) == ((), None, "", 0)
    assert not found.has_appliance


def test_the_compression_and_the_order_in_a_layer_do_not_matter(store):
    backwards = dict(reversed([*DEBIAN.items(), *BUNDLE.items()]))
    assert inventory(store, backwards) == inventory(store, DEBIAN, BUNDLE)


def test_a_copyright_file_behind_a_link_is_found(store):
    by_name = {one.name: one for one in inventory(store, DEBIAN).debian}
    assert by_name["libstdc++6"].mentioned == ("GPL-2", "LGPL-2.1")
    assert by_name["libstdc++6"].copyright_path == "usr/share/doc/libstdc++6/copyright"
    assert by_name["libexpat1"].licences != ()


def test_a_package_without_a_copyright_file_shows(store):
    gone = {"usr/share/doc/.wh.gcc-12-base": b""}
    without = [one.name for one in inventory(store, DEBIAN, gone).debian if not one.copyright_path]
    assert without == ["gcc-12-base", "libstdc++6"]


def test_the_distribution_is_that_of_the_image(store):
    release = {"usr/lib/os-release": b'NAME="Debian"\nID=debian\nVERSION_ID="13"\n'}
    linked = release | {"etc/os-release": Symlink("../usr/lib/os-release")}
    for layer in (release, linked):
        assert {one.distribution for one in inventory(store, DEBIAN, layer).debian} == {"debian-13"}
    assert inventory(store, DEBIAN).debian[0].distribution == "debian-12"
    assert inventory(store, DEBIAN, {"etc/os-release": b"?"}).debian[0].distribution == "debian-12"


def test_what_a_later_layer_removed_is_not_in_the_image(store):
    gone = {"var/lib/dpkg/status.d/.wh.libc6": b"", "app/.wh.lib": b"", ".wh.model": b""}
    found = inventory(store, DEBIAN, wheels("flask"), BUNDLE, gone)
    assert "libc6" not in [one.name for one in found.debian]
    assert (found.wheels, found.model) == ((), None)


def test_what_a_later_layer_replaced_counts_once(store):
    newer = {"var/lib/dpkg/status.d/libc6": LIBC.replace(b"u13", b"u14")}
    found = {one.name: one.version for one in inventory(store, DEBIAN, newer).debian}
    assert found["libc6"] == "2.36-9+deb12u14"


def test_python_modules_of_debian_packages_are_no_wheels(store):
    metadata = b"Name: six\nVersion: 1.16.0\n"
    there = {"usr/lib/python3/dist-packages/six-1.16.0.dist-info/METADATA": metadata}
    assert inventory(store, there).wheels == ()


def test_a_wheel_that_another_one_brings_along_counts_once(store):
    path = f"app/lib/setuptools/_vendor/packaging-{distribution('packaging').version}.dist-info"
    own = wheels("packaging")
    copy = {f"{path}/METADATA": b"Name: packaging\nVersion: %b\n" % own_version(own)}
    assert [one.name for one in inventory(store, own, copy).wheels] == ["packaging"]


def own_version(files):
    return next(iter(files)).split("packaging-")[1].split(".dist-info")[0].encode()


def test_all_that_is_broken_is_told_at_once(store):
    broken = {
        "var/lib/dpkg/status.d/libbad": b"no stanza\n",
        "var/lib/dpkg/status.d/libworse": b"Package: libworse\nArchitecture: amd64\n",
        "app/lib/nameless-1.0.dist-info/METADATA": b"Version: 1.0\n",
        "model/manifest.json": b"{}",
    }
    with pytest.raises(InvalidImage) as caught:
        inventory(store, DEBIAN, broken)
    said = [problem.partition(":")[0].partition(" is not")[0] for problem in caught.value.problems]
    assert sorted(said) == [
        "app/lib/nameless-1.0.dist-info/METADATA",
        "bundle",
        "var/lib/dpkg/status.d/libbad",
        "var/lib/dpkg/status.d/libworse",
    ]


def test_a_package_stands_in_the_status_once(store):
    with pytest.raises(InvalidImage, match="libc6:amd64 has 2 control stanzas, expected one"):
        inventory(store, DEBIAN, {"var/lib/dpkg/status.d/again": LIBC})


def test_the_model_has_the_files_that_its_manifest_lists(store):
    with pytest.raises(InvalidImage, match=r"model/model/model.onnx is missing, expected 18 bytes"):
        inventory(store, {"model/manifest.json": BUNDLE["model/manifest.json"]})
    with pytest.raises(InvalidImage, match=r"model.onnx has 5 bytes, expected 18 bytes"):
        inventory(store, BUNDLE, {"model/model/model.onnx": b"short"})


def test_a_manifest_of_another_format_is_refused(store):
    other = encode(replace(MANIFEST, format_version=99))
    with pytest.raises(InvalidImage, match="format_version is 99"):
        inventory(store, {"model/manifest.json": other, "model/model/model.onnx": WEIGHTS})


def test_the_appliance_is_its_files(store):
    assert inventory(store, APPLIANCE).has_appliance
    assert not inventory(store, {"app/edge": None, "app/edges/x": b""}).has_appliance
