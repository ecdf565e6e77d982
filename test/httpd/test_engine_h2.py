"""HTTP/2 on the engine: streams that are express and streams that are classic, side by side; bodies, windows, ends of every kind, abuse."""
import hashlib
import socket
import struct
import threading
import time

import pytest

from clients import curl, h2load
from groups import MEMBER_TROUBLE, group, route
from procs import wait_until
from upstreams import PRESETS
from wire_h2 import (ACK, CANCEL, CONTINUATION, DATA, END_HEADERS, END_STREAM, GOAWAY, HEADERS, PROTOCOL_ERROR, RST, SETTINGS, WINDOW,
                     Http2, block, frame, literal, status_of)

pytestmark = pytest.mark.needs("gate_upstream", "gate_engine")

FILES = 'Alias "/files/" "${ROOT}/htdocs/"\n<Location "/files/">\nProxyPass !\nRequire all granted\n</Location>\n'


def serve(lab, members, *lines, conf="", vhost="", **words):
    words.setdefault("children", 1)
    return lab.httpd(group("app", members, *lines) + conf, vhost=FILES + vhost + route(), tls=True, plane="express",
                     before="Protocols h2 http/1.1\n", **words)


def get(httpd, path="/", *words):
    code, answer, said = curl("--http2", *words, httpd.tls_url + path)
    assert code == 0, said
    return answer


def no_exchange_left(httpd):
    """Every member's in-flight count is zero: new requests are answered at once with connections=1."""
    return get(httpd, "/still").status == 200


# --- requests ------------------------------------------------------------------------------------

def test_express_and_classic_on_one_connection(lab):
    member = lab.upstream("m1")
    httpd = serve(lab, [member])
    httpd.write_file("htdocs/file.txt", "x" * 5000)
    with Http2(httpd.tls_port) as client:
        streams = [client.ask("/files/file.txt" if n % 3 == 0 else f"/s{n}") for n in range(30)]
        left = {stream: b"" for stream in streams}
        ended = set()
        while len(ended) < len(streams):
            kind, flags, stream, payload = client.read()
            assert kind != RST
            if kind == HEADERS:
                assert status_of(payload) == 200
            if kind == DATA:
                left[stream] += payload
            if kind in (HEADERS, DATA) and flags & END_STREAM:
                ended.add(stream)
    for n, stream in enumerate(streams):
        assert left[stream] == b"x" * 5000 if n % 3 == 0 else f'"/s{n}"'.encode() in left[stream]
    assert httpd.planes(30)["express"] == 20
    lines = httpd.access(30)
    assert {line["protocol"] for line in lines} == {"HTTP/2.0"} and {line["status"] for line in lines} == {200}


def test_methods_and_bodies(lab):
    member = lab.upstream("m1")
    httpd = serve(lab, [member])
    httpd.write_file("body", "b" * 3_000_000)
    answer = get(httpd, "/up", "-T", httpd.path("body"))
    assert answer.json()["body_sha256"] == hashlib.sha256(b"b" * 3_000_000).hexdigest()
    assert answer.json()["method"] == "PUT"
    assert get(httpd, "/p", "-d", "a=b").json()["body_length"] == 3
    assert get(httpd, "/h", "-I").body == b""
    assert get(httpd, "/x", "-X", "DELETE").json()["method"] == "DELETE"
    got = get(httpd, "/c", "-H", "Cookie: a=1", "-H", "X-Some-Thing: 1").json()["headers"]
    assert ["Cookie", "a=1"] in got and ["X-Some-Thing", "1"] in got
    assert [line["plane"] for line in httpd.access(5)] == ["express"] * 5


def test_body_of_a_classic_stream(lab):
    member = lab.upstream("m1")
    httpd = serve(lab, [member], vhost='<Location "/classic/">\nSetEnvIfExpr "true" x\n</Location>\n'
                  'RewriteEngine on\nRewriteRule "^/w/(.*)" "gate://app/$1" [P]\n')
    httpd.write_file("body", "c" * 700_000)
    answer = get(httpd, "/w/up", "-T", httpd.path("body"))
    assert answer.json()["body_sha256"] == hashlib.sha256(b"c" * 700_000).hexdigest()
    assert get(httpd, "/w/chunks", "-H", "Content-Length:", "-T", httpd.path("body")).json()["body_length"] == 700_000


def test_errors_are_httpds_own(lab):
    member = lab.upstream("m1")
    httpd = serve(lab, [member], vhost='ErrorDocument 503 "gone fishing"\n')
    assert get(httpd).status == 200
    member.stop()
    httpd.expect(*MEMBER_TROUBLE)
    answer = get(httpd)
    assert (answer.status, answer.body) == (503, b"gone fishing")
    line = httpd.access(2)[-1]
    assert (line["status"], line["protocol"], line["plane"]) == (503, "HTTP/2.0", "express")


def test_head_and_empty_answers(lab):
    member = lab.upstream("m1")
    member.behave({"status": 204}, path="/204")
    member.behave({"status": 304}, path="/304")
    member.behave({"size": 0}, path="/empty")
    httpd = serve(lab, [member])
    assert [get(httpd, path).status for path in ("/204", "/304", "/empty")] == [204, 304, 200]
    with Http2(httpd.tls_port) as client:
        for path in ("/204", "/304", "/empty"):
            assert client.answer(client.ask(path))[1:] == (b"", None)


CLASSIC = '<Location "/classic/">\nProxyPass "gate://app/"\nForceType text/plain\n</Location>\n'


@pytest.mark.parametrize("where", ["", "/classic"])
def test_early_hints(lab, where):
    member = lab.upstream("m1")
    member.behave("early-hints", path="/hints")
    httpd = serve(lab, [member], vhost=CLASSIC)
    code, answer, _ = curl("--http2", httpd.tls_url + where + "/hints")
    assert (code, answer.status, answer.interim) == (0, 200, [103])
    assert httpd.access(1)[0]["plane"] == ("classic" if where else "express")
    httpd.write_conf(conf=httpd.conf + "H2EarlyHints off\n")
    httpd.restart()
    code, answer, _ = curl("--http2", httpd.tls_url + where + "/hints")
    assert (code, answer.status, answer.interim) == (0, 200, [])


@pytest.mark.parametrize("where", ["", "/classic"])
def test_100_continue(lab, where):
    """Told once, before the body; who does not wait is told nothing after it."""
    member = lab.upstream("m1")
    httpd = serve(lab, [member], vhost=CLASSIC)
    with Http2(httpd.tls_port) as client:
        stream = client.ask(where + "/x", "POST", [("expect", "100-continue"), ("content-length", "4")], end=False)
        _, flags, _, payload = client.until(lambda kind, flags, of, payload: kind == HEADERS and of == stream)
        assert status_of(payload) == 100 and not flags & END_STREAM
        client.data(stream, b"body", end=True)
        status, body, code = client.answer(stream)
        assert (status, code) == (200, None) and b'"body_length": 4' in body
        stream = client.ask(where + "/x", "POST", [("content-length", "4")], end=False)
        client.data(stream, b"body", end=True)
        assert client.answer(stream)[0] == 200
        assert len([f for f in client.frames if f[0] == HEADERS and f[2] == stream]) == 1
    assert {line["plane"] for line in httpd.access(2)} == {"classic" if where else "express"}


def test_trailers(lab):
    member = lab.upstream("m1")
    member.behave("trailers", path="/trailers")
    httpd = serve(lab, [member])
    with Http2(httpd.tls_port) as client:
        stream = client.ask("/trailers")
        _, body, code = client.answer(stream)
        assert (body, code) == (b"with trailers", None)
        heads = [f for f in client.frames if f[0] == HEADERS and f[2] == stream]
        assert len(heads) == 2 and heads[1][1] & END_STREAM


@pytest.mark.parametrize("path", ["/x", "/classic/x"])
def test_request_trailers(lab, path):
    """They end the body; the classic plane has them in trailers_in, and no member of HTTP/1.1 gets them from either plane."""
    member = lab.upstream("m1")
    httpd = serve(lab, [member], conf="LimitRequestFields 8\n",
                  vhost=CLASSIC + 'LogFormat "%{X-Check}^ti" trailers\nCustomLog "${ROOT}/logs/trailers.log" trailers\n' if "classic" in path else "")
    httpd.expect("AH02427", "AH00561", "GATE02", "proxy")
    with Http2(httpd.tls_port) as client:
        def send(*fields):
            stream = client.ask(path, "POST", end=False)
            client.data(stream, b"request")
            client.send(frame(HEADERS, END_HEADERS | END_STREAM, stream, b"".join(literal(*one) for one in fields)))
            return client.answer(stream)

        status, body, code = send(("x-check", "sum"), ("te", "trailers"))
        assert (status, code) == (200, None) and b'"body_length": 7' in body and member.requests()[-1]["trailers"] == []
        assert send((":path", "/y"))[2] == PROTOCOL_ERROR
        assert send(*((f"x-{n}", "1") for n in range(12)))[0] == 400
        assert send(("x-check", "last"))[0] == 200
    assert "classic" in path or {line["plane"] for line in httpd.access(3)} >= {"express"}
    if "classic" in path:
        assert wait_until(lambda: {"sum", "last"} <= set(httpd.read_file("logs/trailers.log").split("\n")))


def test_load(lab):
    members = lab.upstreams(2)
    httpd = serve(lab, members, children=2)
    load = h2load(httpd.tls_url + "/", requests=3000, connections=8, streams=20)
    assert (load.errors, load.bad) == (0, 0)
    assert httpd.planes(3000)["express"] == 3000


# --- windows -------------------------------------------------------------------------------------

def test_slow_reader_is_bounded_and_others_go_on(lab):
    member = lab.upstream("m1")
    member.behave({"size": 2_000_000}, path="/big")
    httpd = serve(lab, [member])
    with Http2(httpd.tls_port, settings=[(4, 10_000)]) as client:
        big = client.ask("/big")
        got = 0
        while got < 10_000:
            kind, _, stream, payload = client.read()
            if kind == DATA and stream == big:
                got += len(payload)
        small = client.ask("/small")
        client.send(frame(WINDOW, stream=small, payload=struct.pack(">I", 100_000)))
        assert client.answer(small)[0] == 200
        client.send(frame(WINDOW, stream=0, payload=struct.pack(">I", 10_000_000)))
        client.send(frame(WINDOW, stream=big, payload=struct.pack(">I", 10_000_000)))
        while got < 2_000_000:
            kind, flags, stream, payload = client.read()
            assert kind != RST
            if kind == DATA and stream == big:
                got += len(payload)
        assert got == 2_000_000


def test_upload_waits_for_a_slow_member(lab):
    member = lab.upstream("m1")
    member.behave({"delay": 0.3}, path="/slow")
    httpd = serve(lab, [member])
    with Http2(httpd.tls_port) as client:
        stream = client.ask("/slow", "POST", end=False)
        left, window = 300_000, 65_535
        while left:
            n = min(left, window, 16_000)
            if n:
                client.data(stream, b"u" * n, end=n == left)
                left, window = left - n, window - n
                continue
            kind, _, of, payload = client.read()
            if kind == WINDOW and of == stream:
                window += int.from_bytes(payload, "big")
        status, body, code = client.answer(stream)
        assert (status, code) == (200, None) and b'"body_length": 300000' in body


# --- ends ----------------------------------------------------------------------------------------

@pytest.mark.parametrize("path", ["/short", "/classic/short"])
def test_member_breaks_off(lab, path):
    member = lab.upstream("m1")
    member.behave("short-body", path="/short")
    member.behave({**PRESETS["short-body"], "chunked": True}, path="/chunks")
    httpd = serve(lab, [member], vhost='<Location "/classic/">\nProxyPass "gate://app/"\nForceType text/plain\n</Location>\n')
    httpd.expect(*MEMBER_TROUBLE, "GATE02", r"proxy_http:error")
    for path in (path, path.replace("short", "chunks")):
        with Http2(httpd.tls_port) as client:
            status, _, code = client.answer(client.ask(path))
            assert status == 200 and code not in (None, "closed")
            assert client.answer(client.ask("/fine"))[0] == 200
    assert [line["plane"] for line in httpd.access(4) if line["uri"] == path] == ["classic" if "classic" in path else "express"]


def test_streams_taken_back(lab):
    member = lab.upstream("m1")
    member.behave({"delay": 0.4}, path="/slow")
    httpd = serve(lab, [(member, "connections=3")])
    with Http2(httpd.tls_port) as client:
        for path in ("/slow", "/files/none", "/slow"):
            stream = client.ask(path)
            client.send(frame(RST, 0, stream, struct.pack(">I", CANCEL)))
        assert client.answer(client.ask("/s"))[0] == 200
    assert wait_until(lambda: no_exchange_left(httpd))


def test_client_leaves_at_every_point(lab):
    member = lab.upstream("m1")
    member.behave({"delay": 0.2, "size": 300_000}, path="/slow")
    httpd = serve(lab, [member])
    httpd.write_file("htdocs/big", "x" * 1_000_000)
    for path, wait in (("/slow", 0), ("/slow", 0.1), ("/slow", 0.3), ("/files/big", 0), ("/files/big", 0.1)):
        with Http2(httpd.tls_port) as client:
            for _ in range(5):
                client.ask(path)
            client.ask(path, "POST", end=False)
            time.sleep(wait)
    assert wait_until(lambda: member.inflight == 0)
    assert get(httpd).status == 200
    assert len(httpd.child_pids()) == 1


def test_answer_before_the_body(lab):
    member = lab.upstream("m1")
    httpd = serve(lab, [member], vhost='<Location "/denied">\nRequire all denied\n</Location>\n')
    httpd.expect("AH01630")
    with Http2(httpd.tls_port) as client:
        stream = client.ask("/denied", "POST", [("content-length", "50000")], end=False)
        got = client.until(lambda kind, flags, of, payload: of == stream and kind == HEADERS)
        assert got is not None
        client.until(lambda kind, flags, of, payload: of == stream and kind == RST)
        assert client.answer(client.ask("/s"))[0] == 200


def test_graceful_restart(lab):
    member = lab.upstream("m1")
    member.behave({"delay": 1.0}, path="/slow")
    httpd = serve(lab, [member])
    with Http2(httpd.tls_port) as client:
        assert client.answer(client.ask("/s"))[0] == 200
        stream = client.ask("/slow")
        time.sleep(0.2)
        httpd.graceful()
        assert client.answer(stream)[0] == 200
        assert any(f[0] == GOAWAY for f in client.frames) or client.goaway() is not None
    assert get(httpd).status == 200


# --- members that speak HTTP/2 --------------------------------------------------------------------

class GrpcLike:
    """A member of h2c whose answers have trailers, as gRPC's have."""

    def __init__(self):
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"h2c://127.0.0.1:{self.listener.getsockname()[1]}"
        threading.Thread(target=self.serve, daemon=True).start()

    def serve(self):
        while True:
            try:
                client, _ = self.listener.accept()
            except OSError:
                return
            threading.Thread(target=self.talk, args=(client,), daemon=True).start()

    @staticmethod
    def talk(client):
        data = client.makefile("rb")
        data.read(24)
        client.sendall(frame(SETTINGS))
        while len(head := data.read(9)) == 9:
            kind, flags, stream = head[3], head[4], int.from_bytes(head[5:9], "big")
            data.read(int.from_bytes(head[:3], "big"))
            if kind == SETTINGS and not flags & ACK:
                client.sendall(frame(SETTINGS, ACK))
            if kind in (HEADERS, DATA) and flags & END_STREAM:
                client.sendall(frame(HEADERS, END_HEADERS, stream, b"\x88" + literal("content-type", "application/grpc"))
                               + frame(DATA, 0, stream, b"message")
                               + frame(HEADERS, END_HEADERS | END_STREAM, stream, literal("grpc-status", "0") + literal("grpc-message", "fine")))

    def stop(self):
        self.listener.close()


def test_trailers_of_an_h2c_member(lab):
    member = GrpcLike()
    try:
        httpd = serve(lab, [member.url])
        with Http2(httpd.tls_port) as client:
            stream = client.ask("/service/call", "POST", [("content-type", "application/grpc"), ("te", "trailers")], end=False)
            client.data(stream, b"request", end=True)
            assert client.answer(stream) == (200, b"message", None)
            heads = [f for f in client.frames if f[0] == HEADERS and f[2] == stream]
            assert len(heads) == 2 and heads[1][1] & END_STREAM
    finally:
        member.stop()


# --- abuse ---------------------------------------------------------------------------------------

def test_bad_requests(lab):
    member = lab.upstream("m1")
    httpd = serve(lab, [member])
    bad = [block("/", "GET", [("connection", "close")]), block("/", "GET", [("x-a", "b\r\nc: d")]), block("/ b"), block("/", "G T"),
           block("/", "GET", [("transfer-encoding", "chunked")]), block("/", "GET", [("X-Upper", "a")])]
    for one in bad:
        with Http2(httpd.tls_port) as client:
            stream, client.next = client.next, client.next + 2
            client.send(frame(HEADERS, END_HEADERS | END_STREAM, stream, one))
            status, _, code = client.answer(stream)
            assert status == 400 or code is not None
    with Http2(httpd.tls_port) as client:
        client.send(frame(HEADERS, END_STREAM, 1, block()[:20]) + frame(CONTINUATION, 0, 1, b"\x00") * 5000)
        assert client.answer(1)[2] is not None
    assert all(request["target"] not in ("/ b",) for request in member.requests())
    assert get(httpd).status == 200


def test_too_many_streams(lab):
    member = lab.upstream("m1")
    member.behave({"delay": 0.5}, path="/slow")
    httpd = serve(lab, [member], conf="H2MaxSessionStreams 5\n", h2=True)
    with Http2(httpd.tls_port) as client:
        client.until(lambda kind, flags, *_: kind == SETTINGS and flags & ACK)
        for _ in range(8):
            client.ask("/slow")
        assert client.goaway() == (9, PROTOCOL_ERROR)
    with Http2(httpd.tls_port) as client:
        assert [client.answer(stream)[0] for stream in [client.ask("/s") for _ in range(5)][-1:]] == [200]
