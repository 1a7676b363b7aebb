"""A real registry, Debian's `docker-registry`, on a port of this machine while a test runs."""

from __future__ import annotations

import socket
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

PROGRAM = "docker-registry"
USER, PASSWORD = "ada", "s3cret word"
# bcrypt of the password, the one form that the registry takes
_HTPASSWD = f"{USER}:$2b$04$abcdefghijklmnopqrstuu9F2qeZTNt/fOkdkl8f2kRrQa6WVPPdy\n"
_PATIENCE_S = 20
_CONFIG = """\
version: 0.1
log: {{level: warn, accesslog: {{disabled: false}}}}
storage:
  filesystem: {{rootdirectory: {folder}/data}}
  delete: {{enabled: true}}
http: {{addr: "127.0.0.1:{port}", secret: test}}
"""
_AUTH = "auth: {{htpasswd: {{realm: phial, path: {folder}/htpasswd}}}}\n"


@dataclass(frozen=True, slots=True)
class Server:
    """A running registry; `host` is what stands before the repository, `log` its access log."""

    host: str
    log: Path

    def requests(self, method: str) -> list[str]:
        """The paths of the requests with `method` so far."""
        lines = self.log.read_text(errors="replace").splitlines()
        return [line.split(f'"{method} ')[1].split()[0] for line in lines if f'"{method} ' in line]


@contextmanager
def running(folder: Path, *, with_password: bool = False) -> Iterator[Server]:
    """A registry that keeps its data in `folder`; `with_password` it lets only `USER` in."""
    folder.mkdir(parents=True, exist_ok=True)
    port = _free_port()
    config = _CONFIG + (_AUTH if with_password else "")
    (folder / "htpasswd").write_text(_HTPASSWD)
    (folder / "config.yml").write_text(config.format(folder=folder, port=port))
    log = folder / "log"
    with log.open("wb") as output:
        process = subprocess.Popen(
            [PROGRAM, "serve", folder / "config.yml"], stdout=output, stderr=subprocess.STDOUT
        )
        try:
            _await(port, process, log)
            yield Server(f"127.0.0.1:{port}", log)
        finally:
            process.terminate()
            process.wait(timeout=_PATIENCE_S)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _await(port: int, process: subprocess.Popen[bytes], log: Path) -> None:
    deadline = time.monotonic() + _PATIENCE_S
    while time.monotonic() < deadline and process.poll() is None:
        try:
            urllib.request.urlopen(f"http://127.0.0.1:{port}/v2/", timeout=5).close()
        except urllib.error.HTTPError:
            return  # 401: it is there
        except OSError:
            time.sleep(0.05)
        else:
            return
    raise AssertionError(f"{PROGRAM} does not answer:\n{log.read_text()}")
