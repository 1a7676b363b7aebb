"""Log and register the demo model in the store that MLFLOW_TRACKING_URI names, if it is new there.

Run in the folder where the store's artifacts may lie.
"""

from __future__ import annotations

import hashlib
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from build.__main__ import main as build

if TYPE_CHECKING:
    from mlflow import MlflowClient

ROOT = Path(__file__).resolve().parent.parent
MODEL = ROOT / "build" / "demo" / "model"
CODE = ROOT / "build" / "pyfunc.py"
NAME, ALIAS = "phial-demo", "champion"
URI = f"models:/{NAME}@{ALIAS}"
TAG = "phial.source_sha256"
QUESTIONS = "50"  # enough for a figure in the run, few enough for a first impression


def main() -> int:
    """Returns the exit status of `python -m build log`, 0 when there was nothing to do."""
    wanted = digest()
    from mlflow import MlflowClient

    if registered(MlflowClient()) == wanted:
        print(f"{URI} is registered already", flush=True)
        return 0
    named = ["--name", NAME, "--register", "--alias", ALIAS, "--tag", f"{TAG}={wanted}"]
    return build(["log", str(MODEL), *named, "--questions", QUESTIONS])


def digest() -> str:
    """sha256 over the names and bytes of the model's files and of the code logged with them."""
    whole = hashlib.sha256(CODE.read_bytes())
    for path in sorted(p for p in MODEL.rglob("*") if p.is_file()):
        whole.update(f"{path.relative_to(MODEL)}\0{path.stat().st_size}\0".encode())
        whole.update(path.read_bytes())
    return whole.hexdigest()


def registered(client: MlflowClient) -> str | None:
    """The digest that the version under the alias was logged from; None where there is none."""
    from mlflow.exceptions import MlflowException

    try:
        version = client.get_model_version_by_alias(NAME, ALIAS)
    except MlflowException:
        return None
    tags: dict[str, str] = version.tags
    return tags.get(TAG)


if __name__ == "__main__":
    sys.exit(main())
