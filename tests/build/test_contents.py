"""Which files are served, and which are refused."""

import pytest

from build import contents, decoder, genai_config


@pytest.fixture
def select(findings):
    def run(folder):
        config = genai_config.read(folder, findings)
        return contents.select(folder, config, decoder.read(folder, config, findings))

    return run


def test_what_the_demo_model_needs(demo_model, select):
    names = select(demo_model)
    assert list(names) == sorted(names)
    needed = {"genai_config.json", "model.onnx", "model.onnx.data", "tokenizer.json"}
    assert needed <= set(names)
    assert all((demo_model / name).is_file() for name in names)


def test_papers_and_adapters_come_along_and_code_does_not(onnx_folder, select):
    wanted = ["LICENSE", "License.txt", "NOTICE", "README.md", "MODEL_CARD.md", "fast.onnx_adapter"]
    wanted += ["merges.txt", "vocab.json", "special_tokens_map.json", "added_tokens.json"]
    unwanted = ["python_model.pkl", "modeling_phi3.py", "model.safetensors", "config.json"]
    unwanted += ["other.onnx", ".gitattributes", "pytorch_model.bin"]
    before = set(select(onnx_folder))
    for name in (*wanted, *unwanted):
        (onnx_folder / name).write_text("x")
    assert set(select(onnx_folder)) == before | set(wanted)


def test_weights_in_a_subfolder(onnx_folder, select, edit):
    (onnx_folder / "sub").mkdir()
    (onnx_folder / "model.onnx").rename(onnx_folder / "sub/model.onnx")
    edit(onnx_folder, "model.decoder.filename", "sub/model.onnx")
    assert "sub/model.onnx" in select(onnx_folder)


def test_files_outside_are_never_selected(onnx_folder, select, edit):
    (onnx_folder.parent / "secret.onnx").touch()
    edit(onnx_folder, "model.decoder.filename", "../secret.onnx")
    assert not any("secret" in name for name in select(onnx_folder))


def test_links_that_leave(onnx_folder, findings):
    outside = onnx_folder.parent / "outside"
    outside.mkdir()
    (onnx_folder / "tokenizer.model").symlink_to("/etc/hostname")
    (onnx_folder / "deep").mkdir()
    (onnx_folder / "deep/all").symlink_to(outside)
    (onnx_folder / "broken").symlink_to("../gone")
    contents.check(onnx_folder, (), findings)
    assert sorted(findings.problems) == [
        "broken is a link that leaves the model's folder",
        "deep/all is a link that leaves the model's folder",
        "tokenizer.model is a link that leaves the model's folder",
    ]


def test_links_inside_are_fine(onnx_folder, findings):
    (onnx_folder / "LICENSE").write_text("free")
    (onnx_folder / "LICENSE.txt").symlink_to("LICENSE")
    contents.check(onnx_folder, ("LICENSE.txt",), findings)
    assert findings.problems == []


def test_empty_files_and_pointers(onnx_folder, findings):
    (onnx_folder / "tokenizer.json").write_bytes(b"")
    (onnx_folder / "merges.txt").write_bytes(b"")
    (onnx_folder / "model.onnx.data").write_text(
        "version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 2722861056\n"
    )
    names = ("merges.txt", "model.onnx.data", "tokenizer.json")
    contents.check(onnx_folder, names, findings)
    assert findings.problems == [
        "model.onnx.data is a Git LFS pointer, not the file: run `git lfs pull` and log again",
        "tokenizer.json is empty",
    ]
