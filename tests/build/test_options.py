"""Flags, checked one by one."""

import argparse
import re
from pathlib import Path

import pytest

from build import options
from build.errors import UsageError
from build.options import Options, Stores


@pytest.fixture
def parse():
    def run(*argv):
        parser = argparse.ArgumentParser()
        options.add_model_flags(parser)
        options.add_generation_flags(parser)
        options.add_store_flags(parser)
        return parser.parse_args([str(word) for word in argv])

    return run


def test_nothing_said(parse):
    args = parse()
    assert options.options_of(args) == Options()
    assert options.stores_of(args) == Stores("", "", 30)


def test_everything_said(parse):
    args = parse(
        *("--name", "me", "--artifact", "a", "--context-length", 100, "--prompt-format", "raw"),
        *("--system-prompt", "Be kind.", "--system-prompt", "Be brief.", "--skip-trial"),
        *("--adapter", "pirate=a=b.onnx_adapter", "--adapter", "poet_2.x-y=c"),
        *("--max-tokens", 5, "--temperature", 0, "--top-p", 0.5, "--top-k", 3),
        *("--repetition-penalty", 1.1, "--seed", -4, "--stop", "a", "--stop", "b"),
    )
    assert options.options_of(args) == Options(
        name="me",
        artifact="a",
        context_length=100,
        prompt_format="raw",
        system_prompts=("Be kind.", "Be brief."),
        adapters=(("pirate", Path("a=b.onnx_adapter")), ("poet_2.x-y", Path("c"))),
        trial=False,
        generation={
            "max_tokens": 5,
            "temperature": 0.0,
            "top_p": 0.5,
            "top_k": 3,
            "repetition_penalty": 1.1,
            "seed": -4,
            "stop": ("a", "b"),
        },
    )


def test_stores(parse):
    args = parse("--tracking-uri", "http://t", "--registry-uri", "http://r", "--timeout", 5)
    assert options.stores_of(args) == Stores("http://t", "http://r", 5)


def test_mlflows_own_timeout_is_the_default(parse, monkeypatch):
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_TIMEOUT", "7")
    assert options.stores_of(parse()).timeout_s == 7
    assert options.stores_of(parse("--timeout", 9)).timeout_s == 9


@pytest.mark.parametrize(
    ("flag", "value", "expected"),
    [
        ("--max-tokens", "0", "a whole number from 1"),
        ("--max-tokens", "1.5", "a whole number from 1"),
        ("--temperature", "2.1", "a number from 0 to 2"),
        ("--temperature", "nan", "a number from 0 to 2"),
        ("--temperature", "warm", "a number from 0 to 2"),
        ("--top-p", "-0.1", "a number from 0 to 1"),
        ("--top-k", "x", "a whole number from 0"),
        ("--context-length", "1", "a whole number from 2"),
        ("--timeout", "0", "a whole number from 1"),
        ("--repetition-penalty", "inf", "a number from 0.01 to 10"),
        ("--prompt-format", "xml", "choose from"),
        ("--adapter", "pirate", "NAME=FILE with a NAME like"),
        ("--adapter", "pirate=", "NAME=FILE with a NAME like"),
        ("--adapter", "=file", "NAME=FILE with a NAME like"),
        ("--adapter", "a/b=file", "NAME=FILE with a NAME like"),
        ("--adapter", "a:b=file", "NAME=FILE with a NAME like"),
        ("--adapter", f"{'a' * 65}=file", "NAME=FILE with a NAME like"),
    ],
)
def test_bad_values_name_flag_value_and_range(parse, capsys, flag, value, expected):
    with pytest.raises(SystemExit, match="2"):
        parse(f"{flag}={value}")
    told = capsys.readouterr().err
    assert flag in told
    assert repr(value) in told
    assert expected in told


def test_an_empty_stop_string(parse):
    with pytest.raises(UsageError, match="--stop is empty"):
        options.options_of(parse("--stop", ""))


def test_one_adapter_twice(parse):
    with pytest.raises(UsageError, match="--adapter names pirate twice"):
        options.options_of(parse("--adapter", "pirate=a", "--adapter", "pirate=b"))


def test_every_flag_of_an_export_is_documented(repository):
    from build.__main__ import parser

    export = next(iter(parser()._subparsers._group_actions)).choices["export"]
    declared = {flag for action in export._actions for flag in action.option_strings}
    page = (repository / "docs" / "export.md").read_text()
    written = set(re.findall(r"`(--[a-z-]+)", page.split("## Flags")[1].split("## ")[0]))
    assert written == declared - {"-h", "--help"}


def test_output_folders(tmp_path):
    assert options.folder(str(tmp_path / "new")) == tmp_path / "new"
    for text in ("", ".", "/", str(Path.cwd())):
        with pytest.raises(argparse.ArgumentTypeError, match="cannot become a bundle"):
            options.folder(text)
