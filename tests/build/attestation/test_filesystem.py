"""Layers on top of each other: what hides what, where links lead, what is refused."""

import re
import shutil
from pathlib import Path, PurePath
from tempfile import TemporaryDirectory

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from build.attestation.filesystem import FileSystem, Node, merged
from build.errors import InvalidImage
from build.oci import media
from build.oci.image import Image
from build.oci.layer import Compression, Layer
from build.oci.store import Store
from tests.build.attestation.image_samples import AMD64, HardLink, Symlink, image_of, tar_of

EVERYTHING = re.compile(r".+")


@pytest.fixture
def store(tmp_path):
    return Store(tmp_path / "store")


def filesystem(store, *layers, wanted=EVERYTHING):
    return merged(image_of(store, *layers), store, wanted)


def files(found):
    return {path: node.content for path, node in found.files()}


def test_layers_add_up(store):
    assert files(filesystem(store, {"a": b"1"}, {"b/c": b"2"})) == {"a": b"1", "b/c": b"2"}


def test_the_later_layer_wins(store):
    found = filesystem(store, {"a": b"old and long"}, {"a": b"new"})
    assert found.nodes["a"] == Node(is_file=True, size_bytes=3, content=b"new")


def test_a_whiteout_hides_a_file_and_a_folder(store):
    lower = {"a/x": b"1", "a/y": b"2", "b/x": b"3", "bb": b"4"}
    assert files(filesystem(store, lower, {"a/.wh.x": b"", ".wh.b": b""})) == {
        "a/y": b"2",
        "bb": b"4",
    }


def test_a_whiteout_hides_only_what_is_below_it(store):
    again = {"a/.wh.x": b"", "a/x": b"new"}
    assert files(filesystem(store, {"a/x": b"old"}, again)) == {"a/x": b"new"}
    assert files(filesystem(store, {}, {"a/.wh.x": b""}, {"a/x": b"later"})) == {"a/x": b"later"}


def test_an_opaque_folder_hides_all_that_was_in_it(store):
    lower = {"a/x": b"1", "a/b/y": b"2", "c": b"3"}
    upper = {"a": None, "a/z": b"4", "a/.wh..wh..opq": b""}
    assert files(filesystem(store, lower, upper)) == {"a/z": b"4", "c": b"3"}


def test_an_opaque_root_hides_everything(store):
    assert files(filesystem(store, {"a/x": b"1"}, {".wh..wh..opq": b"", "b": b"2"})) == {"b": b"2"}


def test_a_file_in_place_of_a_folder_hides_what_was_in_it(store):
    assert files(filesystem(store, {"a/x": b"1"}, {"a": b"2"})) == {"a": b"2"}


def test_a_folder_again_hides_nothing(store):
    assert files(filesystem(store, {"a/x": b"1"}, {"a": None})) == {"a/x": b"1"}


def test_only_wanted_content_is_kept(store):
    found = filesystem(store, {"a/keep": b"1", "a/keeper": b"22"}, wanted=re.compile("a/keep"))
    assert files(found) == {"a/keep": b"1", "a/keeper": None}
    assert found.nodes["a/keeper"].size_bytes == 2


def test_a_hard_link_has_the_content_and_no_bytes_of_its_own(store):
    found = filesystem(store, {"a": b"123", "b": HardLink("a")})
    assert (found.read("b"), found.nodes["b"].size_bytes) == (b"123", 0)


@pytest.mark.parametrize(
    ("link", "target"),
    [
        ("doc/b", "a"),
        ("doc/b", "/doc/a"),
        ("doc/b", "../doc/a"),
        ("doc/b", "./x/../a"),
        ("b", "../../../doc/a"),
    ],
)
def test_links_are_followed_inside_the_image(store, link, target):
    found = filesystem(store, {"doc/a/copyright": b"text", link: Symlink(target)})
    assert found.read(f"{link}/copyright") == b"text"


def test_a_link_to_a_file_and_through_other_links(store):
    layer = {"a/x": b"1", "b": Symlink("a"), "c": Symlink("b/x"), "d": Symlink("c")}
    assert filesystem(store, layer).read("d") == b"1"


@pytest.mark.parametrize("target", ["b", "a", "nowhere", "/", "b/a"])
def test_links_that_lead_nowhere_or_in_circles_are_nothing(store, target):
    assert filesystem(store, {"a": Symlink(target), "b": Symlink("a")}).read("a") is None


def test_names_with_dots_and_slashes_are_paths_from_the_root(store):
    found = filesystem(store, {"./a/b": b"1"})
    assert files(found) == {"a/b": b"1"}
    assert FileSystem().read("a") is None


def test_a_path_that_leaves_the_root_is_refused(store):
    found = store.put(tar_of({"a/../../b": b"1"}).getvalue(), media.LAYER_TAR)
    image = Image(AMD64, {}, (Layer(found, found.digest),))
    with pytest.raises(InvalidImage, match=r"'a/\.\./\.\./b', expected one that stays inside"):
        merged(image, store, EVERYTHING)


def test_every_compression_is_read(store):
    for compression in Compression:
        image = image_of(store, {"a": compression.value.encode()}, compression=compression)
        assert merged(image, store, EVERYTHING).read("a") == compression.value.encode()


def test_a_wanted_file_must_be_small(store):
    big = b"x" * (8 * 1024 * 1024 + 1)
    with pytest.raises(InvalidImage, match="big has 8388609 bytes, expected at most 8388608"):
        filesystem(store, {"big": big})
    assert files(filesystem(store, {"big": big}, wanted=re.compile("small"))) == {"big": None}


def layers():
    """Layers of a few paths, where files are replaced by folders, removed and made again."""
    paths = st.sampled_from(["a", "a/b", "a/b/c", "a/d", "e", "e/b"])
    marks = st.sampled_from([".wh.a", "a/.wh.b", "a/.wh..wh..opq", ".wh.e", "e/.wh.b"])
    contents = st.one_of(st.none(), st.binary(min_size=1, max_size=3))
    layer = st.tuples(st.dictionaries(paths, contents), st.sets(marks, max_size=2))
    return st.lists(layer.map(_consistent), max_size=4)


def _consistent(layer):
    """As a tar of a folder is: nothing below a file, and every folder on the way."""
    files, marks = layer
    solid = {path for path, content in files.items() if content is not None}
    kept = {
        path: content
        for path, content in {**files, **dict.fromkeys(marks, b"")}.items()
        if not any(path.startswith(f"{above}/") for above in solid)
    }
    return dict.fromkeys((str(p) for path in kept for p in PurePath(path).parents), None) | kept


def _unpacked(folder, layer):
    """What a container engine would do with a layer, on a real disk: whiteouts come first."""
    for path in sorted(layer):
        parent, name = (folder / path).parent, path.rpartition("/")[2]
        if name.startswith(".wh.") and parent.is_dir():
            gone = parent.glob("*") if name == ".wh..wh..opq" else [parent / name[4:]]
            for one in gone:
                _remove(one)
    for path, content in sorted(layer.items()):
        target = folder / path
        if ".wh." in path:
            continue
        if content is not None or not target.is_dir():
            _remove(target)
        target.mkdir(exist_ok=True) if content is None else target.write_bytes(content)


def _remove(path):
    shutil.rmtree(path) if path.is_dir() else path.unlink(missing_ok=True)


@settings(deadline=None)  # disks are slow at times
@given(layers())
def test_the_merged_files_are_those_of_a_real_unpacking(stack):
    with TemporaryDirectory() as name:
        disk = Path(name, "disk")
        disk.mkdir()
        for layer in stack:
            _unpacked(disk, layer)
        real = {
            path.relative_to(disk).as_posix(): path.read_bytes()
            for path in disk.rglob("*")
            if path.is_file()
        }
        assert files(filesystem(Store(Path(name, "store")), *stack)) == real
