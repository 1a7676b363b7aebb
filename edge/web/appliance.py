"""What the routes need to know, wired once in `edge/app.py`."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from edge.bundle import Manifest
from edge.config import Settings
from edge.generation import Request
from edge.metrics import Metrics
from edge.protocol.scoring import Invocation
from edge.service import Generator
from edge.web.departure import Departures


@dataclass(frozen=True, slots=True)
class Appliance:
    """The served model and the machinery behind it.

    `is_ready` is true once a token came out of the model; `to_request` maps an MLflow
    invocation onto a request; `versions` names the runtimes' versions;
    `engine` tells the engine's name and why it is this one, both empty before it is loaded.
    """

    service: Generator
    manifest: Manifest
    bundle_sha256: str
    settings: Settings
    metrics: Metrics
    departures: Departures
    is_ready: Callable[[], bool]
    to_request: Callable[[Invocation], Request]
    versions: Mapping[str, str]
    engine: Callable[[], tuple[str, str]]
