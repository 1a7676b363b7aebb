"""Real images in real containers: what `scripts/containers` prepared, as fixtures.

A test that cannot run here is skipped with a sentence that says what is missing; in CI that
counts as a failure.
"""

from __future__ import annotations

import os
import platform
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from build.oci import docker_archive
from scripts import container_settings, emulation
from tests.image import docker_daemon, factory, offline, registry_server, store
from tests.image.engine import Engine
from tests.image.factory import Factory, Layout

BASE = "localhost/debian:bookworm-slim"
BASE_TAR = container_settings.FOLDER / "base.tar"
PREPARE = "run scripts/containers as root"


@pytest.fixture(scope="session", autouse=True)
def _system_programs() -> Iterator[None]:
    """Where root's programs lie, which a plain `su` leaves out of the PATH."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PATH", f"{os.environ['PATH']}:/usr/sbin:/sbin")
        yield


def _need(*programs: str) -> None:
    """Skip where a test of images cannot run."""
    if os.geteuid() != 0:
        pytest.skip(f"tests of images need root: {PREPARE}, then the tests")
    missing = [name for name in programs if shutil.which(name) is None]
    if missing:
        pytest.skip(f"{', '.join(missing)} not found in the PATH: {PREPARE}")


@pytest.fixture(scope="session")
def containers() -> dict[str, str]:
    """The variables under which podman, buildah and skopeo keep to the tests' own store."""
    _need("podman", "buildah", "skopeo")
    container_settings.write()
    return {**os.environ, **container_settings.environment()}


@pytest.fixture(scope="session")
def podman(containers: dict[str, str]) -> Iterator[Engine]:
    """Podman on the tests' own store; unnamed images older than a week are dropped from it."""
    engine = Engine("podman", containers, ("rm", "--force", "--time", "0", "--volumes"))
    engine.sweep()
    store.drop_abandoned_builds(engine)
    yield engine
    store.drop_old_images(engine)


@pytest.fixture(scope="session")
def buildah(containers: dict[str, str]) -> Engine:
    """Buildah on the same store: `run` and `ask` are of use, containers are podman's."""
    return Engine("buildah", containers)


@pytest.fixture(scope="session")
def base_image(podman: Engine) -> str:
    """The stand-in for Docker Hub's `debian:bookworm-slim`, in the tests' own store."""
    if podman.run("image", "exists", BASE).returncode != 0:
        pytest.skip(f"there is no image {BASE}: {PREPARE}")
    return BASE


@pytest.fixture(scope="session")
def emulated() -> tuple[str, ...]:
    """The options under which containers of arm64 images run here, on arm64 itself too.

    `neoverse-n1`: a processor with the instructions that the runtime wants. `--init`: as process 1
    a crashing emulator hangs instead of ending.
    """
    options = ("--platform", "linux/arm64", "--init")
    if platform.machine() == "aarch64":
        return options
    _need("arch-test")
    try:
        emulation.prepare()
    except emulation.Unavailable as error:
        pytest.fail(f"arm64 cannot be emulated: {error}")
    tried = subprocess.run(["arch-test", "arm64"], capture_output=True, text=True, check=False)
    if tried.returncode != 0:
        pytest.fail(f"arm64 cannot be emulated: {tried.stdout}{tried.stderr}")
    return (*options, "--env", "QEMU_CPU=neoverse-n1")


@pytest.fixture(scope="session")
def dockerd() -> Iterator[Engine]:
    """The client of a Docker daemon of this test run; its variables hold `DOCKER_HOST`."""
    _need("dockerd", "containerd", "runc")
    if docker_daemon.is_running():
        pytest.skip("a Docker daemon runs here, and a second would rewrite its firewall: stop it")
    with docker_daemon.daemon() as engine:
        yield engine


@pytest.fixture(scope="session")
def docker_base(dockerd: Engine) -> str:
    """The stand-in under the name that the Dockerfiles ask for, in the Docker daemon."""
    if not BASE_TAR.exists():
        pytest.skip(f"there is no {BASE_TAR}: {PREPARE}")
    name = "debian:bookworm-slim"
    dockerd.ask("import", "--change", 'CMD ["bash"]', BASE_TAR, name)
    return name


@pytest.fixture(scope="session")
def registry(tmp_path_factory: pytest.TempPathFactory) -> Iterator[registry_server.Server]:
    """An empty registry on loopback; podman and skopeo want `--tls-verify=false` to talk to it."""
    _need(registry_server.PROGRAM)
    with registry_server.running(tmp_path_factory.mktemp("registry")) as server:
        yield server


@pytest.fixture(scope="session")
def netless() -> offline.Run:
    """Run a command where the only network is loopback."""
    _need("unshare", "ip")
    return offline.run


@pytest.fixture(scope="session")
def build(repository: Path, containers: dict[str, str]) -> Factory:
    """The factory's command line, building in the tests' own store."""
    return Factory(repository, factory.environment(repository, containers))


@pytest.fixture(scope="session")
def wheelhouse(build: Factory, base_image: str) -> Path:
    """Everything that builds download, for both architectures; kept in the cache."""
    return factory.wheelhouse(build, container_settings.FOLDER, base_image)


@pytest.fixture(scope="session")
def demo_bundle(build: Factory, demo_model: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The bundle of the model in the box."""
    folder = tmp_path_factory.mktemp("sealed") / "bundle"
    build.ask("export", demo_model, "--out", folder, "--name", "demo")
    return folder


@pytest.fixture(scope="session")
def layout(
    build: Factory,
    demo_bundle: Path,
    wheelhouse: Path,
    tmp_path_factory: pytest.TempPathFactory,
) -> Layout:
    """The image of the demo model for both architectures, built by buildah from a clean state."""
    folder = tmp_path_factory.mktemp("published") / "layout"
    words = ("image", demo_bundle, "--tag", factory.TAG, "--to", f"oci:{folder}", "--no-cache")
    said = build.ask(*words, "--wheelhouse", wheelhouse, "--tool", "buildah")
    return Layout(folder, said.rpartition("@")[2])


@pytest.fixture(scope="session")
def images(layout: Layout, podman: Engine) -> dict[str, str]:
    """Architecture to the name of its image in podman's store."""
    names = {}
    for arch, manifest in layout.manifests.items():
        names[arch] = f"localhost/phial-test/demo-{arch}:1"
        archive = layout.folder.parent / f"{arch}.tar"
        docker_archive.write(layout.store, manifest, names[arch], archive)
        podman.ask("load", "--input", archive)
        archive.unlink()
    return names
