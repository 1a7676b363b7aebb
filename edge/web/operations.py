"""Routes for those who run the appliance: livez, readyz, metrics, version."""

from __future__ import annotations

from collections.abc import Callable

import flask
from prometheus_client.exposition import choose_encoder
from prometheus_client.openmetrics import exposition as openmetrics

from edge import __version__
from edge.metrics import Metrics
from edge.web.appliance import Appliance

# Who logged the model stands in the bundle; it is not for everyone who can reach the port.
_PERSONAL = "mlflow.user"


def blueprint(appliance: Appliance) -> flask.Blueprint:
    """`GET /livez`, `/readyz`, `/metrics` and `/v1/version`."""
    routes = flask.Blueprint("operations", __name__)

    @routes.get("/livez")
    def livez() -> flask.Response:
        return flask.Response("ok\n", content_type="text/plain; charset=utf-8")

    @routes.get("/readyz")
    def readyz() -> flask.Response:
        if appliance.is_ready():
            return flask.Response("ok\n", content_type="text/plain; charset=utf-8")
        return flask.Response(
            "not ready\n",
            503,
            headers={"Retry-After": "1"},
            content_type="text/plain; charset=utf-8",
        )

    @routes.get("/metrics")
    def metrics() -> flask.Response:
        body, content_type = _exposition(appliance.metrics)
        return flask.Response(body, content_type=content_type)

    @routes.get("/v1/version")
    def version() -> flask.Response:
        return flask.jsonify(describe(appliance))

    return routes


def _exposition(metrics: Metrics) -> tuple[bytes, str]:
    """The metrics as the scraper wants them, in OpenMetrics or the Prometheus text format."""
    encode, content_type = choose_encoder(flask.request.headers.get("Accept", ""))
    if not content_type.startswith("application/openmetrics-text"):
        return encode(metrics.exposed), content_type
    # The library's default escaping would turn the colons of counters into underscores.
    write: Callable[..., bytes] = openmetrics.generate_latest
    text = write(metrics.exposed, escaping=openmetrics.ALLOWUTF8)
    return text, openmetrics.CONTENT_TYPE_LATEST


def describe(appliance: Appliance) -> dict[str, object]:
    """What runs here: Phial's version, the model's lineage and the runtimes."""
    manifest = appliance.manifest
    lineage = manifest.lineage
    return {
        "phial": __version__,
        "model": {
            "name": manifest.name,
            "flavor": manifest.flavor,
            "type": manifest.model_type,
            "quantization": manifest.quantization,
            "context_length": manifest.context_length,
            "registered_name": lineage.model_name,
            "version": lineage.model_version,
            "alias": lineage.alias,
            "model_id": lineage.model_id,
            "run_id": lineage.run_id,
            "experiment": lineage.experiment_name,
            "source_uri": lineage.source_uri,
            "tags": {name: value for name, value in lineage.tags.items() if name != _PERSONAL},
        },
        "bundle_sha256": appliance.bundle_sha256,
        "engine": dict(zip(("name", "reason"), appliance.engine(), strict=True)),
        "runtimes": dict(appliance.versions),
        "exported_with": dict(manifest.libraries),
    }
