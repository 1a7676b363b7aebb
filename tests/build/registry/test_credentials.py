"""Logins that docker and podman left."""

import base64
import json
import os

import pytest

from build.errors import PublishFailed
from build.registry import credentials
from build.registry.credentials import Credentials

HOST = "registry.example.com:5000"
ADA = Credentials("ada", "s3cret:word")


def auth(found):
    return {"auth": base64.b64encode(f"{found.user}:{found.password}".encode()).decode()}


@pytest.fixture
def home(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    (tmp_path / "home" / ".docker").mkdir(parents=True)
    return tmp_path / "home"


@pytest.fixture
def docker(home):
    """Writes docker's own file."""
    return lambda config: (home / ".docker" / "config.json").write_text(json.dumps(config))


@pytest.fixture
def helper(tmp_path, monkeypatch):
    """Makes a credential helper whose body is shell; the host it was asked for is in `asked`."""
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")

    def make(name, body):
        path = tmp_path / f"docker-credential-{name}"
        path.write_text(f"#!/bin/sh\n[ $1 = get ] && cat > {tmp_path}/asked\n{body}\n")
        path.chmod(0o755)

    make.asked = tmp_path / "asked"
    return make


def find(host=HOST, **environment):
    return credentials.find(host, environment)


def test_nobody_logged_in(home):
    assert find() is None


def test_a_login_of_docker(docker):
    docker({"auths": {HOST: auth(ADA), "other.example.com": auth(Credentials("eve", "x"))}})
    assert find() == ADA
    assert find("nowhere.example.com") is None


def test_the_docker_hub_has_a_key_of_its_own(docker):
    docker({"auths": {"https://index.docker.io/v1/": auth(ADA)}})
    assert find("docker.io") == ADA


def test_podman_uses_the_hubs_name(docker):
    docker({"auths": {"docker.io": auth(ADA)}})
    assert find("docker.io") == ADA


@pytest.mark.parametrize(
    ("variable", "name"),
    [
        ("DOCKER_CONFIG", "config.json"),
        ("REGISTRY_AUTH_FILE", ""),
        ("XDG_RUNTIME_DIR", "containers/auth.json"),
    ],
)
def test_where_logins_are_kept(home, tmp_path, variable, name):
    place = tmp_path / "place"
    path = place / name if name else place
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps({"auths": {HOST: auth(ADA)}}))
    assert find(**{variable: str(place)}) == ADA


def test_the_most_particular_place_comes_first(docker, tmp_path):
    docker({"auths": {HOST: auth(Credentials("eve", "x"))}})
    (tmp_path / "auth.json").write_text(json.dumps({"auths": {HOST: auth(ADA)}}))
    assert find(REGISTRY_AUTH_FILE=str(tmp_path / "auth.json")) == ADA
    assert find(DOCKER_CONFIG=str(tmp_path)) is None  # it stands for the usual place


def test_the_next_place_is_asked_where_one_says_nothing(docker, tmp_path):
    docker({"auths": {"other.example.com": auth(ADA)}})
    (tmp_path / "containers").mkdir()
    (tmp_path / "containers" / "auth.json").write_text(json.dumps({"auths": {HOST: auth(ADA)}}))
    assert find(XDG_RUNTIME_DIR=str(tmp_path)) == ADA


def test_a_refresh_token(docker):
    docker({"auths": {HOST: {"auth": "MDA6", "identitytoken": "refresh me"}}})
    assert find() == Credentials(refresh_token="refresh me")


@pytest.mark.parametrize("config", [{"credsStore": "keys"}, {"credHelpers": {HOST: "keys"}}])
def test_a_helper_is_asked(docker, helper, config):
    docker({"auths": {HOST: {}}, **config})
    helper("keys", """echo '{"ServerURL":"x","Username":"ada","Secret":"s3cret:word"}'""")
    assert find() == ADA
    assert helper.asked.read_text() == HOST


def test_a_helper_of_one_host_is_not_asked_for_another(docker, helper):
    docker({"credHelpers": {"other.example.com": "keys"}})
    helper("keys", "exit 1")
    assert find() is None
    assert not helper.asked.exists()


def test_a_login_in_the_file_comes_before_the_store(docker, helper):
    docker({"auths": {HOST: auth(ADA)}, "credsStore": "keys"})
    helper("keys", "exit 1")
    assert find() == ADA


def test_a_helper_may_keep_a_refresh_token(docker, helper):
    docker({"credsStore": "keys"})
    helper("keys", """echo '{"Username":"<token>","Secret":"refresh me"}'""")
    assert find() == Credentials(refresh_token="refresh me")


def test_a_helper_that_does_not_know_the_host(docker, helper):
    docker({"credsStore": "keys"})
    helper("keys", "echo credentials not found; exit 1")
    assert find() is None


@pytest.mark.parametrize("answer", ["nonsense", "{}", "[]", '{"Username":"ada"}'])
def test_a_helper_that_answers_nonsense(docker, helper, answer):
    docker({"credsStore": "keys"})
    helper("keys", f"echo '{answer}'")
    with pytest.raises(PublishFailed, match=r"docker-credential-keys answered for .* with no user"):
        find()


def test_a_helper_that_is_missing(docker):
    docker({"credsStore": "absent"})
    with pytest.raises(PublishFailed, match="docker-credential-absent, which keeps the logins"):
        find()


def test_a_helper_that_hangs(docker, helper, monkeypatch):
    monkeypatch.setattr(credentials, "_HELPER_TIMEOUT_S", 0.2)
    docker({"credsStore": "keys"})
    helper("keys", "exec sleep 30")
    with pytest.raises(PublishFailed, match=r"docker-credential-keys.* does not run"):
        find()


@pytest.mark.parametrize("kept", ["!", "YWRh", "/w=="])
def test_a_malformed_login_does_not_show(docker, kept):
    docker({"auths": {HOST: {"auth": kept}}})
    with pytest.raises(PublishFailed) as caught:
        find()
    assert str(caught.value) == (
        f"the kept login for {HOST} is malformed: log in with `docker login`"
    )
    assert caught.value.__cause__ is None


@pytest.mark.parametrize("content", ["{", "\xff"])
def test_a_file_that_cannot_be_read(home, content):
    (home / ".docker" / "config.json").write_bytes(content.encode("latin-1"))
    with pytest.raises(PublishFailed, match=r"login file .*config.json cannot be read"):
        find()


@pytest.mark.parametrize("config", [[], {"auths": []}, {"auths": {HOST: "x"}}, {"credHelpers": 3}])
def test_a_file_of_another_form_says_nothing(docker, config):
    docker(config)
    assert find() is None


def test_secrets_do_not_show():
    text = repr(Credentials("ada", "s3cret", "token"))
    assert "s3cret" not in text
    assert "token'" not in text


def test_the_header():
    assert ADA.basic() == "Basic YWRhOnMzY3JldDp3b3Jk"
