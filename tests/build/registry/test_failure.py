"""Refusals as sentences that say what to do."""

import datetime
import http.server
import ssl
import threading
from contextlib import contextmanager

import pytest
import requests
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from build.destination import Reference
from build.registry import failure
from build.registry.failure import Transient

TARGET = Reference("registry.example.com", "acme/phi3")
HUB = Reference("docker.io", "acme/phi3")


def refused(status, body=b"", headers=None, target=TARGET):
    answer = requests.Response()
    answer.status_code, answer._content = status, body
    answer.headers.update(headers or {})
    return failure.of_answer("upload of manifest 3", target, answer)


@pytest.mark.parametrize(
    ("status", "advice"),
    [
        (400, ""),
        (401, ": log in with `docker login registry.example.com`"),
        (
            403,
            ": log in with `docker login registry.example.com` as a user who may push to acme/phi3",
        ),
        (404, ": check that registry.example.com is a registry and acme/phi3 may be made"),
        (413, ": the registry or a proxy before it limits the size of uploads"),
        (429, ": too many requests, try again later"),
        (500, ""),
    ],
)
def test_an_answer_names_stage_registry_and_remedy(status, advice):
    expected = f"upload of manifest 3: registry.example.com/acme/phi3 answered {status}{advice}"
    assert str(refused(status)) == expected


def test_the_docker_hub_needs_no_name_to_log_in():
    assert str(refused(401, target=HUB)).endswith("answered 401: log in with `docker login`")


@pytest.mark.parametrize("status", [429, 500, 502, 503, 504])
def test_what_may_pass(status):
    assert isinstance(refused(status), Transient)


@pytest.mark.parametrize("status", [301, 400, 401, 403, 404, 405, 409, 413, 416])
def test_what_stays(status):
    assert not isinstance(refused(status), Transient)


def test_the_reasons_of_the_registry_are_told():
    body = b'{"errors":[{"code":"DENIED","message":"no quota"},{"code":"UNKNOWN"}]}'
    assert "answered 403 (DENIED: no quota; UNKNOWN: ): log in" in str(refused(403, body))


@pytest.mark.parametrize(
    "body", [b"", b"<html>", b"[]", b"{}", b'{"errors":3}', b'{"errors":[3]}', b'{"errors":[{}]}']
)
def test_a_body_of_another_form_is_left_out(body):
    assert str(refused(400, body)).endswith("answered 400")


def test_reasons_are_short_printable_and_without_secrets():
    message = "x\\u001b[31m https://ada:s3cret@example.com/?token=abc " + "y" * 999
    body = f'{{"errors":[{{"code":"DENIED","message":"{message}"}}]}}'.encode()
    text = str(refused(400, body))
    assert len(text) < 400
    assert "\x1b" not in text
    assert "s3cret" not in text
    assert "abc" not in text


@pytest.mark.parametrize(
    ("given", "pause_s"), [("5", 5), ("0", 0), ("99999", 60), ("-1", 0), ("soon", 0), ("", 0)]
)
def test_the_pause_that_was_asked_for(given, pause_s):
    assert refused(503, headers={"Retry-After": given}).pause_s == pause_s


def silence(error):
    return failure.of_silence("check", TARGET, error)


def test_a_timeout_may_pass():
    for error in (requests.ReadTimeout("x"), requests.ConnectTimeout("x")):
        assert isinstance(silence(error), Transient)
        assert str(silence(error)) == "check: registry.example.com did not answer in time"


def test_a_connection_that_breaks_may_pass():
    for error in (requests.ConnectionError("x"), requests.exceptions.ChunkedEncodingError("x")):
        assert isinstance(silence(error), Transient)
        assert str(silence(error)) == (
            "check: registry.example.com cannot be reached (connection broken): "
            "check its name and the network"
        )


def test_a_request_that_cannot_be_made_is_named_by_its_kind():
    error = requests.exceptions.InvalidURL("https://ada:s3cret@host")
    assert str(silence(error)) == "check: request to registry.example.com failed (InvalidURL)"
    assert not isinstance(silence(error), Transient)


def real_error(url):
    with pytest.raises(requests.RequestException) as caught:
        requests.get(url, timeout=5)
    return caught.value


def test_a_name_that_nobody_knows():
    text = str(silence(real_error("https://registry.invalid/v2/?token=s3cret")))
    assert "cannot be reached (" in text
    assert "s3cret" not in text


@contextmanager
def serving(context=None):
    """An HTTP server, with TLS where there is a context for it."""
    with http.server.HTTPServer(("127.0.0.1", 0), http.server.BaseHTTPRequestHandler) as server:
        if context:
            server.socket = context.wrap_socket(server.socket, server_side=True)
        thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
        thread.start()
        try:
            yield f"https://127.0.0.1:{server.server_port}/"
        finally:
            server.shutdown()
            thread.join(10)


@pytest.fixture
def own_certificate(tmp_path):
    """A server's context with a certificate that nobody signed but itself."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "127.0.0.1")])
    today = datetime.datetime.now(datetime.UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(today - datetime.timedelta(days=1))
        .not_valid_after(today + datetime.timedelta(days=1))
        .sign(key, hashes.SHA256())
    )
    pem = serialization.Encoding.PEM
    private = key.private_bytes(
        pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    (tmp_path / "server.pem").write_bytes(private + certificate.public_bytes(pem))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(tmp_path / "server.pem")
    return context


def test_a_certificate_that_is_not_trusted(own_certificate):
    with serving(own_certificate) as url:
        failure = silence(real_error(url))
    assert str(failure).startswith(
        "check: no TLS connection to registry.example.com (self-signed certificate"
    ) or str(failure).startswith(
        "check: no TLS connection to registry.example.com (self signed certificate"
    )
    assert "name the file of its CA in REQUESTS_CA_BUNDLE" in str(failure)
    assert not isinstance(failure, Transient)


def test_a_registry_that_speaks_plain_http():
    with serving() as url:
        failure = silence(real_error(url))
    assert str(failure).startswith("check: no TLS connection to registry.example.com (")
    assert str(failure).endswith("if it speaks plain HTTP, say --insecure")


def test_a_failure_can_be_made_again_by_who_adds_a_stage():
    assert Transient(["a", "b"]).problems == ("a", "b")
