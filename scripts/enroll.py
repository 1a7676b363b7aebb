"""Log and register the demo model in the store that MLFLOW_TRACKING_URI names, if it is new there.

Run in the folder where the store's artifacts may lie.
"""

from __future__ import annotations

import hashlib
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from build.__main__ import main as build

if TYPE_CHECKING:
    from mlflow import MlflowClient

ROOT = Path(__file__).resolve().parent.parent
CODE = ROOT / "build" / "pyfunc.py"
NAME, ALIAS = "phial-demo", "champion"
TAG = "phial.source_sha256"
QUESTIONS = "50"  # enough for a figure in the run, few enough for a first impression


@dataclass(frozen=True, slots=True)
class Demo:
    """One form of the demo model: its folder, its registered name, and how it is logged."""

    folder: Path
    name: str
    command: tuple[str, ...]

    @property
    def uri(self) -> str:
        """The version under the alias."""
        return f"models:/{self.name}@{ALIAS}"


DEMOS = {
    "onnx": Demo(ROOT / "build" / "demo" / "model", NAME, ("log", "--questions", QUESTIONS)),
    "pipeline": Demo(
        ROOT / "build" / "demo" / "weights",
        f"{NAME}-pipeline",
        ("log-pipeline", "--temperature", "0"),
    ),
}
URI = DEMOS["onnx"].uri


def main(flavor: str = "onnx") -> int:
    """Returns the exit status of the logging command, 0 when there was nothing to do."""
    demo = DEMOS[flavor]
    wanted = digest(demo.folder)
    from mlflow import MlflowClient

    if registered(MlflowClient(), demo.name) == wanted:
        print(f"{demo.uri} is registered already", flush=True)
        return 0
    named = ["--name", demo.name, "--register", "--alias", ALIAS, "--tag", f"{TAG}={wanted}"]
    return build([*demo.command, str(demo.folder), *named])


def digest(folder: Path = DEMOS["onnx"].folder) -> str:
    """sha256 over the names and bytes of the model's files and of the code logged with them."""
    whole = hashlib.sha256(CODE.read_bytes())
    for path in sorted(p for p in folder.rglob("*") if p.is_file()):
        whole.update(f"{path.relative_to(folder)}\0{path.stat().st_size}\0".encode())
        whole.update(path.read_bytes())
    return whole.hexdigest()


def registered(client: MlflowClient, name: str = NAME) -> str | None:
    """The digest that the version under the alias was logged from; None where there is none."""
    from mlflow.exceptions import MlflowException

    try:
        version = client.get_model_version_by_alias(name, ALIAS)
    except MlflowException:
        return None
    tags: dict[str, str] = version.tags
    return tags.get(TAG)


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
