"""Clients over TLS: whatever records and segments their bytes come in, and however answers are put into records, none is lost or late."""
import hashlib
import random
import socket
import ssl
import subprocess

import pytest

import procs
from clients import request_bytes
from groups import group

CONF = "GateEngine on\nProxyPass /app/ gate://app/\n"


class Wire:
    """A TLS client that decides what goes into a record, and which pieces of records go into a segment."""

    def __init__(self, httpd, timeout=15.0):
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        self.tcp = socket.create_connection(("127.0.0.1", httpd.tls_port), timeout)
        self.tcp.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.into, self.out = ssl.MemoryBIO(), ssl.MemoryBIO()
        self.tls = context.wrap_bio(self.into, self.out, server_hostname="localhost")
        self.records, self.plain = [], b""
        while True:
            try:
                self.tls.do_handshake()
                break
            except ssl.SSLWantReadError:
                self.tcp.sendall(self.out.read())
                self._more()
        self.early = self.out.read()  # the handshake's end: goes with the first bytes

    def _more(self):
        data = self.tcp.recv(65536)
        assert data, "the server closed"
        self.into.write(data)

    def record(self, data):
        """One record (of at most 16 KB) as bytes."""
        self.tls.write(data)
        found = self.early + self.out.read()
        self.early = b""
        return found

    def answer(self):
        """(head, body) of the next answer, which has a Content-Length."""
        while b"\r\n\r\n" not in self.plain or len(self.plain) < self._need():
            try:
                piece = self.tls.read(65536)
                self.records.append(len(piece))
                self.plain += piece
            except ssl.SSLWantReadError:
                self._more()
        need = self._need()
        head, body = self.plain[:need].split(b"\r\n\r\n", 1)
        self.plain = self.plain[need:]
        return head.decode(), body

    def _need(self):
        head, _, _ = self.plain.partition(b"\r\n\r\n")
        length = next(line for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:"))
        return len(head) + 4 + int(length.split(b":")[1])

    def close(self):
        self.tcp.close()


def serve(lab, member, **words):
    return lab.httpd(group("app", [member]) + CONF, plane="express", tls=True, **words)


def test_first_request_with_the_handshakes_end(lab):
    """What mod_ssl has read with the handshake's last bytes is no event for the loop any more."""
    httpd = serve(lab, lab.upstream())
    for _ in range(5):
        wire = Wire(httpd)
        wire.tcp.sendall(wire.record(request_bytes("/app/a")) + wire.record(request_bytes("/app/b")))
        assert all("200 OK" in wire.answer()[0] for _ in range(2))
        wire.close()


def test_many_records_in_one_segment(lab):
    """A read gives one record, and the others are with mod_ssl, where no event tells of them."""
    httpd = serve(lab, lab.upstream())
    wire = Wire(httpd)
    for count in (1, 2, 7, 40):
        wire.tcp.sendall(b"".join(wire.record(request_bytes(f"/app/{n}")) for n in range(count)))
        assert all("200 OK" in wire.answer()[0] for _ in range(count))
    # a head, a byte a record
    for _ in range(3):
        wire.tcp.sendall(b"".join(wire.record(bytes([byte])) for byte in request_bytes("/app/slowly")))
        assert "200 OK" in wire.answer()[0]
    wire.close()


def test_segments_that_end_anywhere(lab):
    """Records of requests cut into segments at random: in their heads, in their middle, some with more than one record."""
    rng = random.Random(7)
    httpd = serve(lab, lab.upstream())
    wire = Wire(httpd)
    for turn in range(60):
        count = rng.randrange(1, 4)
        data = b"".join(wire.record(request_bytes(f"/app/{turn}/{n}")) for n in range(count))
        while data:
            cut = rng.choice((1, 2, 4, 5, 6, 20, 60, len(data)))
            wire.tcp.sendall(data[:cut])
            data = data[cut:]
        assert all("200 OK" in wire.answer()[0] for _ in range(count)), turn
        if turn % 10 == 9:  # by a worker thread in between
            wire.tcp.sendall(wire.record(request_bytes("/index.html")) + wire.record(request_bytes("/app/after")))
            assert all("200 OK" in wire.answer()[0] for _ in range(2)), turn
    wire.close()


@pytest.mark.parametrize("size", [8191, 8192, 8193, 16384])
def test_bodies_of_full_records(lab, size):
    """Records just as large as what is read at a time."""
    member = lab.upstream()
    httpd = serve(lab, member)
    wire = Wire(httpd)
    body = random.Random(size).randbytes(10 * size)
    for pieces in (1, 10):
        head = request_bytes("/app/up", "POST", [("Content-Length", str(len(body)))])
        data = wire.record(head) + b"".join(wire.record(body[n:n + size]) for n in range(0, len(body), size))
        step = len(data) // pieces + 1
        for at in range(0, len(data), step):
            wire.tcp.sendall(data[at:at + step])
        assert "200 OK" in wire.answer()[0]
        assert member.requests()[-1]["body_sha256"] == hashlib.sha256(body).hexdigest()
    wire.close()


def test_answers_in_records(lab):
    """A small answer is one record, head and body; small ones that are there at once share records; large ones come whole."""
    member = lab.upstream()
    member.behave("ok", path="/small", size=1000)
    member.behave("ok", path="/large", size=300000)
    httpd = serve(lab, member)
    wire = Wire(httpd)
    for _ in range(2):
        wire.records.clear()
        wire.tcp.sendall(wire.record(request_bytes("/app/small")))
        assert len(wire.answer()[1]) == 1000 and len(wire.records) == 1
    wire.tcp.sendall(b"".join(wire.record(request_bytes("/app/" + what)) for what in ("small", "large", "small", "small", "large")))
    assert [len(wire.answer()[1]) for _ in range(5)] == [1000, 300000, 1000, 1000, 300000]
    wire.close()


def test_records_for_both_planes_in_one_segment(lab):
    """What the loop has received goes with the connection to a worker thread and back."""
    httpd = serve(lab, lab.upstream())
    wire = Wire(httpd)
    padding = [("X-Padding", "x" * 600)]
    for _ in range(3):
        paths = ["/app/first"] + ["/index.html"] * 30 + ["/app/last", "/index.html"]
        wire.tcp.sendall(b"".join(wire.record(request_bytes(path, headers=padding)) for path in paths))
        assert all("200 OK" in wire.answer()[0] for _ in paths)
    wire.close()


def test_keys_are_updated(lab, tmp_path):
    """KeyUpdate (RFC 8446, 4.6.3), asked for in return or not, between requests of a connection on its loop."""
    httpd = serve(lab, lab.upstream())
    output = tmp_path / "output"
    with open(output, "wb") as file, subprocess.Popen(
            ["openssl", "s_client", "-connect", f"127.0.0.1:{httpd.tls_port}", "-tls1_3"], stdin=subprocess.PIPE, stdout=file,
            stderr=subprocess.STDOUT) as client:
        def say(text, word, count):
            client.stdin.write(text)
            client.stdin.flush()
            procs.wait_until(lambda: output.read_bytes().count(word) >= count, 10, f"{word} {count} times")
        try:
            for turn in range(4):
                say(request_bytes(f"/app/{turn}"), b"200 OK", turn + 1)
                say(b"K\n" if turn % 2 else b"k\n", b"KEYUPDATE", turn + 1)
        finally:
            client.kill()
