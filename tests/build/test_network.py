"""The network of a build: flags and environment become secrets, and nothing else."""

from __future__ import annotations

import configparser
import stat

import pytest

from build.errors import UsageError
from build.network import Network

PEM = "-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----\n"
VARIABLES = (
    *("PIP_INDEX_URL", "HTTPS_PROXY", "https_proxy", "HTTP_PROXY", "http_proxy", "ALL_PROXY"),
    *("all_proxy", "PIP_CERT", "SSL_CERT_FILE", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE"),
)


@pytest.fixture(autouse=True)
def no_environment(monkeypatch):
    for name in VARIABLES:
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def ca(tmp_path):
    path = tmp_path / "authority.pem"
    path.write_text(PEM)
    return path


def test_an_open_network_needs_no_secret(tmp_path):
    assert Network.chosen("", "", None).write_secrets(tmp_path) == {}


def test_flags_become_the_configuration_of_pip_and_apt(tmp_path, ca):
    network = Network.chosen("https://me:pw@index.example/x", "http://proxy.example:3128", ca)
    written = network.write_secrets(tmp_path)
    assert sorted(written) == ["apt.conf", "ca.pem", "pip.conf"]
    pip = configparser.ConfigParser()
    pip.read(written["pip.conf"])
    assert dict(pip["global"]) == {
        "index-url": "https://me:pw@index.example/x",
        "proxy": "http://proxy.example:3128",
        "cert": "/run/secrets/ca.pem",
    }
    assert written["apt.conf"].read_text().splitlines() == [
        'Acquire::http::Proxy "http://proxy.example:3128";',
        'Acquire::https::Proxy "http://proxy.example:3128";',
        'Acquire::https::CAInfo "/run/secrets/ca.pem";',
    ]
    assert written["ca.pem"].read_text() == PEM


def test_secrets_are_for_their_owner_alone(tmp_path, ca):
    written = Network.chosen("https://index.example/x", "", ca).write_secrets(tmp_path)
    assert {stat.S_IMODE(path.stat().st_mode) for path in written.values()} == {0o600}


def test_the_environment_that_pip_reads_counts(monkeypatch, ca):
    monkeypatch.setenv("PIP_INDEX_URL", "https://index.example/x")
    monkeypatch.setenv("https_proxy", "http://proxy.example")
    monkeypatch.setenv("SSL_CERT_FILE", str(ca))
    found = Network.chosen("", "", None)
    assert found == Network("https://index.example/x", "http://proxy.example", ca)


def test_flags_come_before_the_environment(monkeypatch, ca):
    monkeypatch.setenv("PIP_INDEX_URL", "https://other.example/x")
    monkeypatch.setenv("PIP_CERT", "/nowhere")
    assert Network.chosen("https://mine.example/x", "", ca).index_url == "https://mine.example/x"
    assert Network.chosen("", "", ca).ca == ca


def test_an_authority_of_the_environment_that_is_gone_is_passed_over(monkeypatch):
    monkeypatch.setenv("SSL_CERT_FILE", "/nowhere/ca.pem")
    assert Network.chosen("", "", None).ca is None


@pytest.mark.parametrize("url", ["index.example", "ftp://x/y", "https://", 'https://x"; Evil "1'])
def test_what_is_no_address_is_refused(url):
    with pytest.raises(UsageError, match="--index-url is no address, expected"):
        Network.chosen(url, "", None)
    with pytest.raises(UsageError, match="--proxy is no address, expected"):
        Network.chosen("", url, None)


@pytest.mark.parametrize("content", [b"no certificate", b"\xff\xfe\x00BEGIN"])
def test_what_is_no_certificate_is_refused(tmp_path, content):
    path = tmp_path / "x.pem"
    path.write_bytes(content)
    with pytest.raises(UsageError, match=r"--ca is .*x\.pem.*, expected a readable file of PEM"):
        Network.chosen("", "", path)


def test_a_missing_file_of_certificates_is_refused(tmp_path):
    with pytest.raises(UsageError, match="--ca is"):
        Network.chosen("", "", tmp_path / "nothing.pem")
