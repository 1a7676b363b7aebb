"""What every test runs under: a home directory of its own, no telemetry, no skips in CI."""

import os
import tempfile
from pathlib import Path

import pytest

from tests import pipeline_bundle as pipeline_bundles

_HOME = tempfile.TemporaryDirectory(prefix="phial-test-home-")


def pytest_configure() -> None:
    """Set before any library is imported, and inherited by every process that a test starts."""
    os.environ |= {
        "HOME": _HOME.name,
        "ORT_DISABLE_TELEMETRY": "1",
        "MLFLOW_DISABLE_TELEMETRY": "true",
        "GIT_PYTHON_REFRESH": "quiet",
    }
    for name in [n for n in os.environ if n.startswith(("EDGE_", "MLFLOW_TRACKING_"))]:
        del os.environ[name]


@pytest.fixture(scope="session")
def repository() -> Path:
    """The checkout's top folder."""
    return Path(__file__).parent.parent


@pytest.fixture(scope="session")
def demo_model(repository: Path) -> Path:
    """The folder of the model in the box."""
    return repository / "build" / "demo" / "model"


@pytest.fixture(scope="session")
def demo_weights(repository: Path) -> Path:
    """The folder of the demo model's torch weights."""
    return repository / "build" / "demo" / "weights"


@pytest.fixture(scope="session")
def pipeline_bundle(demo_weights: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A bundle of the demo model's torch weights; not to be changed."""
    return pipeline_bundles.write(tmp_path_factory.mktemp("pipeline"), demo_weights)


@pytest.hookimpl(trylast=True)
def pytest_sessionfinish(session: pytest.Session) -> None:
    """In CI a skip is a failure: it means that a tool or a model is missing there."""
    reporter = session.config.pluginmanager.get_plugin("terminalreporter")
    skipped = len(reporter.stats.get("skipped", [])) if reporter else 0
    if os.environ.get("CI") == "true" and skipped and session.exitstatus == pytest.ExitCode.OK:
        reporter.write_line(f"\nCI: {skipped} skipped, which counts as a failure", red=True)
        session.exitstatus = pytest.ExitCode.TESTS_FAILED


def pytest_unconfigure() -> None:
    _HOME.cleanup()
