"""Where the appliance answers otherwise than MLflow's transformers flavor, on purpose.

Each test stands in the table of docs/api.md, section "Differences of pipelines".
"""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.wire.exchange import Reply
from tests.wire.pipeline.chats import SPAIN, user
from tests.wire.pipeline.conftest import Sides
from tests.wire.pipeline.corpus import CHAT_TEXT, PERU, RAW

pytestmark = pytest.mark.torch

HELD = "The capital of Spain is Madrid."
ASKED: dict[str, dict[str, Any]] = {"chat": {"messages": SPAIN}, "completions": {"prompt": RAW}}
both = pytest.mark.parametrize("model", ASKED)


def texts(reply: Reply) -> list[str]:
    """The texts of all choices of an answer."""
    assert reply.status == 200, reply.body
    data = reply.json
    rows = data["predictions"] if isinstance(data, dict) else data
    choices = [choice for row in rows for choice in row["choices"]]
    return [one["message"]["content"] if "message" in one else one["text"] for one in choices]


def failed(reply: Reply, status: int, code: str = "INVALID_PARAMETER_VALUE") -> str:
    """The message of an error."""
    assert (reply.status, reply.error_code) == (status, code), reply.body
    return str(reply.json["message"])


@both
@pytest.mark.parametrize("option", [{"n": 1}, {"stream": False}])
def test_options_that_mlflow_declares_and_refuses(
    sides: Sides, model: str, option: dict[str, object]
) -> None:
    failed(sides.theirs(model, ASKED[model] | option), 400)
    assert texts(sides.ours(model, ASKED[model] | option)) == texts(sides.ours(model, ASKED[model]))


@both
def test_n_gives_so_many_choices(sides: Sides, model: str) -> None:
    failed(sides.theirs(model, ASKED[model] | {"n": 3}), 400)
    reply = sides.ours(model, ASKED[model] | {"n": 3})
    (answer,) = reply.json
    assert [choice["index"] for choice in answer["choices"]] == [0, 1, 2]
    assert len(set(texts(reply))) == 1
    rows = {"dataframe_records": [{**ASKED[model], "n": 2}] * 2}
    answers = sides.ours(model, rows).json["predictions"]
    assert [len(answer["choices"]) for answer in answers] == [2, 2]


@both
def test_stream_streams(sides: Sides, model: str) -> None:
    body = ASKED[model] | {"stream": True}
    failed(sides.theirs(model, body), 400)
    reply = sides.ours(model, body)
    assert (reply.status, reply.content_type) == (200, "text/event-stream; charset=utf-8")
    *events, done = reply.body.decode().strip().split("\n\n")
    assert done == "data: [DONE]"
    chunks = [json.loads(event.removeprefix("data: ")) for event in events]
    assert len(chunks) > 3
    assert chunks[-1]["usage"]["completion_tokens"] > 2
    wrapped = {"dataframe_records": [body]}
    assert "stream is true, which needs an unwrapped body" in failed(
        sides.ours(model, wrapped), 400
    )


@both
def test_a_temperature_of_zero_is_greedy(sides: Sides, model: str) -> None:
    """There it fails for every model that was not logged with `do_sample` false."""
    failed(sides.theirs("sampling", {"messages": SPAIN, "temperature": 0}), 400, "BAD_REQUEST")
    body = ASKED[model] | {"temperature": 0}
    assert texts(sides.ours(model, body)) == texts(sides.theirs(model, ASKED[model]))


def test_a_temperature_counts_without_do_sample(sides: Sides) -> None:
    """The model was logged with `do_sample` false, which no request can change there."""
    body = {"messages": SPAIN, "temperature": 100.0, "n": 8, "max_tokens": 12}
    assert len(set(texts(sides.ours("chat", body)))) > 1
    del body["n"]
    assert texts(sides.theirs("chat", body)) == [HELD]


@both
@pytest.mark.parametrize("name", ["frequency_penalty", "presence_penalty"])
def test_penalties_are_served(sides: Sides, model: str, name: str) -> None:
    body = {"messages": user("555 55 5555 555")} if model == "chat" else {"prompt": "5 5 5"}
    body |= {name: 2.0}
    if model == "chat":
        failed(sides.theirs(model, body), 400)
    else:  # dropped: no column of `llm/v1/completions`
        assert sides.theirs(model, body).status == 200
    assert sides.ours(model, body).status == 200
    assert "from -2 to 2" in failed(sides.ours(model, body | {name: 3.0}), 400)


def test_sampling_options_count_for_completions_too(sides: Sides) -> None:
    body = {"prompt": RAW, "temperature": 100.0, "top_k": 1}
    assert texts(sides.ours("completions", body)) == ["Madrid."]
    failed(sides.ours("completions", body | {"top_p": 2.0}), 400)
    assert texts(sides.theirs("completions", body | {"top_p": 2.0})) == ["Madrid."]


@both
def test_a_stop_string_is_no_part_of_the_text(sides: Sides, model: str) -> None:
    body = ASKED[model] | {"stop": ["Madrid"]}
    (theirs,), (ours,) = texts(sides.theirs(model, body)), texts(sides.ours(model, body))
    assert theirs == (ours + "Madrid").lstrip()
    assert "Madrid" not in ours


def test_a_stop_string_is_found_wherever_it_stands(sides: Sides) -> None:
    """There it must be what a token, or several, begin and end with."""
    body = {"messages": SPAIN, "stop": ["adri"]}
    assert texts(sides.theirs("chat", body)) == [HELD]
    assert texts(sides.ours("chat", body)) == ["The capital of Spain is M"]


@both
@pytest.mark.parametrize("option", [{"stop": "Oslo"}, {"max_tokens": None}, {"max_tokens": 48.0}])
def test_options_that_are_read_more_kindly(
    sides: Sides, model: str, option: dict[str, object]
) -> None:
    failed(sides.theirs(model, ASKED[model] | option), 400)
    assert texts(sides.ours(model, ASKED[model] | option)) == texts(sides.ours(model, ASKED[model]))


@both
def test_max_tokens_of_zero_is_400(sides: Sides, model: str) -> None:
    body = ASKED[model] | {"max_tokens": 0}
    assert texts(sides.theirs(model, body)) == texts(sides.theirs(model, ASKED[model]))
    assert "max_tokens is 0" in failed(sides.ours(model, body), 400)


@both
def test_a_number_out_of_range_is_named(sides: Sides, model: str) -> None:
    body = ASKED[model] | {"max_tokens": -1}
    failed(sides.theirs(model, body), 400, "BAD_REQUEST")
    assert "max_tokens is -1" in failed(sides.ours(model, body), 400)


@both
def test_a_cell_of_the_wrong_type_has_one_code_in_every_format(sides: Sides, model: str) -> None:
    body = {"dataframe_records": [ASKED[model] | {"temperature": "hot"}]}
    failed(sides.theirs(model, body), 400, "BAD_REQUEST")
    assert "temperature is a string" in failed(sides.ours(model, body), 400)
    body = {"dataframe_records": [ASKED[model] | {"max_tokens": "2"}]}
    assert sides.theirs(model, body).status == 200
    assert "max_tokens is a string" in failed(sides.ours(model, body), 400)


def test_rows_share_their_options(sides: Sides) -> None:
    rows = [{"messages": SPAIN, "max_tokens": 3}, {"messages": PERU, "max_tokens": 5}]
    body = {"dataframe_records": rows}
    assert texts(sides.theirs("chat", body)) == ["The capital of"] * 2
    message = failed(sides.ours("chat", body), 400)
    assert message == "max_tokens of row 1 is not that of row 0, expected one for all rows"


@pytest.mark.parametrize("name", ["inputs", "instances"])
@pytest.mark.parametrize(
    "value",
    [
        [{"messages": SPAIN}, {"messages": SPAIN}],
        {"messages": [SPAIN, SPAIN]},
        {"messages": [SPAIN, SPAIN], "max_tokens": 48},
    ],
)
def test_conversations_in_inputs_and_instances(sides: Sides, name: str, value: object) -> None:
    assert sides.theirs("chat", {name: value}).status == 400
    assert texts(sides.ours("chat", {name: value})) == [HELD, HELD]


def test_completions_in_inputs_and_instances(sides: Sides) -> None:
    for body in (
        {"instances": [{"prompt": RAW}]},
        {"inputs": {"prompt": [RAW]}},
        {"instances": {"prompt": [RAW], "max_tokens": [48]}},
    ):
        failed(sides.theirs("completions", body), 400)
        assert texts(sides.ours("completions", body)) == ["Madrid."]


@pytest.mark.parametrize("messages", [[], [{"role": "user"}], [{"role": "user", "content": None}]])
def test_messages_without_content_are_400(sides: Sides, messages: object) -> None:
    for body in ({"messages": messages}, {"dataframe_records": [{"messages": messages}]}):
        assert sides.theirs("chat", body).status == 500
        failed(sides.ours("chat", body), 400)


def test_messages_are_openais(sides: Sides) -> None:
    body = {"messages": [{"role": "king", "content": "x"}]}
    assert sides.theirs("chat", body).status == 200
    assert "messages[0].role" in failed(sides.ours("chat", body), 400)
    parts = [{"type": "text", "text": SPAIN[0]["content"]}]
    body = {"messages": [{"role": "user", "content": parts}]}
    failed(sides.theirs("chat", body), 400)
    assert texts(sides.ours("chat", body)) == [HELD]


def test_tools_are_refused(sides: Sides) -> None:
    function = {"name": "f", "parameters": {"properties": {"a": {"type": "string"}}}}
    body = {"messages": SPAIN, "tools": [{"type": "function", "function": function}]}
    assert texts(sides.theirs("chat", body)) == [HELD]
    assert "/v1/chat/completions" in failed(sides.ours("chat", body), 400)
    body = {"messages": SPAIN, "custom_inputs": {"a": 1}}
    failed(sides.theirs("chat", body), 400)
    assert "custom_inputs is an object" in failed(sides.ours("chat", body), 400)


def test_finish_reason_is_what_happened(sides: Sides) -> None:
    def reasons(reply: Reply) -> list[str]:
        return [choice["finish_reason"] for choice in reply.json[0]["choices"]]

    # Seven tokens and the one that ends the answer.
    body = {"messages": SPAIN, "max_tokens": 8}
    assert texts(sides.theirs("chat", body)) == texts(sides.ours("chat", body)) == [HELD]
    assert reasons(sides.theirs("chat", body)) == ["length"]
    assert reasons(sides.ours("chat", body)) == ["stop"]


def test_an_empty_prompt_has_a_token(sides: Sides) -> None:
    """The beginning of sequence, which MLflow counts among the tokens of the answer."""
    body = {"prompt": "", "max_tokens": 4}
    (theirs,), (ours,) = (
        sides.theirs("completions", body).json,
        sides.ours("completions", body).json,
    )
    assert theirs["choices"] == ours["choices"]
    assert (theirs["usage"]["prompt_tokens"], ours["usage"]["prompt_tokens"]) == (0, 1)
    assert theirs["usage"]["total_tokens"] == ours["usage"]["total_tokens"]


def test_the_model_is_named_as_its_bundle(sides: Sides) -> None:
    """There it is the folder that it was logged from."""
    for model, body in ASKED.items():
        assert sides.ours(model, body).json[0]["model"] == model
        assert sides.theirs(model, body).json[0]["model"].endswith("build/demo/weights")


def test_a_prompt_that_does_not_fit_is_400(sides: Sides) -> None:
    body = {"messages": user("x " * 2100), "max_tokens": 1}
    assert sides.theirs("chat", body).status == 200
    assert "the model's context holds 2048" in failed(sides.ours("chat", body), 400)


@pytest.mark.parametrize("value", [5, None, True])
def test_what_is_no_text_is_no_prompt_of_a_pipeline(sides: Sides, value: object) -> None:
    assert sides.theirs("text", {"inputs": [value]}).status == 200
    failed(sides.ours("text", {"inputs": [value]}), 400)


def test_an_unwrapped_prompt_is_found_by_its_name(sides: Sides) -> None:
    body = {"x": "y", "prompt": RAW}
    assert sides.theirs("text", body).json[0].startswith("y")
    assert sides.ours("text", body).json == [HELD]
    failed(sides.theirs("text", {"max_tokens": 3, "prompt": RAW}), 400)
    assert sides.ours("text", {"max_tokens": 3, "prompt": RAW}).json == [HELD]


def test_the_index_of_a_csv_is_no_prompt(sides: Sides) -> None:
    body = f",prompt\n0,{RAW}\n".encode()
    assert sides.theirs("text", body, "text/csv").json["predictions"][0].startswith("0")
    assert sides.ours("text", body, "text/csv").json == {"predictions": [HELD]}
    failed(sides.theirs("text", b"prompt\n", "text/csv"), 400, "BAD_REQUEST")
    failed(sides.ours("text", b"prompt\n", "text/csv"), 400)


def test_objects_in_inputs_are_rows(sides: Sides) -> None:
    body = {"inputs": [{"x": RAW}, {"x": CHAT_TEXT}]}
    failed(sides.theirs("text", body), 400)
    assert sides.ours("text", body).json["predictions"][0] == HELD
