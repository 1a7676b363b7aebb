"""Generated tables and CSV: MLflow's own parsing, in this process, against ours.

All prompts are strings here: what else is put in their place differs on purpose.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import mlflow
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from mlflow.exceptions import MlflowException
from mlflow.models import ModelSignature
from mlflow.pyfunc import scoring_server
from mlflow.types import ColSpec, Schema

from edge.engine import scripted
from edge.errors import InvalidRequest, MalformedBody
from edge.protocol import scoring, scoring_reply

SOURCE = """
import mlflow

class Echo(mlflow.pyfunc.PythonModel):
    def predict(self, context, model_input, params=None):
        return list(model_input["prompt"])

mlflow.models.set_model(Echo())
"""
SIGNATURE = scripted.manifest("echo").signature
Outcome = list[Any] | str
Ask = Callable[[bytes, str], Outcome]


@pytest.fixture(scope="module")
def mlflow_outcome(tmp_path_factory: pytest.TempPathFactory) -> Ask:
    """MLflow's predictions, or its error code."""
    folder: Path = tmp_path_factory.mktemp("mlflow")
    (folder / "model.py").write_text(SOURCE)
    signature = ModelSignature(Schema([ColSpec("string", "prompt")]), Schema([ColSpec("string")]))
    mlflow.pyfunc.save_model(
        folder / "echo",
        python_model=folder / "model.py",
        signature=signature,
        pip_requirements=["mlflow"],
    )
    model = mlflow.pyfunc.load_model(str(folder / "echo"))
    schema = model.metadata.get_input_schema()
    answer: Callable[..., Any] = scoring_server.invocations

    def ask(body: bytes, media: str) -> Outcome:
        try:
            data = json.loads(answer(body, media, model, schema).response)
        except MlflowException as error:
            return str(error.error_code)
        predictions: list[Any] = data["predictions"] if isinstance(data, dict) else data
        return predictions

    return ask


def our_outcome(body: bytes, media: str) -> Outcome:
    """Our rows, or our error code."""
    try:
        return list(scoring.parse(body, media, SIGNATURE).rows)
    except (MalformedBody, InvalidRequest) as error:
        return str(scoring_reply.failure(error)["error_code"])


def check(theirs: Outcome, ours: Outcome) -> None:
    """The same rows, or an error on both sides; a missing prompt is an error only here."""
    if isinstance(theirs, list) and all(isinstance(row, str) for row in theirs):
        assert ours == theirs
    else:
        assert isinstance(ours, str)


TEXT = st.text("ab", max_size=2)
TEXTS = st.lists(TEXT, max_size=3)
NAMES = st.sampled_from(["prompt", "x", "y"])
ROW = st.dictionaries(NAMES, TEXT, max_size=3)
COLUMNS = st.lists(NAMES, max_size=3)
SPLIT = st.fixed_dictionaries(
    {"data": st.lists(TEXTS, max_size=3) | TEXTS | st.lists(ROW, max_size=3)},
    optional={"columns": COLUMNS, "index": st.none() | TEXTS},
)
TENSOR = st.one_of(
    TEXTS,
    st.lists(ROW, max_size=3),
    st.dictionaries(NAMES, TEXT | TEXTS, max_size=3),
    st.lists(ROW | TEXT, max_size=3),
    TEXT,
)
BODY = st.one_of(
    st.fixed_dictionaries({"dataframe_records": st.lists(ROW | TEXT, max_size=3)}),
    st.fixed_dictionaries({"dataframe_split": SPLIT}),
    st.fixed_dictionaries({"instances": TENSOR}),
    st.fixed_dictionaries({"inputs": TENSOR}),
    st.fixed_dictionaries({"prompt": TEXT}, optional={"x": TEXTS | ROW, "y": TEXTS | ROW}),
    st.dictionaries(st.sampled_from(["inputs", "instances", "params", "z"]), TEXTS),
)
CSV = st.tuples(
    st.sampled_from(["prompt", "prompt,x", "x,prompt", ",prompt", '"prompt"', "question", ""]),
    st.lists(st.sampled_from(["a", "b", ",", ",", "\n", "\n", '"', '"', " ", "NA"]), max_size=9),
).map(lambda parts: parts[0] + "\n" + "".join(parts[1]))

thorough = settings(
    max_examples=400, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)


@thorough
@given(body=BODY)
def test_tables_are_read_as_mlflow_reads_them(mlflow_outcome: Ask, body: object) -> None:
    raw = json.dumps(body).encode()
    check(mlflow_outcome(raw, "application/json"), our_outcome(raw, "application/json"))


@thorough
@given(text=CSV)
def test_csv_is_read_as_mlflow_reads_it(mlflow_outcome: Ask, text: str) -> None:
    raw = text.encode()
    check(mlflow_outcome(raw, "text/csv"), our_outcome(raw, "text/csv"))
