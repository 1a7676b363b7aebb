"""The model in this very process: loaded through the appliance's own door, without HTTP."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from edge import loaders, loading
from edge.bundle import Bundle
from edge.config import Settings
from edge.errors import Draining, EdgeError
from edge.metrics import Metrics
from edge.service import Backend, Service

_STOP_S = 2.0


@dataclass(frozen=True, slots=True)
class Local:
    """A loaded model; `load_s` is the load alone, `warm_up_s` what came until the first token."""

    service: Service
    backend: Backend
    load_s: float
    warm_up_s: float


@contextmanager
def loaded(bundle: Bundle, settings: Settings) -> Iterator[Local]:
    """Load the model of `bundle`, and end its engine afterwards. Raises `StartupError`."""
    metrics = Metrics(bundle.manifest.name)
    loader = loaders.loader(bundle, settings)
    began_s = time.monotonic()
    backend = loading.start(loader, bundle.manifest.generation, settings, metrics)
    started_s = time.monotonic() - began_s
    load_s = metrics.registry.get_sample_value("edge_model_load_seconds") or 0.0
    service = Service(metrics, _no_status)
    service.attach(backend)
    try:
        yield Local(service, backend, load_s, started_s - load_s)
    finally:
        # A native call that runs while the process exits would take it down.
        backend.queue.drain()
        backend.loop.abort(Draining("the command ends"))
        backend.stop(_STOP_S)


def _no_status(_: EdgeError) -> int:
    """There is no HTTP, and nobody reads the metrics: every failure counts alike."""
    return 500
