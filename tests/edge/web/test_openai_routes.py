"""The models under /v1, and the routes that are not there."""

from __future__ import annotations

import pytest

CHAT = "/v1/chat/completions"
TEXT = "/v1/completions"


@pytest.mark.parametrize("name", ["phi3", "phi3:3", "phi3@champion", "models:/phi3/3"])
def test_the_model_answers_to_its_names(bench, name):
    one = bench()
    assert one.chat(model=name).get_json()["model"] == "phi3"
    assert one.app.test_client().get(f"/v1/models/{name}").get_json()["id"] == name


def test_another_model_is_not_found(bench):
    one = bench()
    for response in (one.chat(model="gpt-4"), one.app.test_client().get("/v1/models/gpt-4")):
        assert response.status_code == 404
        assert response.get_json()["error"]["code"] == "model_not_found"


def test_the_listing_names_the_model_that_answers(bench):
    one = bench()
    (entry,) = one.app.test_client().get("/v1/models").get_json()["data"]
    assert one.chat(model=entry["id"]).get_json()["model"] == entry["id"]


@pytest.mark.parametrize(
    ("method", "path"),
    [("GET", "/v1/nothing"), ("POST", "/v1/embeddings"), ("GET", "/v1/"), ("PUT", "/v1/a/b/c")],
)
def test_unknown_routes(bench, method, path):
    response = bench().app.test_client().open(path, method=method)
    assert response.status_code == 404
    body = response.get_json()["error"]
    assert body["code"] == "unknown_url"
    assert method in body["message"]


@pytest.mark.parametrize(
    ("method", "path", "allow"),
    [
        ("GET", CHAT, "POST"),
        ("DELETE", TEXT, "POST"),
        ("POST", "/v1/models", "GET"),
        ("DELETE", "/v1/models/phi3", "GET"),
    ],
)
def test_wrong_methods(bench, method, path, allow):
    response = bench().app.test_client().open(path, method=method)
    assert response.status_code == 405
    assert response.headers["Allow"] == allow
    assert response.get_json()["error"]["code"] == "method_not_supported"


def test_errors_are_counted_under_their_operation(bench):
    one = bench()
    one.complete(temperature=9)
    one.app.test_client().get("/v1/models/gpt-4")
    assert sorted(one.counted()) == [("models", "404"), ("text_completion", "400")]
