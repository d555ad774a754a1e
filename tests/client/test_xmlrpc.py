"""The XML-RPC client against servers that answer well, badly, late or never."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress

import pytest

from koinon.client.contexts import Endpoint
from koinon.client.errors import NotAZoneError, RefusedError, SetupError, UnreachableError
from koinon.client.xmlrpc import Client
from koinon.wire import xmlrpc
from tests.cli.stand_in import StandIn


def _http(body: bytes, *, status: str = "200 OK", length: int | None = None) -> bytes:
    return b"HTTP/1.1 %b\r\nContent-Length: %d\r\n\r\n%b" % (status.encode(), len(body) if length is None else length, body)


@contextmanager
def answering(*replies: bytes | None, hung_up: threading.Semaphore | None = None, answer_s: float = 30.0) -> Iterator[Client]:
    """A client of a server that reads one request on each connection, sends these bytes and hangs up (None: keeps silent).

    ``hung_up`` is released each time the server has closed a connection.
    """
    done = threading.Event()
    with socket.create_server(("127.0.0.1", 0)) as server:

        def serve() -> None:
            for reply in replies:
                with suppress(OSError):
                    connection, _ = server.accept()
                    with connection:
                        _read_request(connection)
                        if reply is None:
                            done.wait()
                        else:
                            connection.sendall(reply)
                if hung_up is not None:
                    hung_up.release()

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        url = f"http://127.0.0.1:{server.getsockname()[1]}/RPC2"
        with Client(Endpoint.parse(url, "the test"), "oneadmin:opennebula", answer_s=answer_s) as client:
            yield client
        done.set()
        thread.join()


def _read_request(connection: socket.socket) -> None:
    with connection.makefile("rb") as stream:
        length = 0
        while line := stream.readline().strip():
            name, _, value = line.partition(b":")
            length = int(value) if name.lower() == b"content-length" else length
        stream.read(length)


def _client(zone: StandIn) -> Client:
    return Client(Endpoint.parse(zone.url, "the test"), "oneadmin:opennebula", answer_s=30.0)


def test_one_connection_serves_many_calls() -> None:
    with StandIn() as zone, _client(zone) as client:
        for _ in range(5):
            assert str(client.call("one.zonepool.info")).startswith("<ZONE_POOL>")
        assert zone.connections == 1


def test_types_arrive_as_sent() -> None:
    with StandIn() as zone, _client(zone) as client:
        assert client.call("one.user.allocate", "ä<&>\r\n", "x", "", [1, 0]) == 2
        assert zone.made("one.user.allocate") == [["ä<&>\r\n", "x", "", [1, 0]]]
        client.call("one.user.enable", 1, False)
        assert zone.made("one.user.enable") == [[1, False]]
        assert type(zone.made("one.user.enable")[0][1]) is bool


def test_what_xml_cannot_hold_is_not_sent() -> None:
    with StandIn() as zone, _client(zone) as client:
        for value in ("\x00", "\ud800"):
            with pytest.raises(SetupError, match="Nothing was sent"):
                client.call("one.user.passwd", 0, value)
        assert zone.calls == []


def test_a_refusal_carries_the_zones_text_code_and_object() -> None:
    with StandIn() as zone, _client(zone) as client:
        with pytest.raises(RefusedError, match=r"^\[one\.user\.info\] Error getting user \[99\]\.$") as caught:
            client.call("one.user.info", 99)
        assert (caught.value.code, caught.value.object_id) == (0x400, 99)
        assert client.call("one.user.info", 0)  # and the connection is still good
        assert zone.connections == 1


def test_a_fault_is_a_refusal_too() -> None:
    with StandIn() as zone, _client(zone) as client, pytest.raises(RefusedError, match=r"'one\.no' not defined") as caught:
        client.call("one.no")
    assert caught.value.code == -506


@pytest.mark.parametrize(
    "reply",
    [
        b"220 mail.example ESMTP\r\n",
        _http(b"<html>hello</html>"),
        _http(b""),
        _http(b"<!DOCTYPE a [<!ENTITY b 'c'>]><methodResponse/>"),
        _http(b"not found", status="404 Not Found"),
        _http(b"", status="302 Found"),
        _http(xmlrpc.encode_result(5)),
        _http(xmlrpc.encode_result([])),
        _http(xmlrpc.encode_result([True])),
        _http(xmlrpc.encode_result([False, 5])),
        _http(xmlrpc.encode_result([True, ["list"]])),
    ],
)
def test_what_is_no_zone_is_said_to_be_none(reply: bytes) -> None:
    with answering(reply) as client, pytest.raises(NotAZoneError, match="Check the address"):
        client.call("one.userpool.info")


def test_reply_arrays_may_be_longer_or_shorter_than_usual() -> None:
    with answering(_http(xmlrpc.encode_result([True, "x"]))) as client:
        assert client.call("one.user.info", 0) == "x"
    with answering(_http(xmlrpc.encode_result([True, 7, 0, 0, 0]))) as client:
        assert client.call("one.user.info", 0) == 7
    with answering(_http(xmlrpc.encode_result([False, "no"]))) as client, pytest.raises(RefusedError, match=r"^no$"):
        client.call("one.user.info", 0)


@pytest.mark.parametrize("reply", [b"", b"HTTP/1.1 200 OK\r\nContent-Le", _http(b"<method", length=5000)])
def test_a_cut_connection_says_whether_a_write_may_have_happened(reply: bytes) -> None:
    with answering(reply, reply) as client:
        with pytest.raises(UnreachableError, match="may have been carried out: look before you repeat it"):
            client.call("one.user.delete", 5)
        with pytest.raises(UnreachableError, match="Try again"):
            client.call("one.user.info", 5)


def test_silence_ends_with_the_time_limit() -> None:
    with answering(None, answer_s=1.0) as client, pytest.raises(UnreachableError, match=r"no answer within 1 s.*may have been carried out"):
        client.call("one.user.delete", 5)


def test_a_server_that_hung_up_meanwhile_is_dialled_again() -> None:
    """The hang-up is seen before anything is sent, so the call reaches the server once."""
    good = _http(xmlrpc.encode_result([True, 1, 0]))
    hung_up = threading.Semaphore(0)
    with answering(good, good, good, hung_up=hung_up) as client:
        for _ in range(3):
            assert client.call("one.user.enable", 1, True) == 1
            assert hung_up.acquire(timeout=30)


@pytest.mark.parametrize("url", ["http://127.0.0.1:{port}/RPC2", "https://127.0.0.1:{port}/RPC2", "http://no-such-host.invalid/RPC2"])
def test_nobody_there(url: str) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        endpoint = Endpoint.parse(url.format(port=taken.getsockname()[1]), "the test")
        with (
            Client(endpoint, "a:b", answer_s=30.0) as client,
            pytest.raises(UnreachableError, match=r"\(from the test\) can't be reached: .*refused|host name"),
        ):
            client.call("one.user.info", -1)


def test_https_to_a_plain_server_is_no_traceback() -> None:
    with answering(b"HTTP/1.1 400 Bad Request\r\n\r\n", answer_s=1.0) as client:
        secure = Endpoint.parse(client.endpoint.url.replace("http:", "https:"), "the test")
        with Client(secure, "a:b", answer_s=1.0) as other, pytest.raises(UnreachableError, match="can't be reached"):
            other.call("one.user.info", -1)
        with suppress(UnreachableError, NotAZoneError):
            client.call("one.user.info", -1)
