"""Settings: every bad value and every unknown name is reported at once."""

from __future__ import annotations

import dataclasses
import os
import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge import config
from edge.config import Settings
from edge.errors import StartupError


def problems(**environ):
    with pytest.raises(StartupError) as caught:
        Settings.from_env({f"EDGE_{name.upper()}": value for name, value in environ.items()})
    return caught.value.problems


def setting(name, text):
    return getattr(Settings.from_env({config.variable(name): text}), name)


def test_without_variables_everything_is_the_default():
    assert Settings.from_env({}) == Settings()
    assert Settings.from_env({"PATH": "/bin", "edge_port": "1", "MY_EDGE_PORT": "x"}) == Settings()


def test_an_empty_value_counts_as_unset():
    assert (
        Settings.from_env({"EDGE_PORT": "", "EDGE_THREADS": "", "EDGE_NOTHING": ""}) == Settings()
    )


GOOD = [
    ("bundle", "/data/bundle", Path("/data/bundle")),
    ("host", "::1", "::1"),
    ("port", "0", 0),
    ("port", "65535", 65535),
    ("engine", "genai", "genai"),
    ("threads", "auto", None),
    ("threads", "3", 3),
    ("spin", "0", False),
    ("spin", "TRUE", True),
    ("slots", "256", 256),
    ("queue", "0", 0),
    ("kv_limit", "auto", None),
    ("kv_limit", "1", 1),
    ("kv_limit", "512MiB", 512 << 20),
    ("kv_limit", "2G", 2 << 30),
    ("kv_limit", "2gb", 2 << 30),
    ("deadline_s", "0.1", 0.1),
    ("deadline_s", "1e3", 1000.0),
    ("drain_s", "0", 0.0),
    ("max_body_bytes", "64k", 64 << 10),
    ("max_body_bytes", "123", 123),
    ("api_key_file", "keys", Path("keys")),
    ("log_level", "debug", "debug"),
    ("log_prompts", "1", True),
    ("metrics_aliases", "vllm", ("vllm",)),
    ("metrics_aliases", " vllm , ", ("vllm",)),
    ("verify", "sha256", "sha256"),
]


@pytest.mark.parametrize(("name", "text", "value"), GOOD)
def test_good_values(name, text, value):
    assert setting(name, text) == value


BAD = [
    ("port", "65536"),
    ("port", "-1"),
    ("port", "80.0"),
    ("port", "eighty"),
    ("port", "+-5"),
    ("port", "1e3"),
    ("port", "0x50"),
    ("port", "٣"),
    ("port", "9" * 5000),
    ("kv_limit", "9" * 5000),
    ("kv_limit", "٣G"),
    ("threads", "0"),
    ("threads", "none"),
    ("slots", "0"),
    ("slots", "257"),
    ("queue", "-1"),
    ("max_rows", "0"),
    ("spin", "yes"),
    ("spin", "2"),
    ("kv_limit", "0"),
    ("kv_limit", "-1G"),
    ("kv_limit", "1.5G"),
    ("kv_limit", "G"),
    ("kv_limit", "5T"),
    ("kv_limit", "12Q"),
    ("kv_limit", "5i"),
    ("max_body_bytes", "auto"),
    ("prefill_chunk_ms", "4"),
    ("deadline_s", "0"),
    ("deadline_s", "nan"),
    ("deadline_s", "inf"),
    ("deadline_s", "ten"),
    ("drain_s", "-1"),
    ("drain_s", "3601"),
    ("engine", "vllm"),
    ("log_level", "INFO "),
    ("log_level", "trace"),
    ("metrics_aliases", "vllm,tgi"),
    ("verify", "md5"),
    ("host", "   "),
]


@pytest.mark.parametrize(("name", "text"), BAD)
def test_bad_values_name_the_variable_the_value_and_what_was_expected(name, text):
    (problem,) = problems(**{name: text})
    assert problem.startswith(f"EDGE_{name.upper()} is {text!r}, expected ")
    expected = problem.partition("expected ")[2]
    assert expected
    assert "int()" not in expected
    assert "literal" not in expected


def test_every_problem_is_listed_at_once():
    found = problems(port="x", slots="0", prot="1", kv_limit="much", bundel="/b", deadline_s="-1")
    assert len(found) == 6
    text = "\n".join(found)
    for name in ("EDGE_PORT", "EDGE_SLOTS", "EDGE_KV_LIMIT", "EDGE_DEADLINE_S"):
        assert name in text
    assert "EDGE_PROT is not a setting; did you mean EDGE_PORT?" in found
    assert "EDGE_BUNDEL is not a setting; did you mean EDGE_BUNDLE?" in found


def test_a_name_like_no_other_gets_no_suggestion():
    assert problems(zzzzzzzzqqq="1") == ["EDGE_ZZZZZZZZQQQ is not a setting"]


def test_names_are_matched_exactly():
    with pytest.raises(StartupError) as caught:
        Settings.from_env({"EDGE_Port": "1"})
    assert caught.value.problems == ["EDGE_Port is not a setting; did you mean EDGE_PORT?"]


@given(st.sampled_from(dataclasses.fields(Settings)), st.text(max_size=12))
def test_any_text_is_a_value_or_one_problem(item, text):
    """No text makes a parser fail in another way than by its own complaint."""
    found = []
    try:
        Settings.from_env({config.variable(item.name): text})
    except StartupError as error:
        found = error.problems
    assert len(found) <= 1
    assert all("expected" in problem and "int()" not in problem for problem in found)


def test_settings_do_not_change():
    with pytest.raises(dataclasses.FrozenInstanceError):
        Settings().port = 1


def test_the_process_environment_with_overrides(monkeypatch):
    monkeypatch.setenv("EDGE_PORT", "1234")
    monkeypatch.setenv("EDGE_SLOTS", "2")
    found = config.from_process({"EDGE_PORT": "4321"})
    assert (found.port, found.slots) == (4321, 2)


def test_a_bad_variable_is_reported_beside_a_good_override(monkeypatch):
    monkeypatch.setenv("EDGE_SLOTS", "zero")
    with pytest.raises(StartupError):
        config.from_process({"EDGE_PORT": "4321"})


def test_a_survey_keeps_what_is_good():
    environ = {"EDGE_PORT": "x", "EDGE_SLOTS": "2", "EDGE_PROT": "1", "HOME": "/"}
    settings, found = config.survey(environ)
    assert settings == Settings(slots=2)
    assert [line.split()[0] for line in found] == ["EDGE_PORT", "EDGE_PROT"]


def test_a_default_of_a_command_yields_to_a_variable_and_that_to_a_flag(monkeypatch):
    quiet = {"EDGE_LOG_LEVEL": "error"}
    assert config.from_process({}, quiet).log_level == "error"
    monkeypatch.setenv("EDGE_LOG_LEVEL", "")
    assert config.from_process({}, quiet).log_level == "error"
    monkeypatch.setenv("EDGE_LOG_LEVEL", "debug")
    assert config.from_process({}, quiet).log_level == "debug"
    assert config.from_process({"EDGE_LOG_LEVEL": "info"}, quiet).log_level == "info"


@pytest.mark.parametrize(("value", "is_off"), [("1", True), ("0", False), ("", False)])
def test_whether_telemetry_was_switched_off(monkeypatch, value, is_off):
    monkeypatch.setenv("ORT_DISABLE_TELEMETRY", value)
    assert config.telemetry_is_off() is is_off


def test_telemetry_is_off_before_any_runtime_is_imported(monkeypatch):
    monkeypatch.setenv("ORT_DISABLE_TELEMETRY", "0")
    config.silence_telemetry()
    assert os.environ["ORT_DISABLE_TELEMETRY"] == "1"


def test_the_description_names_each_setting_once_with_a_default_that_can_be_written():
    described = config.describe()
    names = [name for name, _, _ in described]
    assert names == [config.variable(item.name) for item in dataclasses.fields(Settings)]
    assert all(doc.endswith(".") and len(doc) > 10 for _, _, doc in described)
    written = {name: default for name, default, _ in described}
    assert Settings.from_env(written) == Settings()
    assert written["EDGE_BUNDLE"] == written["EDGE_API_KEY_FILE"] == ""
    assert written["EDGE_THREADS"] == written["EDGE_KV_LIMIT"] == "auto"
    assert written["EDGE_SPIN"] == "1"
    assert written["EDGE_DEADLINE_S"] == "600"


def test_the_page_has_advice_for_each_setting_in_their_order(repository):
    page = (repository / "docs/configuration.md").read_text()
    advice = re.findall(r"^- \*\*`(EDGE_\w+)`\*\*: (.+)$", page, flags=re.MULTILINE)
    assert [name for name, _ in advice] == [name for name, _, _ in config.describe()]
    assert all(len(text) > 40 for _, text in advice)


def test_the_page_says_what_the_code_says(repository):
    page = (repository / "docs/configuration.md").read_text()
    for name, default, doc in config.describe():
        shown = f"`{default}`" if default else ""
        assert f"| `{name}` | {shown} | {doc} |" in page
