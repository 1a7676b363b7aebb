"""Nothing that the factory runs phones home.

MLflow reads `MLFLOW_DISABLE_TELEMETRY`, onnxruntime and onnxruntime-genai read
`ORT_DISABLE_TELEMETRY`, both when they are first imported; the latter would also write under
the home directory.
"""

from __future__ import annotations

import os

SILENCE = {
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "ORT_DISABLE_TELEMETRY": "1",
    "DO_NOT_TRACK": "true",
}


def silence() -> None:
    """Switch the telemetry of MLflow and of the runtime off for this process and its children."""
    os.environ.update(SILENCE)
