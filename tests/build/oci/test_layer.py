"""Layers: the same content gives the same bytes."""

import gzip
import io
import itertools
import os
import tarfile
import tracemalloc

import pytest
import zstandard
from hypothesis import given, settings
from hypothesis import strategies as st

from build.errors import InvalidImage
from build.oci import layer
from build.oci.compression import Compression
from build.oci.descriptor import Descriptor
from build.oci.store import Store
from tests.build.oci.layer_samples import (
    EPOCH_S,
    digest,
    entry,
    file,
    folder,
    hard_link,
    listing,
    normalised,
    symlink,
    tar,
)

ENTRIES = (folder("usr"), folder("usr/bin"), file("usr/bin/x", b"run", mode=0o755), file("z"))


def plain(store, found):
    with layer.plain(store, found.descriptor) as stream:
        return stream.read()


def infos(store, found):
    return {info.name: info for info, _ in layer.entries(store, found.descriptor)}


def test_the_order_of_the_entries_does_not_matter(store):
    parents_first = [
        order for order in itertools.permutations(ENTRIES) if order.index(ENTRIES[0]) == 0
    ]
    assert len({normalised(store, tar(*order)).diff_id for order in parents_first}) == 1


@pytest.mark.parametrize("format", [tarfile.GNU_FORMAT, tarfile.PAX_FORMAT, tarfile.USTAR_FORMAT])
def test_the_format_of_the_tar_does_not_matter(store, format):
    expected = normalised(store, tar(*ENTRIES)).diff_id
    assert normalised(store, tar(*ENTRIES, format=format)).diff_id == expected


@pytest.mark.parametrize(
    "same",
    [
        [file("z", mtime=99), folder("a")],
        [file("z", mtime=1.5), folder("a", mtime=3)],
        [file("./z"), folder("./a/")],
        [folder("./"), file("/z"), folder("a")],
        [file("z", b"old"), folder("a"), file("z")],
        [file("z", pax={"atime": "1.5", "SCHILY.xattr.user.x": "y"}), folder("a")],
    ],
)
def test_what_means_the_same_has_the_same_digest(store, same):
    assert normalised(store, tar(*same)) == normalised(store, tar(folder("a"), file("z")))


@pytest.mark.parametrize(
    "other",
    [
        file("z", b"x"),
        file("y"),
        file("z", mode=0o600),
        file("z", uid=1),
        file("z", gid=1),
        folder("z"),
        symlink("z", "a"),
        file("z", pax={"SCHILY.xattr.security.capability": "x"}),
    ],
)
def test_what_means_something_else_has_another(store, other):
    assert normalised(store, tar(other)).diff_id != normalised(store, tar(file("z"))).diff_id


def test_normalising_twice_changes_nothing(store):
    once = normalised(store, tar(*ENTRIES))
    assert normalised(store, plain(store, once)) == once


def test_the_compression_changes_the_blob_and_not_the_tar(store):
    found = [normalised(store, tar(*ENTRIES), kind) for kind in Compression]
    assert len({one.diff_id for one in found}) == 1
    assert [one.descriptor.media_type for one in found] == [k.media_type for k in Compression]
    for one in found:
        assert digest(plain(store, one)) == one.diff_id
        assert digest(store.path(one.descriptor.digest).read_bytes()) == one.descriptor.digest
        assert store.path(one.descriptor.digest).stat().st_size == one.descriptor.size_bytes


@pytest.mark.parametrize("pack", [bytes, gzip.compress, zstandard.compress])
def test_the_source_may_be_compressed(store, tmp_path, pack):
    (tmp_path / "layer").write_bytes(pack(tar(*ENTRIES)))
    expected = normalised(store, tar(*ENTRIES))
    assert normalised(store, pack(tar(*ENTRIES))) == expected
    assert expected == layer.normalise(
        tmp_path / "layer", store, epoch_s=EPOCH_S, compression=Compression.NONE
    )


def test_what_a_source_from_a_tar_is_it_stays(store):
    """A member of an archive is a stream that is neither a file nor bytes."""
    outer = tar(file("layer.tar", tar(*ENTRIES)))
    with tarfile.open(fileobj=io.BytesIO(outer)) as archive:
        found = layer.normalise(
            archive.extractfile("layer.tar"), store, epoch_s=EPOCH_S, compression=Compression.NONE
        )
    assert found == normalised(store, tar(*ENTRIES))


def test_the_time_is_the_one_that_was_asked_for(store):
    found = infos(store, normalised(store, tar(file("a", mtime=2_000_000_000), file("b"))))
    assert {info.mtime for info in found.values()} == {EPOCH_S}


def test_owners_are_numbers(store):
    found = infos(store, normalised(store, tar(file("a", uid=65532, gid=7))))["a"]
    assert (found.uid, found.gid, found.uname, found.gname) == (65532, 7, "", "")


def test_capabilities_survive_byte_for_byte(store):
    key, value = "SCHILY.xattr.security.capability", b"\x01\0\0\x02\0\x04\0\xff\0\n="
    text = value.decode("utf-8", "surrogateescape")
    found = infos(store, normalised(store, tar(file("ping", pax={key: text}))))["ping"]
    assert found.pax_headers[key].encode("utf-8", "surrogateescape") == value


def test_hard_links_lead_to_the_first_path(store):
    source = tar(file("b", b"abc", mode=0o755), hard_link("c", "b"), hard_link("a", "b"))
    found = normalised(store, source)
    assert listing(store, found) == [("a", b"abc"), ("b", None), ("c", None)]
    links = infos(store, found)
    assert [links[name].linkname for name in "abc"] == ["", "a", "a"]
    assert {links[name].mode for name in "abc"} == {0o755}


def test_the_order_of_hard_links_does_not_matter(store):
    one = tar(file("b", b"abc"), hard_link("a", "b"))
    other = tar(file("a", b"abc"), hard_link("b", "a"))
    assert normalised(store, one) == normalised(store, other)


def test_whiteouts_links_and_devices_stay(store):
    device = entry("dev/null", tarfile.CHRTYPE)
    device.devmajor, device.devminor = 1, 3
    source = tar(file("usr/.wh.old"), file(".wh..wh..opq"), symlink("l", "/../x"), (device, None))
    found = infos(store, normalised(store, source))
    assert list(found) == [".wh..wh..opq", "dev/null", "l", "usr/.wh.old"]
    assert found["l"].linkname == "/../x"
    assert (found["dev/null"].devmajor, found["dev/null"].devminor) == (1, 3)


def test_an_empty_layer_is_one(store):
    assert listing(store, normalised(store, bytes(1024))) == []


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "the layer is no whole tar archive"),
        (b"x" * 4096, "the layer is no whole tar archive"),
        (tar(*ENTRIES)[:-10240], "the layer is no whole tar archive"),
        (gzip.compress(tar(*ENTRIES))[:-10], "the layer is damaged"),
        (zstandard.compress(tar(file("a", os.urandom(99_999))))[:-500], "the layer is "),
        (tar(file("../a")), "the layer holds the path '../a'"),
    ],
)
def test_what_is_no_layer_is_named_and_leaves_nothing(store, content, message):
    with pytest.raises(InvalidImage, match=message):
        normalised(store, content)
    assert sorted(path.name for path in store.folder.rglob("*") if path.is_file()) == [
        "index.json",
        "oci-layout",
    ]


def test_the_digest_of_the_source_can_be_asked_for(store):
    source = tar(*ENTRIES)
    assert normalised(store, source, diff_id=digest(source)) == normalised(store, source)
    with pytest.raises(InvalidImage, match=f"has the diff_id {digest(source)}, expected sha256:0"):
        normalised(store, gzip.compress(source), diff_id="sha256:0")


def fill(path, seed=b"abc"):
    (path / "deep").mkdir(parents=True)
    (path / "deep" / "b").write_bytes(seed * 1000)
    (path / "a").write_bytes(seed)
    return path


@pytest.mark.parametrize("kind", Compression)
def test_a_folder_gives_the_same_bytes_whatever_its_modes_and_times(tmp_path, store, kind):
    one, other = fill(tmp_path / "one"), fill(tmp_path / "other")
    os.utime(other / "a", (5, 5))
    (other / "a").chmod(0o600)
    (other / "deep").chmod(0o711)
    found = [
        layer.of_folder(path, "model", store, epoch_s=EPOCH_S, compression=kind)
        for path in (one, other)
    ]
    assert found[0] == found[1]
    assert listing(store, found[0]) == [
        ("model", None),
        ("model/a", b"abc"),
        ("model/deep", None),
        ("model/deep/b", b"abc" * 1000),
    ]


def test_a_layer_of_a_folder_is_normal(tmp_path, store):
    found = layer.of_folder(
        fill(tmp_path / "one"), "model", store, epoch_s=EPOCH_S, compression=Compression.NONE
    )
    assert normalised(store, plain(store, found)) == found


def test_a_level_can_be_chosen(tmp_path, store):
    words = fill(tmp_path / "one", b"some words or other ")
    sizes = [
        layer.of_folder(
            words, "m", store, epoch_s=0, compression=Compression.GZIP, level=level
        ).descriptor.size_bytes
        for level in (0, 9)
    ]
    assert sizes[0] > sizes[1]


def test_a_missing_layer_is_named(store):
    absent = Descriptor(Compression.GZIP.media_type, digest(b"x"), 1)
    with pytest.raises(InvalidImage, match=f"blob {digest(b'x')} is missing"):
        list(layer.entries(store, absent))


@pytest.mark.parametrize("kind", [Compression.GZIP, Compression.ZSTD])
def test_a_damaged_layer_is_named(store, kind):
    found = normalised(store, tar(file("a", os.urandom(50_000))), kind)
    path = store.path(found.descriptor.digest)
    path.write_bytes(path.read_bytes()[:20_000])
    with pytest.raises(InvalidImage, match=f"layer {found.descriptor.digest} is"):
        listing(store, found)


def test_entries_that_are_not_read_are_passed_over(store):
    found = normalised(store, tar(file("a", b"x" * 100_000), file("b", b"y")), Compression.ZSTD)
    names = [info.name for info, _ in layer.entries(store, found.descriptor)]
    assert names == ["a", "b"]


def test_the_size_of_the_plain_tar(store):
    found = normalised(store, tar(*ENTRIES), Compression.ZSTD)
    assert layer.plain_size(store, found) == len(plain(store, found))


def test_a_layer_that_is_not_what_it_says_is_named(store):
    found = normalised(store, tar(*ENTRIES), Compression.GZIP)
    wrong = layer.Layer(found.descriptor, digest(b"other"))
    with pytest.raises(InvalidImage, match=f"holds {found.diff_id}, expected {digest(b'other')}"):
        layer.plain_size(store, wrong)


def test_no_file_is_held_in_memory(tmp_path, store):
    size_bytes = 64 * 1024 * 1024
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "weights").write_bytes(bytes(size_bytes))
    tracemalloc.start()
    try:
        made = layer.of_folder(
            tmp_path / "model", "model", store, epoch_s=0, compression=Compression.GZIP, level=1
        )
        layer.normalise(
            store.path(made.descriptor.digest), store, epoch_s=0, compression=Compression.NONE
        )
        _, peak_bytes = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak_bytes < size_bytes / 4


paths = st.lists(st.sampled_from(["a", "b", "é", "x" * 60]), min_size=1, max_size=3).map("/".join)


@settings(max_examples=40, deadline=None)
@given(st.dictionaries(paths, st.binary(max_size=600), max_size=6), st.randoms())
def test_any_order_of_any_files_gives_the_same_layer(tmp_path_factory, contents, chance):
    files = {p: c for p, c in contents.items() if not any(o.startswith(f"{p}/") for o in contents)}
    store = Store(tmp_path_factory.mktemp("store"))
    entries = [file(path, content) for path, content in files.items()]
    found = normalised(store, tar(*entries))
    chance.shuffle(entries)
    assert normalised(store, tar(*entries)) == found
    assert dict(listing(store, found)) == files
