"""What unpacking a tar would leave."""

import io
import tarfile

import pytest

from build.errors import InvalidImage
from build.oci import tape, tree
from tests.build.oci.layer_samples import entry, file, folder, hard_link, symlink, tar


def nodes(*entries):
    with tape.opened(io.BytesIO(tar(*entries)), "it") as archive:
        return tree.read(archive, "it")


def test_paths_are_sorted_and_parents_first():
    found = nodes(file("b"), file("a/z"), file("a-b"), file("a/b/c"), folder("a"), folder("a/b"))
    assert list(found) == ["a", "a/b", "a/b/c", "a/z", "a-b", "b"]


def test_the_order_is_that_of_bytes():
    assert list(nodes(file("ä"), file("z"), file("Z"))) == ["Z", "z", "ä"]


def test_whiteouts_come_before_their_siblings():
    found = nodes(file("a/+x"), file("a/.wh.b"), file("a/.wh..wh..opq"), file("!"), file(".wh.c"))
    assert list(found) == [".wh.c", "!", "a/.wh..wh..opq", "a/.wh.b", "a/+x"]


def test_the_last_of_a_path_counts():
    found = nodes(file("a", b"old"), file("./a", b"newer"))
    assert found["a"].entry.size == 5
    assert list(found) == ["a"]


def test_the_root_is_left_out():
    assert list(nodes(folder("./"), folder("."), file("./a"))) == ["a"]


def test_hard_links_are_paths_of_one_node():
    found = nodes(file("b"), hard_link("a", "b"), hard_link("c", "./a"), file("d"))
    assert found["a"] is found["b"] is found["c"]
    assert found["d"] is not found["a"]


def test_a_link_keeps_what_it_led_to_when_that_is_replaced():
    found = nodes(file("a", b"old"), hard_link("b", "a"), file("a", b"newer"))
    assert found["b"].entry.size == 3
    assert found["a"].entry.size == 5


def test_a_link_to_a_symlink_is_one():
    found = nodes(symlink("a", "x"), hard_link("b", "a"))
    assert found["b"].entry.linkname == "x"


@pytest.mark.parametrize("target", ["gone", "a"])
def test_a_link_to_nothing_is_refused(target):
    with pytest.raises(InvalidImage, match=f"it links 'a' to '{target}', which is not in it"):
        nodes(hard_link("a", target))


@pytest.mark.parametrize("name", ["../a", "a/../../b"])
def test_paths_that_leave_are_refused(name):
    with pytest.raises(InvalidImage, match="expected one that stays inside"):
        nodes(file(name))


def test_links_that_leave_are_refused():
    with pytest.raises(InvalidImage, match=r"it holds the path '../../etc/shadow'"):
        nodes(hard_link("a", "../../etc/shadow"))


@pytest.mark.parametrize("parent", [symlink("a", "/etc"), file("a")])
def test_what_lies_below_a_file_or_a_link_is_refused(parent):
    with pytest.raises(InvalidImage, match="it holds 'a/b/c' below 'a', which is no folder"):
        nodes(parent, file("a/b/c"))


def test_parents_that_are_not_there_are_another_layers():
    assert list(nodes(file("a/b/c"))) == ["a/b/c"]


@pytest.mark.parametrize("kind", [tarfile.CHRTYPE, tarfile.BLKTYPE, tarfile.FIFOTYPE])
def test_devices_stay(kind):
    assert nodes((entry("dev/x", kind), None))["dev/x"].entry.type == kind


def test_an_unknown_kind_is_refused():
    with pytest.raises(InvalidImage, match="it holds 'a' of the unknown kind b'Z'"):
        nodes((entry("a", b"Z"), None))
