"""What is in the images, file by file, for both architectures."""

from __future__ import annotations

import re
import stat
import subprocess
import tarfile
from pathlib import Path

import pytest

from build.oci import layer
from build.oci.image import Image

pytestmark = pytest.mark.image
ARCHES = ("amd64", "arm64")
MACHINE = {"amd64": "Advanced Micro Devices X86-64", "arm64": "AArch64"}
MOST_MB = {  # without weights, compressed by gzip
    "amd64": 45.0,
    "arm64": 40.0,
}
LIBRARIES_OF_LIBC = re.compile(r"ld-linux.*|lib(?:c|m|dl|rt|pthread|util)\.so\.\d+")


class Tree:
    """The files of an image, layers merged, unpacked for programs that read files."""

    def __init__(self, found: Image, store, folder: Path) -> None:
        self.image, self.folder = found, folder
        self.entries: dict[str, tarfile.TarInfo] = {}
        for part in found.layers:
            for info, stream in layer.entries(store, part.descriptor):
                self.entries[info.name.strip("/")] = info
                if stream is not None:
                    path = folder / info.name
                    path.parent.mkdir(parents=True, exist_ok=True)
                    path.write_bytes(stream.read())

    def names(self, pattern: str) -> list[str]:
        return sorted(name for name in self.entries if re.search(pattern, name))

    def resolve(self, name: str) -> str | None:
        """The path that `name` leads to inside the image; None where it leads nowhere."""
        parts, done = name.strip("/").split("/"), []
        for _ in range(200):
            if not parts:
                return "/".join(done)
            part = parts.pop(0)
            if part in ("", "."):
                continue
            if part == "..":
                done = done[:-1]
                continue
            info = self.entries.get("/".join([*done, part]))
            if info is None:
                return None
            if info.issym():
                target = info.linkname
                done = [] if target.startswith("/") else done
                parts = [*target.strip("/").split("/"), *parts]
                continue
            done.append(part)
        return None


@pytest.fixture(scope="module", params=ARCHES)
def tree(request, layout, tmp_path_factory) -> Tree:
    folder = tmp_path_factory.mktemp(f"root-{request.param}")
    return Tree(layout.image(request.param), layout.store, folder)


@pytest.fixture
def arch(tree) -> str:
    return tree.image.platform.architecture


@pytest.mark.parametrize(
    ("what", "pattern"),
    [
        ("the factory", r"^app/(build|scripts|tests)/|(^|/)mlflow"),
        ("training libraries", r"(^|/)(torch|transformers|pandas|scipy|pyarrow)(/|-|$)"),
        ("an installer", r"(^|/)(pip|setuptools|wheel|ensurepip|apt|dpkg)(/|-\d|$)(?<!lib/dpkg/)"),
        ("a shell", r"(^|/)(sh|bash|dash|busybox|zsh)$"),
        ("a compiler or its files", r"(^|/)(gcc|cc|ld|as|cc1)$|\.(h|a|o|pxd|pyx)$"),
        ("tests", r"(^|/)tests?/"),
        ("caches", r"__pycache__|(^|/)(\.cache|var/cache|var/lib/apt)/"),
        ("sources", r"\.py$"),
        ("type stubs", r"\.pyi$"),
        ("a second copy of the runtime", r"onnxruntime_pybind11_state"),
        ("a web client", r"(^|/)(curl|wget)$"),
        ("Windows programs", r"\.(exe|dll)$"),
    ],
)
def test_it_holds_no(tree, what, pattern):
    allowed = ("var/lib/dpkg", "usr/share/doc")
    found = [name for name in tree.names(pattern) if not name.startswith(allowed)]
    assert found == [], what


def test_the_only_programs_are_python(tree):
    runs = [
        name
        for name, info in tree.entries.items()
        if info.isreg() and info.mode & 0o111 and name.startswith(("usr/bin/", "usr/sbin/"))
    ]
    assert runs == ["usr/bin/python3.11"]


def test_nothing_can_be_written_but_tmp(tree):
    writable = [n for n, i in tree.entries.items() if not i.issym() and i.mode & stat.S_IWOTH]
    assert writable == ["tmp"]
    assert {(info.uid, info.gid) for info in tree.entries.values()} == {(0, 0)}


def test_nothing_gains_rights(tree):
    special = stat.S_ISUID | stat.S_ISGID
    assert [n for n, info in tree.entries.items() if info.mode & special] == []
    kinds = {info.type for info in tree.entries.values()}
    assert kinds <= {tarfile.REGTYPE, tarfile.DIRTYPE, tarfile.SYMTYPE, tarfile.LNKTYPE}


def test_every_link_leads_somewhere(tree):
    links = [name for name, info in tree.entries.items() if info.issym()]
    assert len(links) > 10
    assert [name for name in links if tree.resolve(name) is None] == []


def test_every_file_has_the_time_of_the_sources(tree):
    assert {info.mtime for info in tree.entries.values()} == {1_700_000_000}


def binaries(tree: Tree) -> list[Path]:
    files = (tree.folder / name for name, info in tree.entries.items() if info.isreg())
    return [path for path in files if path.read_bytes()[:4] == b"\x7fELF"]


def test_every_binary_is_of_its_architecture_and_finds_its_libraries(tree, arch):
    found = binaries(tree)
    assert len(found) > 30
    said = subprocess.run(
        ["readelf", "--wide", "--file-header", "--dynamic", *found],
        capture_output=True,
        text=True,
        check=True,
        env={"LC_ALL": "C", "PATH": "/usr/bin:/bin"},
    ).stdout
    machines = set(re.findall(r"^ *Machine: +(.+)$", said, re.M))
    assert machines == {MACHINE[arch]}
    needed = set(re.findall(r"\(NEEDED\).*\[(.+)\]", said))
    there = {name.rpartition("/")[2] for name in tree.entries}
    assert needed - there == set()
    assert "libc.so.6" in needed


def test_every_package_and_wheel_brings_its_licence(tree):
    packages = [n.rpartition("/")[2] for n in tree.names(r"^var/lib/dpkg/status\.d/.")]
    assert len(packages) > 12
    paths = [f"usr/share/doc/{package}/copyright" for package in packages]
    assert [path for path in paths if tree.resolve(path) is None] == []
    wheels = {name.split("/")[2] for name in tree.names(r"^app/lib/[^/]+\.dist-info/")}
    assert len(wheels) > 10
    licences = tree.names(r"^app/lib/[^/]+\.dist-info/(licenses/|.*LICENSE|.*COPYING|METADATA)")
    assert {name.split("/")[2] for name in licences} == wheels
    assert "app/LICENSE" in tree.entries
    assert tree.names(r"^app/lib/onnxruntime/(LICENSE|ThirdPartyNotices\.txt)$")


def test_the_wheels_are_those_of_the_lock(tree, repository):
    lock = (repository / "requirements/edge.txt").read_text()
    locked = dict(re.findall(r"^([a-z0-9-]+)==([^\s;\\]+)", lock, re.M))
    found = {
        name.split("/")[2].removesuffix(".dist-info").rpartition("-")[0].replace("_", "-"): name
        for name in tree.names(r"^app/lib/[^/]+\.dist-info/METADATA$")
    }
    left_out = {"numpy", "protobuf", "flatbuffers"}  # Debian's; nothing imports the others
    assert set(found) == set(locked) - left_out
    assert [n for n, path in found.items() if f"-{locked[n]}.dist-info" not in path] == []


def test_the_weights_are_the_last_layer_and_the_same_for_both(layout, demo_bundle):
    last = [layout.image(arch).layers[-1] for arch in ARCHES]
    assert last[0] == last[1]
    held = {
        info.name: stream.read()
        for info, stream in layer.entries(layout.store, last[0].descriptor)
        if stream is not None
    }
    files = [path for path in demo_bundle.rglob("*") if path.is_file()]
    assert held == {f"model/{p.relative_to(demo_bundle)}": p.read_bytes() for p in files}


def test_the_appliance_itself_is_the_same_layer_for_both(layout):
    amd64, arm64 = ([p.diff_id for p in layout.image(arch).layers] for arch in ARCHES)
    assert len(amd64) == len(arm64) == 4
    assert amd64[2:] == arm64[2:]
    assert not set(amd64[:2]) & set(arm64[:2])
    size_bytes = layout.image("amd64").layers[2].descriptor.size_bytes
    assert size_bytes < 1_000_000  # what an update of Phial alone moves


def test_it_is_no_larger_than_promised(tree, arch):
    size_mb = sum(part.descriptor.size_bytes for part in tree.image.layers[:-1]) / 1e6
    assert size_mb <= MOST_MB[arch]


def test_how_it_runs(tree):
    config = tree.image.config["config"]
    assert config["Entrypoint"] == ["/usr/bin/python3", "-m", "edge"]
    assert config["User"] == "65532:65532"
    assert config["StopSignal"] == "SIGTERM"
    assert config["ExposedPorts"] == {"8080/tcp": {}}
    assert config["Healthcheck"]["Test"] == ["CMD", "/usr/bin/python3", "-m", "edge", "probe"]
    variables = dict(entry.split("=", 1) for entry in config["Env"])
    assert variables["ORT_DISABLE_TELEMETRY"] == "1"
    assert (variables["EDGE_BUNDLE"], variables["EDGE_HOST"]) == ("/model", "0.0.0.0")
    assert not config.get("Cmd")


def test_the_labels_say_where_it_comes_from(tree, layout, demo_bundle):
    from build import bundle

    labels = tree.image.config["config"]["Labels"]
    assert labels["phial.bundle.sha256"] == bundle.open_(demo_bundle).sha256
    assert labels["org.opencontainers.image.title"] == "phial-test/demo"
    assert re.match(r"[0-9a-f]{40}", labels["org.opencontainers.image.revision"])
    assert dict(tree.image.annotations) == labels
    assert layout.store.read_json(layout.index)["annotations"] == labels
