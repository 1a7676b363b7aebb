"""What each form of URI names."""

from pathlib import Path

import pytest

from build.address import Local, Logged, OfRun, Registered, Stored, parse
from build.errors import UsageError

ID = "m-" + "0123456789abcdef" * 2


@pytest.mark.parametrize(
    ("uri", "expected"),
    [
        ("models:/phi3/3", Registered("phi3", version="3")),
        ("models:/phi3@champion", Registered("phi3", alias="champion")),
        ("models:/me@home@prod", Registered("me@home", alias="prod")),
        ("models:/me@home/3", Registered("me@home", version="3")),
        ("models:/phi3/latest", Registered("phi3")),
        ("models:/phi3/Latest", Registered("phi3")),
        (f"models:/{ID}", Logged(ID)),
        ("models:/m-short/1", Registered("m-short", version="1")),
        ("runs:/abc/chat", OfRun("abc", "chat")),
        ("runs:/abc/models/chat/", OfRun("abc", "models/chat")),
        ("mlflow-artifacts:/1/models/x", Stored("mlflow-artifacts:/1/models/x")),
        ("mlflow-artifacts://host:5000/1/x/", Stored("mlflow-artifacts://host:5000/1/x")),
        ("s3://bucket/model", Stored("s3://bucket/model")),
        ("https://host/api/2.0/x", Stored("https://host/api/2.0/x")),
        ("file:///srv/model", Local(Path("/srv/model"))),
        ("file:/srv/model", Local(Path("/srv/model"))),
        ("/srv/model", Local(Path("/srv/model"))),
        ("here/model", Local(Path("here/model"))),
        ("models", Local(Path("models"))),
    ],
)
def test_forms(uri, expected):
    assert parse(uri) == expected


@pytest.mark.parametrize(
    "uri",
    [
        "models:/phi3",
        "models:/",
        "models:/phi3@",
        "models:/@champion",
        "models:/phi3/Production",
        "models:/phi3/3/extra",
        "models:/phi3/-1",
        "models://3",
    ],
)
def test_malformed_model_uris_name_the_forms(uri):
    with pytest.raises(UsageError) as caught:
        parse(uri)
    assert repr(uri) in str(caught.value)
    assert "models:/NAME@ALIAS" in str(caught.value)


@pytest.mark.parametrize("uri", ["runs:/abc", "runs:/", "runs:/abc/"])
def test_a_run_needs_a_name(uri):
    with pytest.raises(UsageError, match="runs:/RUN/NAME"):
        parse(uri)
