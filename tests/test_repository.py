"""The house rules of docs/design.md, as tests over the tracked files."""

from __future__ import annotations

import ast
import itertools
import os
import re
import statistics
import subprocess
import tomllib
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

import edge

ROOT = Path(__file__).parent.parent
TOP_LEVEL = {
    *("edge", "build", "tests", "scripts", "docs", "deploy", "requirements"),
    *("README.md", "CHANGELOG.md", "LICENSE", "MLproject", "pyproject.toml"),
    *("Dockerfile.amd64", "Dockerfile.arm64"),
}
VAGUE = {"utils", "util", "helpers", "helper", "manager", "common", "misc", "base_utils", "tools"}
MOST_LINES, MOST_MEDIAN_LINES = 300, 150
MOST_BROAD_EXCEPTS = 2
BROAD = {"Exception", "BaseException"}


@cache
def tracked() -> tuple[Path, ...]:
    """The files that git tracks, or would on the next `git add`."""
    listing = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT,
        check=True,
        capture_output=True,
        text=True,
    ).stdout
    paths = (ROOT / name for name in listing.split("\0") if name)
    return tuple(sorted(path for path in paths if path.is_file()))


def modules(*folders: str) -> list[Path]:
    """The tracked Python files below `folders`."""
    roots = [ROOT / folder for folder in folders]
    return [p for p in tracked() if p.suffix == ".py" and any(p.is_relative_to(r) for r in roots)]


def name(path: Path) -> str:
    return str(path.relative_to(ROOT))


def lines(path: Path) -> int:
    return len(path.read_text().splitlines())


@cache
def tree(path: Path) -> ast.Module:
    return ast.parse(path.read_text(), filename=name(path))


def texts() -> Iterator[tuple[Path, str]]:
    """The tracked files that are UTF-8 text, with their text."""
    for path in tracked():
        try:
            yield path, path.read_text(encoding="utf-8")
        except UnicodeDecodeError:
            continue


product = pytest.mark.parametrize("path", modules("edge", "build"), ids=name)


def test_the_top_level_holds_what_the_design_lists_and_nothing_else():
    found = {path.relative_to(ROOT).parts[0] for path in tracked()}
    assert {entry for entry in found if not entry.startswith(".")} <= TOP_LEVEL


def test_the_design_names_every_top_level_entry():
    design = (ROOT / "docs" / "design.md").read_text()
    assert [entry for entry in sorted(TOP_LEVEL) if entry not in design] == []


@pytest.mark.parametrize("path", modules("edge", "build", "scripts"), ids=name)
def test_no_file_is_over_300_lines(path):
    assert lines(path) <= MOST_LINES


def test_files_and_functions_are_small():
    sizes = [lines(path) for path in modules("edge", "build") if lines(path) > 5]
    spans = [
        node.end_lineno - node.lineno + 1
        for path in modules("edge", "build")
        for node in ast.walk(tree(path))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
    ]
    assert statistics.median(sizes) <= MOST_MEDIAN_LINES
    assert statistics.median(spans) <= 12
    assert statistics.quantiles(spans, n=10)[-1] <= 30


@pytest.mark.parametrize("path", modules("edge", "build", "scripts"), ids=name)
def test_no_module_has_a_vague_name(path):
    assert not {path.stem, *(part for part in path.relative_to(ROOT).parts)} & VAGUE


@pytest.mark.parametrize("path", modules("edge", "build", "scripts"), ids=name)
def test_every_module_says_what_it_is(path):
    assert ast.get_docstring(tree(path))


def reads_environment(path: Path) -> bool:
    """Whether the module touches os.environ or os.getenv, by attribute or by import."""
    touched = {"environ", "environb", "getenv", "getenvb", "putenv"}
    return any(
        (isinstance(node, ast.Attribute) and ast.unparse(node).removeprefix("os.") in touched)
        or (
            isinstance(node, ast.ImportFrom)
            and node.module == "os"
            and touched & {alias.name for alias in node.names}
        )
        for node in ast.walk(tree(path))
    )


def test_only_config_reads_the_environment():
    readers = [name(path) for path in modules("edge") if reads_environment(path)]
    assert readers == ["edge/config.py"]


def broad_handlers(path: Path) -> Iterator[int]:
    """Lines of `except:`, `except Exception` and `except BaseException`, alone or in a tuple."""
    for node in ast.walk(tree(path)):
        if isinstance(node, ast.ExceptHandler):
            caught = node.type.elts if isinstance(node.type, ast.Tuple) else [node.type]
            if any(c is None or (isinstance(c, ast.Name) and c.id in BROAD) for c in caught):
                yield node.lineno


def test_at_most_two_broad_excepts():
    found = [f"{name(p)}:{line}" for p in modules("edge", "build") for line in broad_handlers(p)]
    assert len(found) <= MOST_BROAD_EXCEPTS, found


@product
def test_nothing_is_left_to_do(path):
    assert not re.search(r"\b(TODO|FIXME|XXX|HACK)\b", path.read_text())


@pytest.mark.parametrize("path", modules("edge", "build", "scripts", "tests"), ids=name)
def test_a_silenced_check_is_named(path):
    silenced = re.findall(
        r"#\s*(?:noqa|type:\s*ignore)(?!: ?[A-Z]+\d+|\[[a-z-]+)", path.read_text()
    )
    assert silenced == []


FOREIGN = {
    "a package index": r"https?://(?!download\.pytorch\.org/whl/cpu)\S*/(?:simple|whl)\b|/simple/",
    "an index option": r"--(?:(?:extra-)?index-url|find-links|trusted-host)[= ]+\S*[./]",
    "a path of one machine": r"(?<![\w.])/(?:root|work|opt)/",
}


@pytest.mark.parametrize("what", FOREIGN)
def test_no_file_names_what_belongs_to_one_machine(what):
    pattern = re.compile(FOREIGN[what])
    here = Path(__file__).resolve()
    found = [
        f"{name(path)}: {match.group()}"
        for path, text in texts()
        if path.resolve() != here
        for match in itertools.islice(pattern.finditer(text), 3)
    ]
    assert found == []


EXECUTABLE = [p for p in tracked() if p.parent in (ROOT / "scripts", ROOT / ".ci") and not p.suffix]


@pytest.mark.parametrize("path", EXECUTABLE, ids=name)
def test_a_script_is_short_and_runs(path):
    text = path.read_text()
    assert os.access(path, os.X_OK)
    assert text.startswith(("#!/usr/bin/env bash\n# ", "#!/usr/bin/env python3\n"))
    assert "set -euo pipefail" in text or "python3" in text.splitlines()[0]
    assert len(text.splitlines()) <= 110


def test_continuous_integration_runs_what_people_run():
    assert "scripts/test" in (ROOT / ".ci" / "run").read_text()
    assert "scripts/check" in (ROOT / "scripts" / "test").read_text()


def test_nothing_else_is_executable():
    runs = {name(p) for p in tracked() if os.access(p, os.X_OK)}
    assert runs == {name(path) for path in EXECUTABLE}


def test_the_version_is_said_once():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert project["version"] == edge.__version__


def test_the_changelog_has_a_place_for_the_next_release():
    changelog = (ROOT / "CHANGELOG.md").read_text()
    assert changelog.startswith("# Changelog\n")
    assert "\n## Unreleased\n" in changelog


def test_the_licence_is_the_one_that_the_project_names():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert project["license"] == "Apache-2.0"
    assert (
        "Apache License\n                           Version 2.0" in (ROOT / "LICENSE").read_text()
    )
