"""The documents against the code: settings, metrics, routes, commands, links."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest
from flask import Flask

from edge import app, config
from edge.config import Settings
from edge.metric_aliases import VllmNames
from edge.metrics import Metrics

ROOT = Path(__file__).parent.parent
README = ROOT / "README.md"
DOCS = ROOT / "docs"
PAGES = sorted([README, ROOT / "CHANGELOG.md", *DOCS.rglob("*.md")])


def name(path: Path) -> str:
    return str(path.relative_to(ROOT))


def first_cells(page: Path, pattern: str) -> set[str]:
    """Every code span matching `pattern` in the first cells of the page's tables."""
    rows = re.findall(r"^\| *(`[^|]*?) *\|", page.read_text(), flags=re.MULTILINE)
    return {span for row in rows for span in re.findall(r"`([^`]+)`", row)
            if re.fullmatch(pattern, span)}  # fmt: skip


def rows(page: Path, pattern: str) -> dict[str, list[str]]:
    """The table rows whose first cell is one code span matching `pattern`: name to other cells."""
    found = {}
    for line in page.read_text().splitlines():
        cells = [cell.strip() for cell in line.strip().strip("|").split("|")]
        match = re.fullmatch(f"`({pattern})`", cells[0])
        if line.startswith("|") and match:
            found[match[1]] = cells[1:]
    return found


@pytest.mark.parametrize("page", [README, DOCS / "configuration.md"], ids=name)
def test_every_setting_is_in_the_table_with_its_default(page):
    declared = {variable: default for variable, default, _ in config.describe()}
    written = {
        variable: cells[0].strip("`") for variable, cells in rows(page, "EDGE_[A-Z_]+").items()
    }
    assert written == declared


def exposed(metrics: Metrics) -> set[str]:
    """The names of all metrics as a query would write them: counters with `_total`."""
    suffix = {"counter": "_total", "info": "_info"}
    families = [*metrics.registry.collect()]
    return {family.name + suffix.get(family.type, "") for family in families}


@pytest.fixture(scope="module")
def wired() -> app.App:
    """The whole appliance on a scripted model, not started."""
    return app.App(Settings(), app.from_script("echo"))


@pytest.fixture(scope="module")
def metrics() -> Metrics:
    """The metrics of an appliance that has started."""
    started = Metrics("model")
    depths = dict.fromkeys(("running", "waiting", "kv_used", "throttled_s"), float)
    started.watch(**depths)
    return started


@pytest.mark.parametrize("page", [README, DOCS / "metrics.md"], ids=name)
def test_every_metric_is_in_the_table(page, metrics):
    assert first_cells(page, r"(?:gen_ai|edge)_[a-z_]+") == exposed(metrics)


def test_every_alias_of_a_metric_is_documented(metrics):
    aliases = {
        family.name + ("_total" if family.type == "counter" else "")
        for family in VllmNames(metrics.registry, "model").collect()
    }
    assert set(re.findall(r"vllm:[a-z_0-9]+", (DOCS / "metrics.md").read_text())) == aliases


UNKNOWN = {"/v1/", "/v1/{id}"}  # answers 404 in OpenAI's shape


def routes(wired: app.App) -> dict[str, set[str]]:
    """Path to methods, a variable part written `{id}`."""
    assert isinstance(wired.wsgi, Flask)
    return {
        re.sub(r"<[^>]+>", "{id}", rule.rule): set(rule.methods or ())
        for rule in wired.wsgi.url_map.iter_rules()
    }


@pytest.mark.parametrize("page", [README, DOCS / "api.md"], ids=name)
def test_every_route_is_in_the_tables(page, wired):
    served = {path: methods for path, methods in routes(wired).items() if path not in UNKNOWN}
    written = first_cells(page, r"(?:GET|POST) /\S*")
    assert {entry.split()[1] for entry in written} == set(served)
    assert [e for e in written if e.split()[0] not in served[e.split()[1]]] == []


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_links_inside_the_repository_lead_somewhere(page):
    targets = re.findall(r"\]\(([^)\s#]+)[^)]*\)", page.read_text())
    local = [target for target in targets if "://" not in target]
    assert [target for target in local if not (page.parent / target).exists()] == []


def anchors(page: Path) -> set[str]:
    """The anchors of a page's headings, as the usual renderers make them."""
    headings = re.findall(r"^#+ (.+)$", page.read_text(), flags=re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", h.lower()).replace(" ", "-") for h in headings}


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_anchors_exist(page):
    for target, anchor in re.findall(r"\]\(([^)\s#:]*)#([^)]+)\)", page.read_text()):
        assert anchor in anchors(page.parent / target if target else page), (target, anchor)


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_scripts_and_modules_that_are_named_exist(page):
    text = page.read_text()
    missing = [s for s in re.findall(r"(?<![\w/])scripts/(\w+)\b", text)
               if not list((ROOT / "scripts").glob(f"{s}*"))]  # fmt: skip
    assert missing == []
    for module in re.findall(r"python3? -m ((?:edge|build)[\w.]*)", text):
        assert (ROOT / module.replace(".", "/") / "__main__.py").is_file()


def test_the_design_lists_the_layers_that_are_checked():
    contracts = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"][
        "contracts"
    ]
    layers = next(contract["layers"] for contract in contracts if contract["type"] == "layers")
    assert ", ".join(f"`{layer}`" for layer in layers) in (DOCS / "design.md").read_text()


def test_every_decision_is_listed_under_its_title():
    listed = (DOCS / "decisions" / "README.md").read_text()
    for page in sorted((DOCS / "decisions").glob("[0-9]*.md")):
        number, title = page.read_text().splitlines()[0].removeprefix("# ").split(" ", 1)
        assert f"[{number}]({page.name}) {title}" in listed
