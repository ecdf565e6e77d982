"""Clients that are still shaking hands when their child is told to end: served, or told to come again; never left without a word."""
import socket
import ssl

import pytest

from clients import get
from groups import group, route
from procs import accepted, wait_until
from wire_h2 import GOAWAY, PREFACE, SETTINGS, frame

pytestmark = [pytest.mark.needs("gate_upstream", "gate_engine"), pytest.mark.plane("classic")]  # it asks for the engine itself


class SlowHands:
    """A TLS client whose bytes go out when it is told to."""

    def __init__(self, port, alpn):
        self.sock = socket.create_connection(("127.0.0.1", port), 10)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        context.set_alpn_protocols(alpn)
        self.came, self.said = ssl.MemoryBIO(), ssl.MemoryBIO()
        self.tls = context.wrap_bio(self.came, self.said, server_hostname="localhost")

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.sock.close()

    def step(self):
        """@return whether the handshake is done, as far as we are concerned"""
        try:
            self.tls.do_handshake()
            return True
        except ssl.SSLWantReadError:
            return False

    def send(self, most=1 << 20):
        self.sock.sendall(self.said.read(most))

    def receive(self):
        data = self.sock.recv(65536)
        self.came.write(data) if data else self.came.write_eof()
        return bool(data)

    def finish(self):
        while not self.step():
            self.send()
            self.receive()
        self.send()

    def read(self, count=1 << 20):
        """Up to so many bytes, or all until the end."""
        parts = b""
        while len(parts) < count:
            try:
                more = self.tls.read(count - len(parts))
            except ssl.SSLWantReadError:
                self.receive()
                continue
            except (ssl.SSLEOFError, ssl.SSLZeroReturnError):
                break
            if not more:
                break
            parts += more
        return parts


@pytest.mark.parametrize("alpn", [["h2", "http/1.1"], ["h2"]], ids=["both", "h2"])
@pytest.mark.parametrize("begun", ["hello", "flight"])
def test_handshake_in_a_child_that_ends(lab, begun, alpn):
    """hello: nothing is agreed yet when the child is told; flight: HTTP/2 is, the handshake is not over."""
    member = lab.upstream("m1")
    httpd = lab.httpd(group("app", [member]), vhost=route(), tls=True, plane="express", before="Protocols h2 http/1.1\n", children=1)
    assert get(httpd, tls=True).status == 200
    with SlowHands(httpd.tls_port, alpn) as client:
        client.step()
        client.send(100 if begun == "hello" else 1 << 20)
        if begun == "flight":
            client.receive()
        old = httpd.child_pids()
        wait_until(lambda: accepted(httpd.tls_port, client.sock.getsockname()[1]), 5, "the child has the connection")
        httpd.graceful()
        client.finish()
        if begun == "hello" and len(alpn) == 2:
            assert client.tls.selected_alpn_protocol() == "http/1.1"
            client.tls.write(b"GET /x HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
            client.send()
            assert client.read().startswith(b"HTTP/1.1 200 ")
        else:
            assert client.tls.selected_alpn_protocol() == "h2"
            client.tls.write(PREFACE + frame(SETTINGS))
            client.send()
            assert client.read() == frame(SETTINGS) + frame(GOAWAY, payload=b"\0" * 8)
    wait_until(lambda: not set(old) & set(httpd.child_pids()), 10, "the old child has ended")
