"""An appliance without a socket: the real service, scheduler and scripted engine in one process."""

from __future__ import annotations

from dataclasses import replace

import flask
import pytest

from edge import service
from edge.admission import Rules
from edge.bundle import Lineage
from edge.config import Settings
from edge.engine import scripted
from edge.engine.scripted import ByteTokenizer, EchoEngine
from edge.metrics import Metrics
from edge.scheduler.loop import Loop
from edge.scheduler.queue import Queue
from edge.web import failures, openai
from edge.web.appliance import Appliance
from edge.web.departure import Departures

MANIFEST = replace(
    scripted.manifest("echo"),
    name="phi3",
    lineage=Lineage(model_name="phi3", model_version="3", alias="champion"),
)
CHAT, TEXT = "/v1/chat/completions", "/v1/completions"


class Watches(Departures):
    """Counts the watches that have not ended; there is no socket to watch here."""

    def __init__(self):
        self.open = 0

    def start(self, on_leave):
        self.open += 1
        return self._end_one

    def _end_one(self):
        self.open -= 1


class Bench:
    """An appliance whose parts a test can reach."""

    def __init__(self, engine=None, *, queue=32, slots=4, is_attached=True, settings=None):
        self.engine = engine or EchoEngine()
        self.metrics = Metrics("phi3")
        self.queue = Queue(queue)
        self.loop = Loop(self.engine, self.queue, self.metrics, slots=slots, kv_limit_bytes=1 << 40)
        self.service = service.Service(self.metrics, failures.status_of)
        if is_attached:
            self.attach()
        self.departures = Watches()
        self.app = self._app(settings or Settings())

    def attach(self):
        rules = Rules(
            tokenizer=ByteTokenizer(),
            limits=self.engine.limits,
            defaults=MANIFEST.generation,
            kv_limit_bytes=1 << 40,
            max_rows=16,
            deadline_s=30.0,
        )
        self.loop.start()
        self.service.attach(service.Backend(rules, self.queue, self.loop))

    def post(self, path, body, **options):
        options.setdefault("json", body)
        return self.app.test_client().post(path, **options)

    def chat(self, text="Hello", **body):
        return self.post(CHAT, {"messages": [{"role": "user", "content": text}], **body})

    def complete(self, prompt="Hello", **body):
        return self.post(TEXT, {"prompt": prompt, **body})

    def counted(self):
        """(operation, code) of every request that was counted."""
        return [
            (sample.labels["operation"], sample.labels["code"])
            for metric in self.metrics.registry.collect()
            for sample in metric.samples
            if sample.name == "edge_requests_total"
            for _ in range(int(sample.value))
        ]

    def _app(self, settings):
        app = flask.Flask(__name__)

        @app.before_request
        def name():
            flask.g.request_id = "req-1"

        app.register_blueprint(
            openai.blueprint(
                Appliance(
                    service=self.service,
                    manifest=MANIFEST,
                    bundle_sha256="0123456789abcdef",
                    settings=settings,
                    metrics=self.metrics,
                    departures=self.departures,
                    is_ready=lambda: True,
                    to_request=lambda invocation: pytest.fail("not for this API"),
                    versions={},
                    engine=lambda: ("scripted", "the test says so"),
                )
            )
        )
        return app


@pytest.fixture
def bench():
    made = []

    def make(*args, **options):
        made.append(Bench(*args, **options))
        return made[-1]

    yield make
    for one in made:
        one.queue.close()
