"""Names, aliases and tags: what MLflow takes, and what it would refuse later."""

import argparse

import pytest
from mlflow.exceptions import MlflowException
from mlflow.utils.validation import (
    _validate_model_alias_name,
    _validate_model_alias_name_reserved,
    _validate_model_name,
    _validate_model_version_tag,
)

from build import naming


def parse(*argv: str) -> argparse.Namespace:
    parser = argparse.ArgumentParser(exit_on_error=False)
    naming.add_flags(parser)
    return parser.parse_args(["--name", "phi3", *argv])


def mlflow_check(alias: str) -> None:
    _validate_model_alias_name(alias)
    _validate_model_alias_name_reserved(alias)


def test_flags_may_be_repeated() -> None:
    args = parse("--alias", "a", "--alias", "b", "--tag", "team=edge", "--tag", "note=a=b")
    assert args.alias == ["a", "b"]
    assert args.tag == [("team", "edge"), ("note", "a=b")]
    assert (args.name, args.register, args.description) == ("phi3", False, "")


@pytest.mark.parametrize("name", ["phi3", "Phi-3.5 mini", "team.models.phi", "é", "a" * 256])
def test_names_that_mlflow_takes_are_taken(name: str) -> None:
    assert parse("--name", name).name == name
    _validate_model_name(name)


@pytest.mark.parametrize("name", ["", " ", "a/b", "models:x", "..", "a\nb", "a" * 257])
def test_other_names_are_refused(name: str) -> None:
    with pytest.raises(argparse.ArgumentError, match="expected a name without / and :"):
        parse("--name", name)


@pytest.mark.parametrize("alias", ["champion", "Prod-1", "a_b", "v1x", "latest-1", "version1"])
def test_aliases_that_mlflow_takes_are_taken(alias: str) -> None:
    assert parse("--alias", alias).alias == [alias]
    mlflow_check(alias)


@pytest.mark.parametrize("alias", ["", "latest", "Latest", "v1", "V22", "a b", "a.b", "@a"])
def test_other_aliases_are_refused(alias: str) -> None:
    with pytest.raises(argparse.ArgumentError, match="neither latest nor v1"):
        parse("--alias", alias)


@pytest.mark.parametrize("alias", ["latest", "V22", "a b", "a.b", "@a"])
def test_refused_aliases_are_those_of_mlflow(alias: str) -> None:
    with pytest.raises(MlflowException):
        mlflow_check(alias)


@pytest.mark.parametrize("tag", ["", "novalue", "=x", "a?b=c"])
def test_what_is_no_tag_is_refused(tag: str) -> None:
    with pytest.raises(argparse.ArgumentError, match="expected KEY=VALUE"):
        parse("--tag", tag)


def test_a_tag_may_have_an_empty_or_long_value() -> None:
    (key, value) = parse("--tag", "note=line one\nline two").tag[0]
    _validate_model_version_tag(key, value)
    assert parse("--tag", "a=").tag == [("a", "")]
