"""Which files go into a bundle, and from where."""

import shutil

import pytest

from build.options import Options
from build.pipeline import config, layout, places
from build.pipeline.flavor import Flavor
from build.source import Source
from edge.bundle import Lineage


@pytest.fixture
def logged(demo_weights, tmp_path):
    """The folders of an MLflow model: weights and tokenizer apart."""
    shutil.copytree(demo_weights, tmp_path / "model")
    (tmp_path / "components" / "tokenizer").mkdir(parents=True)
    for name in ("tokenizer.json", "tokenizer_config.json", "chat_template.jinja"):
        (tmp_path / "model" / name).rename(tmp_path / "components" / "tokenizer" / name)
    return tmp_path


@pytest.fixture
def found(logged):
    return places.find(Source(logged, Lineage(), "x"), Flavor(weights="model"), Options())


def test_everything_is_flat(found, logged, findings):
    files = layout.gather(found, {})
    assert {name: path.parent.name for name, path in files.items()} == {
        "config.json": "model",
        "generation_config.json": "model",
        "tokenizer.json": "tokenizer",
        "tokenizer_config.json": "tokenizer",
        "chat_template.jinja": "tokenizer",
    }
    layout.check(found, files, findings)
    assert findings.problems == []


def test_the_tokenizer_that_was_logged_goes_before_the_checkpoints(found, logged):
    for name in ("tokenizer_config.json", "special_tokens_map.json", "added_tokens.json"):
        (logged / "model" / name).write_text("{}")
    files = layout.gather(found, {})
    assert files["tokenizer_config.json"].parent.name == "tokenizer"
    assert not {"special_tokens_map.json", "added_tokens.json"} & files.keys()


def test_papers_come_along_and_a_licence_that_says_nothing_does_not(found, logged):
    (logged / "LICENSE.txt").write_text("A license file could not be found for the '/home/me'")
    (logged / "model" / "NOTICE").write_text("Made by somebody")
    (logged / "model_card.md").write_text("# Card")
    (logged / "model" / "training_args.bin").write_bytes(b"pickle")
    files = layout.gather(found, {})
    assert {"NOTICE", "model_card.md"} <= files.keys()
    assert not {"LICENSE.txt", "training_args.bin"} & files.keys()


def test_links_empty_files_and_pointers(found, logged, findings):
    (logged / "model" / "README.md").symlink_to("/etc/hostname")
    (logged / "components" / "extra").symlink_to("/etc")
    (logged / "model" / "generation_config.json").write_text("")
    (logged / "components/tokenizer/tokenizer.json").write_text(
        "version https://git-lfs.github.com/spec/v1"
    )
    layout.check(found, layout.gather(found, {}), findings)
    told = "\n".join(findings.problems)
    assert "model/README.md is a link that leaves the model's folder" in told
    assert "components/extra is a link" in told
    assert "generation_config.json is empty" in told
    assert "tokenizer.json is a Git LFS pointer" in told


@pytest.fixture
def code(found, logged, findings, change):
    """The demo model as one with code of its own; `allowed` by flag or not."""
    auto = {"AutoModelForCausalLM": "modeling_x.X", "AutoConfig": "configuration_x.C"}
    change(logged / "model" / "config.json", auto_map=auto)
    for name in ("modeling_x.py", "configuration_x.py", "beside.py"):
        (logged / "model" / name).write_text("raise SystemExit('ran')\n")

    def go(allowed):
        settled = config.read(logged / "model", "", findings)
        return layout.code(found, settled, Options(allow_remote_code=allowed), findings)

    return go


def test_code_is_refused(code, findings):
    assert code(False) == {}
    (problem,) = findings.problems
    assert "code of its own (configuration_x.py, modeling_x.py), which would run" in problem
    assert "--allow-remote-code" in problem


def test_code_that_was_allowed_comes_along_with_what_lies_beside_it(code, findings):
    assert set(code(True)) == {"modeling_x.py", "configuration_x.py", "beside.py"}
    assert findings.problems == []
    assert "is taken along" in findings.shims[0]


def test_code_that_is_not_there(code, logged, findings):
    (logged / "model" / "modeling_x.py").unlink()
    code(True)
    assert findings.problems == ["the model's code file modeling_x.py is not in the model"]


def test_a_tokenizers_code_counts(found, logged, findings, change):
    path = logged / "components/tokenizer/tokenizer_config.json"
    change(path, auto_map={"AutoTokenizer": ["tok.Slow", None]})
    settled = config.read(logged / "model", "", findings)
    layout.code(found, settled, Options(), findings)
    assert "code of its own (tok.py)" in findings.problems[0]


def test_pickles_here_and_in_the_store(found, logged):
    (logged / "model" / "pytorch_model.bin").write_bytes(b"")
    (logged / "model" / "a.safetensors").write_bytes(b"")
    assert layout.pickles(found) == ["pytorch_model.bin"]
    left = ("model/optimizer.pt", "python_env.yaml")
    assert layout.pickles(found, left) == ["optimizer.pt", "pytorch_model.bin"]
