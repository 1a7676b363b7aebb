"""One process, many threads, and a drain on SIGTERM: gunicorn as the appliance runs it."""

from __future__ import annotations

import logging
import socket
import struct
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gunicorn.app.base import BaseApplication
from gunicorn.arbiter import Arbiter
from gunicorn.glogging import Logger

from edge.config import Settings
from edge.worker import Worker

if TYPE_CHECKING:
    from edge.app import App

_KEEPALIVE_S = 75
# Threads beyond those that generate or wait: health checks, metrics, refusals, uploads.
_SPARE_THREADS = 16
_CONNECTIONS = 1000
# The worker's heartbeat stops while the runtime reads gigabytes of weights from a slow card.
_STALL_S = 900
# A client that neither sends nor reads for so long in the middle of a request is given up.
_PEER_STALL_S = 60
# Time for the worker to answer what was cut short by the end of the drain.
_FAREWELL_S = 5


class JsonLogger(Logger):
    """Sends gunicorn's own lines through the appliance's log."""

    def setup(self, cfg: Any) -> None:
        """Drop gunicorn's handlers and formats; requests are logged by the service."""
        self.error_log.handlers.clear()
        self.error_log.propagate = True
        self.error_log.setLevel(logging.NOTSET)
        self.access_log.disabled = True

    def access(self, *_: Any) -> None:
        """Nothing: every request already has one line with its figures."""


class Foreman(Arbiter):
    """An arbiter for which Ctrl-C drains too; a second one ends at once."""

    def handle_int(self) -> None:
        """The first SIGINT is a SIGTERM."""
        self.handle_term()


class Server(BaseApplication):
    """The appliance as a gunicorn application, configured from `Settings` alone."""

    def __init__(self, settings: Settings, wire: Callable[[], App]) -> None:
        """`wire` is called once, in the worker."""
        self._settings = settings
        self._wire = wire
        super().__init__()

    def load_config(self) -> None:
        """Translate the settings."""
        for name, value in _options(self._settings):
            self.cfg.set(name, value)

    def load(self) -> Callable[..., Iterable[bytes]]:
        """Wire the appliance and start loading the model."""
        self.wired = self._wire()
        self.wired.start()
        return self.wired.wsgi

    def run(self) -> None:
        """Serve until a signal; ends the process by `SystemExit`."""
        Foreman(self).run()


def _bound_stalls(foreman: Arbiter) -> None:
    """Give every connection time limits in the kernel: accepted sockets inherit the listener's.

    Without them a client that stops reading or sending would hold a thread for ever.
    """
    limit = struct.pack("ll", _PEER_STALL_S, 0)
    for listener in foreman.LISTENERS:
        listener.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, limit)
        listener.sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDTIMEO, limit)


def _options(settings: Settings) -> list[tuple[str, Any]]:
    host = f"[{settings.host}]" if ":" in settings.host else settings.host
    shm = Path("/dev/shm")  # noqa: S108 - a heartbeat file, unlinked at once by gunicorn
    return [
        ("bind", f"{host}:{settings.port}"),
        ("workers", 1),
        ("worker_class", Worker),
        ("threads", settings.slots + settings.queue + _SPARE_THREADS),
        ("worker_connections", settings.slots + settings.queue + _CONNECTIONS),
        ("keepalive", _KEEPALIVE_S),
        ("timeout", _STALL_S),
        ("graceful_timeout", int(settings.leave_s + settings.drain_s) + _FAREWELL_S),
        ("logger_class", JsonLogger),
        ("control_socket_disable", True),
        ("worker_tmp_dir", str(shm) if shm.is_dir() else None),
        ("proc_name", "phial"),
        ("when_ready", _bound_stalls),
    ]
