"""API keys."""

from __future__ import annotations

import flask
import pytest

from edge import config
from edge.config import Settings
from edge.errors import StartupError, Unauthorized
from edge.web import access


def check(keys, header):
    headers = {} if header is None else {"Authorization": header}
    with flask.Flask("test").test_request_context("/", headers=headers):
        access.guard(keys)()


@pytest.mark.parametrize(
    "header", ["Bearer right", "bearer right", "BEARER right", "Bearer  right ", "Bearer other"]
)
def test_a_key_opens(header):
    check([b"right", b"other"], header)


@pytest.mark.parametrize(
    "header",
    [
        None,
        "",
        "Bearer",
        "Bearer ",
        "Bearer wrong",
        "Bearer righ",
        "Bearer rightt",
        "Bearer right other",
        "Basic right",
        "right",
        "Bearer RIGHT",
        "Bearer \u00e9",
    ],
)
def test_anything_else_does_not(header):
    with pytest.raises(Unauthorized) as caught:
        check([b"right", b"other"], header)
    assert "right" not in str(caught.value)


def test_without_keys_everybody_may():
    check([], None)
    check([], "Bearer whatever")


def test_keys_of_other_alphabets():
    """Headers are bytes; WSGI shows them as Latin-1."""
    key = "ключ".encode()
    check([key], f"Bearer {key.decode('latin-1')}")
    with pytest.raises(Unauthorized):
        check([key], "Bearer ????????")


def keys(tmp_path, content):
    path = tmp_path / "keys"
    path.write_bytes(content)
    return config.api_keys(Settings(api_key_file=path))


def test_the_file_of_keys(tmp_path):
    assert keys(tmp_path, b"one\ntwo\r\n\n three \n") == (b"one", b"two", b"three")
    assert config.api_keys(Settings()) == ()


@pytest.mark.parametrize("content", [b"", b"\n \n"])
def test_a_file_without_a_key_does_not_open_the_door(tmp_path, content):
    with pytest.raises(StartupError, match="EDGE_API_KEY_FILE"):
        keys(tmp_path, content)


def test_no_file(tmp_path):
    with pytest.raises(StartupError, match="EDGE_API_KEY_FILE") as caught:
        config.api_keys(Settings(api_key_file=tmp_path / "missing"))
    assert str(tmp_path) not in str(caught.value)
