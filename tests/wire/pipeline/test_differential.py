"""The same requests to MLflow's server of the transformers flavor and to the appliance."""

from __future__ import annotations

import json

import pytest

from tests.wire.exchange import Reply
from tests.wire.pipeline.conftest import Sides
from tests.wire.pipeline.corpus import CORPUS, CSV
from tests.wire.pipeline.test_parity import plain

pytestmark = pytest.mark.torch


def check(theirs: Reply, ours: Reply) -> None:
    """The same predictions, or the same error."""
    assert (ours.status, ours.content_type) == (theirs.status, theirs.content_type), theirs.body
    if theirs.status == 200:
        assert plain(ours.json) == plain(theirs.json)
    else:
        assert ours.error_code == theirs.error_code
        assert ours.json.keys() == {"error_code", "message"}


@pytest.mark.parametrize(
    ("model", "body"), CORPUS, ids=[f"{m}-{json.dumps(b, default=str)[:60]}" for m, b in CORPUS]
)
def test_every_reply_is_mlflows(sides: Sides, model: str, body: object) -> None:
    check(sides.theirs(model, body), sides.ours(model, body))


@pytest.mark.parametrize(("model", "body"), CSV)
def test_every_reply_to_csv_is_mlflows(sides: Sides, model: str, body: bytes) -> None:
    check(sides.theirs(model, body, "text/csv"), sides.ours(model, body, "text/csv"))
