"""connections= over all children, and GateQueue: who waits, in which order, and when it ends."""
import threading
import time

import pytest

from clients import Connection, Crowd, get, request, request_bytes
from groups import MEMBER_TROUBLE, group, route
from procs import wait_until

pytestmark = pytest.mark.needs("gate_upstream")
CONFIGURATION = pytest.mark.once("what httpd -t says")

CHECK = '<Location "/selfcheck">\nSetHandler gate-selfcheck\nProxyPass "!"\n</Location>\n'
QUEUE_LINES = [r"GATE022[56]"]


class Visitors:
    """Clients that ask once each, on a connection of their own, and note how it went."""

    def __init__(self, port, count, apart=0.0, headers=(), tls=False, path="/"):
        self.answers = [None] * count
        self.args = (port, apart, headers, tls, path)
        self.threads = [threading.Thread(target=self._visit, args=(n,), daemon=True) for n in range(count)]
        self.begun = time.monotonic()
        for thread in self.threads:
            thread.start()

    def _visit(self, number):
        port, apart, headers, tls, path = self.args
        time.sleep(max(0.0, self.begun + number * apart - time.monotonic()))
        try:
            self.answers[number] = request(port, path, headers=[("X-Number", str(number)), *headers], tls=tls, timeout=30)
        except Exception as error:  # a child that was killed, for one
            self.answers[number] = error

    def wait(self):
        for thread in self.threads:
            thread.join(40)
        return self

    def statuses(self):
        return [getattr(a, "status", type(a).__name__) for a in self.answers]


def numbers(member):
    return [int(value) for r in member.requests() for name, value in r["headers"] if name.lower() == "x-number"]


def selfcheck(httpd):
    answer = get(httpd.port, "/selfcheck")
    assert (answer.status, answer.body.split(b"\n")[0]) == (200, b"ok"), answer.body


def test_hundred_clients_ten_connections(lab):
    member = lab.upstream()
    member.behave(delay=0.05)
    httpd = lab.httpd(CHECK + group("app", [(member, "connections=10")], "GateQueue length=100 timeout=20s") + route(),
                      children=4, threads=32)
    clients = [Connection(httpd.port, timeout=30) for _ in range(100)]
    for client in clients:
        client.ready()
    for number, client in enumerate(clients):  # by one hand, so that it is known who came first
        client.send(request_bytes("/", headers=[("X-Number", str(number))]))
        time.sleep(0.002)
    assert [client.read().status for client in clients] == [200] * 100
    for client in clients:
        client.close()
    assert member.most_inflight == 10
    order = numbers(member)
    assert sorted(order) == list(range(100))
    # a request that httpd's threads, or the member's, are late with is not the queue's doing: nearly all are where they belong
    off = sorted(abs(place - number) for place, number in enumerate(order))
    assert off[89] <= 10, (off, order)
    selfcheck(httpd)


def test_trap_32_cap_holds_over_children(lab):
    member = lab.upstream()
    member.behave(delay=1.0)
    httpd = lab.httpd(group("app", [(member, "connections=3")]) + route(), children=4, threads=8)
    httpd.expect(*QUEUE_LINES)
    crowd = Visitors(httpd.port, 12).wait()
    assert sorted(crowd.statuses()) == [200] * 3 + [503] * 9
    refused = next(a for a in crowd.answers if a.status == 503)
    assert refused.header("Retry-After")
    assert "connection_limit_reached" in refused.header("Proxy-Status")
    assert member.most_inflight == 3


def test_two_members_fill_up_before_anybody_waits(lab):
    members = lab.upstreams(2)
    for member in members:
        member.behave(delay=0.3)
    httpd = lab.httpd(group("app", [(m, "connections=4") for m in members], "GateQueue length=20 timeout=10s") + route(),
                      children=2, threads=16)
    crowd = Visitors(httpd.port, 16).wait()
    assert crowd.statuses() == [200] * 16
    assert [m.most_inflight for m in members] == [4, 4]


def test_queue_is_full(lab):
    member = lab.upstream()
    member.behave(delay=1.0)
    httpd = lab.httpd(group("app", [(member, "connections=2")], "GateQueue length=3 timeout=10s") + route())
    httpd.expect(*QUEUE_LINES)
    crowd = Visitors(httpd.port, 9).wait()
    assert sorted(crowd.statuses()) == [200] * 5 + [503] * 4


def test_waiting_has_an_end(lab):
    member = lab.upstream()
    member.behave(delay=3.0)
    httpd = lab.httpd(group("app", [(member, "connections=1")], "GateQueue length=5 timeout=500ms") + route())
    httpd.expect(*QUEUE_LINES)
    first = Visitors(httpd.port, 1)
    wait_until(lambda: member.inflight == 1, 5, "the first is in")
    begun = time.monotonic()
    answer = get(httpd.port)
    assert (answer.status, bool(answer.header("Retry-After"))) == (503, True)
    assert 0.4 < time.monotonic() - begun < 2.5
    assert first.wait().statuses() == [200]


def test_trap_33_waiting_counts_in_the_total_deadline(lab):
    member = lab.upstream()
    member.behave(delay=3.0)
    httpd = lab.httpd(group("app", [(member, "connections=1")], "GateQueue length=5 timeout=20s", "GateTimeout total=600ms first-byte=10s")
                      + route())
    httpd.expect(*QUEUE_LINES, *MEMBER_TROUBLE)
    first = Visitors(httpd.port, 1)
    wait_until(lambda: member.inflight == 1, 5, "the first is in")
    begun = time.monotonic()
    assert get(httpd.port).status in (503, 504)
    assert time.monotonic() - begun < 2.5
    first.wait()


@pytest.mark.parametrize("how", ["close", "reset", "tls"])
def test_trap_33_a_client_that_leaves_gives_up_its_place(lab, how):
    member = lab.upstream()
    member.behave(delay=1.0)
    httpd = lab.httpd(group("app", [(member, "connections=1")], "GateQueue length=1 timeout=20s") + route(), tls=True,
                      log_level="notice gate_upstream:info")
    httpd.expect(*QUEUE_LINES)
    first = Visitors(httpd.port, 1)
    wait_until(lambda: member.inflight == 1, 5, "the first is in")
    leaver = Connection(httpd.tls_port if how == "tls" else httpd.port, tls=how == "tls")
    leaver.send("GET /left HTTP/1.1\r\nHost: localhost\r\n\r\n")
    time.sleep(0.2)
    assert get(httpd.port).status == 503  # its place is the only one
    leaver.reset() if how == "reset" else leaver.close()
    httpd.wait_log("GATE0230")
    second = Visitors(httpd.port, 1).wait()
    assert (first.wait().statuses(), second.statuses()) == ([200], [200])
    assert "/left" not in [r["target"] for r in member.requests()]


def test_nobody_usable_is_said_at_once(lab):
    member = lab.upstream()
    httpd = lab.httpd(group("app", [(member, "connections=1 state=disabled")], "GateQueue length=5 timeout=20s") + route())
    httpd.expect(*QUEUE_LINES)
    begun = time.monotonic()
    assert get(httpd.port).status == 503
    assert time.monotonic() - begun < 5


def test_retry_waits_for_room_on_the_other_member(lab):
    good = lab.upstream("m1")
    good.behave(delay=0.2)
    dead = lab.refusing()
    httpd = lab.httpd(group("app", [(good, "connections=1"), (f"http://127.0.0.1:{dead.port}", "connections=1 id=dead")],
                            "GateQueue length=20 timeout=10s", "GateRetry budget=100%") + route())
    httpd.expect(*MEMBER_TROUBLE)
    crowd = Visitors(httpd.port, 8).wait()
    assert crowd.statuses() == [200] * 8
    assert good.most_inflight == 1


def test_trap_33_killed_children_lose_only_their_own(lab):
    member = lab.upstream()
    member.behave(delay=0.1)
    httpd = lab.httpd(CHECK + group("app", [(member, "connections=5")], "GateQueue length=100 timeout=20s") + route(),
                      children=4, threads=24)
    httpd.expect("AH10392: children are killed successively", r"AH00052: child pid \d+ exit signal Killed")
    crowd = Visitors(httpd.port, 80, apart=0.01)
    for _ in range(3):
        time.sleep(0.35)
        httpd.kill_child()
    crowd.wait()
    served, lost = crowd.statuses().count(200), [s for s in crowd.statuses() if s != 200]
    # what a killed child held ends as a closed connection; nobody else is told anything but 200
    assert all(isinstance(s, str) for s in lost), lost
    assert served + len(lost) == 80 and len(lost) <= 3 * 24, lost
    again = Visitors(httpd.port, 10).wait()
    assert again.statuses() == [200] * 10
    selfcheck(httpd)


def test_over_a_graceful_restart(lab):
    """Old and new children share one cap; who waits in an old child is served."""
    member = lab.upstream()
    member.behave(delay=0.3)
    httpd = lab.httpd(CHECK + group("app", [(member, "connections=2")], "GateQueue length=30 timeout=20s") + route(),
                      children=2, threads=16)
    before = Visitors(httpd.port, 10)
    wait_until(lambda: member.inflight == 2, 5, "the first are in")
    httpd.graceful()
    after = Visitors(httpd.port, 10).wait()
    assert before.wait().statuses() + after.statuses() == [200] * 20
    assert member.most_inflight == 2
    selfcheck(httpd)


def test_over_a_restart_that_changes_the_length(lab):
    """Old children have a queue of their own then, under the same cap: who waits there is not called by the new ones, and served all the same."""
    member = lab.upstream()
    member.behave(delay=0.1)
    conf = [CHECK + group("app", [(member, "connections=4")], f"GateQueue length={n} timeout=15s") + route() for n in (30, 50)]
    httpd = lab.httpd(conf[0], children=2, threads=32)
    before = Visitors(httpd.port, 30)
    wait_until(lambda: member.inflight == 4, 5, "the first are in")
    httpd.write_conf(conf[1])
    httpd.graceful()
    with Crowd(httpd.port, clients=20) as crowd:  # the new children's queue is never empty
        begun = time.monotonic()
        assert before.wait().statuses() == [200] * 30
        waited = time.monotonic() - begun
        crowd.wait(20)
    print("served after", round(waited, 2), "s; the others meanwhile:", crowd.ok)
    assert crowd.failures == [], crowd.failures[:5]
    assert member.most_inflight <= 4
    selfcheck(httpd)


def test_over_reloads_that_add_members(lab):
    """Under load, as many more as the registry has room for: one cap for old and new children, never exceeded."""
    member = lab.upstream()
    member.behave(delay=0.03)
    capped = group("app", [(member, "connections=10")], "GateQueue length=60 timeout=20s")
    httpd = lab.httpd(CHECK + capped + route(), children=2, threads=24)
    with Crowd(httpd.port, clients=40) as crowd:
        for added in (300, 550):
            crowd.wait(300)
            more = group("more", [f"http://127.0.0.1:9/{n} id=n{n}" for n in range(added)])
            httpd.write_conf(CHECK + capped + more + route())
            httpd.graceful()
        crowd.wait(300)
    assert crowd.failures == [], crowd.failures[:5]
    assert member.most_inflight == 10
    assert "GATE0003" not in httpd.error_log()
    selfcheck(httpd)


def test_over_reloads_that_need_a_larger_registry(lab):
    """Under load, each time more than there is room for: members, then groups too. Old and new children share one cap all the same."""
    member = lab.upstream()
    member.behave(delay=0.2)
    capped = "GateMemory 64M\n" + group("app", [(member, "connections=5")], "GateQueue length=60 timeout=20s")
    httpd = lab.httpd(CHECK + capped + route(), children=2, threads=24)
    with Crowd(httpd.port, clients=16) as crowd:
        for added, groups in ((900, 0), (1, 70), (1950, 0)):
            crowd.wait(10)
            more = group("many", [f"http://127.0.0.1:9/{n} id=n{n}" for n in range(added)])
            more += "".join(group(f"g{n}", ["http://127.0.0.1:9"]) for n in range(groups))
            httpd.write_conf(CHECK + more + capped + route())
            httpd.graceful()
        crowd.wait(30)
    assert crowd.failures == [], crowd.failures[:5]
    assert member.most_inflight == 5
    assert httpd.error_log().count("GATE0003") == 3
    selfcheck(httpd)


def test_over_a_larger_registry_those_in_flight_count(lab):
    """Exchanges and waiters of old children, which last for long: new ones get the places that are left, which are none."""
    member = lab.upstream()
    member.behave(delay=1.0)
    capped = group("app", [(member, "connections=2")], "GateQueue length=30 timeout=20s")
    httpd = lab.httpd(CHECK + capped + route(), children=2, threads=16)
    before = Visitors(httpd.port, 4)
    wait_until(lambda: member.inflight == 2, 5, "the first are in")
    httpd.write_conf(CHECK + capped + group("many", [f"http://127.0.0.1:9/{n}" + f" id=n{n}" for n in range(2000)]) + route())
    httpd.graceful()
    assert "GATE0003" in httpd.error_log()
    assert Visitors(httpd.port, 4).wait().statuses() + before.wait().statuses() == [200] * 8
    assert member.most_inflight == 2
    selfcheck(httpd)


def test_over_h2(lab):
    from clients import h2load
    member = lab.upstream()
    member.behave(delay=0.02)
    httpd = lab.httpd(group("app", [(member, "connections=3")], "GateQueue length=50 timeout=20s") + route(), tls=True, h2=True,
                      threads=32)
    load = h2load(httpd.tls_url + "/", requests=100, connections=2, streams=8)
    assert (load.errors, load.bad) == (0, 0)
    assert member.most_inflight <= 3


def frame(kind, flags, stream, payload=b""):
    """RFC 9113, 4.1"""
    return len(payload).to_bytes(3, "big") + bytes([kind, flags]) + stream.to_bytes(4, "big") + payload


def header(name, value):
    """RFC 7541, 6.2.2: a literal, neither indexed nor packed."""
    return b"\0" + bytes([len(name)]) + name.encode() + bytes([len(value)]) + value.encode()


def h2_get(stream, path):
    fields = header(":method", "GET") + header(":scheme", "http") + header(":authority", "localhost") + header(":path", path)
    return frame(1, 5, stream, fields)  # HEADERS that end the stream


def test_trap_33_a_stream_that_is_reset_gives_up_its_place(lab):
    """The client stays, and takes one of its requests back (RST_STREAM, RFC 9113 6.4)."""
    member = lab.upstream()
    member.behave(delay=1.0)
    httpd = lab.httpd(group("app", [(member, "connections=1")], "GateQueue length=1 timeout=20s") + route(), h2=True,
                      log_level="notice gate_upstream:info")
    httpd.expect(*QUEUE_LINES)
    first = Visitors(httpd.port, 1)
    wait_until(lambda: member.inflight == 1, 5, "the first is in")
    with Connection(httpd.port, alpn=["h2"]) as client:
        client.send(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + frame(4, 0, 0) + h2_get(1, "/left"))
        time.sleep(0.3)
        assert get(httpd.port).status == 503  # its place is the only one
        client.send(frame(3, 0, 1, (8).to_bytes(4, "big")))  # CANCEL
        httpd.wait_log("GATE0230")
        second = Visitors(httpd.port, 1).wait()
        assert (first.wait().statuses(), second.statuses()) == ([200], [200])
    assert "/left" not in [r["target"] for r in member.requests()]


# --- the directive -------------------------------------------------------------------------

def conf(*lines):
    return group("app", ["http://127.0.0.1:9"], *lines)


@CONFIGURATION
@pytest.mark.parametrize("line,says", [
    ("GateQueue", "GateQueue: needs both"),
    ("GateQueue length=5", "GateQueue: needs both"),
    ("GateQueue timeout=5s", "GateQueue: needs both"),
    ("GateQueue length=0 timeout=5s", "GateQueue: 'length=0'"),
    ("GateQueue length=5 timeout=x", "GateQueue: 'timeout=x'"),
    ("GateQueue length=5 timeout=5s size=3", "GateQueue: 'size=3' is not known here"),
    ("GateQueue length=5 length=6 timeout=5s", "GateQueue: 'length=6'"),
])
def test_bad(lab, line, says):
    good, text = lab.httpd(conf(line), start=False).check()
    assert not good and says in text, text


def test_outside_of_a_group(lab):
    assert "only works inside <GateUpstream NAME>" in lab.httpd("GateQueue length=5 timeout=5s", start=False).check()[1]


def test_inherited(lab):
    """A group written in a vhost has its queue for routes of every server."""
    member = lab.upstream()
    member.behave(delay=0.3)
    inner = group("app", [(member, "connections=1")], "GateQueue length=5 timeout=10s")
    httpd = lab.httpd(f"<VirtualHost 127.0.0.1:1>\n{inner}</VirtualHost>\n" + route())
    assert Visitors(httpd.port, 4).wait().statuses() == [200] * 4
    assert member.most_inflight == 1


def test_overridden(lab):
    """The last GateQueue of a group counts."""
    member = lab.upstream()
    member.behave(delay=0.5)
    httpd = lab.httpd(group("app", [(member, "connections=1")], "GateQueue length=5 timeout=10s", "GateQueue off") + route())
    httpd.expect(*QUEUE_LINES)
    assert sorted(Visitors(httpd.port, 3).wait().statuses()) == [200, 503, 503]
