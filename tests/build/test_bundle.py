"""Bundles: deterministic, complete, and never in anybody's way."""

import json
import os
import shutil
import stat

import pytest

from build import bundle, workspace
from build.bundle import check_output, open_, write
from build.errors import InvalidBundle, OutputRefused
from build.findings import Findings
from build.options import Options
from build.progress import Progress
from build.source import Source
from build.validate import validate
from edge.bundle import MANIFEST_NAME, Lineage, read, sha256_of

QUIET = Progress(enabled=False)
LINEAGE = Lineage("models:/phi3@champion", "models:/phi3/3", "phi3", "3", "champion")


def seal(folder, output, is_ours=False, name="phi3", force=False, **options):
    chosen = Options(trial=False, **options)
    source = Source(folder, LINEAGE, name, is_ours)
    model = validate(source, chosen, Findings())
    with workspace.beside(output) as work:
        return write(model, source, chosen, work, output, QUIET, force=force)


def snapshot(folder):
    """Name, mode, time and content of everything in a folder, itself included."""
    paths = [folder, *sorted(folder.rglob("*"))]
    return [
        (
            path.relative_to(folder).as_posix(),
            stat.S_IMODE(path.stat().st_mode),
            path.stat().st_mtime,
            path.read_bytes() if path.is_file() else b"",
        )
        for path in paths
    ]


def test_the_appliance_reads_it(demo_model, tmp_path):
    made = seal(demo_model, tmp_path / "out")
    found = read(tmp_path / "out", verify="sha256")
    assert found == made
    assert found.manifest.name == "phi3"
    assert found.manifest.lineage == LINEAGE
    assert found.manifest.flavor == "onnx"
    assert found.manifest.quantization == "int4-b128"
    assert found.sha256 == sha256_of(tmp_path / "out" / MANIFEST_NAME)


def test_every_file_is_listed_with_size_and_hash(demo_model, tmp_path):
    made = seal(demo_model, tmp_path / "out")
    files = {path for path in (tmp_path / "out").rglob("*") if path.is_file()}
    listed = {tmp_path / "out" / file.path for file in made.manifest.files}
    assert files == listed | {tmp_path / "out" / MANIFEST_NAME}
    for file in made.manifest.files:
        origin = demo_model / file.path.removeprefix("model/")
        assert file.sha256 == sha256_of(origin)
        assert file.size_bytes == origin.stat().st_size


def test_what_the_manifest_says_of_the_model(demo_model, tmp_path):
    manifest = seal(demo_model, tmp_path / "out").manifest
    raw = json.loads((demo_model / "genai_config.json").read_text())["model"]
    assert manifest.context_length == raw["context_length"]
    assert list(manifest.eos_ids) == raw["eos_token_id"]
    decoder = raw["decoder"]
    heads = decoder["num_key_value_heads"] * decoder["head_size"]
    assert manifest.kv_bytes_per_token == 2 * decoder["num_hidden_layers"] * heads * 4
    assert manifest.model_type == raw["type"]
    assert "messages" in manifest.chat_template
    assert set(manifest.libraries) == {"phial", "mlflow", "onnxruntime", "onnxruntime-genai"}


def test_twice_the_same_to_the_last_byte(demo_model, tmp_path):
    seal(demo_model, tmp_path / "one")
    before = os.umask(0o077)
    try:
        copy = shutil.copytree(demo_model, tmp_path / "copy")
        (copy / "tokenizer.json").chmod(0o755)
        seal(copy, tmp_path / "deep" / "two")
    finally:
        os.umask(before)
    assert snapshot(tmp_path / "one") == snapshot(tmp_path / "deep" / "two")


def test_modes_and_times_are_fixed(demo_model, tmp_path):
    seal(demo_model, tmp_path / "out")
    kinds = {(mode, time) for _, mode, time, _ in snapshot(tmp_path / "out")}
    assert kinds == {(0o644, 315532800.0), (0o755, 315532800.0)}


def test_local_files_stay_where_they_are(onnx_folder, tmp_path):
    before = snapshot(onnx_folder)
    seal(onnx_folder, tmp_path / "out")
    assert snapshot(onnx_folder) == before


def test_downloaded_files_are_moved(onnx_folder, demo_model, tmp_path):
    moved = seal(onnx_folder, tmp_path / "moved", is_ours=True)
    copied = seal(demo_model, tmp_path / "copied")
    assert not (onnx_folder / "model.onnx.data").exists()
    assert snapshot(moved.folder) == snapshot(copied.folder)


def test_links_inside_the_model_become_files(onnx_folder, tmp_path):
    (onnx_folder / "blob").write_text("free as in beer")
    (onnx_folder / "NOTICE").symlink_to("blob")
    seal(onnx_folder, tmp_path / "out")
    notice = tmp_path / "out" / "model" / "NOTICE"
    assert notice.read_text() == "free as in beer"
    assert not notice.is_symlink()


@pytest.mark.parametrize(
    ("asked", "found"),
    [("my model/v2", "my-model-v2"), ("phi3.5_x", "phi3.5_x"), ("größe", "gr-e"), ("...", "model")],
)
def test_names_are_plain(demo_model, tmp_path, asked, found):
    assert seal(demo_model, tmp_path / "out", name=asked).manifest.name == found


def test_the_name_by_option(demo_model, tmp_path):
    chosen = Options(trial=False, name="chosen")
    source = Source(demo_model, LINEAGE, "x")
    model = validate(source, chosen, Findings())
    with workspace.beside(tmp_path / "two") as work:
        made = write(model, source, chosen, work, tmp_path / "two", QUIET)
    assert made.manifest.name == "chosen"


def test_system_prompts_travel(demo_model, tmp_path):
    made = seal(demo_model, tmp_path / "out", system_prompts=("Be kind.",))
    assert made.manifest.system_prompts == ("Be kind.",)


def test_outputs_that_are_free(tmp_path):
    check_output(tmp_path / "new", force=False)
    (tmp_path / "empty").mkdir()
    check_output(tmp_path / "empty", force=False)


def test_a_bundle_is_replaced_by_force_only(demo_model, tmp_path):
    seal(demo_model, tmp_path / "out")
    with pytest.raises(OutputRefused, match="--force replaces it"):
        check_output(tmp_path / "out", force=False)
    check_output(tmp_path / "out", force=True)
    with pytest.raises(OutputRefused, match="not empty"):
        seal(demo_model, tmp_path / "out")
    made = seal(demo_model, tmp_path / "out", force=True, system_prompts=("new",))
    assert open_(tmp_path / "out", whole=True) == made
    assert sorted(path.name for path in tmp_path.iterdir()) == ["out"]


@pytest.mark.parametrize("force", [True, False])
def test_other_things_are_never_replaced(tmp_path, force):
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos" / "cat.jpg").touch()
    (tmp_path / "file").touch()
    (tmp_path / "link").symlink_to("photos")
    with pytest.raises(OutputRefused, match="not empty and no bundle"):
        check_output(tmp_path / "photos", force=force)
    for name in ("file", "link"):
        with pytest.raises(OutputRefused, match="is not a folder"):
            check_output(tmp_path / name, force=force)


def test_a_full_disk(demo_model, tmp_path, monkeypatch):
    usage = shutil.disk_usage(tmp_path)._replace(free=1000)
    monkeypatch.setattr(bundle.shutil, "disk_usage", lambda _: usage)
    with pytest.raises(OutputRefused, match="1,000 bytes left, the bundle needs"):
        seal(demo_model, tmp_path / "out")
    assert list(tmp_path.iterdir()) == []


def test_downloaded_files_need_no_more_room(onnx_folder, tmp_path, monkeypatch):
    spare = shutil.disk_usage(tmp_path)._replace(free=bundle._SPARE_BYTES)
    monkeypatch.setattr(bundle.shutil, "disk_usage", lambda _: spare)
    seal(onnx_folder, tmp_path / "out", is_ours=True)
    open_(tmp_path / "out", whole=True)


def test_a_failing_disk_leaves_nothing(demo_model, tmp_path, monkeypatch):
    def fail(path):
        raise OSError(5, "Input/output error")

    monkeypatch.setattr(workspace, "sync", fail)
    with pytest.raises(OutputRefused, match=r"cannot write .*: Input/output error"):
        seal(demo_model, tmp_path / "out")
    assert list(tmp_path.iterdir()) == []


@pytest.fixture
def sealed(demo_model, tmp_path):
    seal(demo_model, tmp_path / "out")
    return tmp_path / "out"


def test_a_changed_byte_is_found(sealed):
    path = sealed / "model" / "tokenizer.json"
    content = bytearray(path.read_bytes())
    content[100] ^= 1
    path.write_bytes(content)
    open_(sealed)
    with pytest.raises(InvalidBundle) as caught:
        open_(sealed, whole=True)
    assert caught.value.problems == ("model/tokenizer.json differs from its sha256",)


def test_every_difference_is_told(sealed):
    (sealed / "model" / "tokenizer.json").unlink()
    (sealed / "model" / "model.onnx").write_bytes(b"short")
    with pytest.raises(InvalidBundle) as caught:
        open_(sealed)
    assert len(caught.value.problems) == 2


@pytest.mark.parametrize("name", ["extra.txt", "model/extra.pkl"])
def test_files_nobody_listed(sealed, name):
    (sealed / name).touch()
    with pytest.raises(InvalidBundle, match=f"{name} is not listed in manifest.json"):
        open_(sealed)


def test_no_bundle_at_all(tmp_path):
    with pytest.raises(InvalidBundle, match=r"cannot read .*manifest\.json"):
        open_(tmp_path)
