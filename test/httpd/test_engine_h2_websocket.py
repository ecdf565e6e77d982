"""WebSockets over HTTP/2 (RFC 8441): CONNECT with :protocol, where H2WebSockets is on."""
import struct

import pytest

from clients import Connection, get
from groups import MEMBER_TROUBLE, NO_OUTLIER, group, route
from h2_member import H2Member
from procs import wait_until
from wire_h2 import (ACK, CANCEL, DATA, END_HEADERS, END_STREAM, HEADERS, PROTOCOL_ERROR, RST, SETTINGS, WINDOW, Http2, frame, literal, status_of)

pytestmark = [pytest.mark.needs("gate_upstream", "gate_engine"), pytest.mark.plane("classic")]  # it asks for the engine itself

ON = "H2WebSockets on\n"


def serve(lab, member, conf=ON, vhost="", **words):
    return lab.httpd(group("app", [member], *NO_OUTLIER) + conf, vhost=vhost + route(), tls=True, plane="express", before="Protocols h2 http/1.1\n", children=1,
                     **words)


class Client(Http2):
    def connect(self, path="/ws", protocol="websocket", headers=(), end=False):
        stream, self.next = self.next, self.next + 2
        lines = [(":method", "CONNECT"), (":protocol", protocol), (":scheme", "https"), (":path", path), (":authority", "localhost"),
                 ("sec-websocket-version", "13"), *headers]
        self.send(frame(HEADERS, END_HEADERS | (END_STREAM if end else 0), stream, b"".join(literal(*line) for line in lines)))
        return stream

    def accepted(self, stream):
        status, flags = self.head(stream)
        return status == 200 and not flags & END_STREAM

    def head(self, stream):
        """(status, its frame's flags)"""
        _, flags, _, payload = self.until(lambda kind, flags, of, payload: kind == HEADERS and of == stream)
        return status_of(payload), flags

    def receive(self, stream, size):
        """So many bytes of its DATA; windows are opened as they come."""
        got = b""
        while len(got) < size:
            kind, flags, of, payload = self.read()
            assert not (of == stream and (kind == RST or flags & END_STREAM))
            if kind == DATA and of == stream:
                got += payload
                for where in (0, stream):
                    self.send(frame(WINDOW, stream=where, payload=struct.pack(">I", len(payload))))
        return got

    def ended(self, stream):
        """How: None (END_STREAM), or the code."""
        _, flags, _, payload = self.until(lambda kind, flags, of, payload: of == stream and (kind == RST or (kind == DATA and flags & END_STREAM)))
        return None if flags & END_STREAM else int.from_bytes(payload, "big")


def ws(data, opcode=2):
    """A client's frame, masked with zeros: the echo's payload is the same bytes."""
    size = bytes([128 | len(data)]) if len(data) < 126 else bytes([254]) + struct.pack(">H", len(data)) if len(data) < 65536 else bytes([255]) + struct.pack(">Q", len(data))
    return bytes([128 | opcode]) + size + b"\0\0\0\0" + data


def echo(data, opcode=2):
    size = bytes([len(data)]) if len(data) < 126 else b"\x7e" + struct.pack(">H", len(data)) if len(data) < 65536 else b"\x7f" + struct.pack(">Q", len(data))
    return bytes([128 | opcode]) + size + data


def test_both_ways(lab):
    member = lab.upstream("m1")
    httpd = serve(lab, member)
    with Client(httpd.tls_port) as client:
        _, _, _, said = client.until(lambda kind, flags, *_: kind == SETTINGS and not flags & ACK)
        assert struct.pack(">HI", 8, 1) in said
        streams = []
        for n in range(3):
            streams.append(client.connect(f"/ws{n}"))
            assert client.accepted(streams[-1])
        for text in (b"one", b"two" * 100):
            for stream in streams:
                client.data(stream, ws(text, 1))
                assert client.receive(stream, len(echo(text))) == echo(text, 1)
        assert client.answer(client.ask("/plain"))[0] == 200
        for stream in streams:
            client.data(stream, ws(b"", 8), end=True)
            assert client.receive(stream, 2)[:1] == b"\x88"
            assert client.ended(stream) is None
    asked = [r for r in member.requests() if r["target"].startswith("/ws")]
    for request in asked:
        names = [name for name, _ in request["headers"]]
        assert request["method"] == "GET" and names.count("Sec-WebSocket-Key") == 1 and ["Upgrade", "websocket"] in request["headers"]
    assert len({dict(map(tuple, request["headers"]))["Sec-WebSocket-Key"] for request in asked}) == 3
    assert sorted(line["status"] for line in httpd.access(4)) == [101, 101, 101, 200]
    assert {line["plane"] for line in httpd.access(4)} == {"express"}


def test_much_with_a_slow_reader(lab):
    """4 MB through the echo while the client does not read: windows stop it, nothing is lost."""
    member = lab.upstream("m1")
    httpd = serve(lab, member)
    piece = bytes(range(250)) * 240
    with Client(httpd.tls_port, timeout=30) as client:
        stream = client.connect()
        assert client.accepted(stream)
        windows, back, out = {0: 1 << 20, stream: 65535}, b"", ws(piece) * 70
        want = echo(piece) * 70
        while len(back) < len(want):
            n = min(len(out), 16384, *windows.values())
            if n:
                client.data(stream, out[:n])
                out = out[n:]
                windows = {at: left - n for at, left in windows.items()}
                continue
            kind, flags, of, payload = client.read()
            assert not (of == stream and (kind == RST or flags & END_STREAM and kind == DATA))
            if kind == WINDOW and of in windows:
                windows[of] += int.from_bytes(payload, "big")
            elif kind == DATA:
                back += payload
                for where in (0, stream):
                    client.send(frame(WINDOW, stream=where, payload=struct.pack(">I", len(payload))))
        assert back == want


@pytest.mark.parametrize("how", ["reset", "end", "gone"])
def test_client_ends(lab, how):
    member = lab.upstream("m1")
    httpd = serve(lab, member)
    with Client(httpd.tls_port) as client:
        stream = client.connect()
        assert client.accepted(stream)
        assert wait_until(lambda: member.open_connections == 1)
        if how == "reset":
            client.send(frame(RST, 0, stream, struct.pack(">I", CANCEL)))
        elif how == "end":
            client.data(stream, b"", end=True)
            assert client.ended(stream) is None
        else:
            client.sock.close()
        assert wait_until(lambda: member.open_connections == 0)
        if how != "gone":
            assert client.answer(client.ask("/x"))[0] == 200


def test_member_ends(lab):
    member = lab.upstream("m1")
    httpd = serve(lab, member)
    httpd.expect(*MEMBER_TROUBLE)
    with Client(httpd.tls_port) as client:
        stream = client.connect()
        assert client.accepted(stream)
        member.kill9()
        assert client.ended(stream) is None


def test_no_websocket_there(lab):
    """A success that is none is 502, an error is the member's; a handshake for another key is none."""
    member = lab.upstream("m1")
    member.behave({"raw": "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi"}, path="/200")
    member.behave({"raw": "HTTP/1.1 403 Forbidden\r\nContent-Length: 2\r\n\r\nno"}, path="/403")
    member.behave({"raw": "HTTP/1.1 101 Switching\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
                          "Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\nbytes"}, path="/other")
    httpd = serve(lab, member, log_level="notice gate_engine:info")
    httpd.expect(*MEMBER_TROUBLE)
    with Client(httpd.tls_port) as client:
        for path, code in (("/200", 502), ("/403", 403), ("/other", 502)):
            assert client.answer(client.connect(path))[:2] == (code, b"no" if code == 403 else b"")
        assert client.answer(client.ask("/x"))[0] == 200
    httpd.wait_log("GATE1702", count=2)
    assert wait_until(lambda: member.inflight == 0)


def test_not_for_threads(lab):
    """Routes of the classic plane, other protocols: 501, and the connection goes on."""
    member = lab.upstream("m1")
    httpd = serve(lab, member, vhost='<Location "/classic/">\nProxyPass "gate://app/"\nForceType text/plain\n</Location>\n')
    with Client(httpd.tls_port) as client:
        for words in ({"path": "/classic/ws"}, {"protocol": "connect-udp"}, {"path": "/classic/ws", "end": True}):
            stream = client.connect(**words)
            client.data(stream, b"frame") if not words.get("end") else None
            assert client.answer(stream)[0] == 501
        assert client.answer(client.ask("/x"))[0] == 200
    assert sorted(line["status"] for line in httpd.access(4)) == [200, 501, 501, 501]
    assert member.count == 1


def test_off_unless_asked_for(lab):
    httpd = serve(lab, lab.upstream("m1"), conf="")
    with Client(httpd.tls_port) as client:
        _, _, _, said = client.until(lambda kind, flags, *_: kind == SETTINGS and not flags & ACK)
        assert struct.pack(">HI", 8, 1) not in said
        stream = client.connect()
        assert client.answer(stream)[2] == PROTOCOL_ERROR
        assert client.answer(client.ask("/x"))[0] == 200


# --- members that speak HTTP/2 -------------------------------------------------------------------------

OFFERS = [(8, 1)]  # SETTINGS_ENABLE_CONNECT_PROTOCOL
KEY, ACCEPT = "dGhlIHNhbXBsZSBub25jZQ==", "s3pPLMBiTxaQ9kYGzzhZRbK+xOo="


def h2_member(lab, *script, settings=OFFERS):
    return lab.keep(H2Member(*script, settings=settings))


def both(lab, member):
    """The route in the clear and over TLS."""
    return serve(lab, member, conf="GateEngineLoops 1\n" + ON + route())


def upgrade(client, path="/ws", headers=()):
    """The handshake of HTTP/1.1."""
    return client.request(path, headers=[("Upgrade", "websocket"), ("Connection", "Upgrade"), ("Sec-WebSocket-Version", "13"),
                                         ("Sec-WebSocket-Key", KEY), *headers])


def asked_right(head, authority):
    assert head[":method"] == "CONNECT" and head[":protocol"] == "websocket" and head[":path"] == "/ws?a=b"
    assert head[":scheme"] == "http" and head[":authority"] == authority and head["sec-websocket-version"] == "13"
    assert not {"sec-websocket-key", "upgrade", "connection", "content-length", "host"} & set(head)


def test_from_http1_to_an_h2_member(lab):
    member = h2_member(lab, "websocket")
    httpd = both(lab, member)
    with Connection(httpd.port) as client, Connection(httpd.port) as other:
        for one in (client, other):
            answer = upgrade(one, "/ws?a=b")
            assert answer.status == 101 and answer.header("Sec-WebSocket-Accept") == ACCEPT
            assert answer.header("Upgrade") == "websocket" and answer.header("Sec-WebSocket-Protocol") == "chat"
        for text in (b"one", b"two" * 100000):
            for one in (client, other):
                one.send(text)
                assert one._exact(len(text)) == text
        client.close()
        assert wait_until(lambda: len(httpd.access()) == 1)
        other.send(b"still")
        assert other._exact(5) == b"still"
    asked_right(member.heads[0], member.url.partition("://")[2])
    assert member.connections == 1
    lines = httpd.access(2)
    assert [(line["status"], line["plane"], line["group"]) for line in lines] == [(101, "express", "app")] * 2


def test_from_h2_to_an_h2_member(lab):
    member = h2_member(lab, "websocket", "closes-websocket", "ok")
    httpd = both(lab, member)
    with Client(httpd.tls_port) as client:
        stream = client.connect("/ws?a=b")
        assert client.accepted(stream)
        for text in (b"one", b"two" * 5000):
            client.data(stream, text)
            assert client.receive(stream, len(text)) == text
        client.data(stream, b"last", end=True)
        assert client.receive(stream, 4) == b"last"
        assert client.ended(stream) is None
        stream = client.connect()
        assert client.accepted(stream)
        client.data(stream, b"bye")
        assert client.receive(stream, 3) == b"bye"
        assert client.ended(stream) is None
        assert client.answer(client.ask("/plain"))[0] == 200
    asked_right(member.heads[0], member.url.partition("://")[2])
    assert sorted(line["status"] for line in httpd.access(3)) == [101, 101, 200]


def test_an_h2_member_says_no(lab):
    """Its answer is the answer; a reset is 502."""
    member = h2_member(lab, "no-content", "reset", "no-content", "reset")
    httpd = both(lab, member)
    httpd.expect(*MEMBER_TROUBLE)
    with Connection(httpd.port) as client:
        assert upgrade(client).status == 404
        assert upgrade(client).status == 502
    with Client(httpd.tls_port) as client:
        assert client.answer(client.connect())[0] == 404
        assert client.answer(client.connect())[0] == 502


def test_an_h2_member_that_does_not_offer_it(lab):
    member = h2_member(lab, "ok", settings=())
    httpd = both(lab, member)
    with Connection(httpd.port) as client:
        answer = upgrade(client)
        assert answer.status == 502 and answer.header("Proxy-Status") == "gatehouse; error=http_upgrade_failed"
        assert client.request("/x").status == 200
    with Client(httpd.tls_port) as client:
        assert client.answer(client.connect())[0] == 502
        assert client.answer(client.ask("/x"))[0] == 200
    httpd.wait_log(r"GATE1703: group app: member \S+: it does not offer WebSockets over HTTP/2")
    assert {line["member"] for line in httpd.access(4)} == {httpd.access(4)[0]["member"]}
    assert member.requests == 2 and get(httpd.port).status == 200


def test_not_a_handshake_is_a_request(lab):
    """Upgrade may be ignored (RFC 9110, 7.8): without a key there is nothing that could become CONNECT."""
    member = h2_member(lab, "ok")
    httpd = both(lab, member)
    assert get(httpd.port, "/", headers=[("Upgrade", "websocket"), ("Connection", "Upgrade")]).status == 200
    assert member.heads[0][":method"] == "GET"


def test_a_websocket_on_an_h2_member_that_dies(lab):
    member = h2_member(lab, "websocket")
    httpd = both(lab, member)
    httpd.expect(*MEMBER_TROUBLE)
    with Connection(httpd.port) as client, Client(httpd.tls_port) as other:
        assert upgrade(client).status == 101
        stream = other.connect()
        assert other.accepted(stream)
        member.stop()
        assert client.closed()
        assert other.ended(stream) is None
