"""Questions to a scoring server and to OpenAI's API, answered by a stand-in for both."""

from __future__ import annotations

import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from tests.bench.client import Address, BadAnswer
from tests.bench.flavors.ask import CHAT, INVOCATIONS, Door, Prompts


class Handler(BaseHTTPRequestHandler):
    """Answers with as many tokens as were asked for, but for the prompt `short`."""

    bodies: list[tuple[str, dict]]

    def do_POST(self):
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self.bodies.append((self.path, body))
        text = body["messages"][0]["content"]
        tokens = body["max_tokens"] - (text == "short")
        answer = {"usage": {"prompt_tokens": len(text.split()), "completion_tokens": tokens}}
        whole = json.dumps([answer] if self.path == INVOCATIONS else answer).encode()
        self.send_response(500 if text == "boom" else 200)
        self.send_header("Content-Length", str(len(whole)))
        self.end_headers()
        self.wfile.write(whole)

    def log_message(self, *_):
        pass


@pytest.fixture
def asked():
    """The address of the stand-in, and what it was sent."""
    handler = type("Own", (Handler,), {"bodies": []})
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield Address("127.0.0.1", server.server_port), handler.bodies
        server.shutdown()
        thread.join()


@pytest.mark.parametrize("path", [CHAT, INVOCATIONS])
def test_both_doors_count_alike(asked, path):
    address, bodies = asked
    answer = Door(address, path).ask("one two three", 5)
    assert answer.prompt_tokens == 3
    assert answer.spent_s > 0
    ((asked_path, body),) = bodies
    assert (asked_path, body["max_tokens"]) == (path, 5)
    assert body.get("temperature") == (0 if path == CHAT else None)


@pytest.mark.parametrize(("prompt", "reason"), [("short", "expected 5"), ("boom", "500 of")])
def test_another_number_of_tokens_is_no_measurement(asked, prompt, reason):
    with pytest.raises(BadAnswer, match=reason):
        Door(asked[0], CHAT).ask(prompt, 5)


def test_prompts_are_asked_at_the_same_time(asked):
    address, bodies = asked
    assert Door(address, INVOCATIONS).together(["a", "b", "c"], 2) > 0
    assert sorted(body["messages"][0]["content"] for _, body in bodies) == ["a", "b", "c"]


def test_prompts_are_new_each_time_and_about_as_long(repository):
    from tokenizers import Tokenizer

    folder = repository / "build" / "demo" / "weights"
    prompts = Prompts(folder)
    texts = [prompts.draw(64) for _ in range(5)]
    assert len(set(texts)) == 5
    count = Tokenizer.from_file(str(folder / "tokenizer.json")).encode
    assert all(32 <= len(count(text).ids) <= 80 for text in texts)
