"""What can go wrong, as classes. HTTP statuses live in `edge/web/failures.py` alone.

EdgeError
|- RequestError          the caller's fault
|  |- MalformedBody      the body is not what its media type promises
|  |- InvalidRequest     a field is malformed, unsupported or out of range
|  |- PromptTooLong      the prompt does not fit the context
|  |- MemoryExceeded     the prompt and its answer do not fit the KV memory
|  |- ModelNotFound      the named model is not the one served here
|  |- BodyTooLarge       more bytes than EDGE_MAX_BODY_BYTES
|  |- UnsupportedMedia   a Content-Type that is not spoken here
|  `- Unauthorized       API key missing or wrong
|- Unavailable           try again later; carries `retry_after_s`
|  |- QueueFull
|  |- NotReady
|  `- Draining
|- DeadlineExceeded      the time limit of the request ran out
|- Cancelled             the caller left
|- EngineFailed          the runtime failed on this request
`- StartupError          settings, bundle or model are unusable; exit status 2
"""

from __future__ import annotations

from typing import ClassVar


class EdgeError(Exception):
    """Base of every error that Phial raises on purpose.

    `code` is stable and machine-readable; `str(error)` is for people and never holds
    a path, a stack trace or prompt text.
    """

    code: ClassVar[str] = "internal_error"
    # Set once the error stands in the metrics and the log, so that it is counted once.
    is_recorded = False


class RequestError(EdgeError):
    """The request cannot be served as it stands; repeating it will not help."""

    code = "invalid_request"

    def __init__(self, message: str, *, param: str | None = None) -> None:
        """`param` names the offending field in the caller's own words, e.g. `messages[0].role`."""
        super().__init__(message)
        self.param = param


class MalformedBody(RequestError):
    """The body is not what its media type promises, or has not the outline of a request."""

    code = "malformed_body"


class InvalidRequest(RequestError):
    """A field is malformed, unsupported or out of range."""

    code = "invalid_value"


class PromptTooLong(RequestError):
    """The prompt does not fit the context."""

    code = "context_length_exceeded"


class MemoryExceeded(RequestError):
    """The prompt and the tokens asked for would not fit the KV memory, were it all free."""

    code = "memory_exceeded"


class ModelNotFound(RequestError):
    """The named model is not served here."""

    code = "model_not_found"


class BodyTooLarge(RequestError):
    """The body has more bytes than the appliance accepts."""

    code = "body_too_large"


class UnsupportedMedia(RequestError):
    """The media type of the body is not spoken here."""

    code = "unsupported_media_type"


class Unauthorized(RequestError):
    """The API key is missing or wrong."""

    code = "invalid_api_key"


class Unavailable(EdgeError):
    """The request may be repeated after `retry_after_s` seconds."""

    code = "unavailable"

    def __init__(self, message: str, *, retry_after_s: float = 1.0) -> None:
        super().__init__(message)
        self.retry_after_s = retry_after_s


class QueueFull(Unavailable):
    """As many requests wait as are allowed to."""

    code = "queue_full"


class NotReady(Unavailable):
    """The model is still being loaded."""

    code = "not_ready"


class Draining(Unavailable):
    """The appliance is shutting down and takes no new requests."""

    code = "draining"


class DeadlineExceeded(EdgeError):
    """The time limit of the request ran out."""

    code = "deadline_exceeded"


class Cancelled(EdgeError):
    """The caller left before the answer was complete."""

    code = "cancelled"


class EngineFailed(EdgeError):
    """The runtime failed while it worked on this request."""

    code = "engine_failed"


class StartupError(EdgeError):
    """The appliance cannot start; `problems` lists every reason at once."""

    code = "startup_error"

    def __init__(self, problems: list[str]) -> None:
        super().__init__("; ".join(problems))
        self.problems = problems
