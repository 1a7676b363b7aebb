"""MLflow's own clients against the appliance."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
import requests
from mlflow.pyfunc.scoring_server.client import ScoringServerClient
from mlflow.utils.proto_json_utils import dump_input_data

from tests.wire.conftest import Served

FRAME = pd.DataFrame({"prompt": ["a", "zwei\nZeilen", "日本 🦊"]}, index=["x", "y", "z"])


@pytest.fixture
def client(echo: Served) -> ScoringServerClient:
    return ScoringServerClient("127.0.0.1", echo.port)


def test_the_client_finds_the_server_ready(client: ScoringServerClient) -> None:
    client.wait_server_ready(timeout=10)
    assert client.get_version().startswith("3.18.")


@pytest.mark.parametrize(
    "data", [FRAME, FRAME["prompt"].to_numpy(dtype=str), list(FRAME["prompt"])], ids=type
)
def test_the_client_gets_a_prediction_for_each_row(
    client: ScoringServerClient, data: object
) -> None:
    predictions = client.invoke(data).get_predictions(predictions_format="ndarray")
    assert predictions.tolist() == list(FRAME["prompt"])
    assert isinstance(predictions, np.ndarray)


def test_the_client_passes_params(echo_params: Served) -> None:
    client = ScoringServerClient("127.0.0.1", echo_params.port)
    answer = client.invoke(FRAME[:1], params={"max_tokens": 5, "stop": ["x"]})
    expected = "a|[('max_tokens', 5), ('stop', ['x']), ('temperature', 0.0)]"
    assert answer.get_predictions(predictions_format="ndarray").tolist() == [expected]


def test_the_client_shows_what_was_wrong(client: ScoringServerClient) -> None:
    with pytest.raises(Exception, match=r"INVALID_PARAMETER_VALUE.*Model is missing inputs"):
        client.invoke(FRAME.rename(columns={"prompt": "question"}))


def test_csv_as_pandas_writes_it(echo: Served) -> None:
    for text in (FRAME.to_csv(), FRAME.to_csv(index=False), FRAME.to_csv(index_label=False)):
        headers = {"Content-Type": "text/csv; charset=utf-8"}
        url = f"{echo.url}/invocations"
        reply = requests.post(url, data=text.encode(), headers=headers, timeout=30)
        assert reply.json() == {"predictions": list(FRAME["prompt"])}


def test_json_as_mlflow_writes_it(echo: Served) -> None:
    for key in ("inputs", "instances"):
        body = dump_input_data(list(FRAME["prompt"]), inputs_key=key)
        headers = {"Content-Type": "application/json"}
        reply = requests.post(f"{echo.url}/invocations", data=body, headers=headers, timeout=30)
        assert reply.json() == {"predictions": list(FRAME["prompt"])}
