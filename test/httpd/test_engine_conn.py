"""Connections on event loops: taken from the MPM, given to threads and back, limits of time, many of them, their end."""
import os
import select
import socket
import time

import pytest

from clients import Connection, Crowd, WebSocket, get, post
from groups import group, route
from procs import wait_until


def serve(lab, conf="", **words):
    return lab.httpd(conf, plane="express", **words)


def engine(httpd):
    """What server-status says of the engine."""
    lines = get(httpd.port, "/engine-status?auto").text.splitlines()
    return {key: int(value) for key, value in (line.split(": ") for line in lines if line.startswith("GateEngine"))}


STATUS = "<Location /engine-status>\nSetHandler server-status\n</Location>\n"


# ---- requests in the classic plane --------------------------------------------------------------------------------------------------

@pytest.mark.parametrize("tls", [False, True])
def test_keep_alive_and_pipelines(lab, tls):
    """Requests that are not express go through threads, in order, on one connection."""
    httpd = serve(lab, tls=tls)
    connection = Connection(httpd.tls_port if tls else httpd.port, tls=tls)
    for _ in range(5):
        answer = connection.request("/index.html")
        assert (answer.status, answer.text) == (200, "It works\n")
    connection.send(b"GET /index.html HTTP/1.1\r\nHost: a\r\n\r\nGET /missing HTTP/1.1\r\nHost: a\r\n\r\n\r\nHEAD / HTTP/1.1\r\nHost: a\r\n\r\n")
    assert [connection.read().status, connection.read().status, connection.read("HEAD").status] == [200, 404, 200]
    connection.send(b"GET /index.html HTTP/1.0\r\nHost: a\r\n\r\n")
    assert connection.read().status == 200
    assert connection.closed()


@pytest.mark.parametrize("tls", [False, True])
def test_planes_in_turn_on_one_connection(lab, tls):
    member = lab.upstream()
    httpd = serve(lab, group("app", [member]) + "ProxyPass /app/ gate://app/\n", tls=tls)
    connection = Connection(httpd.tls_port if tls else httpd.port, tls=tls)
    for _ in range(3):
        assert connection.request("/app/x").member == "m1"
        assert connection.request("/index.html").text == "It works\n"
    connection.send(b"GET /app/1 HTTP/1.1\r\nHost: a\r\n\r\nGET /index.html HTTP/1.1\r\nHost: a\r\n\r\nGET /app/2 HTTP/1.1\r\nHost: a\r\n\r\n")
    assert [connection.read().status for _ in range(3)] == [200, 200, 200]
    connection.close()
    wait_until(lambda: len(httpd.access()) >= 9 and httpd.planes()["express"] == 5 or None, 5, "all are logged")


@pytest.mark.parametrize("tls", [False, True])
def test_bodies_in_pieces_to_a_thread(lab, tls):
    """Head and body come in any pieces: what the loop has read is read again."""
    member = lab.upstream()
    httpd = serve(lab, f"ProxyPass /plain/ {member.url}/\n", tls=tls)
    connection = Connection(httpd.tls_port if tls else httpd.port, tls=tls)
    for pieces in ((b"P", b"OST /plain/a HTTP/1.1\r\nHost: a\r\nContent-Le", b"ngth: 10\r\n\r\n01234", b"56789"),
                   (b"POST /plain/a HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n4\r\n01", b"23\r\n6\r\n456789\r\n0\r\n", b"\r\n")):
        for piece in pieces:
            connection.send(piece)
            time.sleep(0.03)
        assert connection.read().json()["body_length"] == 10
    assert post(httpd.tls_port if tls else httpd.port, "/plain/big", body=b"z" * 3000000, tls=tls).json()["body_length"] == 3000000


@pytest.mark.parametrize("request_text,status", [
    (b"GET / HTTP/1.1\r\n\r\n", 400), (b"GET /\x01 HTTP/1.1\r\nHost: a\r\n\r\n", 400), (b"BAD\r\n\r\n", 400),
    (b"GET / HTTP/1.1\r\nHost: a\r\nX" * 1 + b": " + b"y" * 9000 + b"\r\n\r\n", 400), (b"GET /" + b"a" * 9000 + b" HTTP/1.1\r\nHost: a\r\n\r\n", 414)])
def test_bad_requests_are_answered_by_httpd(lab, request_text, status):
    """The very first thing on a connection, read by the loop: httpd refuses it as ever, and no child crashes."""
    httpd = serve(lab)
    connection = Connection(httpd.port)
    connection.send(request_text)
    assert connection.read().status == status
    assert connection.closed()


def test_websocket_through_mod_proxy(lab):
    member = lab.upstream()
    httpd = serve(lab, f"ProxyPass / {member.url}/ upgrade=websocket\n")
    with WebSocket(httpd.port, "/ws") as ws:
        assert ws.accepted()
        ws.send("hello")
        assert ws.receive() == (1, "hello")


def test_threads_that_are_all_in_use(lab):
    """Slow requests of the classic plane hold all threads that they may: others wait for one, and the express plane does not."""
    slow, quick = lab.upstream("slow").behave("slow", delay=1.0), lab.upstream("quick")
    httpd = serve(lab, group("app", [quick]) + f"ProxyPass /slow/ {slow.url}/\nProxyPass /app/ gate://app/\n", children=1, threads=8)
    connections = [Connection(httpd.port, timeout=15) for _ in range(20)]
    for connection in connections:
        connection.send(b"GET /slow/ HTTP/1.1\r\nHost: a\r\n\r\n")
    wait_until(lambda: slow.inflight >= 7 or None, 5, "the threads are taken")
    began = time.monotonic()
    assert get(httpd.port, "/app/").member == "quick"
    assert time.monotonic() - began < 0.8
    assert [connection.read().status for connection in connections] == [200] * 20


def test_slow_reader_of_a_classic_answer(lab):
    """A large file to clients that do not read: the threads are given back, the rest goes when the clients read."""
    httpd = serve(lab, STATUS + "EnableSendfile on\n", children=1, threads=4)
    httpd.write_file("htdocs/big", "x" * 6000000)
    clients = [Connection(httpd.port, timeout=15) for _ in range(6)]
    for connection in clients:
        connection.send(b"GET /big HTTP/1.1\r\nHost: a\r\n\r\n")
    wait_until(lambda: engine(httpd)["GateEngineConnsOnWorkers"] <= 1 or None, 10, "no thread waits")
    assert get(httpd.port, "/index.html").status == 200
    assert [len(connection.read().body) for connection in clients] == [6000000] * 6


def test_the_rest_goes_on_while_other_requests_run(lab):
    """The threads that these connections came from are busy by now with requests of others."""
    member = lab.upstream().behave("slow", delay=1.5)
    httpd = serve(lab, STATUS + f"EnableSendfile on\nProxyPass /slow/ {member.url}/\n", children=1, threads=8)
    httpd.write_file("htdocs/big", "x" * 6000000)
    clients = [Connection(httpd.port, timeout=8) for _ in range(8)]
    slow = [Connection(httpd.port, timeout=8) for _ in range(4)]
    for connection in clients:
        connection.send(b"GET /big HTTP/1.1\r\nHost: a\r\n\r\n")
    wait_until(lambda: len(select.select([c.sock for c in clients], [], [], 0)[0]) == 8 and engine(httpd)["GateEngineConnsOnWorkers"] <= 1 or None,
               10, "all wait for their clients")
    for connection in slow:
        connection.send(b"GET /slow/ HTTP/1.1\r\nHost: a\r\n\r\n")
    wait_until(lambda: member.inflight == 4 or None, 5, "the slow ones run")
    assert [len(connection.read().body) for connection in clients] == [6000000] * 8
    assert [connection.read().status for connection in slow] == [200] * 4


def test_stop_while_threads_wait_for_clients(lab):
    """More answers than threads, none of which is read: a stop ends those that wait for a thread, too."""
    httpd = serve(lab, STATUS, children=1, threads=4)
    httpd.write_file("htdocs/big", "x" * 6000000)
    clients = [Connection(httpd.port, timeout=15) for _ in range(7)]
    for connection in clients:
        connection.send(b"GET /big HTTP/1.1\r\nHost: a\r\n\r\n")
    wait_until(lambda: len(select.select([c.sock for c in clients], [], [], 0)[0]) == 3 or None, 10, "three of them have a thread")
    began = time.monotonic()
    httpd.stop()
    assert time.monotonic() - began < 3


# ---- limits of time ------------------------------------------------------------------------------------------------------------------

def said(connection, timeout=6):
    """All that comes until the end, and after how long it came."""
    began = time.monotonic()
    connection.sock.settimeout(timeout)
    text = b""
    while True:
        try:
            more = connection.sock.recv(65536)
        except ConnectionResetError:
            more = b""
        if not more:
            return text, time.monotonic() - began
        text += more


@pytest.mark.parametrize("sent,begin", [(b"G", b""), (b"GET / HTTP/1.1\r\nHo", b"HTTP/1.1 408 ")])
def test_head_that_does_not_come(lab, sent, begin):
    httpd = serve(lab, "RequestReadTimeout header=1\n")
    httpd.expect("GATE1402")
    connection = Connection(httpd.port)
    connection.send(sent)
    text, after = said(connection)
    assert text.startswith(begin) and (begin or not text)
    assert 0.9 < after < 3


def test_head_that_comes_too_slowly(lab):
    """MinRate: each byte gives a little more time, up to the larger number."""
    httpd = serve(lab, "RequestReadTimeout header=1-3,MinRate=10\n")
    connection = Connection(httpd.port)
    connection.send(b"GET / HTTP/1.1\r\n")
    began = time.monotonic()
    while not select.select([connection.sock], [], [], 0.25)[0] and time.monotonic() - began < 8:
        connection.send(b"X-A: b\r\n")
    assert 2.5 < time.monotonic() - began < 5
    assert connection.read().status == 408


def test_idle_connections_end(lab):
    httpd = serve(lab, "KeepAliveTimeout 1\n")
    for path in ("/index.html",):
        connection = Connection(httpd.port)
        assert connection.request(path).status == 200
        text, after = said(connection)
        assert text == b"" and 0.9 < after < 3


def test_client_that_stops_reading_an_express_answer(lab):
    member = lab.upstream().behave("ok", size=30000000)
    httpd = serve(lab, group("app", [member]) + "ProxyPass /app/ gate://app/\nTimeout 1\n" + STATUS, children=1, log_level="notice gate_engine:debug")
    connection = Connection(httpd.port)
    connection.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 8192)
    connection.send(b"GET /app/ HTTP/1.1\r\nHost: a\r\n\r\n")
    httpd.wait_log("GATE1401")
    wait_until(lambda: engine(httpd)["GateEngineConns"] <= 1 and engine(httpd)["GateEngineExchanges"] == 0 or None, 5, "it is gone")


# ---- many ----------------------------------------------------------------------------------------------------------------------------

def test_more_connections_than_the_mpm_would_have(lab):
    """AsyncRequestWorkerFactor does not bind: a connection on a loop takes no thread."""
    httpd = serve(lab, STATUS + "AsyncRequestWorkerFactor 1\nKeepAliveTimeout 60\n", children=1, threads=4)
    connections = [Connection(httpd.port) for _ in range(200)]
    for connection in connections:
        assert connection.request("/index.html").status == 200
    assert engine(httpd)["GateEngineConns"] >= 200
    for connection in connections:
        assert connection.request("/index.html").status == 200
        connection.close()
    wait_until(lambda: engine(httpd)["GateEngineConns"] <= 2 or None, 5, "they are gone")


@pytest.mark.parametrize("tls", [False, True])
def test_clients_that_leave(lab, tls):
    """At every point: nothing of them stays."""
    member = lab.upstream().behave("slow", delay=0.3)
    httpd = serve(lab, group("app", [member]) + f"ProxyPass /app/ gate://app/\nProxyPass /plain/ {member.url}/\n" + STATUS, children=1, tls=tls)
    httpd.expect("AH01095")  # mod_proxy's, of a body that did not come
    port = httpd.tls_port if tls else httpd.port
    for text in (b"", b"GET /ap", b"GET /app/ HTTP/1.1\r\nHost: a\r\n\r\n", b"GET /plain/ HTTP/1.1\r\nHost: a\r\n\r\n",
                 b"POST /app/ HTTP/1.1\r\nHost: a\r\nContent-Length: 9\r\n\r\nabc", b"POST /plain/ HTTP/1.1\r\nHost: a\r\nContent-Length: 9\r\n\r\nabc"):
        for pause in (0, 0.05):
            connection = Connection(port, tls=tls)
            if text:
                connection.send(text)
            time.sleep(pause)
            connection.close()
    wait_until(lambda: engine(httpd)["GateEngineConns"] <= 1 or None, 10, "they are gone")
    wait_until(lambda: engine(httpd)["GateEngineExchanges"] == 0 or None, 5, "nothing is in flight")


# ---- life ----------------------------------------------------------------------------------------------------------------------------

@pytest.mark.parametrize("path", ["/index.html", "/app/"])
def test_graceful_restarts_lose_nothing(lab, path):
    member = lab.upstream()
    httpd = serve(lab, group("app", [member]) + "ProxyPass /app/ gate://app/\n")
    with Crowd(httpd.port, clients=12, path=path) as crowd:
        for _ in range(4):
            crowd.wait(100)
            httpd.graceful()
    assert crowd.failures == []


def test_requests_in_flight_outlive_a_restart(lab):
    """Begun before the restart, on either plane, far more than there are threads: all are answered by the old child."""
    member = lab.upstream().behave("slow", delay=1.5)
    httpd = serve(lab, group("app", [member]) + f"ProxyPass /app/ gate://app/\nProxyPass /plain/ {member.url}/\n", children=1, threads=4)
    connections = [Connection(httpd.port, timeout=20) for _ in range(30)]
    for number, connection in enumerate(connections):
        connection.send(b"GET /%s/ HTTP/1.1\r\nHost: a\r\n\r\n" % (b"plain" if number % 6 == 0 else b"app"))
    wait_until(lambda: member.inflight >= 25 or None, 5, "they are with the member")
    old = httpd.child_pids()[0]
    httpd.graceful()
    assert [connection.read().status for connection in connections] == [200] * 30
    for connection in connections:
        connection.close()
    wait_until(lambda: old not in httpd.child_pids() or None, 10, "the old child ends")


def test_who_has_connected_is_served_by_a_child_that_stops(lab):
    httpd = serve(lab, children=1)
    connection = Connection(httpd.port)
    connection.send(b"G")
    time.sleep(0.1)
    httpd.graceful()
    time.sleep(0.1)
    connection.send(b"ET /index.html HTTP/1.1\r\nHost: a\r\n\r\n")
    answer = connection.read()
    assert (answer.status, answer.header("Connection")) == (200, "close")


def test_children_of_few_connections(lab):
    """MaxConnectionsPerChild counts them as ever."""
    member = lab.upstream()
    httpd = serve(lab, group("app", [member]) + route() + "MaxConnectionsPerChild 20\n", children=1)
    first = httpd.child_pids()
    for _ in range(60):
        assert get(httpd.port, "/", headers={"Connection": "close"}).member == "m1"
    assert httpd.child_pids() != first


# ---- directives ----------------------------------------------------------------------------------------------------------------------

def test_engine_on_for_one_vhost(lab):
    """Inherited from the main server, and overridden by a vhost."""
    member = lab.upstream()
    app = group("app", [member])
    one = "<VirtualHost *:${PORT}>\nServerName one\nProxyPass / gate://app/\n</VirtualHost>\n"
    two = "<VirtualHost *:${PORT}>\nServerName two\nGateEngine off\nProxyPass / gate://app/\n</VirtualHost>\n"
    httpd = serve(lab, app + one + two)
    assert get(httpd.port, headers={"Host": "one"}).member == get(httpd.port, headers={"Host": "two"}).member == "m1"
    wait_until(lambda: httpd.planes() == {"express": 1, "classic": 1} or None, 5, "one of each plane")


@pytest.mark.parametrize("line,words", [("GateEngine yes", "GateEngine: 'yes' is neither on nor off"), ("GateEngineLoops 0", "from 1 to 16"),
                                        ("GateEngineLoops 17", "from 1 to 16"), ("GateEngineLoops 2x", "'2x'"),
                                        ("<VirtualHost *:1>\nGateEngineLoops 2\n</VirtualHost>", "GateEngineLoops")])
def test_bad_directives(lab, line, words):
    httpd = lab.httpd(line, start=False, plane="express")
    good, text = httpd.check()
    assert not good and words in text


def thread_name(pid, task):
    try:
        with open(f"/proc/{pid}/task/{task}/comm") as name:
            return name.read()
    except FileNotFoundError:  # it has ended since the folder was read
        return ""


@pytest.mark.parametrize("line,loops", [("GateEngineLoops 3", 3), ("GateEngineLoops auto", None), ("GateEngineLoops 2\nGateEngineLoops 4", 4)])
def test_loops(lab, line, loops):
    httpd = serve(lab, line + "\n", children=1)

    def count():
        names = [thread_name(pid, task) for pid in httpd.child_pids() for task in os.listdir(f"/proc/{pid}/task")]
        return sum(name.startswith("gate-loop-") for name in names)

    wait_until(lambda: (count() == loops if loops else count() >= 1) or None, 5, "the loops run")


@pytest.mark.parametrize("mpm", ["worker", "prefork"])
def test_other_mpms(lab, mpm):
    """A notice, and everything is served as ever."""
    member = lab.upstream()
    httpd = serve(lab, group("app", [member]) + route(), mpm=mpm)
    assert get(httpd.port).member == "m1"
    httpd.wait_log("GATE1400")
    wait_until(lambda: httpd.planes() == {"classic": 1} or None, 5, "it is logged")
