"""Files and folders that appear whole or not at all."""

import pytest

from build import output
from build.errors import OutputRefused


def layout_in(folder):
    folder.mkdir()
    (folder / "oci-layout").write_text("{}")
    return folder


def names(folder):
    return sorted(path.name for path in folder.iterdir())


def test_a_file_that_is_not_there_is_free(tmp_path):
    output.check_file(tmp_path / "out.tar", force=False)


def test_a_file_that_is_there_is_refused(tmp_path):
    path = tmp_path / "out.tar"
    path.touch()
    with pytest.raises(OutputRefused, match=r"out.tar is there already; --force replaces it"):
        output.check_file(path, force=False)
    output.check_file(path, force=True)


@pytest.mark.parametrize("force", [True, False])
def test_a_folder_is_no_file(tmp_path, force):
    with pytest.raises(OutputRefused, match="is not a file: it is left as it is"):
        output.check_file(tmp_path, force=force)


def test_a_new_or_empty_folder_is_free(tmp_path):
    (tmp_path / "empty").mkdir()
    output.check_layout(tmp_path / "new", force=False)
    output.check_layout(tmp_path / "empty", force=False)


def test_a_layout_that_is_there_is_refused(tmp_path):
    path = layout_in(tmp_path / "out")
    with pytest.raises(OutputRefused, match="holds an image layout already; --force replaces it"):
        output.check_layout(path, force=False)
    output.check_layout(path, force=True)


@pytest.mark.parametrize("force", [True, False])
def test_a_folder_of_something_else_is_refused(tmp_path, force):
    (tmp_path / "precious").touch()
    with pytest.raises(OutputRefused, match="is not empty and no image layout"):
        output.check_layout(tmp_path, force=force)


@pytest.mark.parametrize("force", [True, False])
def test_a_file_or_a_link_is_no_folder(tmp_path, force):
    (tmp_path / "file").touch()
    (tmp_path / "link").symlink_to(layout_in(tmp_path / "real"))
    for name in ("file", "link"):
        with pytest.raises(OutputRefused, match=f"{name} is not a folder: it is left as it is"):
            output.check_layout(tmp_path / name, force=force)


def test_a_file_appears_when_it_is_whole(tmp_path):
    path = tmp_path / "deep" / "out.tar"
    with output.whole(path, replace=False) as made:
        made.write_text("new")
        assert not path.exists()
    assert path.read_text() == "new"
    assert names(path.parent) == ["out.tar"]


def test_a_folder_appears_when_it_is_whole(tmp_path):
    path = tmp_path / "out"
    with output.whole(path, replace=False) as made:
        layout_in(made)
        assert not path.exists()
    assert names(path) == ["oci-layout"]
    assert names(tmp_path) == ["out"]


@pytest.mark.parametrize("make", [lambda p: p.write_text("new"), layout_in])
def test_what_was_there_is_replaced(tmp_path, make):
    path = tmp_path / "out"
    for _ in range(2):
        with output.whole(path, replace=True) as made:
            make(made)
    assert names(tmp_path) == ["out"]


def fail(path):
    with output.whole(path, replace=True) as made:
        made.write_text("half")
        raise RuntimeError


def test_an_error_leaves_what_was_there(tmp_path):
    path = tmp_path / "out.tar"
    path.write_text("old")
    with pytest.raises(RuntimeError):
        fail(path)
    assert path.read_text() == "old"
    assert names(tmp_path) == ["out.tar"]


def test_a_folder_that_cannot_be_written(tmp_path):
    (tmp_path / "file").touch()
    with (
        pytest.raises(OutputRefused, match="cannot write"),
        output.whole(tmp_path / "file" / "out", replace=False),
    ):
        pass


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (OSError(28, "No space left on device"), "No space left"),
        (OSError("too short"), "too short"),
    ],
)
def test_errors_of_the_disk_are_named(tmp_path, error, reason):
    with (
        pytest.raises(OutputRefused, match=f"cannot write .*out: {reason}"),
        output.whole(tmp_path / "out", replace=False),
    ):
        raise error
    assert names(tmp_path) == []
