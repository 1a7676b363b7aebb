"""Start an image, ask it over every door, stop it in the middle of work: `scripts/smoke`."""

from __future__ import annotations

import argparse
import http.client
import json
import sys
import threading
import time
from collections.abc import Callable, Sequence
from typing import Any

from scripts import container
from scripts.container import Container, NoContainer
from scripts.conversation import Conversation, NoAnswer

FAILED = 1
GRACE_S = 20  # more than the appliance takes to drain
_ANSWER_S = 120.0
_WORKERS = 3


class Broken(Exception):
    """The image did not do what it should; the text says what."""


def main(argv: Sequence[str] | None = None) -> int:
    """0 when every check held, 1 with the first that did not and the container's log."""
    words = list(sys.argv[1:] if argv is None else argv)
    end = words.index("--") if "--" in words else len(words)
    args, options = parser().parse_args(words[:end]), words[end + 1 :]
    try:
        tool = container.find(args.tool)
        platform = ["--platform", f"linux/{args.arch}"] if args.arch else []
        with container.running(tool, args.image, [*platform, *options]) as found:
            try:
                check(found, args)
            except (Broken, NoAnswer) as failure:
                print(f"smoke: {failure}\n--- log\n{found.logs()}", file=sys.stderr)
                return FAILED
    except NoContainer as failure:
        print(f"smoke: {failure}", file=sys.stderr)
        return FAILED
    print("smoke: all good")
    return 0


def parser() -> argparse.ArgumentParser:
    """The parser of the command line."""
    whole = argparse.ArgumentParser(
        prog="scripts/smoke", description=__doc__, epilog="What follows -- goes to `docker run`."
    )
    add = whole.add_argument
    add("image")
    add("--tool", choices=container.TOOLS, help="default: Docker where it runs, else podman")
    add("--arch", choices=("amd64", "arm64"), help="of an image that has several")
    add("--question", default="What is the capital of Spain?", help="(%(default)s)")
    add("--expect", default="Madrid", help="a word of the answer (%(default)s)")
    add("--ready-s", type=float, default=60.0, help="time until it must be ready (%(default)s)")
    return whole


def check(found: Container, args: argparse.Namespace) -> None:
    """Every check in turn; raises `Broken` or `NoAnswer`."""
    talk = Conversation("127.0.0.1", found.port)
    say(f"ready after {await_ready(talk, args.ready_s):.1f} s")
    expect(args.expect, "chat", talk.ask(args.question))
    expect(args.expect, "invocations", invoke(found.port, args.question))
    expect("gen_ai_server_request_duration_seconds_count", "metrics", scrape(found.port))
    found.exec("/usr/bin/python3", "-m", "edge", "probe")
    say("chat, invocations, metrics and probe answer")
    answered = drain(found, lambda: ask_whole(found.port, args.question))
    say(f"stopped in the middle of work: {answered} answers, none cut, exit status 0")


def say(text: str) -> None:
    """A line of progress."""
    print(f"smoke: {text}", flush=True)


def await_ready(talk: Conversation, most_s: float) -> float:
    """Seconds until `/readyz` said yes; raises `Broken`."""
    began_s = time.monotonic()
    while not talk.is_ready():
        if time.monotonic() - began_s > most_s:
            raise Broken(f"not ready after {most_s:g} s")
        time.sleep(0.05)
    return time.monotonic() - began_s


def expect(word: str, where: str, text: str) -> None:
    """Raises `Broken` where `word` is not in `text`."""
    if word not in text:
        raise Broken(f"{where} answered {text.strip()[:300]!r}, expected {word!r} in it")


def invoke(port: int, question: str) -> str:
    """The answer of MLflow's scoring route."""
    body = {"dataframe_records": [{"prompt": question}], "params": {"temperature": 0.0}}
    status, text = send(port, "POST", "/invocations", body)
    if status != http.HTTPStatus.OK:
        raise Broken(f"/invocations answered {status}: {text}")
    return text


def scrape(port: int) -> str:
    """The metrics."""
    return send(port, "GET", "/metrics")[1]


def ask_whole(port: int, question: str) -> bool:
    """A streamed chat: whether it was let in. Raises `Broken` where it was cut short."""
    message = {"role": "user", "content": question}
    body = {"messages": [message], "stream": True, "temperature": 0, "n": 4}
    status, text = send(port, "POST", "/v1/chat/completions", body)
    if status == http.HTTPStatus.SERVICE_UNAVAILABLE:
        return False
    if status != http.HTTPStatus.OK or not text.rstrip().endswith("data: [DONE]"):
        raise Broken(f"a stream ended with {status} and {text[-200:]!r}, expected [DONE]")
    return True


def drain(found: Container, ask: Callable[[], bool]) -> int:
    """Stop the container while it is asked without pause; returns the number of whole answers.

    Raises `Broken` for an answer that was cut or an exit status other than 0.
    """
    ended, faults, answered = threading.Event(), [], []

    def work() -> None:
        while not ended.is_set():
            try:
                answered.append(ask())
            except (ConnectionRefusedError, http.client.RemoteDisconnected, ConnectionResetError):
                return  # nobody listens any more: what was never let in is not lost
            except Broken as fault:
                faults.append(fault)
                return

    workers = [threading.Thread(target=work) for _ in range(_WORKERS)]
    for worker in workers:
        worker.start()
    while not any(answered) and not faults:
        time.sleep(0.01)
    status = found.stop(GRACE_S)
    ended.set()
    for worker in workers:
        worker.join(_ANSWER_S)
    if faults:
        raise faults[0]
    if status:
        raise Broken(f"it ended with status {status}, expected 0 after a drain")
    return sum(answered)


def send(port: int, method: str, path: str, body: dict[str, Any] | None = None) -> tuple[int, str]:
    """Status and text of one request on a connection of its own."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=_ANSWER_S)
    try:
        headers = {"Content-Type": "application/json"}
        connection.request(method, path, json.dumps(body) if body else None, headers)
        response = connection.getresponse()
        try:
            return response.status, response.read().decode()
        except (http.client.IncompleteRead, OSError) as error:
            raise Broken(f"{path}: the answer was cut: {error}") from error
    finally:
        connection.close()


if __name__ == "__main__":
    sys.exit(main())
