"""mod_gate_cache: one fetch at a time over all children; what becomes of it when somebody leaves or dies; traps 46 and 47."""
import socket
import threading
import time

import gatehttpd
import procs
import pytest

from cachelib import Site, is_hit, status_of
from clients import Connection, request_bytes

pytestmark = pytest.mark.needs("gate", "gate_cache")


def together(site, count, path="/c/a", headers=lambda n: ()):
    """count clients ask at the same moment; their answers in order."""
    answers = [None] * count
    barrier = threading.Barrier(count)

    def one(n):
        barrier.wait()
        try:
            answers[n] = site.get(path, headers=headers(n), timeout=30)
        except Exception as error:  # noqa: BLE001  (shown by the assertion)
            answers[n] = error

    threads = [threading.Thread(target=one, args=(n,)) for n in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return answers


def many_at_once(port, count, path):
    """count connections, all requests sent before any answer is read; the answers' bodies and heads."""
    socks = []
    for _ in range(count):
        sock = socket.create_connection(("127.0.0.1", port), timeout=60)
        socks.append(sock)
    for sock in socks:
        sock.sendall(request_bytes(path, headers=[("Connection", "close")]))
    answers = []
    for sock in socks:
        data = b""
        while True:
            more = sock.recv(65536)
            if not more:
                break
            data += more
        sock.close()
        answers.append(data.partition(b"\r\n\r\n"))
    return answers


@pytest.mark.h1("raw sockets")
def test_trap_46_a_thousand_clients_one_request_to_the_member(lab):
    site = Site(lab, children=8, threads=128)
    site.says(b"z" * 5000, headers="max-age=60", delay=1.5)
    answers = many_at_once(site.httpd.port, 1000, "/c/cold")
    assert site.asked == 1
    assert all(head.startswith(b"HTTP/1.1 200") and body == b"z" * 5000 for head, _, body in answers)


def test_trap_46_followers_read_along(lab):
    site = Site(lab, children=4)
    site.says(size=200000, headers="max-age=60", pieces=10, piece_delay=0.15)
    first = []

    def follower():
        with Connection(site.httpd.port) as c:
            c.send(request_bytes("/c/a"))
            c.read_head()
            c._exact(20000)
            first.append(time.monotonic())

    leader = threading.Thread(target=lambda: site.get())
    leader.start()
    time.sleep(0.3)
    thread = threading.Thread(target=follower)
    thread.start()
    leader.join()
    done = time.monotonic()
    thread.join()
    assert first and done - first[0] > 0.3, "bytes came before the fetch was over"
    assert site.asked == 1


def test_trap_46_the_leader_may_leave(lab):
    site = Site(lab, children=2)
    site.says(size=300000, headers="max-age=60", pieces=10, piece_delay=0.1)
    with Connection(site.httpd.port) as c:
        c.send(request_bytes("/c/a"))
        c.read_head()
        c.reset()
    time.sleep(0.2)
    answer = site.get()
    assert len(answer.body) == 300000
    assert site.asked == 1
    assert is_hit(site.get())


def test_trap_46_the_leader_may_leave_over_h2(lab):
    from clients import curl
    site = Site(lab, children=1, h2=True, tls=True)
    site.says(size=300000, headers="max-age=60", pieces=10, piece_delay=0.1)
    curl("--http2", "--max-time", "0.3", site.httpd.tls_url + "/c/a")
    end = time.monotonic() + 10
    while time.monotonic() < end:
        code, answer, _ = curl("--http2", site.httpd.tls_url + "/c/a")
        if code == 0 and "hit" in answer.header("cache-status"):
            break
        time.sleep(0.1)
    assert len(answer.body) == 300000


def test_trap_46_the_leader_may_leave_before_anything_has_come(lab):
    """Those who wait for its fetch do not all go by themselves then."""
    site = Site(lab, children=2, threads=32)
    site.says(size=20000, headers="max-age=60", delay=1.0)
    leader = Connection(site.httpd.port)
    leader.send(request_bytes("/c/a"))
    procs.wait_until(lambda: site.asked == 1, 10, "the leader's request")
    followers = [Connection(site.httpd.port) for _ in range(12)]
    for follower in followers:
        follower.send(request_bytes("/c/a", headers=[("Connection", "close")]))
    leader.reset()
    for follower in followers:
        assert len(follower.recv_all().partition(b"\r\n\r\n")[2]) == 20000
        follower.close()
    assert site.asked == 1


def test_trap_46_nobody_is_left_of_a_fetch_that_is_not_kept(lab):
    """The client leaves while an answer comes that cannot be stored: the member is let go, it does not have to send all of it."""
    site = Site(lab, children=1)
    site.says(size=50 << 20, headers="private", pieces=2000, piece_delay=0.02)
    with Connection(site.httpd.port) as c:
        c.send(request_bytes("/c/a"))
        c.read_head()
        c.reset()
    procs.wait_until(lambda: site.member.open_connections == 0, 10, "the member's connection closed")


@pytest.mark.h1("raw sockets")
def test_trap_46_a_slow_client_of_what_is_not_kept_holds_the_member_back(lab):
    """Bounded memory: what a client does not take is not read from the member."""
    site = Site(lab, children=1)
    site.says(size=64 << 20, headers="private")
    slow = socket.socket()
    slow.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    slow.connect(("127.0.0.1", site.httpd.port))
    slow.sendall(request_bytes("/c/a", headers=[("Connection", "close")]))
    slow.recv(1000)
    pid = site.httpd.child_pids()[0]
    for _ in range(5):
        time.sleep(0.1)
        with open(f"/proc/{pid}/status") as status:
            resident = int(next(line for line in status if line.startswith("RssAnon")).split()[1])
        assert resident < 40 << 10
    slow.close()


@pytest.mark.h1("raw sockets")
def test_trap_46_a_leader_that_reads_nothing_holds_nobody_up(lab):
    site = Site(lab, children=2)
    body = bytes(range(256)) * 3900
    site.says(body, headers="max-age=60", pieces=20, piece_delay=0.1)
    slow = socket.socket()
    slow.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    slow.connect(("127.0.0.1", site.httpd.port))
    slow.sendall(request_bytes("/c/a", headers=[("Connection", "close")]))
    time.sleep(0.3)
    start = time.monotonic()
    answers = together(site, 4)
    took = time.monotonic() - start
    assert [getattr(a, "body", a) == body for a in answers] == [True] * 4 and took < 10, (answers, took)
    data, slow_end = b"", time.monotonic() + 20
    slow.settimeout(20)
    while time.monotonic() < slow_end:
        more = slow.recv(65536)
        if not more:
            break
        data += more
    slow.close()
    assert data.partition(b"\r\n\r\n")[2] == body


def test_trap_46_what_cannot_be_stored_does_not_serialise(lab):
    site = Site(lab, children=2, threads=32)
    site.says(headers="private", delay=0.5)
    start = time.monotonic()
    assert all(a.status == 200 for a in together(site, 16))
    assert time.monotonic() - start < 4, "the first one's answer frees all others at once"
    start = time.monotonic()
    assert all(a.status == 200 for a in together(site, 16))
    assert time.monotonic() - start < 3, "remembered: nobody waits for anybody"


def test_trap_46_waiting_has_an_end(lab):
    site = Site(lab, cache="wait=300ms")
    site.says(headers="max-age=60", delay=2.0)
    start = time.monotonic()
    answers = together(site, 4)
    assert all(a.status == 200 for a in answers)
    assert site.asked > 1 and time.monotonic() - start < 5


def test_trap_46_the_leaders_child_dies(lab):
    site = Site(lab, children=3)
    site.says(headers="max-age=60", delay=1.0)
    results = []

    def client():
        try:
            results.append(site.get(timeout=20).status)
        except Exception:  # noqa: BLE001  (the leader's own client sees its connection closed)
            results.append(None)

    threads = [threading.Thread(target=client) for _ in range(6)]
    for thread in threads:
        thread.start()
    time.sleep(0.4)
    for pid in list(site.httpd.child_pids())[:2]:
        site.httpd.kill_child(pid)
    for thread in threads:
        thread.join()
    assert site.get().status == 200 and is_hit(site.get())
    site.httpd.expect("AH10392", r"AH00052: child pid \d+ exit signal Killed")


def test_trap_12_followers_of_a_body_that_ends_early_are_told(lab):
    site = Site(lab, children=2)
    raw = ["HTTP/1.1 200 OK\r\nCache-Control: max-age=60\r\nContent-Length: 100000\r\n\r\n" + "x" * 50000, 0.6, "y" * 10]
    site.says(raw=raw)
    answers = together(site, 4)
    assert all(isinstance(a, Exception) or a.status == 502 for a in answers), answers
    site.says(headers="max-age=60")
    assert site.get().body == b"hello"
    site.httpd.expect("AH01110|error reading response|AH01102|AH00")


def test_trap_47_vary_is_respected_while_waiting(lab):
    site = Site(lab, children=2, threads=32)
    site.says(headers=[["Cache-Control", "max-age=60"], ["Vary", "X-Lang"]], delay=0.5)
    answers = together(site, 8, headers=lambda n: [("X-Lang", "de" if n % 2 else "en")])
    assert all(a.status == 200 for a in answers)
    langs = [dict((k.lower(), v) for k, v in r["headers"])["x-lang"] for r in site.member.requests()]
    assert {"de", "en"} <= set(langs)
    assert is_hit(site.get(headers=[("X-Lang", "de")])) and is_hit(site.get(headers=[("X-Lang", "en")]))


def test_trap_47_authorization_waits_for_nobody(lab):
    site = Site(lab, children=2)
    site.says(headers="private", delay=0.5)
    answers = together(site, 4, headers=lambda n: [("Authorization", f"Basic {n}")])
    seen = sorted(dict((k.lower(), v) for k, v in r["headers"])["authorization"] for r in site.member.requests())
    assert seen == [f"Basic {n}" for n in range(4)] and all(a.status == 200 for a in answers)


def test_rfc9211_collapsed(lab):
    site = Site(lab, children=1)
    site.says(headers="max-age=60", delay=0.5)
    said = [status_of(a) for a in together(site, 4)]
    assert sum("collapsed" in s for s in said) == 3 and sum("stored" in s for s in said) == 1


# --- memory -----------------------------------------------------------------------------------------------


def test_trap_52_larger_than_the_limit_passes_by(lab):
    site = Site(lab)
    site.says(size=(1 << 20) + 1, headers="max-age=60")
    for _ in range(2):
        answer = site.get()
        assert len(answer.body) == (1 << 20) + 1 and status_of(answer)["detail"] == "TOO-BIG"


def test_trap_52_an_unknown_length_that_grows_past_the_limit(lab):
    site = Site(lab)
    site.says(size=3 << 20, headers="max-age=60", chunked=True)
    for _ in range(2):
        answer = site.get()
        assert len(answer.body) == 3 << 20 and not is_hit(answer)
    site.says(size=500000, headers="max-age=60", chunked=True)
    assert len(site.get("/c/small").body) == 500000
    hit = site.get("/c/small")
    assert is_hit(hit) and len(hit.body) == 500000


def test_trap_52_full_memory(lab):
    site = Site(lab)
    site.says(size=300000, headers="max-age=600")
    for n in range(120):
        assert len(site.get(f"/c/{n}").body) == 300000
    assert sum(is_hit(site.get(f"/c/{n}", headers=[("Cache-Control", "only-if-cached")])) for n in range(119, 99, -1)
               if site.get(f"/c/{n}", headers=[("Cache-Control", "only-if-cached")]).status == 200) > 0


def test_kept_over_graceful_restarts(lab):
    site = Site(lab)
    site.says(headers="max-age=600")
    site.get()
    for _ in range(3):
        site.httpd.graceful()
        assert is_hit(site.get())
    assert site.asked == 1


def test_a_new_size_begins_empty_and_says_so(lab):
    site = Site(lab)
    site.says(headers="max-age=600")
    site.get()
    site.httpd.write_conf(site.httpd.conf.replace("GateCacheSize 16M", "GateCacheSize 32M"))
    site.httpd.renew()
    assert not is_hit(site.get()) and is_hit(site.get())
    site.httpd.wait_log("GATE0702")


def test_trap_66_a_child_ends_although_a_background_fetch_does_not(lab):
    site = Site(lab, children=1)
    site.says(b"old", headers=[["Cache-Control", "max-age=60, stale-while-revalidate=600"], ["Age", "100"]])
    site.get()
    site.says(headers="max-age=60", delay=15)
    assert site.get().body == b"old"
    time.sleep(0.3)
    old = set(site.httpd.child_pids())
    site.httpd.graceful(wait=False)
    end = time.monotonic() + 14
    while old & set(site.httpd.child_pids()) and time.monotonic() < end:
        time.sleep(0.2)
    assert not old & set(site.httpd.child_pids())
    if gatehttpd.PLANE == "classic":  # a loop waits for nobody: what it fetches is dropped
        site.httpd.wait_log("GATE0706")
    assert site.get().body == b"old"


def test_trap_63_an_old_child_goes_on_in_the_old_store(lab):
    site = Site(lab, children=2)
    body = b"0123456789abcdef" * 50000
    site.says(body, headers="max-age=600")
    site.get()
    slow = Connection(site.httpd.port)
    slow.send(request_bytes("/c/a", headers=[("Connection", "close")]))
    slow.read_head()
    site.httpd.write_conf(site.httpd.conf.replace("GateCacheSize 16M", "GateCacheSize 24M"))
    site.httpd.graceful(wait=False)
    for _ in range(20):
        assert site.get().body == body
    assert slow.recv_all().endswith(body[-1000:])
    slow.close()
    site.httpd.wait_log("GATE0702")


@pytest.mark.h1("raw sockets")
def test_trap_51_a_slow_client_reads_what_was_purged_meanwhile(lab):
    site = Site(lab, more="GateCachePurge on", cache="")
    body = bytes(range(256)) * 3600
    site.says(body, headers="max-age=600")
    site.get()
    sock = socket.socket()
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    sock.connect(("127.0.0.1", site.httpd.port))
    sock.sendall(request_bytes("/c/a", headers=[("Connection", "close")]))
    time.sleep(0.3)
    assert site.get(method="PURGE").json() == {"purged": 1}
    site.says(size=900000, headers="max-age=600")
    for n in range(30):
        site.get(f"/c/{n}")
    data = b""
    sock.settimeout(20)
    while True:
        more = sock.recv(65536)
        if not more:
            break
        data += more
    sock.close()
    assert data.partition(b"\r\n\r\n")[2] == body
