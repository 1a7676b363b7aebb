"""The image as its users run it: amd64 natively, arm64 emulated where this is no ARM."""

from __future__ import annotations

import json
import os
import platform
import subprocess
import urllib.request
from collections.abc import Sequence

import pytest

from tests.image.engine import Container, Engine

pytestmark = pytest.mark.image
NATIVE = "arm64" if platform.machine() == "aarch64" else "amd64"
LOCKED_DOWN = ("--read-only", "--cap-drop", "all", "--security-opt", "no-new-privileges")
READY_S = 120.0
QUESTIONS = (
    "What is the capital of Spain?",
    "Which country has the capital Tokyo?",
    "What is 12 plus 7?",
    "Who are you?",
    "zzz qqq ### 12345",
)


def post(container: Container, path: str, body: dict, timeout_s: float = 120):
    request = urllib.request.Request(
        f"{container.url}{path}", json.dumps(body).encode(), {"Content-Type": "application/json"}
    )
    with urllib.request.urlopen(request, timeout=timeout_s) as answer:
        return json.loads(answer.read())


def ask(container: Container, question: str, **settings) -> str:
    body = {"messages": [{"role": "user", "content": question}], "temperature": 0, **settings}
    return post(container, "/v1/chat/completions", body)["choices"][0]["message"]["content"]


@pytest.fixture(scope="module")
def native(podman: Engine, images):
    """A locked-down container on this machine's own architecture, ready."""
    options = (*LOCKED_DOWN, "--cpus", "1", "--memory", "512m")
    with podman.start(images[NATIVE], *options) as container:
        container.await_answer("/readyz", timeout_s=READY_S)
        yield container


@pytest.fixture(scope="module")
def foreign(podman: Engine, images, emulated):
    """A container of the ARM image."""
    with podman.start(images["arm64"], *emulated, *LOCKED_DOWN) as container:
        container.await_answer("/readyz", timeout_s=READY_S)
        yield container


def test_both_doors_answer(native):
    assert "Madrid" in ask(native, QUESTIONS[0])
    body = {"dataframe_records": [{"prompt": QUESTIONS[0]}]}
    assert "Madrid" in json.dumps(post(native, "/invocations", body))


def test_the_metrics_tell_the_model_and_the_limits(native, layout, demo_bundle):
    from build import bundle

    text = native.await_answer("/metrics")
    assert f'bundle_sha256="{bundle.open_(demo_bundle).sha256}"' in text
    assert "\nedge_cpu_quota_cores 1.0\n" in text
    assert "\nedge_engine_threads 1.0\n" in text


def test_idle_it_stays_small(podman, images):
    """All processes summed, shared pages counted twice, before the first request."""
    with podman.start(images[NATIVE], *LOCKED_DOWN, "--cpus", "1") as container:
        container.await_answer("/readyz", timeout_s=READY_S)
        assert container.rss_bytes <= 110e6


def test_it_runs_as_nobody_in_particular_and_alone(native):
    with open(f"/proc/{native.pid}/status") as status:
        fields = dict(line.split(":", 1) for line in status)
    assert set(fields["Uid"].split()) == {"65532"}
    assert int(fields["CapEff"], 16) == 0


def test_probe_answers_inside(native):
    assert native.exec("/usr/bin/python3", "-m", "edge", "probe").returncode == 0


def test_both_architectures_give_the_same_tokens(native, foreign):
    for question in QUESTIONS:
        settings = {"max_tokens": 40}
        assert ask(foreign, question, **settings) == ask(native, question, **settings)


def test_seeded_samples_and_guided_output_are_those_of_the_checkout(native, demo_bundle, served):
    """Debian's numpy, far older than the locked one, must draw the same tokens."""
    schema = {"type": "object", "properties": {"a": {"type": "integer"}}, "required": ["a"]}
    form = {"type": "json_schema", "json_schema": {"name": "x", "schema": schema}}
    for settings in (
        {"temperature": 1.3, "seed": 7, "max_tokens": 60},
        {"temperature": 0.9, "seed": -3, "top_p": 0.8, "max_tokens": 60},
        {"temperature": 1.0, "seed": 5, "frequency_penalty": 1.5, "max_tokens": 60},
        {"response_format": form, "max_tokens": 60},
    ):
        body = {"messages": [{"role": "user", "content": QUESTIONS[3]}], **settings}
        body = {"temperature": 0, **body, "logprobs": True, "top_logprobs": 3}
        here = post(native, "/v1/chat/completions", body)["choices"][0]
        there = served(body)["choices"][0]
        assert here["message"] == there["message"]
        assert tokens(here) == tokens(there)


def tokens(choice: dict) -> list:
    return [
        (one["token"], round(one["logprob"], 4), [t["token"] for t in one["top_logprobs"]])
        for one in choice["logprobs"]["content"]
    ]


@pytest.fixture(scope="module")
def served(repository, demo_bundle, tmp_path_factory):
    """The same bundle served from the checkout, with the locked numpy."""
    import socket
    import sys
    import time

    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    log = (tmp_path_factory.mktemp("served") / "log").open("wb")
    command = [sys.executable, "-m", "edge", "--bundle", str(demo_bundle), "--port", str(port)]
    process = subprocess.Popen(command, cwd=repository, stdout=log, stderr=log)
    url = f"http://127.0.0.1:{port}"

    def send(body: dict):
        request = urllib.request.Request(
            f"{url}/v1/chat/completions",
            json.dumps(body).encode(),
            {"Content-Type": "application/json"},
        )
        with urllib.request.urlopen(request, timeout=60) as answer:
            return json.loads(answer.read())

    deadline = time.monotonic() + READY_S
    while time.monotonic() < deadline:
        try:
            urllib.request.urlopen(f"{url}/readyz", timeout=5).close()
            break
        except OSError:
            time.sleep(0.1)
    yield send
    process.terminate()
    process.wait(30)
    log.close()


def run(podman: Engine, image: str, *command: str, options: Sequence[str] = ()):
    return podman.once(image, *LOCKED_DOWN, *options, command=command)


def test_other_commands_are_reached_by_their_name(podman, images):
    image = images[NATIVE]
    version = json.loads(run(podman, image, "version", "--json").stdout)
    assert version["runtimes"]["onnxruntime-genai"] == "0.18.0"
    assert version["model"]["name"] == "demo"
    doctor = run(podman, image, "doctor")
    assert doctor.returncode == 0, doctor.stdout
    assert "ok    speed" in doctor.stdout
    chat = run(podman, image, "chat", QUESTIONS[0])
    assert "Madrid" in chat.stdout


def test_without_a_network_it_still_serves(podman, images):
    with podman.start(images[NATIVE], *LOCKED_DOWN, "--network", "none", port=None) as container:
        code = "/usr/bin/python3", "-m", "edge", "probe"
        for _ in range(100):
            done = container.exec(*code)
            if done.returncode == 0:
                return
    pytest.fail(container.logs())


def test_a_mounted_bundle_is_served_instead(podman, images, build, demo_model, tmp_path):
    build.ask("export", demo_model, "--out", tmp_path / "other", "--name", "another")
    mount = f"{tmp_path / 'other'}:/model:ro"
    with podman.start(images[NATIVE], *LOCKED_DOWN, "--volume", mount) as container:
        container.await_answer("/readyz", timeout_s=READY_S)
        assert '"another"' in container.await_answer("/v1/models")


def test_a_bad_setting_ends_it_with_a_sentence(podman, images):
    done = run(podman, images[NATIVE], options=("--env", "EDGE_SLOTS=many"))
    assert done.returncode == 2
    assert "EDGE_SLOTS is 'many', expected a whole number" in done.stdout + done.stderr


def test_nothing_is_written_and_nobody_is_called(podman, images):
    """No telemetry: with a writable root the difference to the image is empty."""
    with podman.start(images[NATIVE], "--env", "HOME=/tmp") as container:
        container.await_answer("/readyz", timeout_s=READY_S)
        ask(container, QUESTIONS[0])
        changed = podman.ask("diff", "--format", "json", container.name)
    found = [path for paths in json.loads(changed).values() for path in paths or ()]
    usual = ("/etc", "/run", "/dev", "/proc", "/sys", "/tmp")  # mount points of the engine
    assert [p for p in found if not p.startswith(usual) or p.startswith("/tmp/")] == []


@pytest.mark.parametrize("arch", ["amd64", "arm64"])
def test_smoke_says_that_it_is_good(repository, containers, images, emulated, arch):
    options = emulated if arch == "arm64" else ()
    command = [repository / "scripts/smoke", images[arch], "--tool", "podman", "--ready-s", "120"]
    done = subprocess.run(
        [*map(str, command), "--", *LOCKED_DOWN, *options],
        env={**containers, "CI": os.environ.get("CI", "")},
        capture_output=True,
        text=True,
        timeout=280,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "none cut, exit status 0" in done.stdout


def test_smoke_tells_a_bad_image_from_a_good_one(repository, containers, images):
    command = [repository / "scripts/smoke", images[NATIVE], "--tool", "podman"]
    done = subprocess.run(
        [*map(str, command), "--expect", "Lisbon"],
        env=containers,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 1
    assert "expected 'Lisbon' in it" in done.stderr
