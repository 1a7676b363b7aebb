"""Whatever a body holds, reading it gives a call or a `RequestError`, and nothing else."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge.bundle import Defaults
from edge.errors import RequestError
from edge.generation import Request
from edge.protocol import openai_request

DEFAULTS = Defaults()
MESSAGES = [{"role": "user", "content": "Hello"}]
READERS = {
    "chat": (openai_request.chat, openai_request.CHAT_KNOWN, {"messages": MESSAGES}),
    "completion": (
        openai_request.completion,
        openai_request.COMPLETION_KNOWN,
        {"prompt": "Hello"},
    ),
}

# Text with lone surrogates, which JSON can spell; numbers with NaN, which Python's reader takes.
text = st.text(st.characters(), max_size=8)
scalars = st.none() | st.booleans() | st.integers() | st.floats() | text
json_values = st.recursive(
    scalars,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(text, inner, max_size=4),
    max_leaves=12,
)
shaped = st.fixed_dictionaries(
    {},
    optional={
        "type": st.sampled_from(["text", "json_object", "json_schema", "image_url"]) | json_values,
        "text": json_values,
        "role": st.sampled_from(["system", "user", "assistant", "developer", "tool"]),
        "content": json_values,
        "name": json_values,
        "json_schema": json_values,
        "schema": json_values,
        "include_usage": json_values,
    },
)
values = json_values | shaped | st.lists(shaped, max_size=3)


def outcome(reader, body):
    try:
        return reader(body, DEFAULTS)
    except RequestError as error:
        return error


def check(reader, body):
    found = outcome(reader, body)
    if isinstance(found, RequestError):
        message = str(found)
        assert message
        assert message.encode()
        assert len(message) < 400
        assert (found.param or "").encode()
        assert len(found.param or "") < 200
    else:
        assert isinstance(found.request, Request)
        assert found.request.prompts
        assert found.request.n >= 1
        assert 0 <= found.request.sampling.temperature <= 2
        assert all(one.encode() for one in found.request.stop)
        assert isinstance(found.model.encode(), bytes)


@pytest.mark.parametrize("operation", sorted(READERS))
@given(body=values)
def test_any_value_as_a_body(operation, body):
    check(READERS[operation][0], body)


@pytest.mark.parametrize("operation", sorted(READERS))
@given(data=st.data())
def test_any_values_under_known_names(operation, data):
    reader, known, base = READERS[operation]
    names = st.sampled_from(sorted(known))
    body = data.draw(st.dictionaries(names, values, max_size=5))
    check(reader, {**base, **body})


@pytest.mark.parametrize("operation", sorted(READERS))
@given(name=text, value=json_values)
def test_any_unknown_name_is_refused(operation, name, value):
    reader, known, base = READERS[operation]
    if name in known or value is None:
        return
    with pytest.raises(RequestError):
        reader({**base, name: value}, DEFAULTS)


@pytest.mark.parametrize("operation", sorted(READERS))
@given(data=st.data())
def test_one_wrong_member_is_the_one_that_is_named(operation, data):
    reader, known, base = READERS[operation]
    name = data.draw(st.sampled_from(sorted(known - base.keys())))
    value = data.draw(values)
    found = outcome(reader, {**base, name: value})
    if isinstance(found, RequestError):
        param = found.param or ""
        assert param == name or param.startswith((f"{name}.", f"{name}["))
