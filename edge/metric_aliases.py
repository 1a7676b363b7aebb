"""The same figures under the names of other servers, for dashboards that exist already."""

from __future__ import annotations

from collections.abc import Iterable

from prometheus_client import CollectorRegistry
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.metrics_core import HistogramMetricFamily
from prometheus_client.registry import Collector

_HISTOGRAMS = {
    "gen_ai_server_time_to_first_token_seconds": "vllm:time_to_first_token_seconds",
    "gen_ai_server_time_per_output_token_seconds": "vllm:inter_token_latency_seconds",
    "gen_ai_server_request_duration_seconds": "vllm:e2e_request_latency_seconds",
}
_GAUGES = {
    "edge_requests_running": "vllm:num_requests_running",
    "edge_requests_waiting": "vllm:num_requests_waiting",
}
_COUNTERS = {
    "edge_prompt_tokens": "vllm:prompt_tokens",
    "edge_generated_tokens": "vllm:generation_tokens",
}
# An answer that calls a tool has ended by itself: vLLM has no reason of its own for it.
_SUCCESSES = {"stop": "stop", "length": "length", "tool_calls": "stop"}


_LABELS = ("model_name",)


class VllmNames(Collector):
    """Serves vLLM's metric names from a registry's own figures, summed over their labels."""

    def __init__(self, registry: CollectorRegistry, model: str) -> None:
        """`registry` holds the figures; this collector belongs on another one."""
        self._registry = registry
        self._model = [model]

    def describe(self) -> Iterable[Metric]:
        """Nothing up front: the names are known only when figures are read."""
        return []

    def collect(self) -> Iterable[Metric]:
        """The aliases, computed from what the registry says now."""
        found = {metric.name: metric for metric in self._registry.collect()}
        for name, alias in _HISTOGRAMS.items():
            yield self._histogram(alias, found[name])
        for name, alias in _GAUGES.items():
            yield self._gauge(alias, found[name].documentation, _sum(found[name]))
        for name, alias in _COUNTERS.items():
            counter = CounterMetricFamily(alias, found[name].documentation, labels=_LABELS)
            counter.add_metric(self._model, _sum(found[name]))
            yield counter
        used, limit = (_sum(found[f"edge_kv_cache_{end}_bytes"]) for end in ("used", "limit"))
        share = used / limit if limit else 0.0
        yield self._gauge("vllm:kv_cache_usage_perc", "Share of the KV cache in use.", share)
        yield self._successes(found["edge_requests"])

    def _gauge(self, name: str, documentation: str, value: float) -> Metric:
        gauge = GaugeMetricFamily(name, documentation, labels=_LABELS)
        gauge.add_metric(self._model, value)
        return gauge

    def _histogram(self, name: str, source: Metric) -> Metric:
        bounds: dict[str, float] = {}
        total = 0.0
        for sample in source.samples:
            if sample.name.endswith("_bucket"):
                bound = sample.labels["le"]
                bounds[bound] = bounds.get(bound, 0.0) + sample.value
            elif sample.name.endswith("_sum"):
                total += sample.value
        histogram = HistogramMetricFamily(name, source.documentation, labels=_LABELS)
        ordered = sorted(bounds.items(), key=lambda bucket: float(bucket[0]))
        histogram.add_metric(self._model, ordered or [("+Inf", 0.0)], total)
        return histogram

    def _successes(self, source: Metric) -> Metric:
        counts: dict[str, float] = {}
        for sample in source.samples:
            reason = _SUCCESSES.get(sample.labels.get("finish_reason", ""))
            if reason is not None:
                counts[reason] = counts.get(reason, 0.0) + sample.value
        family = CounterMetricFamily(
            "vllm:request_success", source.documentation, labels=(*_LABELS, "finished_reason")
        )
        for reason, count in counts.items():
            family.add_metric([*self._model, reason], count)
        return family


def _sum(metric: Metric) -> float:
    return sum(sample.value for sample in metric.samples)
