"""The official `openai` client against the real process: what its users will do with it."""

from __future__ import annotations

import pytest


def said(text, **more):
    return [{"role": "user", "content": text, **more}]


def test_an_answer(client):
    answer = client.chat.completions.create(model="echo", messages=said("Grüße, 世界 😀"))
    (choice,) = answer.choices
    assert choice.message.role == "assistant"
    assert choice.message.content == "Grüße, 世界 😀"
    assert choice.finish_reason == "stop"
    assert answer.usage is not None
    assert answer.usage.total_tokens == (
        answer.usage.prompt_tokens + answer.usage.completion_tokens
    )
    assert answer.usage.completion_tokens == len("Grüße, 世界 😀".encode())


def test_a_conversation_with_the_answer_sent_back(client):
    first = client.chat.completions.create(model="echo", messages=said("one"))
    messages = [
        {"role": "developer", "content": "Repeat."},
        *said("one", name="Ann"),
        first.choices[0].message.model_dump(),
        *said([{"type": "text", "text": "two"}, {"type": "text", "text": "three"}]),
    ]
    second = client.chat.completions.create(model="echo", messages=messages)
    assert second.choices[0].message.content == "two\nthree"


def test_a_stream_with_usage(client):
    text = "Grüße, 世界 😀 and so on"
    stream = client.chat.completions.create(
        model="echo",
        messages=said(text),
        stream=True,
        stream_options={"include_usage": True},
    )
    chunks = list(stream)
    assert chunks[0].choices[0].delta.role == "assistant"
    assert all(chunk.usage is None for chunk in chunks[:-1])
    assert chunks[-1].choices == []
    assert chunks[-1].usage is not None
    assert chunks[-1].usage.completion_tokens == len(text.encode())
    pieces = [chunk.choices[0].delta.content or "" for chunk in chunks[:-1]]
    assert "".join(pieces) == text
    assert "\ufffd" not in "".join(pieces)
    assert chunks[-2].choices[0].finish_reason == "stop"
    assert len({chunk.id for chunk in chunks}) == 1


def test_a_stream_without_usage(client):
    chunks = list(client.chat.completions.create(model="echo", messages=said("abc"), stream=True))
    assert all(len(chunk.choices) == 1 for chunk in chunks)
    assert all(chunk.usage is None for chunk in chunks)


def test_the_stream_helper_of_the_client(client):
    with client.chat.completions.stream(model="echo", messages=said("abc")) as stream:
        texts = [event.delta for event in stream if event.type == "content.delta"]
        final = stream.get_final_completion()
    assert "".join(texts) == "abc"
    assert final.choices[0].message.content == "abc"


def test_two_streams_on_one_connection(client):
    for text in ("first", "second"):
        stream = client.chat.completions.create(model="echo", messages=said(text), stream=True)
        pieces = [chunk.choices[0].delta.content or "" for chunk in stream]
        assert "".join(pieces) == text


def test_several_choices(client):
    answer = client.chat.completions.create(model="echo", messages=said("x"), n=3)
    assert [choice.index for choice in answer.choices] == [0, 1, 2]
    stream = client.chat.completions.create(model="echo", messages=said("xyz"), n=3, stream=True)
    texts = dict.fromkeys(range(3), "")
    for chunk in stream:
        texts[chunk.choices[0].index] += chunk.choices[0].delta.content or ""
    assert texts == dict.fromkeys(range(3), "xyz")


def test_max_tokens(client):
    for name in ("max_tokens", "max_completion_tokens"):
        answer = client.chat.completions.create(model="echo", messages=said("abcdef"), **{name: 2})
        assert answer.choices[0].message.content == "ab"
        assert answer.choices[0].finish_reason == "length"


@pytest.mark.parametrize("stop", ["END", ["nothing", "END"]])
@pytest.mark.parametrize("stream", [False, True])
def test_stop_strings_span_tokens_and_do_not_leak(client, stop, stream):
    text = "before E EN END after"
    answer = client.chat.completions.create(
        model="echo", messages=said(text), stop=stop, stream=stream
    )
    if stream:
        chunks = list(answer)
        content = "".join(chunk.choices[0].delta.content or "" for chunk in chunks)
        reason = chunks[-1].choices[0].finish_reason
    else:
        content = answer.choices[0].message.content
        reason = answer.choices[0].finish_reason
    assert (content, reason) == ("before E EN ", "stop")


def test_metadata_comes_back(client):
    answer = client.chat.completions.create(
        model="echo", messages=said("x"), metadata={"trace": "7"}, user="ann", store=False
    )
    assert answer.metadata == {"trace": "7"}


def test_a_completion(client):
    answer = client.completions.create(model="echo", prompt="abc")
    assert answer.object == "text_completion"
    assert (answer.choices[0].text, answer.choices[0].finish_reason) == ("abc", "stop")


def test_several_prompts_and_choices(client):
    answer = client.completions.create(model="echo", prompt=["a", "b"], n=2)
    assert [choice.text for choice in answer.choices] == ["a", "a", "b", "b"]


def test_token_ids(client):
    answer = client.completions.create(model="echo", prompt=[104, 105])
    assert answer.choices[0].text == "hi"
    answer = client.completions.create(model="echo", prompt=[[104], [105, 105]])
    assert [choice.text for choice in answer.choices] == ["h", "ii"]


def test_a_stream_of_a_completion(client):
    stream = client.completions.create(
        model="echo", prompt="abc", stream=True, stream_options={"include_usage": True}
    )
    chunks = list(stream)
    assert "".join(chunk.choices[0].text for chunk in chunks[:-1]) == "abc"
    assert chunks[-2].choices[0].finish_reason == "stop"
    assert chunks[-1].usage is not None


def test_echo_with_log_probabilities(client):
    answer = client.completions.create(
        model="echo", prompt="ab", echo=True, logprobs=1, max_tokens=1
    )
    (choice,) = answer.choices
    assert choice.text == "aba"
    assert choice.logprobs is not None
    assert choice.logprobs.token_logprobs is not None
    assert choice.logprobs.token_logprobs[0] is None
