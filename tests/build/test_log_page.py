"""docs/logging-models.md, held against the code."""

import argparse
import re
from pathlib import Path

import pytest

from build import interface, log, log_pipeline, measure, options, traits
from build.findings import Findings
from build.pipeline import record
from build.pipeline import traits as pipeline_traits
from build.pipeline.validate import validate as validate_pipeline
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


@pytest.fixture(scope="module")
def pipelines(page: str) -> str:
    return page.partition("## Pipelines")[2].partition("## As an MLflow project")[0]


def test_every_flag_of_log_pipeline_is_on_the_page(page: str, pipelines: str) -> None:
    commands = argparse.ArgumentParser().add_subparsers()
    log_pipeline.add_parser(commands)
    parser = commands.choices["log-pipeline"]
    flags = {flag for action in parser._actions for flag in action.option_strings}
    known = {flag for flag in flags if flag.startswith("--")} - {"--help"}
    assert {flag for flag in known if flag not in page} == set()
    assert set(re.findall(r"--[a-z][a-z-]+", pipelines)) <= flags


def test_what_log_pipeline_records_is_on_the_page(
    page: str, pipelines: str, repository: Path, tmp_path: Path
) -> None:
    folder = repository / "build" / "demo" / "weights"
    source = Source(folder, Lineage(), "x")
    model = validate_pipeline(source, options.Options(trial=False), Findings(), tmp_path)
    params = pipeline_traits.read(model, folder, "llm/v1/chat")
    names = {name for name in params if not name.startswith("file_bytes/")}
    assert {name for name in names if f"`{name}`" not in page} == set()
    shown = {*pipeline_traits.tags(params), *record.REQUIRED}
    assert {name for name in shown if f"`{name}`" not in pipelines} == set()
