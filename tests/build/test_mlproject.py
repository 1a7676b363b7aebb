"""`mlflow run .`: every entry point of the project, one after the other, for real."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

import pytest
import yaml
from mlflow import MlflowClient

SPAIN = "What is the capital of Spain?"


class Project:
    """`mlflow run` on this checkout, with a store of its own."""

    def __init__(self, repository: Path, folder: Path) -> None:
        self.repository = repository
        self.folder = folder
        self.store = f"sqlite:///{folder}/mlflow.db"
        (folder / "home").mkdir()

    def command(self, entry: str, **params: object) -> list[str]:
        words = [sys.executable, "-m", "mlflow", "run", str(self.repository), "-e", entry]
        words += ["--env-manager", "local"]
        for key, value in params.items():
            words += ["-P", f"{key}={value}"]
        return words

    def environment(self) -> dict[str, str]:
        """The interpreter's own folder first: the project says `python`."""
        path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
        kept = {k: v for k, v in os.environ.items() if not k.startswith(("MLFLOW_EXP", "EDGE_"))}
        home = str(self.folder / "home")
        return kept | {
            "PATH": path,
            "MLFLOW_TRACKING_URI": self.store,
            "MLFLOW_ARTIFACT_ROOT": str(self.folder / "artifacts"),
            "HOME": home,
            "TMPDIR": str(self.folder),
        }

    def run(self, entry: str, status: int = 0, **params: object) -> str:
        done = subprocess.run(
            self.command(entry, **params),
            cwd=self.folder,
            env=self.environment(),
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=300,
        )
        assert done.returncode == status, done.stdout
        return done.stdout


@pytest.fixture(scope="module")
def project(repository: Path, tmp_path_factory: pytest.TempPathFactory) -> Project:
    return Project(repository, tmp_path_factory.mktemp("project"))


@pytest.fixture(scope="module")
def logged(project: Project, demo_model: Path) -> str:
    """The model's URI, logged by the project; further parameters are flags."""
    more = {"alias": "champion", "max-tokens": 40, "temperature": 0}
    project.run("log", onnx=demo_model, name="vial", **more)
    return "models:/vial@champion"


@pytest.fixture(scope="module")
def bundle(project: Project, logged: str) -> Path:
    folder = project.folder / "bundle"
    project.run("export", model=logged, out=folder)
    return folder


def test_log_registers_a_version_in_the_project_s_own_run(project: Project, logged: str) -> None:
    client = MlflowClient(project.store, project.store)
    found = client.get_model_version_by_alias("vial", "champion")
    run = client.get_run(found.run_id)
    assert run.info.status == "FINISHED"
    assert run.data.tags["mlflow.project.entryPoint"] == "log"
    assert run.data.params["precision"] == "int4"
    assert run.data.metrics["decode_tokens_per_second"] > 0


def test_export_writes_the_bundle_of_the_logged_model(bundle: Path) -> None:
    manifest = json.loads((bundle / "manifest.json").read_text())
    assert manifest["name"] == "vial"
    assert manifest["lineage"]["resolved_uri"] == "models:/vial/1"
    assert manifest["lineage"]["alias"] == "champion"
    assert manifest["generation"]["max_tokens"] == 40
    assert manifest["generation"]["temperature"] == 0
    assert (bundle / "model" / "model.onnx").is_file()


def test_a_failed_step_fails_the_run(project: Project, logged: str) -> None:
    said = project.run("export", status=1, model="models:/absent/1", out=project.folder / "none")
    assert "absent" in said
    assert not (project.folder / "none").exists()


def test_serve_answers_until_it_is_ended(project: Project, bundle: Path) -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    log = project.folder / "serve.log"
    with log.open("wb") as output:
        process = subprocess.Popen(
            project.command("serve", bundle=bundle, port=port),
            cwd=project.folder,
            env=project.environment(),
            stdout=output,
            stderr=output,
            start_new_session=True,
        )
    try:
        answer = _ask(f"http://127.0.0.1:{port}", process, log)
        assert "Madrid" in answer
    finally:
        os.killpg(process.pid, signal.SIGTERM)
        process.wait(60)
    with pytest.raises(OSError, match="refused"):
        socket.create_connection(("127.0.0.1", port), timeout=5)


def _ask(url: str, process: subprocess.Popen[bytes], log: Path) -> str:
    body = json.dumps({"messages": [{"role": "user", "content": SPAIN}], "temperature": 0})
    request = urllib.request.Request(
        f"{url}/v1/chat/completions", body.encode(), {"Content-Type": "application/json"}
    )
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline and process.poll() is None:
        try:
            urllib.request.urlopen(f"{url}/readyz", timeout=5).read()
        except OSError:
            time.sleep(0.2)
            continue
        with urllib.request.urlopen(request, timeout=60) as reply:
            return str(json.load(reply)["choices"][0]["message"]["content"])
    pytest.fail(f"the appliance did not answer: {log.read_text()}")


def test_nothing_is_written_at_home(project: Project, bundle: Path) -> None:
    assert list((project.folder / "home").rglob("*")) == []


def test_every_command_is_one_of_the_factory_or_the_appliance(repository: Path) -> None:
    """With its parameters filled in, the command line takes it."""
    from build.__main__ import parser

    project = yaml.safe_load((repository / "MLproject").read_text())
    for name, entry in project["entry_points"].items():
        words = entry["command"].format_map(dict.fromkeys(entry["parameters"], "x")).split()
        assert words[:2] == ["python", "-m"]
        if words[2] == "build":
            assert parser().parse_args(words[3:]).command == name.replace("_", "-")


def test_the_project_names_its_environment(repository: Path) -> None:
    project = yaml.safe_load((repository / "MLproject").read_text())
    environment = yaml.safe_load((repository / project["python_env"]).read_text())
    entries = {"optimize", "log", "log_pipeline", "convert", "export", "image", "serve"}
    assert set(project["entry_points"]) == entries
    for line in environment["dependencies"]:
        assert (repository / line.removeprefix("-r ")).is_file()
