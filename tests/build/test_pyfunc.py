"""The pyfunc's rules that need no model: settings, rows, stop strings, files of a folder."""

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from mlflow.exceptions import MlflowException

from build import pyfunc
from build.pyfunc import Settings, prompts_of, until_stop


def test_none_and_an_empty_list_leave_a_setting_as_it_is() -> None:
    start = Settings(max_tokens=7, stop=("x",), seed=3)
    said = {"max_tokens": None, "stop": [], "seed": None, "temperature": 0}
    assert start.updated(said) == Settings(max_tokens=7, stop=("x",), seed=3, temperature=0.0)


def test_settings_take_numpy_values_as_mlflow_passes_them() -> None:
    said = {
        "max_tokens": np.int64(5),
        "temperature": np.float64(1.5),
        "stop": np.array(["a", "b"]),
        "top_p": 1,
    }
    settings = Settings().updated(said)
    assert settings == Settings(max_tokens=5, temperature=1.5, stop=("a", "b"), top_p=1.0)
    assert [type(settings.max_tokens), type(settings.top_p), type(settings.stop[0])] == [
        int,
        float,
        str,
    ]


def test_a_single_stop_string_is_a_list_of_one() -> None:
    assert Settings().updated({"stop": "END"}).stop == ("END",)


@pytest.mark.parametrize(
    ("name", "value", "expected"),
    [
        ("max_tokens", 0, "whole number from 1"),
        ("max_tokens", 2.5, "whole number from 1"),
        ("max_tokens", True, "whole number"),
        ("max_tokens", "5", "whole number"),
        ("temperature", -0.1, "number from 0 to 2"),
        ("temperature", 2.1, "number from 0 to 2"),
        ("temperature", float("nan"), "number from 0 to 2"),
        ("temperature", float("inf"), "number from 0 to 2"),
        ("top_p", 1.01, "number from 0 to 1"),
        ("top_k", -1, "whole number from 0"),
        ("repetition_penalty", 0, "number from 0.01"),
        ("seed", 2**64, "whole number"),
        ("seed", 1.0, "whole number"),
        ("stop", [""], "strings that are not empty"),
        ("stop", ["a", 1], "strings that are not empty"),
        ("stop", 5, "strings that are not empty"),
    ],
)
def test_a_bad_setting_is_refused_by_name_and_value(
    name: str, value: object, expected: str
) -> None:
    with pytest.raises(MlflowException, match=expected) as caught:
        Settings().updated({name: value})
    assert caught.value.message.startswith(f"{name} is {value!r}")
    assert caught.value.error_code == "INVALID_PARAMETER_VALUE"


def test_an_unknown_setting_is_refused_with_the_known_ones() -> None:
    with pytest.raises(MlflowException, match=r"no such setting: max_length; there are stop, max_"):
        Settings().updated({"max_length": 300})


@pytest.mark.parametrize(
    "given_input",
    [
        pd.DataFrame({"prompt": ["a", "b"]}),
        pd.DataFrame({"other": [1, 2], "prompt": ["a", "b"]}),
        {"prompt": ["a", "b"]},
        {"prompt": np.array(["a", "b"])},
        [{"prompt": "a"}, {"prompt": "b"}],
        pd.Series(["a", "b"]),
        np.array(["a", "b"]),
        np.array([["a"], ["b"]], dtype=object),
        ["a", "b"],
        ("a", "b"),
        pd.DataFrame({"prompt": [["a", "b"]]}),  # what MLflow makes of {"prompt": ["a", "b"]}
    ],
    ids=lambda value: type(value).__name__,
)
def test_every_row_of_every_kind_of_input_is_a_prompt(given_input: object) -> None:
    assert prompts_of(given_input) == ["a", "b"]


def test_a_single_string_is_one_prompt() -> None:
    assert prompts_of("a") == prompts_of({"prompt": "a"}) == ["a"]


def test_no_rows_are_no_prompts() -> None:
    assert prompts_of([]) == prompts_of(pd.DataFrame({"prompt": []})) == []


@pytest.mark.parametrize(
    ("given_input", "message"),
    [
        (pd.DataFrame({"text": ["a"]}), r"no field `prompt`; it has text"),
        ({}, r"no field `prompt`; it has nothing"),
        (["a", None], r"row 1 is missing, expected a string"),
        (["a", 5], r"row 1 is of type int"),
        (pd.DataFrame({"prompt": [float("nan")]}), r"row 0 is of type float"),
        (7, r"row 0 is of type int"),
        (["a\0b"], r"row 0 holds a NUL"),
        (["\ud800"], r"row 0 holds a NUL or a lone surrogate"),
    ],
)
def test_input_that_holds_no_prompts_is_refused(given_input: object, message: str) -> None:
    with pytest.raises(MlflowException, match=message) as caught:
        prompts_of(given_input)
    assert caught.value.error_code == "INVALID_PARAMETER_VALUE"


def test_text_before_a_stop_string_is_kept_and_the_rest_is_gone() -> None:
    assert list(until_stop(["one ", "two", " three"], ("two",))) == ["one "]


def test_a_stop_string_may_span_pieces() -> None:
    assert "".join(until_stop(["say E", "N", "D now"], ("END",))) == "say "


def test_text_that_only_looks_like_a_stop_string_is_given_back() -> None:
    assert list(until_stop(["a E", "N", "x"], ("END",))) == ["a ", "ENx"]
    assert "".join(until_stop(["a EN"], ("END",))) == "a EN"


def test_the_earliest_of_several_stop_strings_counts() -> None:
    assert "".join(until_stop(["a b c d"], ("c", "b"))) == "a "


_letters = st.text(alphabet="ab", max_size=3)


@given(st.lists(_letters, max_size=12), st.lists(_letters.filter(bool), max_size=3))
def test_cut_text_is_a_prefix_that_holds_no_stop_string(
    pieces: list[str], stops: list[str]
) -> None:
    whole = "".join(pieces)
    given_out = list(until_stop(pieces, tuple(stops)))
    shown = "".join(given_out)
    assert whole.startswith(shown)
    assert not any(stop in shown for stop in stops)
    assert all(given_out)
    if shown != whole:
        assert any(whole[len(shown) :].startswith(stop) for stop in stops)
    if not any(stop in whole for stop in stops):
        assert shown == whole


def _folder(path: Path, **files: str) -> Path:
    path.mkdir()
    for name, content in files.items():
        (path / name.replace("__", ".")).write_text(content, "utf-8")
    return path


def test_the_model_is_found_under_the_key_onnx_or_any_other(tmp_path: Path) -> None:
    ours = _folder(tmp_path / "ours", genai_config__json="{}")
    theirs = _folder(tmp_path / "theirs", genai_config__json="{}")
    card = _folder(tmp_path / "card", README__md="")
    both = {"card": str(card), "phi3-mini-onnx": str(theirs), "onnx": str(ours)}
    assert pyfunc.find_folder(both) == ours
    assert pyfunc.find_folder({"card": str(card), "phi3-mini-onnx": str(theirs)}) == theirs
    with pytest.raises(MlflowException, match=r"genai_config\.json; the artifacts are: card"):
        pyfunc.find_folder({"card": str(card)})
    with pytest.raises(MlflowException, match="the artifacts are: none"):
        pyfunc.find_folder({})


def test_the_chat_template_comes_from_its_file_first(tmp_path: Path) -> None:
    config = json.dumps({"chat_template": "from the config"})
    both = _folder(tmp_path / "both", chat_template__jinja="own", tokenizer_config__json=config)
    one = _folder(tmp_path / "one", tokenizer_config__json=config)
    none = _folder(tmp_path / "none", tokenizer_config__json="{}")
    assert pyfunc.chat_template(both) == "own"
    assert pyfunc.chat_template(one) == "from the config"
    assert pyfunc.chat_template(none) == pyfunc.chat_template(tmp_path) == ""


def test_of_several_chat_templates_the_default_one_counts(tmp_path: Path) -> None:
    several = [
        {"name": "tool_use", "template": "tools"},
        {"name": "default", "template": "plain"},
    ]
    config = json.dumps({"chat_template": several})
    folder = _folder(tmp_path / "several", tokenizer_config__json=config)
    assert pyfunc.chat_template(folder) == "plain"


def test_only_special_added_tokens_mark_a_raw_prompt(tmp_path: Path) -> None:
    added = [{"content": "<|user|>", "special": True}, {"content": "word", "special": False}]
    folder = _folder(tmp_path / "model", tokenizer__json=json.dumps({"added_tokens": added}))
    assert pyfunc.special_tokens(folder) == {"<|user|>"}
    assert pyfunc.special_tokens(tmp_path) == frozenset()
