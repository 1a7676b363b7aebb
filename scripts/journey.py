"""The whole way of one model: log, register, export, serve, ask. `scripts/run` starts this.

Each step is a process of its own; all but the first are the commands that a user would type
(`python -m build export`, `python -m edge`). What they leave lies in one state folder.
"""

from __future__ import annotations

import argparse
import os
import shlex
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import FrameType

from scripts.conversation import Conversation, NoAnswer
from scripts.enroll import DEMOS

ROOT = Path(__file__).resolve().parent.parent
STARTED = time.monotonic()
FAILED, INTERRUPTED = 1, 130


class Failed(Exception):
    """A step failed; the text is for the user."""


def main(argv: Sequence[str] | None = None) -> int:
    """Run the steps: 0 after a drained end, 1 when one failed, 130 interrupted before serving."""
    args = parser().parse_args(argv)
    for number in (signal.SIGINT, signal.SIGTERM):  # a shell starts background jobs deaf to SIGINT
        signal.signal(number, interrupt)
    try:
        port = claim_port(args.host, args.port)
        state = args.state.resolve()
        state.mkdir(parents=True, exist_ok=True)
        own = (args.uri, dict(os.environ))
        uri, environment = own if args.uri else enroll(state, args.flavor)
        bundle = export(uri, state / "bundle", environment)
        return serve(bundle, args.host, port, state / "appliance.log", args)
    except Failed as failure:
        print(f"run: {failure}", file=sys.stderr)
        return FAILED
    except KeyboardInterrupt:
        print("run: interrupted", file=sys.stderr)
        return INTERRUPTED


def parser() -> argparse.ArgumentParser:
    """The parser of the command line."""
    whole = argparse.ArgumentParser(
        prog="scripts/run", description="Export a model from MLflow, serve it and ask it something."
    )
    add = whole.add_argument
    add(
        "uri",
        nargs="?",
        help="models:/NAME/VERSION, models:/NAME@ALIAS, runs:/ID/NAME or a folder, in the store "
        "that MLFLOW_TRACKING_URI names; without it, the demo model through a store of its own",
    )
    about = "of the demo model; pipeline: its torch weights, by transformers (%(default)s)"
    add("--flavor", choices=tuple(DEMOS), default="onnx", help=about)
    add("--once", action="store_true", help="stop after the answer, exit 0")
    add("--host", default="127.0.0.1", help="address to listen on (%(default)s)")
    add("--port", type=int, default=8080, help="0 takes a free one (%(default)s)")
    add("--question", default="What is the capital of Spain?", help="(%(default)s)")
    add(
        "--state",
        type=Path,
        default=ROOT / ".phial",
        metavar="DIR",
        help="where the store, the bundle and the log go (.phial in the checkout)",
    )
    return whole


def interrupt(signum: int, frame: FrameType | None) -> None:
    """SIGTERM ends the run as Ctrl-C does, also where Python left SIGINT ignored."""
    raise KeyboardInterrupt


def say(text: str) -> None:
    """One line of progress, with the seconds since the start."""
    print(f"[{time.monotonic() - STARTED:5.1f} s] {text}", flush=True)


def claim_port(host: str, port: int) -> int:
    """The port to listen on; raises `Failed` when it cannot be had."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except (OSError, OverflowError) as error:
            reason = getattr(error, "strerror", None) or error
            raise Failed(
                f"cannot listen on {host} port {port}: {reason}. "
                "Pass another --port, or --port 0 for a free one."
            ) from None
        return int(probe.getsockname()[1])


def enroll(state: Path, flavor: str) -> tuple[str, Mapping[str, str]]:
    """Register the demo model, as an ONNX model or a pipeline, in a store in `state`.

    Returns its URI and the environment in which that URI means something.
    """
    environment = {**os.environ, "MLFLOW_TRACKING_URI": f"sqlite:///{state / 'mlflow.db'}"}
    environment.pop("MLFLOW_REGISTRY_URI", None)
    step([sys.executable, "-m", "scripts.enroll", flavor], environment, state)
    return DEMOS[flavor].uri, environment


def export(uri: str, bundle: Path, environment: Mapping[str, str]) -> Path:
    """Export `uri` to the folder `bundle`; returns it."""
    step(
        [sys.executable, "-m", "build", "export", uri, "--out", str(bundle), "--force"], environment
    )
    return bundle


def step(command: Sequence[str], environment: Mapping[str, str], cwd: Path | None = None) -> None:
    """Run one command to its end; raises `Failed` naming it."""
    shown = shlex.join(["python", *command[1:]])
    say(shown)
    status = subprocess.run(command, env=environment, cwd=cwd, check=False).returncode
    if status:
        raise Failed(f"`{shown}` failed with status {status}")


def serve(bundle: Path, host: str, port: int, log: Path, args: argparse.Namespace) -> int:
    """Serve `bundle`, ask, and stay until interrupted; returns 0 after a drained end."""
    environment = {**os.environ, "EDGE_HOST": host, "EDGE_PORT": str(port)}
    say(f"python -m edge --bundle {bundle}  (log: {log})")
    with log.open("wb") as sink:
        appliance = subprocess.Popen(
            [sys.executable, "-m", "edge", "--bundle", str(bundle)],
            env=environment,
            stdout=sink,
            stderr=subprocess.STDOUT,
            start_new_session=True,  # Ctrl-C is for us: the appliance gets SIGTERM, and drains
        )
    try:
        talk(Conversation(host, port), appliance, args.question, log)
        if not args.once:
            print("\nCtrl-C stops it.", flush=True)
            raise Failed(f"the appliance ended by itself (status {appliance.wait()}); see {log}")
    except KeyboardInterrupt:
        print(flush=True)
        say("stopping: running requests may finish")
    finally:
        status = stop(appliance)
    if status:
        raise Failed(f"the appliance ended with status {status}; see {log}")
    return 0


def talk(
    conversation: Conversation, appliance: subprocess.Popen[bytes], question: str, log: Path
) -> None:
    """Wait until the appliance is ready, ask `question`, print the answer and the addresses."""
    while not conversation.is_ready():
        if appliance.poll() is not None:
            tail = "\n".join(log.read_text(errors="replace").splitlines()[-20:])
            raise Failed(f"the appliance did not start (status {appliance.returncode}):\n{tail}")
        time.sleep(0.05)
    say("ready")
    try:
        print(conversation.ask(question), flush=True)
    except NoAnswer as failure:
        raise Failed(f"{failure}; see {log}") from None
    print(conversation.addresses(question), flush=True)


def stop(appliance: subprocess.Popen[bytes]) -> int:
    """Let the appliance drain; a second interrupt kills it. Returns its exit status."""
    try:
        appliance.terminate()
        return appliance.wait()
    except KeyboardInterrupt:
        appliance.kill()
        return appliance.wait()


if __name__ == "__main__":
    sys.exit(main())
