"""The ground that the tests of images stand on, proved with images of a few lines."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tempfile
import urllib.request
from pathlib import Path

import pytest

from scripts.container_settings import FOLDER
from tests.image import docker_daemon
from tests.image.engine import PREFIX

pytestmark = pytest.mark.image

DOCKERFILE = """ARG BASE=debian:bookworm-slim
FROM ${BASE}
RUN echo built > /greeting
COPY server.pl /
CMD ["perl", "/server.pl"]
"""
SERVER = r"""use IO::Socket::INET;
$SIG{TERM} = sub { print "stopped\n"; exit 7 };
$listener = IO::Socket::INET->new(LocalPort => 8080, Listen => 5) or die;
$| = 1;
print "listening\n";
while (1) {
    $caller = $listener->accept or next;
    <$caller>;
    print $caller "HTTP/1.0 200 OK\r\n\r\nserved";
    close $caller;
}
"""
ARM64_PROGRAM = Path("/usr/lib/arch-test/arm64")  # static; prints `ok`
ARM64_DOCKERFILE = 'FROM scratch\nCOPY arm64 /\nENTRYPOINT ["/arm64"]\n'
TINY, TINY_ARM64 = f"localhost/{PREFIX}:tiny", f"localhost/{PREFIX}:tiny-arm64"
LOCKED_DOWN = ("--read-only", "--cap-drop", "all", "--security-opt", "no-new-privileges")
LIMITS = ("--cpus", "0.5", "--memory", "64m", "--memory-swap", "64m", "--pids-limit", "64")


@pytest.fixture(scope="module")
def sources(tmp_path_factory) -> Path:
    """What the tiny image is built from."""
    folder = tmp_path_factory.mktemp("tiny")
    (folder / "Dockerfile").write_text(DOCKERFILE)
    (folder / "server.pl").write_text(SERVER)
    return folder


@pytest.fixture(scope="module")
def arm64_sources(tmp_path_factory) -> Path:
    """What the tiny arm64 image is built from: nothing is run to build it."""
    folder = tmp_path_factory.mktemp("tiny-arm64")
    (folder / "Dockerfile").write_text(ARM64_DOCKERFILE)
    shutil.copy(ARM64_PROGRAM, folder / "arm64")
    return folder


@pytest.fixture(scope="module")
def tiny(buildah, base_image, sources) -> str:
    where = ("--isolation", "chroot", "--network", "host", "--pull-never")
    buildah.ask("bud", *where, "--build-arg", f"BASE={base_image}", "--tag", TINY, sources)
    return TINY


@pytest.fixture(scope="module")
def tiny_arm64(buildah, podman, arm64_sources) -> str:
    buildah.ask("bud", "--platform", "linux/arm64", "--tag", TINY_ARM64, arm64_sources)
    return TINY_ARM64


@pytest.fixture(scope="module")
def docker_tiny(dockerd, docker_base, sources) -> str:
    """Built by Docker with the base that the Dockerfile names."""
    dockerd.ask("build", "--network", "host", "--tag", TINY, sources)
    return TINY


def names(engine) -> list[str]:
    """Of the containers of this test run."""
    ours = f"name={PREFIX}-{os.getpid()}-"
    return engine.ask("ps", "--all", "--filter", ours, "--format", "{{.Names}}").split()


def inside(engine, image, *options, script):
    return engine.once(image, *options, command=("sh", "-c", script))


def test_an_image_built_on_the_stand_in_runs(podman, tiny):
    done = inside(podman, tiny, script="cat /greeting; . /etc/os-release; echo $VERSION_CODENAME")
    assert done.stdout.split() == ["built", "bookworm"], done.stderr


def test_apt_get_finds_packages_inside_the_stand_in(podman, base_image):
    script = "apt-get -qq update && apt-cache policy python3-minimal"
    done = inside(podman, base_image, "--network", "host", script=script)
    assert "Candidate: 3.11" in done.stdout, done.stderr


def test_the_stand_in_is_slim(podman, base_image):
    script = "ls /usr/share/doc /usr/share/man /usr/share/locale; readlink /bin; command -v python3"
    done = inside(podman, base_image, script=script)
    assert "usr/bin" in done.stdout
    assert "python3" not in done.stdout
    assert int(podman.ask("inspect", "--format", "{{.Size}}", base_image)) < 100_000_000


@pytest.mark.parametrize(
    ("engine", "image"), [("podman", "tiny"), ("dockerd", "docker_tiny")], ids=["podman", "docker"]
)
def test_a_container_serves_on_loopback_tells_its_state_and_goes_away(request, engine, image):
    engine, image = request.getfixturevalue(engine), request.getfixturevalue(image)
    with engine.start(image, *LOCKED_DOWN, *LIMITS) as container:
        assert container.url.startswith("http://127.0.0.1:")
        assert container.await_answer("/any", timeout_s=20) == "served"
        assert container.is_running
        assert 1e6 < container.rss_bytes < 64e6
        assert container.exec("cat", "/greeting").stdout == "built\n"
        assert container.stop() == 7
        assert not container.is_running
        assert container.logs() == "listening\nstopped\n"
        assert container.name in names(engine)
    assert container.name not in names(engine)
    with pytest.raises(OSError, match="refused"):
        urllib.request.urlopen(container.url, timeout=5)


def test_a_container_that_ends_early_shows_its_log(podman, tiny):
    command = ("sh", "-c", "echo I cannot >&2; exit 3")
    with (
        podman.start(tiny, command=command) as container,
        pytest.raises(pytest.fail.Exception, match=r"exit status 3\)\nI cannot"),
    ):
        container.await_answer(timeout_s=20)


@pytest.mark.parametrize(
    ("engine", "image"), [("podman", "tiny"), ("dockerd", "docker_tiny")], ids=["podman", "docker"]
)
def test_limits_and_locks_hold_inside(request, engine, image):
    engine, image = request.getfixturevalue(engine), request.getfixturevalue(image)
    script = """cd /sys/fs/cgroup
        if [ -e cpu.max ]; then cat cpu.max memory.max; else
            cat cpu/cpu.cfs_quota_us cpu/cpu.cfs_period_us memory/memory.limit_in_bytes; fi
        sed -n 's/CapBnd:\t//p' /proc/self/status
        touch /file"""
    done = inside(engine, image, *LOCKED_DOWN, *LIMITS, script=script)
    assert done.stdout.split() == ["50000", "100000", str(64 << 20), "0" * 16]
    assert "Read-only file system" in done.stderr


def test_a_container_without_a_network_has_loopback_alone(podman, tiny):
    script = "cat /proc/net/dev /proc/net/route"
    done = inside(podman, tiny, "--network", "none", script=script)
    assert re.findall(r"(\w+):", done.stdout) == ["lo"]
    with podman.start(tiny, "--network", "none", port=None) as container:
        assert container.is_running
        assert container.port is None


def test_a_container_is_gone_when_its_client_ran_out_of_time(podman, tiny):
    with pytest.raises(subprocess.TimeoutExpired):
        podman.once(tiny, command=("sleep", "600"), timeout_s=2)
    assert names(podman) == []


def test_containers_of_killed_test_runs_are_swept(podman, tiny):
    ended = subprocess.Popen(["true"])
    ended.wait()
    theirs = f"{PREFIX}-{ended.pid}-1"
    podman.ask("create", "--name", theirs, tiny)
    with podman.start(tiny) as ours:
        podman.sweep()
        assert podman.run("container", "exists", theirs).returncode == 1
        assert names(podman) == [ours.name]


def test_an_arm64_program_runs_in_podman(podman, tiny_arm64, emulated):
    done = podman.once(tiny_arm64, *emulated, timeout_s=30)
    assert (done.returncode, done.stdout.strip()) == (0, "ok"), done.stderr


def test_an_arm64_program_runs_in_docker(dockerd, arm64_sources, emulated):
    dockerd.ask("build", "--platform", "linux/arm64", "--tag", TINY_ARM64, arm64_sources)
    done = dockerd.once(TINY_ARM64, *emulated, timeout_s=30)
    assert (done.returncode, done.stdout.strip()) == (0, "ok"), done.stderr


def test_what_podman_pushes_docker_pulls_and_runs(podman, dockerd, registry, tiny_arm64, emulated):
    name = f"{registry.host}/{PREFIX}/arm64"
    podman.ask("push", "--tls-verify=false", tiny_arm64, f"docker://{name}")
    dockerd.ask("pull", "--platform", "linux/arm64", name)
    assert dockerd.once(name, *emulated, timeout_s=30).stdout.strip() == "ok"


def test_docker_publishes_ports_where_the_kernel_has_no_firewall(dockerd, sources):
    server = ("--volume", f"{sources / 'server.pl'}:/server.pl:ro")
    with docker_daemon.daemon(docker_daemon.FLAGS[1]) as engine:
        engine.ask("import", FOLDER / "base.tar", TINY)
        with engine.start(TINY, *server, command=("perl", "/server.pl")) as container:
            assert container.await_answer(timeout_s=20) == "served"


def test_a_docker_daemon_leaves_no_mount_no_process_and_no_folder(dockerd):
    with docker_daemon.daemon() as engine:
        folder = Path(engine.environment["DOCKER_HOST"].removeprefix("unix://")).parent
        assert docker_daemon.is_running(folder / "docker.sock")
        pid = int((folder / "pid").read_text())
    assert not folder.exists()
    assert not Path("/proc", str(pid)).exists()
    assert str(folder) not in Path("/proc/mounts").read_text()


def test_folders_of_killed_daemons_are_swept():
    ended = subprocess.Popen(["true"])
    ended.wait()
    prefix = docker_daemon.PREFIX
    theirs, ours = (
        Path(tempfile.mkdtemp(prefix=f"{prefix}{pid}-", dir=docker_daemon.PLACE))
        for pid in (ended.pid, os.getpid())
    )
    (theirs / "data").mkdir()
    docker_daemon.sweep()
    assert (theirs.exists(), ours.exists()) == (False, True)
    ours.rmdir()


def test_a_docker_daemon_that_does_not_start_shows_its_log():
    with (
        pytest.raises(pytest.fail.Exception, match="unknown flag: --nonsense"),
        docker_daemon.daemon(("--nonsense",)),
    ):
        pass


PROBE = """import socket
with socket.create_server(("127.0.0.1", 0)) as server:
    socket.create_connection(server.getsockname(), 5).close()
try:
    socket.create_connection(("192.0.2.1", 80), 5)
except OSError as error:
    print(error.strerror)
"""


def test_a_netless_process_has_loopback_and_no_route(netless):
    done = netless(sys.executable, "-c", PROBE, timeout_s=30)
    assert (done.returncode, done.stdout) == (0, "Network is unreachable\n"), done.stderr
    assert netless("ip", "route", timeout_s=30).stdout == ""


def test_a_netless_process_is_killed_when_its_time_is_up(netless):
    with pytest.raises(subprocess.TimeoutExpired):
        netless("sleep", "600", timeout_s=1)
