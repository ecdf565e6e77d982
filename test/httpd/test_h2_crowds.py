"""
Many connections over HTTP/2, with many streams each, and clients that read nothing, stall or leave at any point: nothing of them stays.
SOAK_CLIENTS: how many connections (./build.sh soak: 1,000 and more of them, 100 streams each).
"""
import collections
import os
import socket
import struct
import time

import pytest

from clients import get, h2load
from groups import group, route
from procs import wait_until
from test_clients_that_leave import CLIENTS, Site, sockets_of
from test_soak import kilobytes
from wire_h2 import DATA, HEADERS, RST, WINDOW, Http2, block, frame

pytestmark = [pytest.mark.needs("gate_upstream", "gate_status", "gate_engine", "gate_cache"), pytest.mark.plane("classic")]

LONG = "SOAK_CLIENTS" in os.environ
CONNECTIONS = min(int(os.environ.get("SOAK_CLIENTS", "60")), 1000)
STREAMS = 100
STATUS = ('<Location "/status">\nSetHandler gate-status\nProxyPass "!"\n</Location>\n'
          '<Location "/selfcheck">\nSetHandler gate-selfcheck\nProxyPass "!"\n</Location>\n')
KEPT = 64 << 10  # of an answer, for a stream whose client is slow


def engine(httpd):
    return get(httpd.port, "/status/status.json", headers=[("Connection", "close")]).json()["engine"]


# --- many ------------------------------------------------------------------------------------------

def test_many_connections_with_many_streams(lab):
    """Twice the same load: what the second leaves in memory, descriptors and counts is what the first has left."""
    member = lab.nginx("n1", connections=CONNECTIONS * STREAMS // 10 + 1000,
                       server='location /kept { add_header Cache-Control max-age=3600; return 200 "' + "k" * 1024 + '"; }')
    httpd = lab.httpd(STATUS + "CustomLog /dev/null gate\nListenBacklog 4096\n<Location /kept>\nGateCache on\n</Location>\n"
                      + group("app", [member], "GateTimeout connect=20s") + route(), tls=True, plane="express",
                      before="Protocols h2 http/1.1\n", threads=32)
    # one of a hundred goes to the member, the others are hits
    paths = httpd.write_file("paths", "".join(httpd.tls_url + path + "\n" for path in ["/"] + ["/kept"] * 99))
    assert get(httpd, "/kept", tls=True, host=f"127.0.0.1:{httpd.tls_port}").status == 200
    httpd.expect("AH00484")  # all threads are busy, with so many handshakes at once
    left = []
    for _ in range(3):
        load = h2load("-i", CONNECTIONS * STREAMS * (5 if LONG else 1), CONNECTIONS, STREAMS, more=[paths])
        assert (load.errors, load.bad) == (0, 0), load.text
        wait_until(lambda: engine(httpd)["exchanges"] == 0, 10, "nothing is in flight")
        wait_until(lambda: all(s[0] != httpd.tls_port for s in sockets_of(httpd.child_pids())[0]), 10, "the clients have gone")
        left.append((kilobytes(httpd.pid()), sockets_of(httpd.child_pids())[1]))
    assert left[2][0] <= left[1][0] * 1.1 + 2048, left
    assert left[2][1] <= left[0][1] + 4, left
    seen = get(httpd.port, "/status/status.json").json()["groups"][0]
    assert [m["inflight"] for m in seen["members"]] == [0] and seen["active"] == 0
    assert get(httpd.port, "/selfcheck").text.startswith("ok\n")
    if LONG:
        print(f"{CONNECTIONS} connections, {STREAMS} streams each: {load.rps:.0f} requests a second; kB and descriptors left by each run: {left}")


# --- slow --------------------------------------------------------------------------------------------

def test_who_reads_nothing_is_bounded(lab):
    """Each connection has asked for as much as it may, and takes nothing of it; others are served as if it were not there."""
    member = lab.upstream("m1").behave({"size": 1 << 20}, path="/big")
    httpd = lab.httpd("Timeout 60\n" + STATUS + group("app", [member], "GateTimeout connect=20s") + route(), tls=True, plane="express",
                      before="Protocols h2 http/1.1\n", children=1, threads=16)
    assert get(httpd, tls=True).status == 200
    clients, streams = (40, 20) if LONG else (10, 20)
    before = kilobytes(httpd.pid())
    crowd = [Http2(httpd.tls_port, settings=[(4, 1 << 20)], timeout=30) for _ in range(clients)]
    asked = [[client.ask("/big") for _ in range(streams)] for client in crowd]
    wait_until(lambda: engine(httpd)["exchanges"] == clients * streams, 20, "all have been taken")
    grown = 0
    for _ in range(10):
        assert get(httpd, "/small", tls=True, timeout=5).status == 200
        grown = max(grown, kilobytes(httpd.pid()) - before)
        time.sleep(0.05)
    # what is kept for each, as much again for buffers of TLS and of sockets, and some for the allocator
    assert grown < clients * streams * 2 * KEPT / 1024 + 8192, grown
    client = crowd[0]
    client.send(frame(WINDOW, 0, 0, struct.pack(">I", streams << 20)))  # one of them begins to read: it gets all of it
    got = collections.Counter()
    while sum(got.values()) < streams << 20:
        kind, _, stream, body = client.read()
        assert kind != RST
        if kind == DATA:
            got[stream] += len(body)
            client.frames.clear()
    assert set(got) == set(asked[0]) and set(got.values()) == {1 << 20}
    for client in crowd:
        client.connection.reset()
    wait_until(lambda: engine(httpd)["exchanges"] == 0 and member.inflight == 0, 20, "nothing is in flight")


# --- clients that leave ------------------------------------------------------------------------------

@pytest.fixture(scope="module")
def site(module_lab):
    one = Site(module_lab, plane="express", before="Protocols h2 http/1.1\n")
    for path in ("/", "/slow", "/cached", "/cached"):
        assert get(one.httpd.tls_port, path, tls=True).status == 200
    one.require_quiet()
    return one


def arrive(site, stage):
    """A client in the middle of something."""
    client = Http2(site.httpd.tls_port, settings=[(4, 1 << 20)] if stage in ("answer", "hit") else ())
    if stage == "preface":
        return client
    if stage == "head":
        client.send(frame(HEADERS, 0, 1, block("/slow")))
    elif stage == "body":
        client.data(client.ask("/", "POST", [("content-length", "100000")], end=False), b"x" * 1000)
    elif stage == "waiting":
        for _ in range(3):
            client.ask("/slow")
    elif stage == "idle":
        assert client.answer(client.ask("/"))[0] == 200
    else:
        stream = client.ask("/big" if stage == "answer" else "/cached")
        assert client.until(lambda kind, flags, of, payload: kind == DATA and of == stream)
    return client


@pytest.mark.parametrize("how", ["close", "reset", "half", "stall"])
@pytest.mark.parametrize("stage", ["preface", "head", "body", "waiting", "answer", "hit", "idle"])
def test_nothing_is_left(site, stage, how):
    clients = [arrive(site, stage) for _ in range(CLIENTS)]
    wait_until(lambda: len(site.client_sockets()) >= CLIENTS, 5, "they are all in")
    if how == "stall" and stage != "preface":
        # a stream that does not go on is given up after Timeout, a connection without one after KeepAliveTimeout
        wait_until(lambda: engine(site.httpd)["exchanges"] == 0, 10, "no stream is left")
    if how == "half":
        for client in clients:
            client.connection.sock.shutdown(socket.SHUT_WR)
        wait_until(lambda: not site.client_sockets(), 15, "who says no more is given up")
    for client in clients:
        client.connection.reset() if how == "reset" else client.connection.close()
    site.require_quiet()
