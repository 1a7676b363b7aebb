"""The two ways in which a model gets into MLflow: from code, and as a pickled class of 2024."""

from pathlib import Path
from typing import Any

import mlflow
import onnxruntime_genai as og
from mlflow.models import infer_signature

EXAMPLE = {
    "prompt": "<|system|>You are a stand-up comedian.<|end|><|user|>Tell me a joke about atom"
    "<|end|><|assistant|>"
}


def log_chat(onnx: Path, **changes: Any) -> Any:
    """Log `onnx` as models from code, registered as capitals."""
    options: dict[str, Any] = {
        "name": "chat",
        "python_model": str(Path(__file__).parents[2] / "build" / "pyfunc.py"),
        "artifacts": {"onnx": str(onnx)},
        "model_config": {"max_tokens": 40, "temperature": 0.0, "stop": ["###"]},
        "signature": infer_signature({"prompt": "Hello"}, ["Hi"], params={"max_tokens": 40}),
        "pip_requirements": ["onnxruntime-genai==0.18.0"],
        "registered_model_name": "capitals",
    }
    return mlflow.pyfunc.log_model(**(options | changes))


def log_notebook(onnx: Path) -> Any:
    """Log `onnx` the way of the public notebook of 2024: a pickled class of that day's API."""

    class Phi3Model(mlflow.pyfunc.PythonModel):  # local, so that it is pickled by value
        def load_context(self, context):
            self.model = og.Model(context.artifacts["phi3-mini-onnx"])
            self.params = og.GeneratorParams(self.model)
            self.params.set_search_options(max_length=300, temperature=0.2)
            self.tokenizer = og.Tokenizer(self.model)

        def predict(self, context, model_input):
            self.params.input_ids = self.tokenizer.encode(model_input["prompt"][0])
            response = self.model.generate(self.params)
            return self.tokenizer.decode(response[0][len(self.params.input_ids) :])

    return mlflow.pyfunc.log_model(
        artifact_path="phi3-mini",
        python_model=Phi3Model(),
        artifacts={"phi3-mini-onnx": str(onnx)},
        input_example=EXAMPLE,
        signature=infer_signature(EXAMPLE, ["Run"]),
        extra_pip_requirements=["torch", "onnxruntime_genai", "numpy"],
        registered_model_name="comic",
    )
