"""LoRA adapters over the wire: the model's name chooses, with the official client.

The bundle is the factory's own; the judge is onnxruntime-genai with its adapters.
"""

from __future__ import annotations

import dataclasses
import json
import shutil
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import onnxruntime_genai as og
import openai
import pytest
from openai import OpenAI

from edge import bundle, loaders, tensors
from edge.config import Settings
from edge.engine.decoder import graph
from edge.errors import StartupError
from tests import adapting
from tests.wire.conftest import Serve, Served

NAMES = ("demo", "demo:pirate", "demo:poet")
PROMPTS = ("The capital of Spain is", "Once upon a time", "a", "What is 12 plus 7?")
TOKENS = 20


@pytest.fixture(scope="module")
def adapted(demo_model: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The demo model with LoRA inputs, and two adapters."""
    return adapting.copy(demo_model, tmp_path_factory.mktemp("adapted") / "model")


@pytest.fixture(scope="module")
def sealed(adapted: Path, repository: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Its bundle, as the factory writes it."""
    out = tmp_path_factory.mktemp("sealed") / "bundle"
    flags = [f"--adapter={name}={name}.onnx_adapter" for name in adapting.NAMES]
    command = ["-m", "build", "export", str(adapted), "--out", str(out), "--name", "demo"]
    subprocess.run([sys.executable, *command, *flags], cwd=repository, check=True)
    return out


@pytest.fixture(scope="module")
def served(serve: Serve, sealed: Path) -> Served:
    return serve("--bundle", str(sealed))


@pytest.fixture(scope="module")
def client(served: Served) -> Iterator[OpenAI]:
    with OpenAI(base_url=f"{served.url}/v1", api_key="none", max_retries=0) as one:
        yield one


@pytest.fixture(scope="module")
def expected(adapted: Path) -> dict[tuple[str, str], str]:
    """The greedy text for each name and prompt, by onnxruntime-genai."""
    model = og.Model(str(adapted))
    adapters = og.Adapters(model)
    for name in adapting.NAMES:
        adapters.load(str(adapted / f"{name}.onnx_adapter"), name)
    tokenizer = og.Tokenizer(model)
    found = {}
    for name in NAMES:
        for prompt in PROMPTS:
            ids = tokenizer.encode(prompt)
            params = og.GeneratorParams(model)
            params.set_search_options(max_length=len(ids) + TOKENS, do_sample=False)
            generator = og.Generator(model, params)
            if ":" in name:
                generator.set_active_adapter(adapters, name.split(":")[1])
            generator.append_tokens(ids)
            while not generator.is_done():
                generator.generate_next_token()
            found[name, prompt] = tokenizer.decode(generator.get_sequence(0)[len(ids) :])
    return found


def ask(client: OpenAI, name: str, prompt: str) -> str:
    answer = client.completions.create(model=name, prompt=prompt, temperature=0, max_tokens=TOKENS)
    assert answer.model == name
    return answer.choices[0].text


def cached(client: OpenAI, name: str, prompt: list[int]) -> int:
    usage = client.completions.create(model=name, prompt=prompt, max_tokens=2, temperature=0).usage
    assert usage is not None
    assert usage.prompt_tokens_details is not None
    return usage.prompt_tokens_details.cached_tokens or 0


def test_each_name_answers_as_its_adapter(client, expected):
    for prompt in PROMPTS:
        answers = {name: ask(client, name, prompt) for name in NAMES}
        assert answers == {name: expected[name, prompt] for name in NAMES}
    assert len({expected[name, PROMPTS[0]] for name in NAMES}) == len(NAMES)


def test_many_at_once_get_what_each_gets_alone(client, expected):
    work = [(name, prompt) for prompt in PROMPTS for name in NAMES] * 4
    with ThreadPoolExecutor(16) as pool:
        answers = list(pool.map(lambda one: ask(client, *one), work))
    assert answers == [expected[one] for one in work]


def test_chats_and_streams_are_the_adapters_too(client):
    said = {}
    for name in NAMES:
        body = {
            "model": name,
            "messages": [{"role": "user", "content": "What is the capital of Spain?"}],
            "temperature": 0,
            "max_tokens": 16,
        }
        whole = client.chat.completions.create(**body)
        chunks = list(client.chat.completions.create(**body, stream=True))
        assert {chunk.model for chunk in chunks} == {whole.model} == {name}
        text = "".join(chunk.choices[0].delta.content or "" for chunk in chunks)
        assert whole.choices[0].message.content == text
        said[name] = text
    assert len(set(said.values())) == len(NAMES)


def test_the_listing(client):
    listed = client.models.list().data
    assert [model.id for model in listed] == list(NAMES)
    assert [(model.root, model.parent) for model in listed] == [
        ("demo", None),
        ("demo", "demo"),
        ("demo", "demo"),
    ]
    assert {model.owned_by for model in listed} == {"phial"}
    for model in listed:
        assert client.models.retrieve(model.id) == model


@pytest.mark.parametrize(
    "name", ["demo:parrot", "pirate", "demo:", "demo:pirate:poet", "demo:Poet"]
)
def test_other_names_are_not_found(client, name):
    for call in (
        lambda: client.completions.create(model=name, prompt="a"),
        lambda: client.models.retrieve(name),
    ):
        with pytest.raises(openai.NotFoundError) as caught:
            call()
        assert caught.value.code == "model_not_found"
        assert '"demo:pirate"' in caught.value.message


def test_prefixes_are_not_shared(client):
    prompt = list(range(300, 400))
    assert [cached(client, name, prompt) for name in NAMES] == [0, 0, 0]
    assert [cached(client, name, prompt) for name in NAMES] == [99, 99, 99]


def test_scoring_is_the_base_models(served, client, expected):
    settings = {"max_tokens": TOKENS, "temperature": 0.0}
    body = {"dataframe_records": [{"prompt": PROMPTS[0]}], "params": settings}
    request = urllib.request.Request(
        f"{served.url}/invocations",
        json.dumps(body).encode(),
        {"Content-Type": "application/json"},
    )
    with urllib.request.urlopen(request, timeout=60) as answer:
        predictions = json.loads(answer.read())["predictions"]
    messages = [{"role": "user", "content": PROMPTS[0]}]
    chat = client.chat.completions.create(model="demo", messages=messages, **settings)
    assert predictions == [chat.choices[0].message.content]


def test_the_log_names_the_adapter_and_the_metrics_the_model(served, client):
    ask(client, "demo:poet", "a")
    ask(client, "demo", "a")
    lines = [json.loads(line) for line in served.log.splitlines() if '"edge.request"' in line]
    assert [line.get("adapter") for line in lines[-2:]] == ["poet", None]
    with urllib.request.urlopen(f"{served.url}/metrics", timeout=10) as answer:
        text = answer.read().decode()
    assert 'gen_ai_request_model="demo"' in text
    assert "poet" not in text


def test_another_engine_is_refused(serve, sealed):
    found = serve("--bundle", str(sealed), engine="genai", await_ready=False)
    assert found.process.wait(60) != 0
    assert (
        "the adapters pirate, poet need the engine decoder, and EDGE_ENGINE is genai" in found.log
    )
    assert "Traceback" not in found.log


def test_a_graph_for_another_engine_is_refused(sealed, monkeypatch):
    def refuse(folder):
        raise graph.Misfit("2 of 4 layers have GroupQueryAttention")

    monkeypatch.setattr(graph, "read", refuse)
    with pytest.raises(StartupError, match="need the engine decoder, and 2 of 4 layers have"):
        loaders.onnx_loader(bundle.read(sealed), Settings(threads=1, spin=False))()


@pytest.fixture
def spoiled(sealed, tmp_path):
    """`spoiled(content)`: the bundle with other content for the adapter poet."""

    def spoil(content):
        folder = shutil.copytree(sealed, tmp_path / "spoiled")
        name = bundle.adapter_path("poet")
        (folder / name).write_bytes(content)
        manifest = bundle.read(sealed).manifest
        files = tuple(
            dataclasses.replace(file, size_bytes=len(content)) if file.path == name else file
            for file in manifest.files
        )
        changed = dataclasses.replace(manifest, files=files)
        (folder / bundle.MANIFEST_NAME).write_bytes(bundle.encode(changed))
        return folder

    return spoil


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (b"nothing of the kind", "bundle: adapter poet is no safetensors file: its header"),
        (
            tensors.encode({"x.weight": np.ones(2, np.float32)}),
            "adapter poet: x.weight is no input of the graph",
        ),
    ],
)
def test_a_bundle_whose_adapter_does_not_fit(serve, spoiled, content, told):
    found = serve("--bundle", str(spoiled(content)), await_ready=False)
    assert found.process.wait(60) != 0
    assert told in found.log
    assert "Traceback" not in found.log


def test_a_file_that_cannot_be_read(sealed, tmp_path):
    folder = shutil.copytree(sealed, tmp_path / "cut")
    opened = bundle.read(folder)
    (folder / bundle.adapter_path("poet")).unlink()
    with pytest.raises(StartupError, match="bundle: adapter poet cannot be read: No such file"):
        loaders.onnx_loader(opened, Settings(threads=1, spin=False))()


def test_the_other_commands_speak_to_the_base_model(sealed, repository):
    done = subprocess.run(
        [sys.executable, "-m", "edge", "doctor", "--bundle", str(sealed)],
        cwd=repository,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert "tokens/s" in done.stdout, done.stdout + done.stderr
