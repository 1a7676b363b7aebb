"""Logins and tokens."""

from urllib.parse import parse_qs, urlsplit

import pytest

from build.destination import Reference
from build.errors import PublishFailed
from build.registry.access import Access
from build.registry.credentials import Credentials
from tests.build.registry import registry_stub
from tests.build.registry.registry_stub import USER, Failures, Reply, basic_pair, client, session

SCOPE = "repository:acme/phi3:pull,push"


def access(credentials=USER, host="registry.example.com", insecure=False):
    return Access(Reference(host, "acme/phi3"), None, lambda asked: credentials, insecure=insecure)


def test_a_password_is_sent_when_it_is_asked_for():
    with registry_stub.running(auth="basic") as stub:
        found = client(stub, credentials=USER)
        found.check()
        found.check()
    given = [one.headers.get("Authorization", "") for one in stub.seen]
    assert given[0] == ""
    assert set(given[1:]) == {USER.basic()}
    assert basic_pair(given[1]) == "ada:s3cret:word"


@pytest.mark.parametrize("credentials", [None, Credentials("ada", "wrong")])
@pytest.mark.parametrize("auth", ["basic", "bearer"])
def test_a_wrong_or_missing_password_is_not_sent_again_and_again(credentials, auth):
    with registry_stub.running(auth=auth) as stub:
        with pytest.raises(PublishFailed) as caught:
            client(stub, credentials=credentials, pauses=(pauses := [])).check()
        host = stub.host
    assert str(caught.value).endswith(f": log in with `docker login {host}`")
    assert "wrong" not in str(caught.value)
    assert len(stub.seen) <= 2
    assert pauses == []


def test_a_token_is_fetched_for_pull_and_push():
    with registry_stub.running(auth="bearer") as stub:
        client(stub, credentials=USER).check()
    [asked] = stub.heard("GET", "/token")
    assert parse_qs(urlsplit(asked.path).query) == {"scope": [SCOPE], "service": ["stub"]}
    assert asked.headers["Authorization"] == USER.basic()
    assert stub.seen[-1].headers["Authorization"] == "Bearer token-0"


def test_a_token_serves_until_it_runs_out():
    with registry_stub.running(auth="bearer") as stub:
        found = client(stub, credentials=USER)
        found.check()
        found.check()
        assert len(stub.heard("GET", "/token")) == 1
        stub.tokens.append("the registry takes only this one")
        found.check()
    assert len(stub.heard("GET", "/token")) == 2


def test_a_refresh_token_is_exchanged():
    with registry_stub.running(auth="bearer") as stub:
        client(stub, credentials=Credentials(refresh_token="refresh me")).check()
    [asked] = stub.heard("POST", "/token")
    assert parse_qs(asked.body.decode()) == {
        "grant_type": ["refresh_token"],
        "client_id": ["phial"],
        "service": ["stub"],
        "scope": [SCOPE],
        "refresh_token": ["refresh me"],
    }
    assert "Authorization" not in asked.headers


def test_the_token_service_may_want_no_password():
    with registry_stub.running(auth="bearer") as stub:
        stub.tokens.append("anonymous")
        stub.script = Failures("GET", "/token", Reply(200, {}, b'{"token":"anonymous"}'))
        client(stub).check()
    assert "Authorization" not in stub.heard("GET", "/token")[0].headers


@pytest.mark.parametrize("body", [b"", b"{}", b"[]", b'{"token":7}', b'{"token":null}'])
def test_a_token_service_that_gives_none(body):
    with registry_stub.running(auth="bearer") as stub:
        stub.script = Failures("GET", "/token", Reply(200, {}, body))
        with pytest.raises(PublishFailed, match=r"login: the token service of .* without a token"):
            client(stub, credentials=USER).check()


def test_a_token_service_that_is_busy_is_asked_again():
    with registry_stub.running(auth="bearer") as stub:
        stub.script = Failures("GET", "/token", Reply(503), Reply(0))
        client(stub, credentials=USER, pauses=(pauses := [])).check()
    assert pauses == [1.0, 3.0]


@pytest.mark.parametrize(
    ("realm", "insecure", "is_trusted"),
    [
        ("https://auth.example.com/token", False, True),
        ("http://auth.example.com/token", False, False),
        ("http://auth.example.com/token", True, True),
        ("http://127.0.0.1:5001/token", False, True),
        ("file:///etc/passwd", True, False),
        ("auth.example.com/token", False, False),
    ],
)
def test_a_password_travels_encrypted(realm, insecure, is_trusted):
    class Found(Exception):
        pass

    class Asked:
        def get(self, *args, **options):
            raise Found

    found = Access(
        Reference("registry.example.com", "acme/phi3"),
        Asked(),
        lambda host: USER,
        insecure=insecure,
    )
    expected = Found if is_trusted else PublishFailed
    with pytest.raises(expected) as caught:
        found.renew(f'Bearer realm="{realm}"')
    assert is_trusted or "as its token service, expected https" in str(caught.value)


@pytest.mark.parametrize(
    "challenge",
    [
        "",
        "Negotiate",
        "Bearer",
        'Bearer service="x"',
        "Bearer nonsense",
        'Digest realm="x", nonce="y"',
    ],
)
def test_a_challenge_that_we_cannot_answer(challenge):
    assert access().renew(challenge) is False


def test_a_password_is_tried_once():
    found = access()
    assert found.renew('Basic realm="x"') is True
    assert found.renew('Basic realm="x"') is False


def test_a_refresh_token_is_no_password():
    assert access(Credentials(refresh_token="x")).renew('basic realm="x"') is False


def test_schemes_are_told_in_any_case():
    assert access().renew("BASIC realm=x") is True


def test_the_login_is_looked_up_by_the_name_of_the_registry():
    asked = []
    with registry_stub.running(auth="basic") as stub:
        found = session(stub)
        found._access._find = lambda host: asked.append(host) or USER
        found.send("test", "GET", found.url("x"), expected=(404,))
    assert asked == [stub.host]
