"""docs/logging-models.md, held against the code."""

import argparse
import re
from pathlib import Path

import pytest

from build import interface, log, measure, options, traits
from build.findings import Findings
from build.pyfunc import Settings
from build.source import Source
from build.validate import validate
from edge.bundle import Lineage


@pytest.fixture(scope="module")
def page(repository: Path) -> str:
    return (repository / "docs" / "logging-models.md").read_text("utf-8")


@pytest.fixture(scope="module")
def parser() -> argparse.ArgumentParser:
    commands = argparse.ArgumentParser().add_subparsers()
    log.add_parser(commands)
    return commands.choices["log"]


def test_every_flag_is_on_the_page(page: str, parser: argparse.ArgumentParser) -> None:
    flags = {flag for action in parser._actions for flag in action.option_strings}
    known = {flag for flag in flags if flag.startswith("--")} - {"--help"}
    assert {flag for flag in known if flag not in page} == set()


def test_every_flag_on_the_page_exists(page: str, parser: argparse.ArgumentParser) -> None:
    flags = {flag for action in parser._actions for flag in action.option_strings}
    table = page.partition("| flag |")[2].partition("## What is recorded")[0]
    named = set(re.findall(r"--[a-z][a-z-]+", table))
    assert named <= flags
    assert len(named) > 15


def test_every_param_metric_and_tag_is_on_the_page(page: str, demo_model: Path) -> None:
    model = validate(Source(demo_model, Lineage(), "x"), options.Options(trial=False), Findings())
    params = traits.read(model)
    names = {name for name in params if not name.startswith("file_bytes/")}
    names |= set(measure.Speed.__dataclass_fields__)
    names |= set(log.own_tags(params))
    assert {name for name in names if f"`{name}`" not in page} == set()
    assert "`file_bytes/FILE`" in page


def test_every_setting_is_on_the_page_with_its_default(page: str) -> None:
    rows = dict(re.findall(r"^\| `(\w+)` \| [^|]+ \| ([^|]+) \|", page, re.MULTILINE))
    shown = {
        name: "none" if value in (None, ()) else f"{value:g}"
        for name, value in ((item, getattr(Settings(), item)) for item in Settings.__slots__)
    }
    assert {name: rows[name] for name in shown} == shown
    assert rows["prompt_format"] == "`auto`"


def test_every_requirement_is_on_the_page(page: str) -> None:
    assert all(f"`{package}`" in page for package in interface.REQUIRED)
