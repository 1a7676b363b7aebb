"""The heavier image: transformers and torch, built for both architectures and run on both."""

from __future__ import annotations

import re
import time
from pathlib import Path

import pytest

from build.attestation import attest
from build.oci import docker_archive, layer
from tests.image import factory
from tests.image.conftest import BASE
from tests.image.factory import Factory, Layout
from tests.image.test_run import LOCKED_DOWN, NATIVE, QUESTIONS, READY_S, ask, post
from tests.wire import conftest as wire
from tests.wire.conftest import Serve

pytestmark = [pytest.mark.image, pytest.mark.torch]
ARCHES = ("amd64", "arm64")
ELF_MACHINES = {"amd64": 0x3E, "arm64": 0xB7}  # of the ELF specification: EM_X86_64, EM_AARCH64
LAYERS = 5
serve = wire.serve


@pytest.fixture(scope="module")
def bundle(build: Factory, repository: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The bundle of the demo model's torch weights."""
    folder = tmp_path_factory.mktemp("pipeline") / "bundle"
    weights = repository / "build" / "demo" / "weights"
    build.ask("export", weights, "--out", folder, "--name", "demo", "--skip-trial")
    return folder


@pytest.fixture(scope="module")
def layout(
    build: Factory, bundle: Path, base_image: str, tmp_path_factory: pytest.TempPathFactory
) -> Layout:
    """The image for both architectures, as `build image` chooses it by the bundle's flavor."""
    folder = tmp_path_factory.mktemp("published") / "layout"
    words = ("image", bundle, "--tag", "phial-test/pipeline:1", "--to", f"oci:{folder}")
    said = build.ask(*words, "--tool", "buildah", "--base", BASE, *factory.network())
    return Layout(folder, said.rpartition("@")[2])


@pytest.fixture(scope="module")
def images(layout: Layout, podman, tmp_path_factory):
    """Architecture to the name of its image in podman's store."""
    names = {}
    for arch, manifest in layout.manifests.items():
        names[arch] = f"localhost/phial-test/pipeline-{arch}:1"
        archive = tmp_path_factory.mktemp("archive") / f"{arch}.tar"
        docker_archive.write(layout.store, manifest, names[arch], archive)
        podman.ask("load", "--input", archive, timeout_s=300)
        archive.unlink()
    return names


@pytest.fixture(scope="module")
def native(podman, images):
    """A locked-down container on this machine's own architecture, ready."""
    with podman.start(images[NATIVE], *LOCKED_DOWN, "--cpus", "1", "--memory", "1g") as container:
        container.await_answer("/readyz", timeout_s=READY_S)
        yield container


@pytest.fixture(scope="module", params=ARCHES)
def files(request, layout: Layout):
    """The architecture, and the first bytes of every file by its path."""
    found: dict[str, bytes] = {}
    for part in layout.image(request.param).layers:
        for info, stream in layer.entries(layout.store, part.descriptor):
            found[info.name.strip("/")] = stream.read(64) if stream is not None else b""
    return request.param, found


def test_there_is_one_engine_in_it_and_no_factory(files):
    _, found = files
    for unwanted in ("mlflow", "onnxruntime", "onnxruntime_genai", "pandas", "pip", "networkx"):
        assert f"app/lib/{unwanted}" not in found
        assert not [name for name in found if name.startswith(f"app/lib/{unwanted}/")]
    assert [name for name in found if name.startswith("app/lib/torch/lib/libtorch_cpu.so")]
    assert "model/model/model.safetensors" in found


def test_nothing_of_it_is_for_gpus(files):
    _, found = files
    assert [name for name in found if re.search(r"cuda\w*\.so|nvidia|triton/", name)] == []


def test_every_library_is_of_the_architecture(files):
    arch, found = files
    machines = {
        name: int.from_bytes(head[18:20], "little")
        for name, head in found.items()
        if head.startswith(b"\x7fELF")
    }
    assert len(machines) > 40
    assert {n: m for n, m in machines.items() if m != ELF_MACHINES[arch]} == {}


def test_there_is_no_shell_and_no_compiler(files):
    _, found = files
    programs = {name for name in found if re.fullmatch(r"usr/s?bin/[^/]+", name)}
    assert programs == {"usr/bin/python3.11", "usr/bin/python3", "usr/bin/python"}


def test_torch_has_a_layer_of_its_own(layout):
    for arch in ARCHES:
        image = layout.image(arch)
        assert len(image.layers) == LAYERS
        tops = [
            {"/".join(info.name.strip("/").split("/")[:3]) for info, _ in entries}
            for entries in (layer.entries(layout.store, p.descriptor) for p in image.layers)
        ]
        (own,) = [top for top in tops if "app/lib/torch" in top]
        assert not own & {"app/lib/transformers", "app/edge", "usr/lib"}


def test_the_model_and_phial_are_the_same_on_both(layout):
    one, other = (layout.image(arch).layers for arch in ARCHES)
    assert [part.descriptor.digest for part in one[-2:]] == [
        part.descriptor.digest for part in other[-2:]
    ]


@pytest.mark.parametrize("arch", ARCHES)
def test_the_bill_of_materials_names_torch(layout, arch):
    found = []
    for one in attest.referrers(layout.index, layout.store):
        manifest = layout.store.read_json(one)
        if manifest.get("annotations", {}).get("phial.platform") == f"linux/{arch}":
            found.append(layout.store.path(manifest["layers"][0]["digest"]).read_text())
    assert len(found) == 2
    for text in found:
        assert re.search(r"pkg:pypi/torch@2\.\d+\.0", text)
        assert "pkg:pypi/transformers@" in text
        assert "onnxruntime" not in text


def test_it_answers_as_the_checkout_does(native, serve: Serve, bundle):
    """The same text at every door, locked down and as nobody in particular."""
    served = serve("--bundle", str(bundle))
    for question in QUESTIONS:
        assert ask(native, question, max_tokens=40) == ask(served, question, max_tokens=40)
    body = {"inputs": [QUESTIONS[0]], "params": {"temperature": 0, "max_tokens": 20}}
    assert post(native, "/invocations", body) == post(served, "/invocations", body)
    assert "Madrid" in ask(native, QUESTIONS[0])


def test_it_knows_its_quota_and_runs_as_nobody(native):
    text = native.await_answer("/metrics")
    assert "\nedge_cpu_quota_cores 1.0\n" in text
    assert "\nedge_engine_threads 1.0\n" in text
    status = Path(f"/proc/{native.pid}/status").read_text()
    fields = dict(line.split(":", 1) for line in status.splitlines())
    assert set(fields["Uid"].split()) == {"65532"}
    assert int(fields["CapEff"], 16) == 0


@pytest.mark.parametrize("command", ["probe", "version", "doctor"])
def test_commands_work_inside(native, command):
    done = native.exec("/usr/bin/python3", "-m", "edge", command)
    assert done.returncode == 0, done.stdout + done.stderr


def test_arm64_gives_the_same_tokens(podman, images, native, emulated):
    with podman.start(images["arm64"], *emulated, *LOCKED_DOWN) as foreign:
        foreign.await_answer("/readyz", timeout_s=READY_S)
        for question in QUESTIONS[:2]:
            assert ask(foreign, question, max_tokens=40) == ask(native, question, max_tokens=40)


def test_a_stop_is_a_drain(podman, images):
    with podman.start(images[NATIVE], *LOCKED_DOWN) as container:
        container.await_answer("/readyz", timeout_s=READY_S)
        began_s = time.monotonic()
        assert container.stop() == 0
        assert time.monotonic() - began_s < 10
