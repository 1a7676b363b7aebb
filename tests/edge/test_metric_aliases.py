"""vLLM's names for our figures: the same values, summed over our labels."""

from __future__ import annotations

import pytest
from prometheus_client import parser
from prometheus_client.exposition import choose_encoder

from edge.metrics import Answered, Metrics


def answered(operation, duration_s, finish="stop", error="", tokens=3):
    return Answered(operation, 200, finish, error, duration_s, duration_s / 2, 5, tokens)


@pytest.fixture
def metrics():
    found = Metrics("phi3", aliases=["vllm"])
    found.watch(running=lambda: 2, waiting=lambda: 3, kv_used=lambda: 10, throttled_s=lambda: 0)
    return found


def samples(metrics):
    encode, _ = choose_encoder("text/plain")
    return {
        (sample.name, *sorted(sample.labels.items())): sample.value
        for family in parser.text_string_to_metric_families(encode(metrics.exposed).decode())
        for sample in family.samples
    }


def vllm(metrics, name, **labels):
    wanted = {"model_name": "phi3", **labels}
    return samples(metrics)[(f"vllm:{name}", *sorted(wanted.items()))]


def test_gauges(metrics):
    metrics.kv_limit.set(40)
    assert vllm(metrics, "num_requests_running") == 2
    assert vllm(metrics, "num_requests_waiting") == 3
    assert vllm(metrics, "kv_cache_usage_perc") == 0.25


def test_without_a_limit_the_cache_is_not_in_use(metrics):
    assert vllm(metrics, "kv_cache_usage_perc") == 0


def test_counters(metrics):
    metrics.prompt_tokens.inc(7)
    metrics.generated_tokens.inc(3)
    assert vllm(metrics, "prompt_tokens_total") == 7
    assert vllm(metrics, "generation_tokens_total") == 3


def test_histograms_are_summed_over_operations_and_errors(metrics):
    for operation, duration_s, error in (
        ("chat", 0.03, ""),
        ("chat", 3.0, "cancelled"),
        ("invocations", 0.3, ""),
    ):
        metrics.answered(answered(operation, duration_s, error=error))
    assert vllm(metrics, "e2e_request_latency_seconds_count") == 3
    assert vllm(metrics, "e2e_request_latency_seconds_sum") == pytest.approx(3.33)
    assert vllm(metrics, "e2e_request_latency_seconds_bucket", le="0.04") == 1
    assert vllm(metrics, "e2e_request_latency_seconds_bucket", le="0.32") == 2
    assert vllm(metrics, "e2e_request_latency_seconds_bucket", le="+Inf") == 3
    assert vllm(metrics, "time_to_first_token_seconds_count") == 3
    # Time per token is for successes only.
    assert vllm(metrics, "inter_token_latency_seconds_count") == 2


def test_buckets_grow(metrics):
    for duration_s in (0.001, 0.1, 1.0, 10.0, 1000.0):
        metrics.answered(answered("chat", duration_s))
    edges = sorted(
        (float(dict(key[1:])["le"]), count)
        for key, count in samples(metrics).items()
        if key[0] == "vllm:e2e_request_latency_seconds_bucket"
    )
    counts = [count for _, count in edges]
    assert counts == sorted(counts)
    assert (edges[-1][0], counts[-1]) == (float("inf"), 5)


def test_successes_by_reason(metrics):
    for finish in ("stop", "tool_calls", "length", "cancelled", "error"):
        metrics.answered(answered("chat", 1.0, finish=finish))
    assert vllm(metrics, "request_success_total", finished_reason="stop") == 2
    assert vllm(metrics, "request_success_total", finished_reason="length") == 1
    reasons = [dict(key[1:])["finished_reason"] for key in samples(metrics) if "success" in key[0]]
    assert sorted(reasons) == ["length", "stop"]


def test_a_fresh_appliance_can_be_scraped(metrics):
    assert vllm(metrics, "e2e_request_latency_seconds_count") == 0


def test_without_the_setting_there_are_no_aliases():
    plain = Metrics("phi3")
    plain.watch(running=lambda: 0, waiting=lambda: 0, kv_used=lambda: 0, throttled_s=lambda: 0)
    assert not [key for key in samples(plain) if key[0].startswith("vllm:")]
