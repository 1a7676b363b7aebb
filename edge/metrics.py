"""Prometheus metrics; the contract is docs/metrics.md.

Names follow OpenTelemetry's GenAI semantic conventions where one exists, else `edge_*`.
One process serves HTTP, so an ordinary in-process registry is used.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    Info,
    disable_created_metrics,
)
from prometheus_client.core import CounterMetricFamily, Metric
from prometheus_client.registry import Collector

from edge.metric_aliases import VllmNames

DURATION_S = tuple(0.01 * 2**power for power in range(17))
TTFT_S = (
    *(0.001, 0.005, 0.01, 0.02, 0.04, 0.06, 0.08, 0.1, 0.25, 0.5, 0.75),
    *(1.0, 2.5, 5.0, 7.5, 10.0, 20.0, 40.0, 80.0, 160.0),
)
TPOT_S = (
    *(0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.15, 0.2, 0.3, 0.4, 0.5, 0.75),
    *(1.0, 2.5, 5.0),
)
TOKENS = tuple(4**power for power in range(9))
ROWS = (1, 2, 4, 8, 16, 32)

_OPERATION = ("gen_ai_operation_name", "gen_ai_request_model")


@dataclass(frozen=True, slots=True)
class Answered:
    """The figures of one request that was let in. Seconds; `error_type` is "" when none.

    `ttft_s` None: no token came out. TPOT is (duration - TTFT) / (output tokens - 1), of
    successful requests with two or more tokens (OpenTelemetry's definition).
    """

    operation: str
    code: int
    finish_reason: str
    error_type: str
    duration_s: float
    ttft_s: float | None
    prompt_tokens: int
    output_tokens: int

    @property
    def tpot_s(self) -> float | None:
        """Time per output token after the first; None where it is not defined."""
        if self.error_type or self.ttft_s is None or self.output_tokens < 2:
            return None
        return (self.duration_s - self.ttft_s) / (self.output_tokens - 1)


class _ThrottledSeconds(Collector):
    """A counter whose value the kernel keeps."""

    def __init__(self, read: Callable[[], float]) -> None:
        self._read = read

    def collect(self) -> Iterable[Metric]:
        yield CounterMetricFamily(
            "edge_cpu_throttled_seconds",
            "Seconds for which the CPU quota held this container back.",
            value=self._read(),
        )


class Metrics:
    """Every metric of the appliance.

    `registry` holds the figures; `exposed` is what a scrape reads: those and their aliases.
    """

    def __init__(self, model: str, *, aliases: Iterable[str] = ()) -> None:
        """`model` is the served model's name, the value of every model label."""
        _without_creation_times()
        self.registry = CollectorRegistry()
        self.exposed = CollectorRegistry()
        self.exposed.register(self.registry)
        self._model = model
        self._declare_requests()
        self._declare_engine()
        if "vllm" in aliases:
            self.exposed.register(VllmNames(self.registry, model))

    def answered(self, figures: Answered) -> None:
        """Account for a request that was let in and has ended."""
        labels = (figures.operation, self._model)
        self._duration.labels(*labels, figures.error_type).observe(figures.duration_s)
        self.requests.labels(figures.operation, figures.finish_reason, figures.code).inc()
        if figures.ttft_s is not None:
            self._ttft.labels(*labels).observe(figures.ttft_s)
        if figures.tpot_s is not None:
            self._tpot.labels(*labels).observe(figures.tpot_s)
        self._usage.labels(*labels, "input").observe(figures.prompt_tokens)
        self._usage.labels(*labels, "output").observe(figures.output_tokens)

    def refused(self, operation: str, code: int, reason: str = "") -> None:
        """Account for a request that was not let in; `reason` as the contract lists them."""
        self.requests.labels(operation, "error", code).inc()
        if reason:
            self.reject(reason)

    def reject(self, reason: str) -> None:
        """Count a request that got no place in the engine."""
        self._rejected.labels(reason).inc()

    def sequence_ended(
        self, *, queue_s: float, prefill_s: float | None, decode_s: float | None
    ) -> None:
        """Account for the stages of one sequence; None for a stage it did not finish."""
        self._queue_time.observe(queue_s)
        if prefill_s is not None:
            self._prefill_time.observe(prefill_s)
        if decode_s is not None:
            self._decode_time.observe(decode_s)

    def watch(
        self,
        *,
        running: Callable[[], float],
        waiting: Callable[[], float],
        kv_used: Callable[[], float],
        throttled_s: Callable[[], float],
    ) -> None:
        """Depths that are read when somebody scrapes."""
        self.running.set_function(running)
        self.waiting.set_function(waiting)
        self.kv_used.set_function(kv_used)
        self.registry.register(_ThrottledSeconds(throttled_s))

    def describe_model(self, facts: Mapping[str, str]) -> None:
        """Publish `edge_model_info`."""
        self._info.info(dict(facts))

    def _declare_requests(self) -> None:
        self._duration = self._histogram(
            "gen_ai_server_request_duration_seconds",
            "Time from the request's arrival to the end of its answer.",
            (*_OPERATION, "error_type"),
            DURATION_S,
        )
        self._ttft = self._histogram(
            "gen_ai_server_time_to_first_token_seconds",
            "Time from the request's arrival to its first token.",
            _OPERATION,
            TTFT_S,
        )
        self._tpot = self._histogram(
            "gen_ai_server_time_per_output_token_seconds",
            "Time per output token after the first, of successful requests.",
            _OPERATION,
            TPOT_S,
        )
        self._usage = self._histogram(
            "gen_ai_client_token_usage_tokens",
            "Tokens read and written by a request.",
            (*_OPERATION, "gen_ai_token_type"),
            TOKENS,
        )
        self.requests = Counter(
            "edge_requests",
            "Requests by their outcome.",
            ("operation", "finish_reason", "code"),
            registry=self.registry,
        )
        self._rejected = Counter(
            "edge_requests_rejected",
            "Requests that were not let in, by reason.",
            ("reason",),
            registry=self.registry,
        )
        self.running = self._gauge("edge_requests_running", "Sequences in the engine.")
        self.waiting = self._gauge("edge_requests_waiting", "Sequences that wait for a slot.")

    def _declare_engine(self) -> None:
        self.prompt_tokens = self._tokens("edge_prompt_tokens", "Prompt tokens computed.")
        self.generated_tokens = self._tokens("edge_generated_tokens", "Tokens sampled.")
        self.cached_tokens = self._tokens(
            "edge_cached_prompt_tokens", "Prompt tokens taken from the prefix cache."
        )
        self.discarded_tokens = self._tokens(
            "edge_discarded_tokens", "Tokens sampled after the caller had left."
        )
        self._queue_time = self._stage("edge_request_queue_seconds", "Wait for a slot.")
        self._prefill_time = self._stage(
            "edge_request_prefill_seconds", "From slot to first token."
        )
        self._decode_time = self._stage("edge_request_decode_seconds", "From first token to last.")
        self.cancel_latency = self._stage(
            "edge_cancel_latency_seconds", "From a cancel to the sequence's end."
        )
        self.kv_used = self._gauge("edge_kv_cache_used_bytes", "KV cache reserved by sequences.")
        self.kv_limit = self._gauge("edge_kv_cache_limit_bytes", "KV cache allowed in all.")
        self.batch_size = Histogram(
            "edge_batch_size", "Rows in a decode step.", buckets=ROWS, registry=self.registry
        )
        self.cpu_quota = self._gauge("edge_cpu_quota_cores", "Cores allowed by quota and affinity.")
        self.engine_threads = self._gauge("edge_engine_threads", "Threads that the engine uses.")
        self.ready = self._gauge("edge_ready", "1 once a token has come out of the model.")
        self.load_time = self._gauge("edge_model_load_seconds", "Time to load the model.")
        self._info = Info("edge_model", "The model that is served.", registry=self.registry)

    def _histogram(
        self, name: str, doc: str, labels: tuple[str, ...], bounds: tuple[float, ...]
    ) -> Histogram:
        return Histogram(name, doc, labels, buckets=bounds, registry=self.registry)

    def _stage(self, name: str, doc: str) -> Histogram:
        return self._histogram(name, doc, ("model",), DURATION_S).labels(self._model)

    def _tokens(self, name: str, doc: str) -> Counter:
        return Counter(name, doc, ("model",), registry=self.registry).labels(self._model)

    def _gauge(self, name: str, doc: str) -> Gauge:
        return Gauge(name, doc, registry=self.registry)


def _without_creation_times() -> None:
    switch: Callable[[], None] = disable_created_metrics
    switch()
