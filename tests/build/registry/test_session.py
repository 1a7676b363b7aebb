"""Requests: bounded, repeated where that may help, and with our login to nobody else."""

import socket
import threading
from contextlib import closing, contextmanager

import pytest
import requests

from build.destination import Reference
from build.errors import PublishFailed
from build.progress import Progress
from build.registry.failure import Transient
from build.registry.session import Session, Upload
from edge import __version__
from tests.build.registry import registry_stub
from tests.build.registry.registry_stub import USER, Failures, Reply, session


@pytest.fixture
def stub():
    with registry_stub.running() as stub:
        yield stub


def get(found, path="tags/list", **options):
    options = {"expected": (404,)} | options
    return found.send("test", "GET", found.url(path), **options)


@pytest.mark.parametrize(
    ("host", "insecure", "base"),
    [
        ("registry.example.com", False, "https://registry.example.com/v2/acme/phi3/x"),
        ("registry.example.com:5000", True, "http://registry.example.com:5000/v2/acme/phi3/x"),
        ("127.0.0.1:5000", False, "http://127.0.0.1:5000/v2/acme/phi3/x"),
        ("localhost:5000", False, "http://localhost:5000/v2/acme/phi3/x"),
        ("docker.io", False, "https://registry-1.docker.io/v2/acme/phi3/x"),
    ],
)
def test_plain_http_is_for_this_machine_or_where_it_was_asked_for(host, insecure, base):
    found = Session(Reference(host, "acme/phi3"), insecure=insecure)
    assert found.url("x") == base


def test_a_request_says_who_asks_and_keeps_no_cookies(stub):
    stub.script = lambda seen: Reply(404, {"Set-Cookie": "a=b"})
    found = session(stub)
    get(found)
    get(found)
    assert [one.headers["User-Agent"] for one in stub.seen] == [f"phial/{__version__}"] * 2
    assert "Cookie" not in stub.seen[1].headers


def test_proxies_do_not_stand_before_this_machine(stub, monkeypatch):
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:1")
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:1")
    assert get(session(stub)).status_code == 404


def test_a_status_that_was_not_expected_is_a_failure(stub):
    with pytest.raises(PublishFailed, match=f"test: {stub.host}/acme/phi3 answered 404"):
        get(session(stub), expected=(200,))


def test_a_failure_that_may_pass_is_tried_four_times(stub):
    stub.script = lambda seen: Reply(503)
    found = session(stub, pauses=(pauses := []))
    with pytest.raises(PublishFailed, match="answered 503"):
        found.repeat(lambda: get(found))
    assert len(stub.seen) == 4
    assert pauses == [1.0, 3.0, 9.0]


def test_it_stops_with_the_first_success(stub):
    stub.script = Failures("GET", "", Reply(500), Reply(0))
    found = session(stub, pauses=(pauses := []))
    assert found.repeat(lambda: get(found)).status_code == 404
    assert (len(stub.seen), pauses) == (3, [1.0, 3.0])


def test_the_registry_may_say_how_long_to_wait(stub):
    stub.script = Failures(
        "GET",
        "",
        Reply(429, {"Retry-After": "7"}),
        Reply(503, {"Retry-After": "3600"}),
        Reply(503, {"Retry-After": "Wed, 21 Oct 2026 07:28:00 GMT"}),
    )
    found = session(stub, pauses=(pauses := []))
    found.repeat(lambda: get(found))
    assert pauses == [7, 60, 9]


@pytest.mark.parametrize("status", [400, 403, 404, 405, 413])
def test_a_failure_that_stays_is_not_repeated(stub, status):
    stub.script = lambda seen: Reply(status)
    found = session(stub, pauses=(pauses := []))
    with pytest.raises(PublishFailed):
        found.repeat(lambda: get(found, expected=(200,)))
    assert (len(stub.seen), pauses) == (1, [])


def test_a_body_is_opened_at_every_sending(stub, tmp_path):
    (tmp_path / "blob").write_bytes(b"abc")
    stub.auth = "basic"
    found = session(stub, credentials=USER)
    with Progress(enabled=False).bar("x", 3) as bar:
        found.send(
            "test",
            "PUT",
            found.url("other/x"),
            expected=(404,),
            body=lambda: Upload(tmp_path / "blob", bar),
        )
    assert [one.body for one in stub.seen] == [b"abc", b"abc"]


@contextmanager
def silent():
    """A server that takes connections and never answers."""
    with closing(socket.create_server(("127.0.0.1", 0))) as server:
        yield f"127.0.0.1:{server.getsockname()[1]}"


def test_an_answer_is_not_awaited_for_ever():
    with silent() as host:
        found = Session(Reference(host, "acme/phi3"))
        with pytest.raises(Transient, match=f"test: {host} did not answer in time"):
            get(found, answer_s=0.2)


def test_nobody_is_there():
    with silent() as host:
        pass
    found = Session(Reference(host, "acme/phi3"))
    with pytest.raises(Transient) as caught:
        get(found)
    assert str(caught.value) == (
        f"test: {host} cannot be reached (Connection refused): check its name and the network"
    )


def test_an_answer_that_breaks_off(stub):
    def cut():
        connection, _ = server.accept()
        connection.recv(4096)
        connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nshort")
        connection.close()

    with closing(socket.create_server(("127.0.0.1", 0))) as server:
        threading.Thread(target=cut, daemon=True).start()
        found = Session(Reference(f"127.0.0.1:{server.getsockname()[1]}", "acme/phi3"))
        with pytest.raises(Transient, match="cannot be reached"):
            get(found, expected=(200,))


def test_uploads_elsewhere_do_not_see_the_login(stub):
    with registry_stub.running() as other:
        stub.auth = "basic"
        found = session(stub, credentials=USER)
        get(found)
        found.send("test", "PUT", f"http://{other.host}/upload", expected=(404,), body=b"abc")
    assert stub.seen[-1].headers["Authorization"] == USER.basic()
    assert "Authorization" not in other.seen[0].headers
    assert other.seen[0].body == b"abc"


def test_redirects_elsewhere_do_not_see_the_login(stub):
    with registry_stub.running() as other:
        stub.auth = "basic"
        found = session(stub, credentials=USER)
        get(found)
        stub.script = lambda seen: Reply(307, {"Location": f"http://{other.host}/there"})
        get(found)
    assert "Authorization" not in other.seen[0].headers


def test_logins_of_netrc_are_not_ours(stub, tmp_path, monkeypatch):
    (tmp_path / "netrc").write_text("default login eve password x\n")
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
    found = session(stub)
    found._session.trust_env = True
    get(found)
    assert "Authorization" not in stub.seen[0].headers


def answer(url, location):
    found = requests.Response()
    found.url = url
    found.headers["Location"] = location
    return found


@pytest.mark.parametrize(
    ("location", "expected"),
    [
        ("/v2/x?_state=y", "https://registry.example.com/v2/x?_state=y"),
        ("https://uploads.example.com/x", "https://uploads.example.com/x"),
    ],
)
def test_places_are_relative_or_not(location, expected):
    found = Session(Reference("registry.example.com", "acme/phi3"))
    assert found.location(answer("https://registry.example.com/v2/a", location)) == expected


@pytest.mark.parametrize("location", ["http://registry.example.com/v2/x", "ftp://example.com"])
def test_places_are_encrypted(location):
    found = Session(Reference("registry.example.com", "acme/phi3"))
    with pytest.raises(PublishFailed, match="sends uploads to plain HTTP, expected HTTPS"):
        found.location(answer("https://registry.example.com/v2/a", location))


def test_an_upload_reports_every_piece(tmp_path):
    class Bar:
        total = 0

        def add(self, size_bytes):
            self.total += size_bytes

    (tmp_path / "blob").write_bytes(b"abcdef")
    with Upload(tmp_path / "blob", bar := Bar()) as upload:
        assert upload.read(4) == b"abcd"
        assert bar.total == 4
        assert upload.read() == b"ef"
        assert upload.read() == b""
    assert bar.total == 6
