"""The only wiring: settings and a model in, a WSGI application out."""

from __future__ import annotations

import logging
import os
import sys
import threading
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from edge import __version__, config, loaders, loading, runtimes
from edge.bundle import Bundle, Manifest
from edge.config import Settings
from edge.engine import scripted
from edge.engine.scripted import Script
from edge.errors import Draining, StartupError
from edge.generation import Request
from edge.loaders import Loaded, Loader
from edge.metrics import Metrics
from edge.protocol import scoring_echo, scoring_request
from edge.protocol.scoring import Invocation
from edge.service import Backend, Service
from edge.web import failures, site
from edge.web.appliance import Appliance
from edge.web.departure import Departures

_log = logging.getLogger(__name__)
# gunicorn's status for an application that cannot be loaded: the arbiter gives up at once.
LOAD_FAILED = 4
_STOP_S = 2.0


@dataclass(frozen=True, slots=True)
class Served:
    """A model to serve: what is known of it now, and how to load it."""

    manifest: Manifest
    bundle_sha256: str
    load: Loader
    to_request: Callable[[Invocation, frozenset[str]], Request]


class App:
    """The appliance inside its worker process."""

    def __init__(self, settings: Settings, served: Served) -> None:
        self._settings = settings
        self._served = served
        self._metrics = Metrics(served.manifest.name, aliases=settings.metrics_aliases)
        self._service = Service(self._metrics, failures.status_of, log_prompts=settings.log_prompts)
        self._backend: Backend | None = None
        self._is_draining = False
        appliance = self._appliance()
        self._metrics.describe_model(_model_facts(appliance))
        keys = config.api_keys(settings)
        self.wsgi: Callable[..., Iterable[bytes]] = site.assemble(appliance, keys)

    @property
    def is_ready(self) -> bool:
        """Whether a token came out of the model and no shutdown has begun."""
        return self._backend is not None and not self._is_draining

    def start(self) -> None:
        """Load the model in the background, so that health checks are answered meanwhile."""
        threading.Thread(target=self._load, name="loading", daemon=True).start()

    def drain(self) -> None:
        """Take no new requests; end those that run when the drain time is over."""
        self._is_draining = True
        self._metrics.ready.set(0)
        if self._backend is not None:
            backend = self._backend
            threading.Thread(target=self._drain, args=[backend], daemon=True).start()

    def close(self) -> None:
        """End the engine's thread, so that no native call runs while the process exits."""
        if self._backend is not None:
            self._backend.queue.drain()
            self._backend.loop.abort(Draining("the appliance is shutting down"))
            self._backend.stop(_STOP_S)

    def _load(self) -> None:
        try:
            served = self._served
            backend = loading.start(
                served.load,
                served.manifest.generation,
                self._settings,
                self._metrics,
                served.manifest.system_prompts,
            )
            self._service.attach(backend)
            self._backend = backend
        except StartupError as error:
            for problem in error.problems:
                _log.error(problem)
        finally:
            # Whatever it was: an appliance that can never become ready must not stay up.
            if self._backend is None:
                _log.error("the model could not be loaded", exc_info=sys.exc_info()[0] is not None)
                logging.shutdown()
                os._exit(LOAD_FAILED)
        self._metrics.ready.set(self.is_ready)

    def _drain(self, backend: Backend) -> None:
        backend.queue.drain()
        time.sleep(self._settings.drain_s)
        backend.loop.abort(Draining("the appliance is shutting down"))

    def _engine(self) -> tuple[str, str]:
        backend = self._backend
        return (backend.engine_name, backend.engine_reason) if backend else ("", "")

    def _appliance(self) -> Appliance:
        served = self._served
        return Appliance(
            service=self._service,
            manifest=served.manifest,
            bundle_sha256=served.bundle_sha256,
            settings=self._settings,
            metrics=self._metrics,
            departures=Departures(),
            is_ready=lambda: self.is_ready,
            to_request=lambda call: served.to_request(call, self._service.special_tokens),
            engine=self._engine,
            versions=runtimes.versions(),
        )


def from_bundle(bundle: Bundle, settings: Settings) -> Served:
    """A bundle's model on the engine that runs it."""
    manifest = bundle.manifest
    return Served(
        manifest,
        bundle.sha256,
        loaders.loader(bundle, settings),
        lambda call, special: scoring_request.to_request(call, manifest, special),
    )


def from_script(script: Script) -> Served:
    """A scripted model."""
    manifest = scripted.manifest(script)
    return Served(
        manifest,
        "",
        lambda: Loaded(scripted.EchoEngine(), scripted.ByteTokenizer()),
        lambda call, special: scoring_echo.to_request(call, manifest, special),
    )


def _model_facts(appliance: Appliance) -> dict[str, str]:
    manifest, versions = appliance.manifest, appliance.versions
    return {
        "model": manifest.name,
        "version": manifest.lineage.model_version,
        "run_id": manifest.lineage.run_id,
        "bundle_sha256": appliance.bundle_sha256,
        "flavor": manifest.flavor,
        "quantization": manifest.quantization,
        "ort": versions["onnxruntime"],
        "genai": versions["onnxruntime-genai"],
        "phial": __version__,
    }
