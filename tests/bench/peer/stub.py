"""A stand-in for llama.cpp's server: it answers as that does, with made-up tokens.

`python -m tests.bench.peer.stub --host H --port P ...`; options that it does not know are kept
for `/props`, as the only trace of what it was started with.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

STEP_S = 0.002


class Handler(BaseHTTPRequestHandler):
    """Streams as many events as tokens are asked for."""

    protocol_version = "HTTP/1.1"
    wbufsize = -1  # a head and its body leave together

    def do_GET(self):
        self._whole(200 if self.path in ("/health", "/props") else 404, sys.argv)

    def do_POST(self):
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        if self.path != "/v1/completions" or not body.get("ignore_eos"):
            return self._whole(400, {"error": "expected an endless completion"})
        self.send_response(200)
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        for number in range(body["max_tokens"]):
            time.sleep(STEP_S)
            self._event({"choices": [{"text": f" {number}", "finish_reason": None}]})
        self._event({"choices": [], "usage": self._usage(body)})
        self._chunk(b"data: [DONE]\n\n")
        self._chunk(b"")

    def _usage(self, body):
        known = {"cached_tokens": len(body["prompt"]) - 1}
        return {"completion_tokens": body["max_tokens"], "prompt_tokens_details": known}

    def _event(self, data):
        self._chunk(f"data: {json.dumps(data)}\n\n".encode())

    def _chunk(self, data):
        self.wfile.write(f"{len(data):x}\r\n".encode() + data + b"\r\n")
        self.wfile.flush()

    def _whole(self, status, answer):
        text = json.dumps(answer).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        self.wfile.write(text)

    def log_message(self, *_):
        pass


def install(program: Path, root: Path) -> Path:
    """Write a program that is this stub; `root` is the checkout."""
    program.parent.mkdir(parents=True, exist_ok=True)
    program.write_text(
        f'#!/bin/sh\ncd {root} && exec {sys.executable} -m tests.bench.peer.stub "$@"\n'
    )
    program.chmod(0o755)
    return program


def main() -> None:
    """Serve until killed."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--host")
    parser.add_argument("--port", type=int)
    known, _ = parser.parse_known_args()
    ThreadingHTTPServer((known.host, known.port), Handler).serve_forever()


if __name__ == "__main__":
    main()
