"""The express plane's exchanges over real sockets: whoever leaves, dies or is slow, nothing stays behind and memory stays bounded."""
import os
import time

import pytest

import gatehttpd
from clients import BadAnswer, Connection, Crowd, WebSocket, get, request_bytes
from groups import MEMBER_TROUBLE, NO_OUTLIER, group, route
from procs import wait_until

pytestmark = [pytest.mark.needs("gate_upstream"), pytest.mark.needs("gate_engine")]

STATUS = "<Location /gate-status>\nSetHandler gate-status\n</Location>\nProxyPass /gate-status !\n"


def start(lab, members, *lines, conf="", **words):
    httpd = lab.httpd(STATUS + conf + group("app", members, *NO_OUTLIER, *lines) + route(), plane="express", **words)
    httpd.expect(*MEMBER_TROUBLE)
    return httpd


def inflight(httpd):
    groups = get(httpd.port, "/gate-status/status.json").json()["groups"]
    return sum(member["inflight"] for one in groups for member in one["members"])


def descriptors(httpd):
    return sum(len(os.listdir(f"/proc/{pid}/fd")) for pid in httpd.child_pids())


def memory_kb(httpd):
    total = 0
    for pid in httpd.child_pids():
        with open(f"/proc/{pid}/status", encoding="ascii") as status:
            total += sum(int(line.split()[1]) for line in status if line.startswith("VmRSS"))
    return total


def is_express(httpd, requests=1):
    lines = [line for line in httpd.access(requests) if "gate-status" not in line["uri"]]
    assert lines and {line["plane"] for line in lines} == {"express"}


def hangs_up(c):
    c.close()


def resets(c):
    c.reset()


LEAVING = {
    "in the head": b"GET / HTTP/1.1\r\nHost: localhost\r\nX-Unfin",
    "while the member thinks": request_bytes("/hangs"),
    "in the answer": request_bytes("/drips"),
    "in its body": b"POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 100000\r\n\r\nabc",
    "in its body after the member was asked": b"POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 100000\r\n\r\n" + b"x" * 50000,
    "in a chunk": b"POST / HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n10000\r\n" + b"x" * 30000,
    "while it is tried again": request_bytes("/fails"),
}


@pytest.mark.parametrize("leave", [hangs_up, resets])
@pytest.mark.parametrize("tls", [False, True])
def test_nothing_stays_when_clients_leave(lab, leave, tls):
    member = lab.upstream("m1")
    member.behave("hangs", path="/hangs")
    member.behave("drip", path="/drips", pieces=200)
    member.behave("resets", path="/fails")
    # a client that only closes is seen to be gone when the answer goes out: that it may have half-closed
    httpd = start(lab, [member, lab.silent()], "GateTimeout connect=300ms first-byte=2s", tls=True, children=1, vhost=route())
    port = httpd.tls_port if tls else httpd.port
    get(port, "/", tls=tls)
    get(port, "/", tls=tls)
    before = descriptors(httpd)
    for what in LEAVING.values():
        for _ in range(3):
            c = Connection(port, tls=tls)
            c.send(what)
            time.sleep(0.05)
            leave(c)
    wait_until(lambda: inflight(httpd) == 0, 15, "nothing is in flight")
    wait_until(lambda: descriptors(httpd) <= before + 4, 15, f"{descriptors(httpd)} descriptors, {before} at first")
    assert get(port, "/", tls=tls).status == 200


def test_a_reader_that_does_not_read_holds_the_member(lab):
    member = lab.upstream("m1").behave({"size": 60_000_000})
    httpd = start(lab, [member], children=1)
    get(httpd.port, "/gate-status/")
    before = memory_kb(httpd)
    readers = [Connection(httpd.port) for _ in range(8)]
    for reader in readers:
        reader.send(request_bytes("/"))
    wait_until(lambda: member.count == 8, 10, "all have asked")
    time.sleep(1.0)
    grown = memory_kb(httpd) - before
    assert grown < 8 * 1024 + 4096, f"{grown} KB more for eight answers of 60 MB that nobody reads"
    assert readers[0].read_head()[0] == 200
    for reader in readers:
        reader.reset()
    wait_until(lambda: inflight(httpd) == 0, 15, "nothing is in flight")
    is_express(httpd)


def test_a_member_that_does_not_read_holds_the_client(lab):
    member = lab.upstream("m1").behave({"read_delay": 3.0})
    httpd = start(lab, [member], children=1)
    get(httpd.port, "/gate-status/")
    before = memory_kb(httpd)
    with Connection(httpd.port, timeout=1.0) as c:
        c.send("POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 60000000\r\n\r\n")
        sent = 0
        try:
            while sent < 60_000_000:
                sent += c.sock.send(b"x" * 65536)
        except TimeoutError:
            pass
        assert sent < 30_000_000, "what the member does not take is taken from the client"
        assert memory_kb(httpd) - before < 4096
        c.sock.settimeout(30)
        c.send(b"x" * (60_000_000 - sent))
        answer = c.read("POST")
    assert answer.status == 200, answer.body[:300]
    assert answer.json()["body_length"] == 60_000_000
    is_express(httpd, 2)  # the look at the status page is a line, too


def test_many_bodies_of_many_sizes_arrive_whole(lab):
    member = lab.upstream("m1")
    httpd = start(lab, [member])
    sizes = [1, 16303, 16304, 16305, 65535, 65536, 65537, 200_000, 1_000_000]
    with Connection(httpd.port) as c:
        for size in sizes:
            body = bytes(i * 7 % 251 for i in range(size))
            answer = c.request("/", method="POST", body=body)
            assert answer.json()["body_length"] == size
            c.send("POST / HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n")
            for at in range(0, size, 10_000):
                part = body[at:at + 10_000]
                c.send(f"{len(part):x}\r\n".encode() + part + b"\r\n")
            c.send(b"0\r\n\r\n")
            again = c.read("POST").json()
            assert (again["body_length"], again["body_sha256"]) == (size, answer.json()["body_sha256"])
    is_express(httpd, 2 * len(sizes))


def test_a_member_dies_in_the_answer(lab):
    member = lab.upstream("m1").behave("reset-mid-body")
    httpd = start(lab, [member])
    httpd.expect("GATE0222")
    for _ in range(3):
        with pytest.raises((BadAnswer, ConnectionError)):
            get(httpd.port, "/")
    assert inflight(httpd) == 0
    is_express(httpd, 3)


def test_members_are_killed_under_load(lab):
    members = lab.upstreams(3)
    httpd = start(lab, members)
    with Crowd(httpd.port, clients=16) as crowd:
        for _ in range(3):
            for member in members:
                crowd.wait(100)
                member.kill9()
                crowd.wait(100)
                member.start()
    assert crowd.ok > 1000
    assert not crowd.failures, crowd.failures[:3]
    wait_until(lambda: inflight(httpd) == 0, 10, "nothing is in flight")
    assert httpd.planes().get("express", 0) >= crowd.ok


def test_a_child_is_killed_under_load(lab):
    httpd = start(lab, lab.upstreams(2))
    httpd.expect("exit signal Killed", "AH00052")
    with Crowd(httpd.port, clients=16) as crowd:
        crowd.wait(200)
        httpd.kill_child()
        crowd.wait(crowd.ok + 500)
    assert len(crowd.failures) <= 16, "only what the killed child had in hand"
    wait_until(lambda: inflight(httpd) == 0, 15, "its seat is swept")


def test_a_tunnel_ends_on_either_side(lab):
    member = lab.upstream("m1")
    httpd = start(lab, [member], children=1)
    get(httpd.port, "/")
    before = descriptors(httpd)
    for i in range(5):
        with WebSocket(httpd.port, "/ws") as ws:
            assert ws.accepted()
            for text in ("one", "two" * 30_000):
                ws.send(text[:60_000])
                assert ws.receive() == (1, text[:60_000])
            if i % 2:
                ws.connection.reset()
    wait_until(lambda: inflight(httpd) == 0, 10, "no tunnel is left")
    wait_until(lambda: descriptors(httpd) <= before + 2, 10, "no descriptor is left")
    assert {line["status"] for line in httpd.access(6) if line["uri"] == "/ws"} == {101}


def test_a_slow_member_and_its_queue(lab):
    member = lab.upstream("m1").behave({"delay": 0.3})
    httpd = start(lab, [(member, "connections=2")], "GateQueue length=50 timeout=10s", children=1)
    started = time.monotonic()
    with Crowd(httpd.port, clients=8) as crowd:
        crowd.wait(16)
    assert time.monotonic() - started >= 2.0
    assert member.most_inflight <= 2
    assert not crowd.failures
    leaving = [Connection(httpd.port) for _ in range(10)]
    for c in leaving:
        c.send(request_bytes("/"))
    time.sleep(0.1)
    for c in leaving:
        c.reset()
    wait_until(lambda: inflight(httpd) == 0, 10, "the queue is empty")
    assert get(httpd.port, "/").status == 200


@pytest.mark.parametrize("line,proxy_status", [("GateTimeout first-byte=300ms", "504"), ("GateTimeout total=300ms", "504"),
                                               ("GateRetry attempts=1 try-timeout=300ms", "504")])
def test_time_is_up(lab, line, proxy_status):
    httpd = start(lab, [lab.upstream("m1").behave("hangs")], *([] if "GateRetry" in line else ["GateRetry attempts=1"]), line)
    started = time.monotonic()
    answer = get(httpd.port, "/")
    assert answer.status == int(proxy_status)
    assert 0.25 < time.monotonic() - started < 3
    assert "error=" in answer.header("Proxy-Status")
    assert inflight(httpd) == 0


@pytest.mark.skipif(bool(gatehttpd.SANITIZER), reason="sanitizers have a malloc of their own")
def test_compressing_takes_no_fresh_pages(lab):
    """What a compressor needs for one answer serves the next: it does not go back to the kernel in between."""
    member = lab.upstream().behave(headers=[["Content-Type", "text/plain"]], body="0123456789abcde\n" * 64)
    httpd = start(lab, [member], conf="AddOutputFilterByType DEFLATE text/plain\n", children=1)

    def faults():
        (pid,) = httpd.child_pids()
        with open(f"/proc/{pid}/stat", encoding="ascii") as file:
            return int(file.read().rsplit(") ", 1)[1].split()[7])
    with Connection(httpd.port) as connection:
        for count in (50, 200):
            before = faults()
            for _ in range(count):
                answer = connection.request("/app/", headers=[("Accept-Encoding", "gzip")])
                assert answer.header("Content-Encoding") == "gzip"
    assert faults() - before < 400  # 0 as a rule, and 3600 otherwise
    assert httpd.planes().get("express", 0) >= 240
