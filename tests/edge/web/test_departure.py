"""Clients that leave are noticed on their sockets, whatever the view does meanwhile."""

from __future__ import annotations

import socket
import threading

import flask
import pytest

from edge.web.departure import Departures


@pytest.fixture(scope="module")
def departures():
    return Departures()


@pytest.fixture
def pair():
    """The server's and the client's end of a connection."""
    listener = socket.create_server(("127.0.0.1", 0))
    client = socket.create_connection(listener.getsockname())
    server, _ = listener.accept()
    yield server, client
    for one in (server, client, listener):
        one.close()


def request(server):
    context = flask.Flask("test").test_request_context("/")
    context.request.environ["gunicorn.socket"] = server
    return context


@pytest.mark.parametrize("how", ["close", "shutdown", "reset"])
def test_a_client_that_leaves(departures, pair, how):
    server, client = pair
    left = threading.Event()
    with request(server), departures.watch(left.set):
        assert not left.wait(0.05)
        if how == "shutdown":
            client.shutdown(socket.SHUT_WR)
        elif how == "reset":
            client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
            client.close()
        else:
            client.close()
        assert left.wait(5)


def test_a_client_that_left_before_the_watch_began(departures, pair):
    server, client = pair
    client.close()
    left = threading.Event()
    with request(server), departures.watch(left.set):
        assert left.wait(5)


def test_data_from_the_client_is_no_departure(departures, pair):
    server, client = pair
    left = threading.Event()
    with request(server), departures.watch(left.set):
        client.sendall(b"GET / HTTP/1.1\r\n\r\n")
        assert not left.wait(0.1)


def test_after_the_watch_nobody_is_told(departures, pair):
    server, client = pair
    left = threading.Event()
    with request(server), departures.watch(left.set):
        pass
    client.close()
    assert not left.wait(0.1)


def test_one_connection_is_watched_again_and_again(departures, pair):
    """Keep-alive: the same socket serves many requests."""
    server, client = pair
    for _ in range(50):
        with request(server), departures.watch(lambda: None):
            pass
    left = threading.Event()
    with request(server), departures.watch(left.set):
        client.close()
        assert left.wait(5)


def test_the_watch_ends_when_the_view_fails(departures, pair):
    server, client = pair
    left = threading.Event()
    with pytest.raises(KeyError), request(server), departures.watch(left.set):
        raise KeyError
    client.close()
    assert not left.wait(0.1)


def test_a_socket_that_was_closed_meanwhile(departures, pair):
    """Its number may belong to another connection by the time the watch ends."""
    server, client = pair
    with request(server):
        end = departures.start(lambda: None)
    server.close()
    client.close()
    again = socket.create_server(("127.0.0.1", 0))
    other = socket.create_connection(again.getsockname())
    accepted, _ = again.accept()
    left = threading.Event()
    with request(accepted), departures.watch(left.set):
        end()
        other.close()
        assert left.wait(5)
    accepted.close()
    again.close()


def test_an_event_of_the_connection_that_had_the_number_before(departures, pair):
    """The client of the last answer hangs up just as its socket is closed and its number reused."""
    server, client = pair
    left = threading.Event()
    with request(server), departures.watch(left.set):
        departures._tell(server.fileno())
        assert not left.is_set()
        client.close()
        assert left.wait(5)


def test_without_a_socket_there_is_nothing_to_watch(departures):
    with flask.Flask("test").test_request_context("/"), departures.watch(lambda: None):
        pass


def test_many_connections_at_once(departures):
    listener = socket.create_server(("127.0.0.1", 0), backlog=64)
    pairs = []
    for _ in range(40):
        client = socket.create_connection(listener.getsockname())
        pairs.append((listener.accept()[0], client, threading.Event()))
    ends = []
    for server, _, left in pairs:
        with request(server):
            ends.append(departures.start(left.set))
    for _, client, _ in pairs[::2]:
        client.close()
    assert all(left.wait(5) for _, _, left in pairs[::2])
    assert not any(left.is_set() for _, _, left in pairs[1::2])
    for end in ends:
        end()
    for server, client, _ in pairs:
        server.close()
        client.close()
    listener.close()
