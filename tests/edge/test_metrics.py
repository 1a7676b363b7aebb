"""The metric contract: names, types, labels and buckets, as the code has them and the page says."""

from __future__ import annotations

import re

import pytest
from prometheus_client import parser
from prometheus_client.exposition import choose_encoder
from prometheus_client.openmetrics import parser as openmetrics_parser

from edge.metrics import Answered, Metrics

DURATION = [0.01 * 2**power for power in range(17)]
TTFT = [
    *(0.001, 0.005, 0.01, 0.02, 0.04, 0.06, 0.08, 0.1, 0.25, 0.5, 0.75),
    *(1, 2.5, 5, 7.5, 10, 20, 40, 80, 160),
]
TPOT = [
    *(0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.15, 0.2, 0.3, 0.4, 0.5, 0.75),
    *(1, 2.5, 5),
]
TOKENS = [1, 4, 16, 64, 256, 1024, 4096, 16384, 65536]
ROWS = [1, 2, 4, 8, 16, 32]
REQUEST = ("gen_ai_operation_name", "gen_ai_request_model")
MODEL = ("model",)
FACTS = ("model", "version", "run_id", "bundle_sha256", "flavor", "quantization", "ort", "genai")

# name -> (type, labels, bounds): written out by hand, on purpose.
CONTRACT = {
    "gen_ai_server_request_duration_seconds": ("histogram", (*REQUEST, "error_type"), DURATION),
    "gen_ai_server_time_to_first_token_seconds": ("histogram", REQUEST, TTFT),
    "gen_ai_server_time_per_output_token_seconds": ("histogram", REQUEST, TPOT),
    "gen_ai_client_token_usage_tokens": ("histogram", (*REQUEST, "gen_ai_token_type"), TOKENS),
    "edge_prompt_tokens_total": ("counter", MODEL, None),
    "edge_generated_tokens_total": ("counter", MODEL, None),
    "edge_cached_prompt_tokens_total": ("counter", MODEL, None),
    "edge_discarded_tokens_total": ("counter", MODEL, None),
    "edge_request_queue_seconds": ("histogram", MODEL, DURATION),
    "edge_request_prefill_seconds": ("histogram", MODEL, DURATION),
    "edge_request_decode_seconds": ("histogram", MODEL, DURATION),
    "edge_cancel_latency_seconds": ("histogram", MODEL, DURATION),
    "edge_requests_total": ("counter", ("operation", "finish_reason", "code"), None),
    "edge_requests_rejected_total": ("counter", ("reason",), None),
    "edge_requests_running": ("gauge", (), None),
    "edge_requests_waiting": ("gauge", (), None),
    "edge_kv_cache_used_bytes": ("gauge", (), None),
    "edge_kv_cache_limit_bytes": ("gauge", (), None),
    "edge_batch_size": ("histogram", (), ROWS),
    "edge_cpu_quota_cores": ("gauge", (), None),
    "edge_engine_threads": ("gauge", (), None),
    "edge_cpu_throttled_seconds_total": ("counter", (), None),
    "edge_ready": ("gauge", (), None),
    "edge_model_load_seconds": ("gauge", (), None),
    "edge_model_info": ("info", (*FACTS, "phial"), None),
}
PLAIN_TEXT = "text/plain;version=0.0.4"
OPENMETRICS = "application/openmetrics-text;version=1.0.0"


def answered(**fields):
    figures = {
        "operation": "chat",
        "code": 200,
        "finish_reason": "stop",
        "error_type": "",
        "duration_s": 2.0,
        "ttft_s": 0.5,
        "prompt_tokens": 10,
        "output_tokens": 4,
    }
    return Answered(**{**figures, **fields})


@pytest.fixture
def metrics():
    """Metrics in which each family has at least one sample."""
    found = Metrics("phi3")
    found.watch(
        running=lambda: 2, waiting=lambda: 3, kv_used=lambda: 1024.0, throttled_s=lambda: 1.5
    )
    found.describe_model(dict.fromkeys((*FACTS, "phial"), "x"))
    found.answered(answered())
    found.refused("chat", 429, "queue_full")
    found.kv_limit.set(4096)
    found.batch_size.observe(3)
    found.cancel_latency.observe(0.02)
    found.sequence_ended(queue_s=0.1, prefill_s=0.2, decode_s=0.3)
    return found


def scrape(metrics, accept=PLAIN_TEXT):
    encode, content_type = choose_encoder(accept)
    return encode(metrics.exposed).decode(), content_type


def families(metrics):
    return {
        family.name: family for family in openmetrics_parser.text_string_to_metric_families(
            scrape(metrics, OPENMETRICS)[0]
        )
    }  # fmt: skip


def bare(name):
    return name.removesuffix("_total").removesuffix("_info")


@pytest.mark.parametrize("name", sorted(CONTRACT))
def test_the_contract(metrics, name):
    kind, labels, bounds = CONTRACT[name]
    family = families(metrics)[bare(name) if kind in ("counter", "info") else name]
    assert family.type == kind
    assert family.documentation.endswith(".")
    seen = {label for sample in family.samples for label in sample.labels} - {"le"}
    assert seen == set(labels)
    if bounds is not None:
        first = family.samples[0].labels | {"le": ""}
        edges = [
            float(sample.labels["le"])
            for sample in family.samples
            if sample.name.endswith("_bucket") and sample.labels | {"le": ""} == first
        ]
        assert edges == pytest.approx([*bounds, float("inf")])


def test_nothing_is_served_beside_the_contract(metrics):
    assert families(metrics).keys() == {
        bare(name) if kind in ("counter", "info") else name
        for name, (kind, _, _) in CONTRACT.items()
    }


def written(repository):
    """Name -> (type, labels, letter of the bounds) in docs/metrics.md, and letter -> bounds."""
    page = (repository / "docs/metrics.md").read_text()
    rows = {}
    for line in page.splitlines():
        cells = [cell.strip() for cell in line.strip("|").split("|")]
        if re.fullmatch(r"`(gen_ai|edge)_\w+`", cells[0]):
            kind, _, letter = cells[1].partition(" ")
            named = [label.strip(" `") for label in re.sub(r"\([^)]*\)", "", cells[2]).split(",")]
            labels = {label for label in named if label}
            rows[cells[0].strip("`")] = (kind, labels, letter.strip("()"))
    bounds = {
        letter: [float(edge.replace(",", "")) for edge in edges.split()]
        for letter, edges in re.findall(r"^- \((\w)\)[^:]*: ([\d. ]+)$", page, flags=re.MULTILINE)
    }
    return rows, bounds


def test_the_page_says_what_the_code_does(repository):
    rows, bounds = written(repository)
    assert rows.keys() == CONTRACT.keys()
    for name, (kind, labels, edges) in CONTRACT.items():
        written_kind, written_labels, letter = rows[name]
        assert (written_kind, written_labels) == (kind, set(labels)), name
        assert bounds[letter] == pytest.approx(edges) if edges else not letter, name


@pytest.mark.parametrize(
    ("accept", "content_type"),
    [
        ("", "text/plain"),
        ("*/*", "text/plain"),
        ("text/plain", "text/plain"),
        (OPENMETRICS, "application/openmetrics-text"),
        (
            "application/openmetrics-text;version=1.0.0;q=0.5,text/plain;version=0.0.4;q=0.3",
            "application/openmetrics-text",
        ),
    ],
)
def test_both_formats_parse(metrics, accept, content_type):
    text, given = scrape(metrics, accept)
    assert given.startswith(content_type)
    parse = (
        openmetrics_parser.text_string_to_metric_families
        if "openmetrics" in given
        else parser.text_string_to_metric_families
    )
    found = list(parse(text))
    assert len(found) >= len(CONTRACT)
    assert text.endswith("# EOF\n") == ("openmetrics" in given)


def test_no_creation_times_are_served(metrics):
    """They would double every counter and histogram for nothing."""
    assert "_created" not in scrape(metrics)[0]


def value(metrics, name, **labels):
    return metrics.registry.get_sample_value(name, labels)


def test_a_request_that_was_answered():
    metrics = Metrics("phi3")
    metrics.answered(answered())
    labels = {"gen_ai_operation_name": "chat", "gen_ai_request_model": "phi3"}
    duration = "gen_ai_server_request_duration_seconds_sum"
    assert value(metrics, duration, **labels, error_type="") == 2.0
    assert value(metrics, "gen_ai_server_time_to_first_token_seconds_sum", **labels) == 0.5
    per_token = value(metrics, "gen_ai_server_time_per_output_token_seconds_sum", **labels)
    assert per_token == pytest.approx(1.5 / 3)
    usage = "gen_ai_client_token_usage_tokens_sum"
    assert value(metrics, usage, **labels, gen_ai_token_type="input") == 10
    assert value(metrics, usage, **labels, gen_ai_token_type="output") == 4
    counted = {"operation": "chat", "finish_reason": "stop", "code": "200"}
    assert value(metrics, "edge_requests_total", **counted) == 1


@pytest.mark.parametrize(
    "figures",
    [
        {"output_tokens": 1},
        {"output_tokens": 0, "ttft_s": None},
        {"error_type": "cancelled", "code": 499, "finish_reason": "cancelled"},
        {"ttft_s": None},
    ],
    ids=str,
)
def test_time_per_token_is_for_successes_with_two_tokens_or_more(figures):
    metrics = Metrics("phi3")
    metrics.answered(answered(**figures))
    labels = {"gen_ai_operation_name": "chat", "gen_ai_request_model": "phi3"}
    name = "gen_ai_server_time_per_output_token_seconds_count"
    assert value(metrics, name, **labels) is None


def test_a_request_that_was_refused():
    metrics = Metrics("phi3")
    metrics.refused("chat", 400)
    metrics.refused("invocations", 429, "queue_full")
    counted = {"operation": "chat", "finish_reason": "error", "code": "400"}
    assert value(metrics, "edge_requests_total", **counted) == 1
    assert value(metrics, "edge_requests_rejected_total", reason="queue_full") == 1
    assert 'reason=""' not in scrape(metrics)[0]
    duration = "gen_ai_server_request_duration_seconds_count"
    labels = {"gen_ai_operation_name": "chat", "gen_ai_request_model": "phi3", "error_type": ""}
    assert value(metrics, duration, **labels) is None


def test_a_stage_that_was_not_finished_is_not_observed():
    metrics = Metrics("phi3")
    metrics.sequence_ended(queue_s=1.0, prefill_s=None, decode_s=None)
    assert value(metrics, "edge_request_queue_seconds_count", model="phi3") == 1
    assert value(metrics, "edge_request_prefill_seconds_count", model="phi3") == 0
    assert value(metrics, "edge_request_decode_seconds_count", model="phi3") == 0


def test_depths_are_read_when_somebody_scrapes(metrics):
    depths = {"running": 0.0}
    fresh = Metrics("phi3")
    fresh.watch(
        running=lambda: depths["running"],
        waiting=lambda: 0,
        kv_used=lambda: 0,
        throttled_s=lambda: depths["running"] / 2,
    )
    assert value(fresh, "edge_requests_running") == 0
    depths["running"] = 5.0
    assert value(fresh, "edge_requests_running") == 5
    assert value(fresh, "edge_cpu_throttled_seconds_total") == 2.5


def test_two_appliances_in_one_process_do_not_meet():
    first, second = Metrics("a"), Metrics("b")
    first.reject("memory")
    assert value(second, "edge_requests_rejected_total", reason="memory") is None
