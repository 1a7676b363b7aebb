"""What binds the text of an answer: `response_format`, and `structured_outputs`.

The first is OpenAI's, the second is vLLM's, for what the first cannot say: a regular expression,
a choice of strings, a grammar.
"""

from __future__ import annotations

import json
from typing import Any

from edge.errors import InvalidRequest
from edge.generation import Guidance
from edge.protocol.fields import (
    Fields,
    check_list,
    check_object,
    check_text,
    parse_text,
    shown,
    wrong,
)

KNOWN = frozenset({"response_format", "structured_outputs"})
FORMS = ("json", "json_object", "regex", "choice", "grammar")
# Parameters of older servers, and where what they ask for is said here.
ELSEWHERE = {f"guided_{form}": f"it is structured_outputs.{form} here" for form in FORMS}


def read(fields: Fields) -> Guidance | None:
    """The constraint on the text; None for free text. Raises `InvalidRequest`."""
    formatted, structured = _response_format(fields), _structured_outputs(fields)
    if formatted is not None and structured is not None:
        path = fields.path("structured_outputs")
        raise InvalidRequest(f"{path} cannot stand beside response_format", param=path)
    return formatted or structured


def schema_text(schema: dict[str, Any], path: str) -> str:
    """A JSON schema as text; raises `InvalidRequest` for what JSON or UTF-8 cannot hold."""
    try:
        source = json.dumps(schema, ensure_ascii=False, allow_nan=False)
    except (ValueError, RecursionError):
        raise wrong(path, "too deep or holds a number beyond JSON", "a JSON schema") from None
    return check_text(source, path)


def _response_format(fields: Fields) -> Guidance | None:
    """`text`, `json_object`, or `json_schema` with its schema.

    A schema is always kept to by constrained decoding, so `strict` may be true or false.
    """
    if fields.raw("response_format") is None:
        return None
    path = fields.path("response_format")
    form = Fields(fields.raw("response_format"), path, known=("type", "json_schema"))
    form.required("type", '"text", "json_object" or "json_schema"')
    chosen = form.keyword("type", ("text", "json_object", "json_schema"))
    if chosen != "json_schema":
        if form.raw("json_schema") is not None:
            raise wrong(form.path("type"), shown(chosen), '"json_schema" beside json_schema')
        return None if chosen == "text" else Guidance("json_object")
    return Guidance("json_schema", _schema(form))


def _schema(form: Fields) -> str:
    body = form.required("json_schema", "an object with name and schema")
    known = ("name", "description", "schema", "strict")
    fields = Fields(body, form.path("json_schema"), known=known)
    fields.required("name", "a string")
    fields.text("name")
    fields.text("description")
    fields.boolean("strict")
    path = fields.path("schema")
    schema = check_object(fields.required("schema", "a JSON schema"), path)
    return schema_text(schema, path)


def _structured_outputs(fields: Fields) -> Guidance | None:
    """Exactly one of `FORMS`."""
    path = fields.path("structured_outputs")
    if fields.raw("structured_outputs") is None:
        return None
    body = Fields(fields.raw("structured_outputs"), path, known=FORMS)
    is_object = body.boolean("json_object") or False
    given = [form for form in FORMS if body.raw(form) is not None]
    if not is_object and "json_object" in given:
        given.remove("json_object")
    if len(given) != 1:
        found = f"an object with {' and '.join(given)}" if given else "an object with none of them"
        raise wrong(path, found, f"one of {', '.join(FORMS)}")
    (form,) = given
    if form == "json_object":
        return Guidance("json_object", param="structured_outputs")
    if form == "json":
        return Guidance("json_schema", _json(body), "structured_outputs")
    if form == "choice":
        return Guidance("lark", _choice(body), "structured_outputs")
    source = _not_empty(body.raw(form), body.path(form))
    return Guidance("regex" if form == "regex" else "lark", source, "structured_outputs")


def _json(body: Fields) -> str:
    """A schema, as an object or as its JSON text."""
    value, path = body.raw("json"), body.path("json")
    if isinstance(value, str):
        value = parse_text(value, path)
    return schema_text(check_object(value, path), path)


def _choice(body: Fields) -> str:
    """The grammar of one of several strings."""
    path = body.path("choice")
    items = check_list(body.raw("choice"), path, "a list of strings")
    if not items:
        raise wrong(path, "an empty list", "at least one string")
    texts = [_not_empty(item, f"{path}[{index}]") for index, item in enumerate(items)]
    return "start: " + " | ".join(json.dumps(text, ensure_ascii=False) for text in texts)


def _not_empty(value: object, path: str) -> str:
    text = check_text(value, path)
    if not text:
        raise wrong(path, "an empty string", "text")
    return text
