"""The HTTP worker: gunicorn's threads, held by whole requests alone, and a drain on SIGTERM.

The base class gives a thread to every connection that has sent a byte, and ends connections in
the thread that accepts them, waiting up to 2 s for each client: a few dozen clients that dawdle
would leave nobody to answer a health check.
"""

from __future__ import annotations

import signal
import socket
import threading
import time
from contextlib import suppress
from types import FrameType
from typing import Any

from gunicorn.workers.gthread import _DEFER, ThreadWorker

_HEAD_END = b"\r\n\r\n"
# More than the parser takes (100 fields of 8 KiB): it refuses a longer head without waiting.
_HEAD_MOST_BYTES = 1 << 20
_CHUNK_BYTES = 1 << 16
_LINGER_S = 2.0


class Worker(ThreadWorker):
    """A thread worker that leaves in three steps after SIGTERM.

    For the leave time it serves as before, but ends every connection with its next answer, so
    that clients and proxies go elsewhere without losing a request. Then nothing new is taken and
    running generations end within the drain time. Then it exits.
    """

    _is_leaving = False

    def init_signals(self) -> None:
        """Leave Ctrl-C, which a terminal sends to every process, to the arbiter."""
        super().init_signals()
        signal.signal(signal.SIGINT, signal.SIG_IGN)

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """SIGTERM: leave, and come here again to drain; without a leave time drain at once."""
        if self.alive and self.app.wired.leave_s and not self._is_leaving:
            self._leave()
            return
        if self.alive:
            self.app.wired.drain()
            self.method_queue.defer(self._close_idle)
        super().handle_exit(sig, frame)

    def set_accept_enabled(self, enabled: bool) -> None:
        """Stop listening with the last accept: who connects later is refused and can go elsewhere.

        The base class keeps the socket until the drain is over: those connections would hang.
        """
        super().set_accept_enabled(enabled)
        if not enabled and not self.alive:
            while self.sockets:
                listener = self.sockets.pop()
                self._accept_all(listener)
                listener.close()

    def run(self) -> None:
        """Serve until told to stop, then end the engine."""
        super().run()
        self.app.wired.close()

    def handle(self, conn: Any) -> Any:
        """Serve every whole request that has come; without one, give the connection back.

        Requests may have been read from the socket together: the base class would wait for the
        socket to become readable again, which it never does for the second of them.
        """
        while _has_head(conn):
            outcome = super().handle(conn)
            if outcome is not True:
                _linger(conn.sock)
                return outcome
            if not _read_ahead(conn):
                return outcome
        return _DEFER

    def finish_request(self, conn: Any, fs: Any) -> None:
        """Keep the connection for its next request; at the end of it all, close it at once."""
        if not self.alive:
            with suppress(OSError):
                conn.sock.shutdown(socket.SHUT_RDWR)
        super().finish_request(conn, fs)

    def _leave(self) -> None:
        self._is_leaving = True
        self.app.wired.leave()
        # The base class ends a connection with its answer where this many are kept already.
        self.max_keepalived = 0
        again = [self.handle_exit, signal.SIGTERM, None]
        timer = threading.Timer(self.app.wired.leave_s, self.method_queue.defer, again)
        timer.daemon = True
        timer.start()

    def _accept_all(self, listener: Any) -> None:
        """Take the connections that the kernel has made already: closing would reset them."""
        known = -1
        while known != self.nr_conns:
            known = self.nr_conns
            self.accept(listener)

    def _close_idle(self) -> None:
        for connection in (*self.keepalived_conns, *self.pending_conns):
            connection.timeout = 0


def _has_head(conn: Any) -> bool:
    """Whether a request's head is there, or the parser has to say why there will be none.

    Takes what has come without waiting for more.
    """
    conn.init()
    ahead, is_open = _read_ahead(conn), True
    try:
        conn.sock.setblocking(False)
        while is_open and not _is_enough(ahead):
            chunk = conn.sock.recv(_CHUNK_BYTES)
            ahead, is_open = ahead + chunk, bool(chunk)
        return True
    except BlockingIOError:
        return False
    except OSError:
        return True
    finally:
        conn.parser.unreader.take_buffered()
        conn.parser.unreader.unread(ahead)


def _is_enough(ahead: bytes) -> bool:
    return _HEAD_END in ahead.lstrip(b"\r\n") or len(ahead) > _HEAD_MOST_BYTES


def _read_ahead(conn: Any) -> bytes:
    """What was read from the socket and belongs to no request yet."""
    ahead: bytes = conn.parser.unreader.take_buffered()
    conn.parser.unreader.unread(ahead)
    return ahead


def _linger(connection: socket.socket) -> None:
    """Say that this was all, and let the client read it: closing at once could cut it off.

    Done here so that the accepting thread, which closes the connection, need not wait.
    """
    end_s = time.monotonic() + _LINGER_S
    with suppress(OSError):
        connection.shutdown(socket.SHUT_WR)
        connection.settimeout(_LINGER_S)
        while connection.recv(_CHUNK_BYTES) and time.monotonic() < end_s:
            pass
    with suppress(OSError):
        connection.shutdown(socket.SHUT_RDWR)
