"""The other side of the parity tests, a process of its own: MLflow's server and transformers.

    python -m tests.wire.pipeline.reference WEIGHTS FOLDER PORT

Logs and registers the weights once for each task in FOLDER, in float32, greedy but for one. What
`mlflow.pyfunc` predicts and what `generate` of transformers says to every chat goes into
FOLDER/answers.json. Then MLflow's scoring server of each model is served under /NAME/.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import mlflow
import torch
import transformers
import uvicorn
from fastapi import FastAPI
from mlflow.models import ModelSignature
from mlflow.pyfunc import scoring_server
from mlflow.types import ColSpec, ParamSchema, ParamSpec, Schema

from tests.wire.pipeline.chats import CHATS, MOST_TOKENS, Body

GREEDY = {"do_sample": False, "max_new_tokens": MOST_TOKENS}
TASKS = {
    "chat": "llm/v1/chat",
    "completions": "llm/v1/completions",
    "text": "text-generation",
    "sampling": "llm/v1/chat",  # as most are logged: without a word on how to decode
}
# The other two signatures are MLflow's own.
TEXT = ModelSignature(
    inputs=Schema([ColSpec("string")]),
    outputs=Schema([ColSpec("string")]),
    params=ParamSchema(
        [
            ParamSpec("max_new_tokens", "long", MOST_TOKENS),
            ParamSpec("do_sample", "boolean", False),
            ParamSpec("return_full_text", "boolean", True),
        ]
    ),
)


def log(weights: Path, folder: Path) -> None:
    """Register the models NAME, version 1, in a store of their own."""
    uri = f"sqlite:///{folder}/mlflow.db"
    mlflow.set_tracking_uri(uri)
    artifacts = (folder / "artifacts").as_uri()
    experiment = mlflow.create_experiment("pipelines", artifact_location=artifacts)
    pipeline = transformers.pipeline(
        "text-generation",
        model=transformers.AutoModelForCausalLM.from_pretrained(weights, dtype=torch.float32),
        tokenizer=transformers.AutoTokenizer.from_pretrained(weights),
    )
    with mlflow.start_run(experiment_id=experiment):
        for name, task in TASKS.items():
            mlflow.transformers.log_model(
                pipeline,
                name=name,
                task=task,
                model_config=None if name == "sampling" else GREEDY,
                signature=TEXT if name == "text" else None,
                registered_model_name=name,
                pip_requirements=["mlflow", "transformers", "torch"],
            )


def predicted(model: Any, chats: list[Body]) -> list[Body]:
    """What the pyfunc answers to each chat: a list of one object, of which that one."""
    return [answer for chat in chats for answer in model.predict(chat)]


def generated(model: Any, chats: list[Body]) -> list[Body]:
    """What `generate` says to the same prompt ids: the text, and how many ids it made."""
    pipeline = model.get_raw_model()
    network, tokenizer = pipeline.model, pipeline.tokenizer
    answers = []
    for chat in chats:
        ids = tokenizer.apply_chat_template(
            chat["messages"], add_generation_prompt=True, return_tensors="pt", return_dict=True
        )
        most = chat.get("max_tokens", MOST_TOKENS)
        whole = network.generate(**ids, do_sample=False, max_new_tokens=most)[0]
        new = whole[ids["input_ids"].shape[1] :]
        text = tokenizer.decode(new, skip_special_tokens=True)
        answers.append({"text": text, "prompt_tokens": len(whole) - len(new), "tokens": len(new)})
    return answers


def main(weights: Path, folder: Path, port: int) -> None:
    """Log, answer, serve."""
    log(weights, folder)
    models = {name: mlflow.pyfunc.load_model(f"models:/{name}/1") for name in TASKS}
    answers = {
        "predicted": predicted(models["chat"], CHATS),
        "generated": generated(models["chat"], CHATS),
    }
    (folder / "answers.json").write_text(json.dumps(answers))
    app = FastAPI()
    for name, model in models.items():
        app.mount(f"/{name}", scoring_server.init(model))
    uvicorn.run(app, host="127.0.0.1", port=port, log_level="warning")


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3]))
