"""From the text of an answer to its tool calls, as it grows."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Collection
from dataclasses import dataclass

from edge.engine.tool_format import ToolFormat
from edge.generation import CallDelta


def new_id() -> str:
    """An id for a call, in the form that OpenAI's have."""
    return f"call_{uuid.uuid4().hex[:24]}"


class ObjectEnd:
    """Finds where a JSON object ends that comes in pieces."""

    def __init__(self) -> None:
        self._depth = 0
        self._in_string = False
        self._is_escaped = False

    def find(self, text: str) -> int | None:
        """How much of `text` belongs to the object; None where all does and it goes on."""
        for place, character in enumerate(text):
            if self._is_escaped:
                self._is_escaped = False
            elif self._in_string:
                self._is_escaped = character == "\\"
                self._in_string = character != '"'
            elif character == '"':
                self._in_string = True
            elif character in "{[":
                self._depth += 1
            elif character in "}]":
                self._depth -= 1
                if self._depth == 0:
                    return place + 1
        return None


@dataclass(frozen=True, slots=True)
class Reading:
    """What a piece of text turned out to hold: calls, or words where it is no call after all."""

    text: str = ""
    calls: tuple[CallDelta, ...] = ()


class CallReader:
    """Reads calls from the marker on, which is in the first piece, maybe behind whitespace.

    The grammar saw to the form of calls, so that little is checked.

    Pieces may be cut anywhere: a call is told once its name is complete, its arguments as they
    come.
    """

    def __init__(
        self, form: ToolFormat, names: Collection[str], make_id: Callable[[], str] = new_id
    ) -> None:
        """`names` are those of the tools; `make_id` gives each call its id."""
        self._form = form
        self._heads = {name: f"{form.before_name}{name}{form.before_arguments}" for name in names}
        self._make_id = make_id
        self._text = ""
        self._object: ObjectEnd | None = None
        self._raw: list[str] = []
        self._is_text = False
        self.count = 0

    @property
    def raw(self) -> str:
        """Everything read so far."""
        return "".join(self._raw)

    def read(self, text: str) -> Reading:
        """Take the next piece."""
        self._raw.append(text)
        if self._is_text:
            return Reading(text)
        self._text += text
        found: list[CallDelta] = []
        while (delta := self._next()) is not None:
            found.append(delta)
        if self._is_text:
            return Reading(self._text, tuple(found))
        return Reading(calls=tuple(found))

    def finish(self) -> Reading:
        """End the text: a marker with nothing like a call behind it was text."""
        is_text = not self.count and not self._is_text
        return Reading(self._text) if is_text else Reading()

    def _next(self) -> CallDelta | None:
        if self._object is not None:
            return self._arguments(self._object)
        start = self._start()
        if start is None:
            return None
        rest = self._text[start:]
        for name, head in self._heads.items():
            if rest.startswith(head):
                self._text, self._object = rest[len(head) :], ObjectEnd()
                self.count += 1
                return CallDelta(self.count - 1, self._make_id(), name)
        # A first call that cannot become one is text; behind calls nothing else is told.
        could_be = any(head.startswith(rest) for head in self._heads.values())
        self._is_text = not could_be and not self.count
        return None

    def _start(self) -> int | None:
        """Where the next call's own text starts, None while that is not there yet."""
        if self.count:
            joint = f"{self._form.after}{self._form.joint}"
            is_joined = bool(self._form.joint) and self._text.startswith(joint)
            return len(joint) if is_joined else None
        begin, opening = self._form.begin, self._form.opening
        start = self._text.find(begin) + len(begin)
        start += int(bool(begin) and self._text.startswith(" ", start))
        if self._text.startswith(opening, start):
            return start + len(opening)
        self._is_text = not opening.startswith(self._text[start:])
        return None

    def _arguments(self, end: ObjectEnd) -> CallDelta | None:
        if not self._text:
            return None
        size = end.find(self._text)
        arguments, self._text = self._text[:size], "" if size is None else self._text[size:]
        if size is not None:
            self._object = None
        return CallDelta(self.count - 1, arguments=arguments)
