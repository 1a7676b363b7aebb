"""Fetching a model's files, from stores that misbehave too."""

import sys
from pathlib import Path

import pytest
from mlflow.entities import FileInfo
from mlflow.exceptions import MlflowException

from build import download
from build.download import Allowed, fetch
from build.errors import SourceNotFound
from build.options import Stores
from build.progress import Progress
from build.source import Location
from edge.bundle import Lineage

QUIET = Progress(enabled=False)
FILES = {
    "MLmodel": b"flavors: {}",
    "python_model.pkl": b"never",
    "code/model.py": b"never",
    "artifacts/x/model.onnx": b"graph",
    "artifacts/x/model.onnx.data": b"w" * 5000,
    "artifacts/x/MODEL.PT": b"never",
}


class Repository:
    """An artifact store as MLflow shows one; `loses` names a file that arrives cut short."""

    def __init__(self, loses="", fails=""):
        self.loses, self.fails, self.fetched = loses, fails, []

    def list_artifacts(self, path=None):
        prefix = f"{path}/" if path else ""
        below = {
            name.removeprefix(prefix).split("/")[0] for name in FILES if name.startswith(prefix)
        }
        return [self._info(prefix + name) for name in sorted(below)]

    def _info(self, path):
        content = FILES.get(path)
        return FileInfo(path, content is None, None if content is None else len(content))

    def download_artifacts(self, path, folder):
        if path == self.fails:
            raise MlflowException("connection reset by http://me:secret@store/x\nmore")
        target = Path(folder) / path
        target.parent.mkdir(parents=True, exist_ok=True)
        content = FILES[path]
        target.write_bytes(content[:-1] if path == self.loses else content)
        self.fetched.append(path)


@pytest.fixture
def run(monkeypatch, tmp_path):
    def go(repository, allowed=None):
        monkeypatch.setattr(download, "get_artifact_repository", lambda *_, **__: repository)
        location = Location("s3://bucket/model", Lineage(), "model", Stores())
        return fetch(location, tmp_path / "into", QUIET, allowed)

    return go


def test_everything_but_code_and_pickles(run):
    repository = Repository()
    source = run(repository)
    assert repository.fetched == [
        "MLmodel",
        "artifacts/x/model.onnx",
        "artifacts/x/model.onnx.data",
    ]
    assert (source.folder / "artifacts/x/model.onnx.data").read_bytes() == b"w" * 5000
    assert source.is_ours


PIPELINE = {
    "MLmodel": b"flavors: {transformers: {task: text-generation}}",
    "model/config.json": b"{}",
    "model/model.safetensors": b"weights",
    "model/pytorch_model.bin": b"pickle",
    "model/tf_model.h5": b"other",
    "model/modeling.py": b"code",
    "components/tokenizer/tokenizer.json": b"{}",
    "python_model.pkl": b"never",
}
SAFE = (
    *("MLmodel", "components/tokenizer/tokenizer.json"),
    *("model/config.json", "model/model.safetensors"),
)


@pytest.fixture
def pipeline(monkeypatch):
    """The store holds a model of the transformers flavor, with changes."""

    def hold(**changes):
        files = {name: text for name, text in {**PIPELINE, **changes}.items() if text is not None}
        monkeypatch.setattr(sys.modules[__name__], "FILES", files)

    return hold


@pytest.mark.parametrize(
    ("allowed", "more"),
    [
        (Allowed(), ()),
        (Allowed(pickles=True), ("model/pytorch_model.bin",)),
        (Allowed(code=True), ("model/modeling.py",)),
    ],
)
def test_the_weights_of_a_pipeline_and_what_was_allowed(run, pipeline, allowed, more):
    pipeline()
    repository = Repository()
    source = run(repository, allowed)
    assert set(repository.fetched) == {*SAFE, *more}
    assert len(repository.fetched) == len(SAFE) + len(more)
    assert set(source.left_behind) == PIPELINE.keys() - {*SAFE, *more}


def test_a_bare_folder_of_hugging_face(run, pipeline):
    pipeline(**{"MLmodel": None, "config.json": b"{}", "model.safetensors": b"w"})
    repository = Repository()
    run(repository)
    assert {"config.json", "model.safetensors"} <= set(repository.fetched)
    assert "model/pytorch_model.bin" not in repository.fetched


def test_an_mlmodel_that_cannot_be_read_is_for_the_checks(run, pipeline):
    pipeline(MLmodel=b"{")
    repository = Repository()
    run(repository)
    assert "model/model.safetensors" not in repository.fetched


def test_weights_cut_short(run, pipeline):
    pipeline()
    with pytest.raises(SourceNotFound, match=r"sent 6 of the 7 bytes of model/model\.safetensors"):
        run(Repository(loses="model/model.safetensors"))


def test_a_file_cut_short(run):
    with pytest.raises(SourceNotFound, match=r"sent 4999 of the 5000 bytes of .*model\.onnx\.data"):
        run(Repository(loses="artifacts/x/model.onnx.data"))


def test_a_store_that_fails_says_so_without_secrets(run):
    with pytest.raises(SourceNotFound) as caught:
        run(Repository(fails="artifacts/x/model.onnx"))
    assert str(caught.value) == "the artifact store failed: connection reset by http://store/x"


def test_an_empty_store(run, monkeypatch):
    monkeypatch.setattr(Repository, "list_artifacts", lambda self, path=None: [])
    with pytest.raises(SourceNotFound, match="holds no files there"):
        run(Repository())


def test_local_files_are_left_where_they_are(tmp_path):
    location = Location(str(tmp_path), Lineage(), "model")
    source = fetch(location, tmp_path / "into", QUIET)
    assert (source.folder, source.is_ours) == (tmp_path, False)
    assert not (tmp_path / "into").exists()


def test_a_kind_of_store_whose_package_is_missing(tmp_path, monkeypatch):
    for name in ("boto3", "botocore"):
        monkeypatch.setitem(sys.modules, name, None)
    location = Location("s3://bucket/model", Lineage(), "model")
    with pytest.raises(SourceNotFound, match=r"needs the package boto.*, which is not installed"):
        fetch(location, tmp_path / "into", QUIET)


def test_an_unknown_kind_of_store(tmp_path):
    location = Location("gopher://host/model", Lineage(), "model")
    with pytest.raises(SourceNotFound, match="the artifact store failed"):
        fetch(location, tmp_path / "into", QUIET)
