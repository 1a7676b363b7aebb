"""Settings under which podman, buildah and skopeo keep to one folder: `.cache/containers`.

    python -m scripts.container_settings            writes them
    python -m scripts.container_settings podman ps  writes them and runs a command under them

What the machine's own containers use (/etc/containers, /var/lib/containers, /run) is neither read
nor changed. Formats: containers.conf(5), containers-storage.conf(5), containers-registries.conf(5).
"""

from __future__ import annotations

import json
import os
import resource
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
FOLDER = ROOT / ".cache" / "containers"
BOOT_ID = Path("/proc/sys/kernel/random/boot_id")
MOST_FILES, MOST_PROCESSES = 20_000, 30_000  # of a container
VARIABLES = {
    "CONTAINERS_CONF": "containers.conf",
    "CONTAINERS_STORAGE_CONF": "storage.conf",
    "CONTAINERS_REGISTRIES_CONF": "registries.conf",
}


def environment(folder: Path = FOLDER) -> dict[str, str]:
    """The variables that point the three programs to `folder`."""
    return {variable: str(folder / name) for variable, name in VARIABLES.items()}


def write(folder: Path = FOLDER, *, boot_id: Path = BOOT_ID) -> None:
    """Write the settings into `folder`; what is right already is not touched.

    What a former boot left under `run` (mounts, sockets, counts of both) is dropped.
    Raises `OSError` where the folder cannot be written.
    """
    folder.mkdir(parents=True, exist_ok=True)
    if _read(folder / "boot") != boot_id.read_text():
        shutil.rmtree(folder / "run", ignore_errors=True)
        _replace(folder / "boot", boot_id.read_text())
    if not (folder / "storage.conf").exists():  # a store keeps the driver that it was made with
        _replace(folder / "storage.conf", _toml(storage(folder, driver(folder))))
    _replace(folder / "containers.conf", _toml(containers(folder)))
    _replace(folder / "registries.conf", "unqualified-search-registries = []\n")


def containers(folder: Path) -> dict[str, Mapping[str, object]]:
    """containers.conf: runc and cgroupfs need neither systemd nor a unified cgroup tree."""
    return {
        "containers": {
            "default_ulimits": [
                f"nofile={_limit(resource.RLIMIT_NOFILE, MOST_FILES)}",
                f"nproc={_limit(resource.RLIMIT_NPROC, MOST_PROCESSES)}",
            ],
            "log_driver": "k8s-file",
        },
        "engine": {
            "cgroup_manager": "cgroupfs",
            "events_logger": "file",
            "runtime": "runc",
            "lock_type": "file",
            "tmp_dir": str(folder / "run" / "libpod"),
        },
        "network": {
            "network_backend": "netavark",
            "network_config_dir": str(folder / "networks"),
            "default_subnet": "10.189.0.0/24",
        },
    }


def storage(folder: Path, driver: str) -> dict[str, Mapping[str, object]]:
    """storage.conf: no lasting mount of the store on itself, which `git clean` would trip over."""
    return {
        "storage": {
            "driver": driver,
            "graphroot": str(folder / "storage"),
            "runroot": str(folder / "run"),
        },
        "storage.options.overlay": {"skip_mount_home": "true"},
    }


def driver(folder: Path) -> str:
    """`overlay` where the file system of `folder` carries it, else `vfs`, which copies layers."""
    with tempfile.TemporaryDirectory(dir=folder) as name:
        parts = {part: Path(name) / part for part in ("lowerdir", "upperdir", "workdir", "merged")}
        for part in parts.values():
            part.mkdir()
        merged = parts.pop("merged")
        options = ",".join(f"{key}={path}" for key, path in parts.items())
        mounted = subprocess.run(
            ["mount", "-t", "overlay", "-o", options, "none", merged],
            capture_output=True,
            check=False,
        )
        if mounted.returncode == 0:
            subprocess.run(["umount", merged], check=True)
    return "overlay" if mounted.returncode == 0 else "vfs"


def _limit(which: int, most: int) -> str:
    """`SOFT:HARD`, both what we may have: to get more takes CAP_SYS_RESOURCE."""
    hard = resource.getrlimit(which)[1]
    amount = most if hard == resource.RLIM_INFINITY else min(hard, most)
    return f"{amount}:{amount}"


def _toml(tables: Mapping[str, Mapping[str, object]]) -> str:
    """Strings and lists of strings are written alike in TOML and JSON."""
    lines: list[str] = []
    for name, table in tables.items():
        lines += [f"[{name}]", *(f"{key} = {json.dumps(value)}" for key, value in table.items())]
    return "\n".join([*lines, ""])


def _read(path: Path) -> str:
    return path.read_text() if path.exists() else ""


def _replace(path: Path, text: str) -> None:
    if _read(path) != text:
        new = path.with_name(f"{path.name}.{os.getpid()}")
        new.write_text(text)
        new.rename(path)


def main(argv: list[str]) -> None:
    """Write the settings; a command in `argv` takes this process's place."""
    write()
    if argv:
        os.execvpe(argv[0], argv, {**os.environ, **environment()})  # noqa: S606


if __name__ == "__main__":
    main(sys.argv[1:])
