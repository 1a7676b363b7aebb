"""A real Prometheus scrapes the appliance, and promtool has nothing to say against it."""

from __future__ import annotations

import json
import os
import subprocess
import time
import urllib.parse
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.programs import find

from .conftest import Served, free_port

Query = Callable[[str], list[dict[str, object]]]
_SCRAPED_S = 30.0


def _ask(port: int, expression: str) -> list[dict[str, object]]:
    words = urllib.parse.urlencode({"query": expression})
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/api/v1/query?{words}", timeout=5) as got:
        result: list[dict[str, object]] = json.load(got)["data"]["result"]
    return result


def _value(rows: list[dict[str, object]]) -> float:
    assert len(rows) == 1, rows
    pair = rows[0]["value"]
    assert isinstance(pair, list)
    return float(pair[1])


@pytest.fixture(scope="module")
def scraped(serve: Callable[..., Served]) -> Served:
    """An appliance that has answered three requests, under vLLM's names too."""
    served = serve("--scripted", "echo", metrics_aliases="vllm")
    for _ in range(3):
        body = json.dumps({"messages": [{"role": "user", "content": "hello"}]}).encode()
        headers = {"Content-Type": "application/json"}
        call = urllib.request.Request(f"{served.url}/v1/chat/completions", body, headers)
        with urllib.request.urlopen(call, timeout=30) as answer:
            assert json.load(answer)["choices"][0]["message"]["content"] == "hello"
    return served


@pytest.fixture(scope="module")
def query(scraped: Served, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Query]:
    """Ask a Prometheus that scrapes the appliance every second; it has scraped once already."""
    folder = tmp_path_factory.mktemp("prometheus")
    target = {"targets": [f"127.0.0.1:{scraped.port}"]}
    settings = {
        "global": {"scrape_interval": "1s"},
        "scrape_configs": [{"job_name": "phial", "static_configs": [target]}],
    }
    (folder / "prometheus.yml").write_text(json.dumps(settings))
    port = free_port()
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(
            [
                find("prometheus"),
                f"--config.file={folder}/prometheus.yml",
                f"--storage.tsdb.path={folder}/data",
                f"--web.listen-address=127.0.0.1:{port}",
            ],
            stdout=log,
            stderr=subprocess.STDOUT,
            env={**os.environ, "GOMAXPROCS": "1"},
        )
    try:
        _wait_for_scrape(port, folder / "log")
        yield lambda expression: _ask(port, expression)
    finally:
        process.terminate()
        process.wait(30)


def _wait_for_scrape(port: int, log: Path) -> None:
    deadline = time.monotonic() + _SCRAPED_S
    while time.monotonic() < deadline:
        try:
            if _ask(port, "edge_ready"):
                return
        except OSError:
            pass
        time.sleep(0.2)
    pytest.fail(f"nothing was scraped within {_SCRAPED_S} s:\n{log.read_text()}")


def test_promtool_finds_no_fault(scraped: Served) -> None:
    with urllib.request.urlopen(f"{scraped.url}/metrics", timeout=5) as page:
        text = page.read()
    check = subprocess.run(
        [find("promtool"), "check", "metrics"],
        input=text,
        capture_output=True,
        timeout=30,
        check=False,
    )
    # Names with colons are vLLM's own; promtool reserves them for recording rules.
    complaints = [line for line in check.stderr.decode().splitlines() if "vllm:" not in line]
    assert not complaints
    assert b"error while linting" not in check.stdout


def test_prometheus_scrapes_without_an_error(query: Query) -> None:
    assert _value(query('up{job="phial"}')) == 1
    assert _value(query("edge_ready")) == 1


def test_requests_and_tokens_are_counted(query: Query) -> None:
    chats = 'edge_requests_total{operation="chat",finish_reason="stop",code="200"}'
    assert _value(query(chats)) == 3
    output = "gen_ai_client_token_usage_tokens_sum"
    tokens = _value(query(f'{output}{{gen_ai_token_type="output",gen_ai_request_model="echo"}}'))
    assert tokens == 3 * len("hello")


def test_quantiles_can_be_computed(query: Query) -> None:
    histogram = "gen_ai_server_time_to_first_token_seconds_bucket"
    p50 = _value(query(f"histogram_quantile(0.5, sum by (le) ({histogram}))"))
    assert 0 < p50 < 10


def test_vllm_names_carry_the_same_figures(query: Query) -> None:
    own = _value(query('edge_generated_tokens_total{model="echo"}'))
    assert _value(query('vllm:generation_tokens_total{model_name="echo"}')) == own > 0
    assert _value(query('vllm:request_success_total{finished_reason="stop"}')) == 3
