"""Notices clients that leave, whether or not anything is being written to them."""

from __future__ import annotations

import select
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

import flask

_LEFT = select.EPOLLRDHUP | select.EPOLLHUP | select.EPOLLERR


class Departures:
    """One thread that watches the sockets of the requests in flight.

    A client that shuts down its side of the connection counts as gone, as it does for nginx.
    """

    def __init__(self) -> None:
        self._poll = select.epoll()
        self._watched: dict[int, Callable[[], None]] = {}
        self._lock = threading.Lock()
        threading.Thread(target=self._run, name="departures", daemon=True).start()

    @contextmanager
    def watch(self, on_leave: Callable[[], None]) -> Iterator[None]:
        """Call `on_leave`, from the watching thread, if the current request's client leaves."""
        end = self.start(on_leave)
        try:
            yield
        finally:
            end()

    def start(self, on_leave: Callable[[], None]) -> Callable[[], None]:
        """Like `watch`, for answers that outlive the view; returns what ends the watch."""
        connection = flask.request.environ.get("gunicorn.socket")
        if not isinstance(connection, socket.socket):
            return lambda: None
        number = connection.fileno()
        with self._lock:
            self._watched[number] = on_leave
            self._poll.register(number, _LEFT | select.EPOLLONESHOT)
        return lambda: self._end(number, on_leave)

    def _end(self, number: int, on_leave: Callable[[], None]) -> None:
        with self._lock:
            if self._watched.get(number) is on_leave:
                del self._watched[number]
                # A socket that was closed is not registered any more.
                with suppress(OSError):
                    self._poll.unregister(number)

    def _run(self) -> None:
        while True:
            for number, _ in self._poll.poll():
                self._tell(number)

    def _tell(self, number: int) -> None:
        """Tell whose connection `number` is now that its client left, if that is so.

        By the time an event is read here its connection may be closed and the number another's;
        while something is watched under it, under the lock, the number stays with its connection.
        """
        with self._lock:
            on_leave = self._watched.get(number)
            if on_leave is None or not _has_left(number):
                return
        on_leave()


def _has_left(number: int) -> bool:
    look = select.poll()
    look.register(number, select.POLLRDHUP | select.POLLHUP | select.POLLERR)
    return bool(look.poll(0))
