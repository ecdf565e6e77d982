"""HTTP/2 in the clear: a client that begins with it (prior knowledge), where Protocols has h2c."""
import socket
import time

import pytest

from clients import Connection, curl, get, h2load
from groups import group, route
from wire_h2 import ACK, END_HEADERS, END_STREAM, HEADERS, PREFACE, SETTINGS, Http2, block, frame

pytestmark = [pytest.mark.needs("gate_upstream", "gate_engine"), pytest.mark.plane("classic")]  # it asks for the engine itself


def serve(lab, member, before="Protocols h2c http/1.1\n", conf="", **words):
    return lab.httpd(group("app", [member]) + 'Alias "/files/" "${ROOT}/htdocs/"\n<Location "/files/">\nProxyPass !\nRequire all granted\n'
                     "</Location>\n" + conf + route(), plane="express", before=before, children=1, **words)


def test_requests(lab):
    httpd = serve(lab, lab.upstream("m1"))
    httpd.write_file("htdocs/file.txt", "x" * 5000)
    with Http2(httpd.port, tls=False) as client:
        streams = [client.ask(path) for path in ("/one", "/files/file.txt", "/two")]
        assert client.answer(streams[-1])[0] == 200
        assert client.answer(client.ask("/three", "POST", [("content-length", "0")]))[0] == 200
    code, answer, said = curl("--http2-prior-knowledge", "-d", "a=b", httpd.url + "/post")
    assert (code, answer.status) == (0, 200), said
    assert answer.json()["body_length"] == 3
    lines = httpd.access(5)
    assert {line["protocol"] for line in lines} == {"HTTP/2.0"} and {line["status"] for line in lines} == {200}
    assert sorted(line["plane"] for line in lines) == ["-"] + ["express"] * 4


def test_http1_is_as_ever(lab):
    httpd = serve(lab, lab.upstream("m1"))
    with Connection(httpd.port) as client:
        for path in ("/a", "/b"):
            assert client.request(path).status == 200
    assert get(httpd.port, "/files/none").status == 404
    with Connection(httpd.port) as client:  # looks like the preface for a while
        client.send(b"P")
        time.sleep(0.05)
        client.send(b"RI /x HTTP/1.1\r\nHost: a\r\n\r\n")
        assert client.read() is not None
    assert [line["protocol"] for line in httpd.access(4)] == ["HTTP/1.1"] * 4
    load = h2load(httpd.url + "/", requests=500, connections=4, streams=10)
    assert (load.errors, load.bad) == (0, 0)


@pytest.mark.parametrize("size", [1, 7, 23])
def test_a_preface_in_pieces(lab, size):
    httpd = serve(lab, lab.upstream("m1"))
    data = PREFACE + frame(SETTINGS) + frame(HEADERS, END_HEADERS | END_STREAM, 1, block("/x", scheme="http"))
    with Http2(httpd.port, tls=False, preface=False) as client:
        for at in range(0, len(data), size):
            client.send(data[at:at + size])
            if at < 24:
                time.sleep(0.002)
        assert client.answer(1)[0] == 200


def test_a_preface_that_does_not_end(lab):
    """It is HTTP/1.1 of an unknown kind, and ends as httpd ends that: at once, or when its time is over."""
    httpd = serve(lab, lab.upstream("m1"), conf="Timeout 1\nRequestReadTimeout header=0\n")
    for shut in (True, False):
        with Connection(httpd.port) as client:
            client.send(PREFACE[:20])
            if shut:
                client.sock.shutdown(socket.SHUT_WR)
            assert client.recv_all() is not None
    with Connection(httpd.port) as client:
        client.sock.shutdown(socket.SHUT_WR)
        assert client.recv_all() == b""
    assert get(httpd.port, "/x").status == 200


@pytest.mark.parametrize("words", ["Protocols http/1.1\n", "Protocols h2 http/1.1\n", "Protocols h2c http/1.1\nH2Direct off\n"])
def test_not_where_it_is_not_wanted(lab, words):
    httpd = serve(lab, lab.upstream("m1"), before="" if "Direct" in words else words, conf=words if "Direct" in words else "", h2="Direct" in words)
    with Http2(httpd.port, tls=False) as client:
        client.ask("/x")
        assert client.until(lambda kind, flags, *_: kind == SETTINGS and flags & ACK) is None or b"HTTP/1.1" in client.buffer
    assert get(httpd.port, "/x").status == 200


def test_left_to_mod_http2(lab):
    httpd = serve(lab, lab.upstream("m1"), conf="H2Padding 3\n", before="", h2=True)
    httpd.expect("GATE1701")
    code, answer, _ = curl("--http2-prior-knowledge", httpd.url + "/x")
    assert (code, answer.status) == (0, 200)
    assert get(httpd.port, "/y").status == 200
    assert [(line["protocol"], line["plane"]) for line in httpd.access(2)] == [("HTTP/2.0", "classic"), ("HTTP/1.1", "express")]


def test_upgrade_is_not_ours(lab):
    """RFC 9113, 3.1: h2c by Upgrade is no more; it is mod_http2's to answer or to ignore."""
    httpd = serve(lab, lab.upstream("m1"))
    code, answer, _ = curl("--http2", httpd.url + "/x")
    assert code == 0 and answer.status == 101 and b"HTTP/2 200" in answer.body
    assert [(line["protocol"], line["plane"]) for line in httpd.access(2) if line["status"] == 200] == [("HTTP/2.0", "classic")]
    assert get(httpd.port, "/x", headers=[("Connection", "Upgrade, HTTP2-Settings"), ("Upgrade", "h2c")]).status == 200
