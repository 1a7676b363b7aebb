"""The tree of errors: codes are stable and each class has its own."""

from __future__ import annotations

from edge import errors
from edge.errors import EdgeError, RequestError, StartupError, Unavailable


def family(kind=EdgeError):
    return [kind, *(child for direct in kind.__subclasses__() for child in family(direct))]


def test_every_class_has_a_code_of_its_own():
    codes = {kind: kind.code for kind in family() if kind not in (RequestError,)}
    assert len(set(codes.values())) == len(codes)
    assert all(code == code.lower() and " " not in code for code in codes.values())


def test_the_codes_do_not_change():
    """Clients and dashboards match on them."""
    assert {kind.__name__: kind.code for kind in family()} == {
        "EdgeError": "internal_error",
        "RequestError": "invalid_request",
        "MalformedBody": "malformed_body",
        "InvalidRequest": "invalid_value",
        "PromptTooLong": "context_length_exceeded",
        "MemoryExceeded": "memory_exceeded",
        "ModelNotFound": "model_not_found",
        "BodyTooLarge": "body_too_large",
        "UnsupportedMedia": "unsupported_media_type",
        "Unauthorized": "invalid_api_key",
        "Unavailable": "unavailable",
        "QueueFull": "queue_full",
        "NotReady": "not_ready",
        "Draining": "draining",
        "DeadlineExceeded": "deadline_exceeded",
        "Cancelled": "cancelled",
        "EngineFailed": "engine_failed",
        "StartupError": "startup_error",
    }


def test_the_drawing_names_every_class():
    drawing = errors.__doc__
    assert [kind.__name__ for kind in family() if kind.__name__ not in drawing] == []


def test_what_errors_carry():
    assert errors.InvalidRequest("bad", param="n").param == "n"
    assert errors.InvalidRequest("bad").param is None
    assert errors.QueueFull("full", retry_after_s=7).retry_after_s == 7
    assert Unavailable("later").retry_after_s == 1.0
    assert str(StartupError(["one", "two"])) == "one; two"
    assert StartupError(["one", "two"]).problems == ["one", "two"]


def test_being_recorded_is_a_matter_of_one_error():
    first, second = errors.Cancelled("x"), errors.Cancelled("x")
    first.is_recorded = True
    assert not second.is_recorded
