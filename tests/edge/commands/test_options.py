"""Flags that stand for variables, and the bundle that they name."""

from __future__ import annotations

import argparse

import pytest

from edge.commands import options
from edge.config import Settings
from edge.errors import StartupError


def test_flags_become_variables():
    given = argparse.Namespace(bundle="b", port="1", host=None, other="x")
    assert options.overrides(given) == {"EDGE_BUNDLE": "b", "EDGE_PORT": "1"}


def test_a_command_without_a_flag_overrides_nothing():
    assert options.overrides(argparse.Namespace(json=True)) == {}


def test_the_parser_tells_its_command(capsys):
    with pytest.raises(SystemExit):
        options.parser("doctor", "Look.").parse_args(["--help"])
    assert capsys.readouterr().out.startswith("usage: python -m edge doctor")


def test_the_bundle_is_opened_with_its_files_checked(folder):
    assert options.open_bundle(Settings(bundle=folder)).manifest.name == "parrot"
    (folder / "model/model.onnx").write_bytes(b"Graph")
    assert options.open_bundle(Settings(bundle=folder)).manifest.name == "parrot"
    with pytest.raises(StartupError, match="differs"):
        options.open_bundle(Settings(bundle=folder, verify="sha256"))


def test_no_bundle():
    with pytest.raises(StartupError, match="EDGE_BUNDLE"):
        options.open_bundle(Settings())
