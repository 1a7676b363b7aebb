"""The locked sets: whole, hashed, one version everywhere, and what the code imports."""

from __future__ import annotations

import ast
import importlib.metadata
import itertools
import re
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
FOLDER = ROOT / "requirements"
SETS = ("edge", "pipeline", "build", "demo", "dev")
OWN = {"edge", "build", "scripts", "tests"}
HASH = re.compile(r"--hash=sha256:[0-9a-f]{64}")
UNLOCKED = {"torch"}
PIPELINE = ROOT / "edge/engine/pipeline"


def canonical(package: str) -> str:
    return re.sub(r"[-_.]+", "-", package).lower()


def locked(name: str) -> dict[str, str]:
    """Package to version of one lock."""
    text = (FOLDER / f"{name}.txt").read_text()
    return dict(re.findall(r"^([a-z0-9][a-z0-9._-]*)==([^\s;\\]+)", text, flags=re.MULTILINE))


def asked(name: str) -> set[str]:
    """The packages that one set names itself."""
    lines = (FOLDER / f"{name}.in").read_text().splitlines()
    names = [re.match(r"[A-Za-z0-9][\w.-]*", line) for line in lines]
    return {canonical(match.group()) for match in names if match}


@pytest.mark.parametrize("name", SETS)
def test_every_package_is_pinned_and_hashed(name):
    text = (FOLDER / f"{name}.txt").read_text()
    entries = re.split(r"^(?=[a-z0-9])", text, flags=re.MULTILINE)[1:]
    assert len(entries) == len(locked(name)) > 0
    assert [entry.split()[0] for entry in entries if not HASH.search(entry)] == []


@pytest.mark.parametrize("name", SETS)
def test_the_lock_has_what_the_set_asks_for(name):
    assert asked(name) <= set(locked(name))


@pytest.mark.parametrize(
    ("inner", "outer"),
    [("edge", "build"), ("build", "demo"), ("pipeline", "demo"), ("demo", "dev")],
)
def test_a_wider_set_holds_the_narrower_one_in_the_same_versions(inner, outer):
    assert locked(inner).items() <= locked(outer).items()


@pytest.mark.parametrize("name", SETS)
def test_torch_and_its_gpu_packages_are_not_locked(name):
    unwanted = [p for p in locked(name) if p in UNLOCKED or p.startswith(("nvidia-", "triton"))]
    assert unwanted == []


def test_the_appliance_needs_no_factory():
    heavy = {"mlflow", "mlflow-skinny", "pandas", "pyarrow", "scipy", "torch", "transformers"}
    assert heavy & set(locked("edge")) == set()


def test_the_runtime_is_the_one_that_the_design_was_measured_with():
    pins = locked("build")
    assert (pins["onnxruntime"], pins["onnxruntime-genai"]) == ("1.32.0", "0.18.0")
    assert pins["mlflow"] == "3.17.2"


def imported(*paths: Path) -> set[str]:
    """Top-level names of the foreign packages that the files import."""
    found: set[str] = set()
    for node in itertools.chain.from_iterable(ast.walk(ast.parse(p.read_text())) for p in paths):
        if isinstance(node, ast.Import):
            found |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            found.add(node.module.split(".")[0])
    return found - OWN - set(sys.stdlib_module_names)


def packages(modules: set[str], folder: Path) -> set[str]:
    """The distributions that provide `modules`; those beside the importing file are left out."""
    by_module = importlib.metadata.packages_distributions()
    local = {path.stem for path in folder.rglob("*.py")}
    return {canonical(by_module[m][0]) for m in modules if m not in local or m in by_module}


@pytest.mark.parametrize(
    ("folder", "name"),
    [("edge", "edge"), ("build", "demo"), ("scripts", "build"), ("tests", "dev")],
)
def test_the_code_imports_only_what_its_set_locks(folder, name):
    files = set((ROOT / folder).rglob("*.py")) - set(PIPELINE.rglob("*.py"))
    assert packages(imported(*files), ROOT / folder) - UNLOCKED <= set(locked(name))


def test_the_engine_for_torch_needs_the_pipeline_set_alone():
    used = packages(imported(*PIPELINE.rglob("*.py")), ROOT / "edge")
    runtime = {"onnxruntime", "onnxruntime-genai"}
    assert used - UNLOCKED - runtime <= set(locked("pipeline"))


def test_the_pipeline_appliance_has_one_runtime_and_no_factory():
    unwanted = {"mlflow", "mlflow-skinny", "pandas", "pyarrow", "onnxruntime", "onnxruntime-genai"}
    assert unwanted & set(locked("pipeline")) == set()


@pytest.mark.parametrize("arch", ["amd64", "arm64"])
def test_torch_of_an_image_is_one_hashed_pin(arch):
    text = (FOLDER / f"torch-{arch}.txt").read_text()
    assert re.findall(r"^(\S+)==", text, flags=re.MULTILINE) == ["torch"]
    assert HASH.search(text)


def test_the_factory_without_the_demo_recipe_needs_the_build_set_alone():
    used = packages(imported(*(ROOT / "build").glob("*.py")), ROOT / "build")
    assert used <= set(locked("build"))
