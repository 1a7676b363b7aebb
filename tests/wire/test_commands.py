"""The commands besides `serve` as processes of their own, on the model in the box."""

from __future__ import annotations

import dataclasses
import json
import os
import pty
import re
import select
import shutil
import signal
import socket
import subprocess
import sys
import time

import pytest

from edge import __version__, bundle
from edge.commands import probe

from .test_footprint import children
from .traffic import Stream, eventually

TIMEOUT_S = 60
QUESTION = "What is the capital of Spain?"


@pytest.fixture
def edge(repository):
    """Run `python -m edge ARGUMENTS` to its end: exit status, standard output and error."""

    def run(*arguments, stdin="", **settings):
        variables = {f"EDGE_{name.upper()}": str(value) for name, value in settings.items()}
        found = subprocess.run(
            [sys.executable, "-m", "edge", *arguments],
            cwd=repository,
            env={**os.environ, "EDGE_PORT": "0", **variables},
            input=stdin,
            capture_output=True,
            text=True,
            timeout=TIMEOUT_S,
        )
        assert "Traceback" not in found.stderr + found.stdout
        return found.returncode, found.stdout, found.stderr

    return run


class Terminal:
    """A command on a terminal of its own; `screen` is what it has shown so far."""

    def __init__(self, arguments, folder, environment):
        self.screen = ""
        self.pid, self.master = pty.fork()
        if self.pid == 0:
            os.chdir(folder)
            os.execve(sys.executable, [sys.executable, *arguments], environment)

    def type(self, text):
        os.write(self.master, text.encode())

    def wait_for(self, pattern, since=0):
        """Read until `pattern` shows behind the place `since`; returns the end of the match."""
        deadline_s = time.monotonic() + TIMEOUT_S
        while True:
            found = re.compile(pattern).search(self.screen, since)
            if found:
                return found.end()
            assert time.monotonic() < deadline_s, self.screen
            if select.select([self.master], [], [], 1)[0]:
                self.screen += os.read(self.master, 1024).decode(errors="replace")

    def end(self):
        """The exit status, after everything was read."""
        deadline_s = time.monotonic() + TIMEOUT_S
        while time.monotonic() < deadline_s:
            try:
                self.screen += os.read(self.master, 65536).decode(errors="replace")
            except OSError:  # the other side is closed
                break
        _, status = os.waitpid(self.pid, 0)
        os.close(self.master)
        return os.waitstatus_to_exitcode(status)


@pytest.fixture
def terminal(repository):
    """Start `python -m edge ARGUMENTS` on a terminal; what still runs at the end is killed."""
    started = []

    def start(*arguments, **settings):
        variables = {f"EDGE_{name.upper()}": str(value) for name, value in settings.items()}
        environment = {**os.environ, "TERM": "dumb", **variables}
        started.append(Terminal(["-m", "edge", *arguments], repository, environment))
        return started[-1]

    yield start
    for one in started:
        try:
            ended, _ = os.waitpid(one.pid, os.WNOHANG)
        except ChildProcessError:
            continue
        if not ended:
            os.kill(one.pid, signal.SIGKILL)
            os.waitpid(one.pid, 0)
            os.close(one.master)


@pytest.fixture
def endless(model_bundle, tmp_path):
    """The demo model with an end token that it never says: its answers fill the context."""
    folder = shutil.copytree(model_bundle, tmp_path / "endless")
    manifest = bundle.peek(folder).manifest
    vocabulary = json.loads((folder / "model/genai_config.json").read_bytes())["model"]
    forever = dataclasses.replace(manifest, eos_ids=(vocabulary["vocab_size"] - 1,))
    (folder / "manifest.json").write_bytes(bundle.encode(forever))
    return folder


def test_version_as_json(edge, model_bundle):
    status, output, errors = edge("version", "--json", "--bundle", str(model_bundle))
    found = json.loads(output)
    assert (status, errors) == (0, "")
    assert found["phial"] == __version__
    assert found["model"]["registered_name"] == "demo"
    assert found["model"]["version"] == "1"
    assert found["runtimes"]["onnxruntime-genai"]
    assert found["bundle_sha256"] == bundle.peek(model_bundle).sha256


def test_a_command_that_is_none(edge):
    status, output, errors = edge("chatt")
    assert (status, output) == (2, "")
    assert "did you mean chat?" in errors


def test_doctor_on_a_good_bundle(edge, model_bundle):
    status, output, errors = edge("doctor", bundle=model_bundle)
    assert (status, errors) == (0, "")
    lines = output.splitlines()
    assert all(line.startswith(("ok ", "warn ")) for line in lines)
    assert any(re.match(r"ok +load +\d+\.\d\d s", line) for line in lines)
    speed = next(line for line in lines if line.split()[1] == "speed")
    assert float(re.search(r"([\d.]+) tokens/s", speed)[1]) > 0


def test_doctor_on_a_damaged_bundle(edge, model_bundle, tmp_path):
    folder = shutil.copytree(model_bundle, tmp_path / "damaged")
    path = folder / "model/model.onnx.data"
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    status, output, _ = edge("doctor", "--json", bundle=folder)
    assert status == 1
    (failed,) = [item for item in json.loads(output) if item["status"] == "fail"]
    assert failed["check"] == "bundle"
    assert "model/model.onnx.data" in failed["fact"]


def test_doctor_on_a_model_that_does_not_load(edge, model_bundle, tmp_path):
    """Whole by its digests, and still no model."""
    folder = shutil.copytree(model_bundle, tmp_path / "broken")
    (folder / "model/model.onnx").write_bytes(b"junk")
    manifest = bundle.peek(folder).manifest
    files = tuple(
        dataclasses.replace(file, size_bytes=4, sha256=bundle.sha256_of(folder / file.path))
        if file.path == "model/model.onnx"
        else file
        for file in manifest.files
    )
    changed = bundle.encode(dataclasses.replace(manifest, files=files))
    (folder / "manifest.json").write_bytes(changed)
    status, output, _ = edge("doctor", bundle=folder)
    assert status == 1
    assert re.search(r"^fail  load +model: the runtime cannot load it", output, re.MULTILINE)


def test_doctor_names_every_bad_setting(edge, model_bundle):
    status, output, _ = edge("doctor", "--quick", bundle=model_bundle, slots="x", prot=1)
    assert status == 1
    assert output.count("fail  settings") == 2


def test_doctor_beside_the_running_appliance(edge, model, model_bundle):
    status, output, _ = edge("doctor", "--quick", bundle=model_bundle, port=model.port)
    assert status == 0
    assert "an appliance is ready there" in output


def test_chat_answers_words(edge, model_bundle):
    status, output, errors = edge("chat", *QUESTION.split(), bundle=model_bundle)
    assert (status, errors) == (0, "")
    assert output == "The capital of Spain is Madrid.\n"


def test_chat_answers_a_pipe(edge, model_bundle):
    status, output, errors = edge("chat", stdin=QUESTION + "\n", bundle=model_bundle)
    assert (status, errors) == (0, "")
    assert "Madrid" in output


def test_chat_whose_reader_leaves(repository, endless):
    command = [sys.executable, "-m", "edge", "chat", "--bundle", str(endless), "--max-tokens"]
    with subprocess.Popen(
        [*command, "1500", QUESTION],
        cwd=repository,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    ) as process:
        assert process.stdout.read(1)
        process.stdout.close()
        errors = process.stderr.read().decode()
        assert process.wait(TIMEOUT_S) == 1
    assert "Traceback" not in errors
    assert "Exception" not in errors


def test_chat_in_a_terminal(terminal, model_bundle):
    screen = terminal("chat", "--bundle", str(model_bundle))
    place = screen.wait_for("> ")
    screen.type(QUESTION + "\n")
    place = screen.wait_for("Madrid", place)
    place = screen.wait_for("> ", place)
    screen.type("/reset\n")
    place = screen.wait_for("> ", place)
    screen.type("What is the capital of France?\n")
    place = screen.wait_for("Paris", place)
    screen.wait_for("> ", place)
    screen.type("\x04")
    assert screen.end() == 0


def test_ctrl_c_stops_the_answer_and_not_the_chat(terminal, endless):
    screen = terminal("chat", "--bundle", str(endless), "--max-tokens", "1900")
    place = screen.wait_for("> ")
    screen.type(QUESTION + "\n")
    # The terminal holds a few kilobytes: unread, the answer cannot be over yet.
    place = screen.wait_for("Madrid", place)
    screen.type("\x03")
    place = screen.wait_for(r"\^C", place)
    place = screen.wait_for("> ", place)
    screen.type("/reset\n")
    place = screen.wait_for("> ", place)
    screen.type(QUESTION + "\n")
    place = screen.wait_for("Madrid", place)
    screen.type("\x03")
    place = screen.wait_for(r"\n> ", place)
    time.sleep(0.5)  # the prompt shows just before readline waits for keys and signals
    screen.type("\x03")
    place = screen.wait_for(r"\n> ", place)
    screen.type("/exit\n")
    assert screen.end() == 0
    assert "Traceback" not in screen.screen
    assert "cut off" not in screen.screen


def test_ctrl_c_ends_a_single_answer(repository, endless):
    command = [sys.executable, "-m", "edge", "chat", "--bundle", str(endless), "--max-tokens"]
    with subprocess.Popen(
        [*command, "1900", QUESTION], cwd=repository, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as process:
        assert process.stdout.read(1)
        process.send_signal(signal.SIGINT)
        _, errors = process.communicate(timeout=TIMEOUT_S)
    assert process.returncode == 130
    assert errors == b""


def test_probe_of_a_ready_appliance(edge, echo):
    assert edge("probe", port=echo.port) == (0, "", "")
    assert edge("probe", port=echo.port, host="0.0.0.0") == (0, "", "")
    assert edge("probe", "--url", echo.url) == (0, "", "")


def test_probe_over_ipv6(edge, serve):
    served = serve("--scripted", "echo", await_ready=False, host="::")
    deadline_s = time.monotonic() + TIMEOUT_S
    while edge("probe", port=served.port, host="::")[0]:
        assert time.monotonic() < deadline_s, served.log
    assert edge("probe", port=served.port, host="::1") == (0, "", "")
    assert edge("probe", "--url", f"http://[::1]:{served.port}/livez") == (0, "", "")
    assert served.stop() == 0


def test_probe_of_an_appliance_that_is_not_ready(edge, serve):
    """It drains: one answer still goes on, and it takes no new requests."""
    served = serve("--scripted", "echo", drain_s=20)
    running = Stream(served, "/v1/completions", {"prompt": "x" * 500_000, "max_tokens": 500_000})
    next(running.events())
    assert edge("probe", port=served.port)[0] == 0
    served.process.terminate()
    eventually(lambda: edge("probe", port=served.port)[0] == 1)
    status, output, errors = edge("probe", port=served.port)
    assert (status, output) == (1, "")
    assert errors.startswith("phial: not ready: 127.0.0.1")
    running.close()
    assert served.stop() == 0


def test_probe_while_the_model_is_loaded(serve, model_bundle):
    served = serve("--bundle", str(model_bundle), await_ready=False)
    reasons = set()
    deadline_s = time.monotonic() + TIMEOUT_S
    while time.monotonic() < deadline_s:
        try:
            probe.ask("127.0.0.1", served.port, "/readyz")
            break
        except OSError as error:
            reasons.add(str(error).partition(" ")[2])
    probe.ask("127.0.0.1", served.port, "/readyz")
    known = ("Connection refused", "answered 503 SERVICE UNAVAILABLE: 'not ready'")
    assert reasons <= set(known)
    assert "Connection refused" in reasons
    assert served.stop() == 0


def test_probe_of_an_appliance_that_hangs(edge, serve):
    served = serve("--scripted", "echo")
    (worker,) = children(served.process.pid)
    os.kill(worker, signal.SIGSTOP)
    status, _, errors = edge("probe", port=served.port)
    os.kill(worker, signal.SIGCONT)
    assert (status, errors.count("\n")) == (1, 1)
    assert "no answer within 3 s" in errors
    eventually(lambda: edge("probe", port=served.port)[0] == 0)
    assert served.stop() == 0


def test_probe_of_another_route(edge, echo):
    status, output, errors = edge("probe", "--url", f"{echo.url}/no-such-route")
    assert (status, output) == (1, "")
    assert "/no-such-route answered 404 NOT FOUND" in errors


def test_probe_of_nobody(edge):
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        status, output, errors = edge("probe", port=unused.getsockname()[1])
    assert (status, output) == (1, "")
    assert len(errors.splitlines()) == 1
    assert "Connection refused" in errors


def test_probe_of_someone_who_says_nothing(edge):
    with socket.create_server(("127.0.0.1", 0)) as mute:
        began_s = time.monotonic()
        status, _, errors = edge("probe", port=mute.getsockname()[1])
    assert status == 1
    assert "no answer within 3 s" in errors
    assert 3 <= time.monotonic() - began_s < 20


def test_probe_imports_next_to_nothing(repository):
    """It runs every few seconds on the smallest machines."""
    program = (
        "import sys; sys.argv[1:] = ['probe']; import runpy; before = set(sys.modules)\n"
        "try: runpy.run_module('edge', run_name='__main__')\n"
        "except SystemExit: pass\n"
        "print(*sorted(set(sys.modules) - before))"
    )
    found = subprocess.run(
        [sys.executable, "-c", program],
        cwd=repository,
        env={**os.environ, "EDGE_PORT": "1"},
        capture_output=True,
        text=True,
        check=True,
        timeout=TIMEOUT_S,
    ).stdout.split()
    heavy = {"argparse", "http", "email", "ssl", "logging", "json", "asyncio", "numpy", "difflib"}
    assert heavy.isdisjoint(found)
    assert [name for name in found if name.startswith("edge.")] == [
        *("edge.commands", "edge.commands.probe", "edge.config", "edge.errors"),
        "edge.setting_values",
    ]
