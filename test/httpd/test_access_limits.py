"""mod_gate_access: GateLimit - rates over all children, connections, delay, dry-run, what counts and what does not."""
import os
import re
import threading
import time

import pytest

import clients
from access_conf import REMOTE, as_client, section
from clients import BadAnswer, Connection, get, post
from groups import behind
from keepalive import KeepAlive
from procs import wait_until

pytestmark = pytest.mark.needs("gate_access")
CONFIGURATION = pytest.mark.once("what httpd -t says")

LONG = "SOAK_SECONDS" in os.environ


def serve(lab, conf, **words):
    httpd = lab.httpd(conf=REMOTE + conf + behind(lab), **dict(words, start=False))
    httpd.expect("AH01630: client denied")
    return httpd.start()


def statuses(httpd, count, path="/", address="192.0.2.1", headers=None):
    return [get(httpd.port, path, headers=dict(as_client(address), **(headers or {}))).status for _ in range(count)]


# ---- rates ------------------------------------------------------------------------------------------------------------------

def test_burst_then_429_with_its_headers(lab):
    httpd = serve(lab, section("GateLimit requests rate=6/m burst=4 name=slow".replace("6/m", "6r/m")))
    answers = [get(httpd.port, "/", headers=as_client("192.0.2.1")) for _ in range(6)]
    assert [a.status for a in answers] == [200] * 5 + [429]
    assert answers[0].header("ratelimit-policy") == '"slow";q=5;w=50'
    assert [re.match(r'"slow";r=(\d+);t=(\d+)', a.header("ratelimit")).group(1) for a in answers] == ["4", "3", "2", "1", "0", "0"]
    assert 9 <= int(answers[5].header("retry-after")) <= 10
    assert statuses(httpd, 1, address="192.0.2.2") == [200]
    log = httpd.access(7)
    assert sorted(line["access"] for line in log) == ["limited:slow"] + ["ok"] * 6
    httpd.wait_log("GATE1014: limit slow: refused a request of 192.0.2.1")


def test_ipv6_by_its_64_and_ipv4_in_both_forms(lab):
    """Trap 17: one client however its address is written."""
    httpd = serve(lab, section("GateLimit requests rate=1r/h burst=1"))
    assert statuses(httpd, 1, address="2001:db8::1") + statuses(httpd, 1, address="2001:db8::2") == [200, 200]
    assert statuses(httpd, 1, address="2001:db8::ffff:1") == [429]
    assert statuses(httpd, 1, address="2001:db8:0:1::1") == [200]
    assert statuses(httpd, 1, address="192.0.2.1") + statuses(httpd, 1, address="::ffff:192.0.2.1") == [200, 200]
    assert statuses(httpd, 1, address="192.0.2.1") == [429]


STAMPS = 'LogFormat "%{begin:usec}t %{end:usec}t %>s" stamps\nCustomLog logs/stamps.log stamps\n'
BUSY = r"AH00287|AH00161|AH10159|AH00484"  # the MPM's word on a machine with more clients than threads


def stamps(httpd):
    """(begin, end, status) of each request, in seconds, by begin."""
    return sorted((int(b) / 1e6, int(e) / 1e6, int(s)) for b, e, s in (line.split() for line in httpd.read_file("logs/stamps.log").splitlines()))


def allowed(log, rate, burst):
    """How many of these requests the algorithm lets through, one after the other by the times they came."""
    at, count = 0.0, 0
    for begin, _, _ in log:
        at = max(at, begin)
        if at - begin <= burst / rate + 1e-9:
            at += 1 / rate
            count += 1
    return count


def always_enough(log, rate, burst, literal):
    """Were there requests for all that the limit would let in? Else the machine stood still: what did not come was not let in."""
    return allowed(log, rate, burst) > literal * 0.997


@pytest.mark.parametrize("mpm", ["event", "worker", "prefork"])
def test_one_rate_for_all_children(lab, mpm):
    """
    64 clients, 8 children, rate=1000r/s burst=100: what is admitted is burst + rate * time, within 1 %, by the server's own clock. In the
    normal run for 3 s, and once more where too few came at times to be limited; by ./build.sh soak for 10 s.
    """
    httpd = serve(lab, STAMPS + section("GateLimit requests rate=1000r/s burst=100 key=everyone name=all"), mpm=mpm, children=8,
                  **({} if mpm == "prefork" else {"threads": 16}))
    httpd.expect(BUSY)
    for _ in range(3):
        wait_until(lambda: all(time.time() - end > 0.3 for _, end, _ in stamps(httpd)[-100:]), 10, "the burst is there again")
        before = len(stamps(httpd))
        clients.wrk(httpd.url + "/", seconds=10 if LONG else 3, connections=64 if mpm != "prefork" else 8)
        log = stamps(httpd)[before:]
        good = sum(status == 200 for _, _, status in log)
        assert good > 1000
        assert good <= 1000 * (log[-1][1] - log[0][0]) + 101
        want = allowed(log, 1000, 100)
        assert abs(good - want) <= want * 0.01, f"{good} admitted, {want} expected"
        literal = 100 + 1000 * (log[-1][0] - log[0][0])
        if always_enough(log, 1000, 100, literal):
            print(f"{mpm}: {good} of {len(log)} admitted, {literal:.0f} expected")
            assert abs(good - literal) <= literal * 0.01, f"{good} admitted, {literal:.0f} expected"
            break


def test_two_limits_together(lab):
    """What the narrower one refuses is not charged by the wider one."""
    httpd = serve(lab, section("GateLimit requests rate=100r/h burst=9 key=everyone name=wide",
                               "GateLimit requests rate=1r/h burst=1 name=narrow"))
    assert statuses(httpd, 20, address="192.0.2.1") == [200, 200] + [429] * 18
    assert [statuses(httpd, 3, address=f"192.0.2.{n}")[:2] for n in range(2, 6)] == [[200, 200]] * 4
    answer = get(httpd.port, "/", headers=as_client("192.0.2.9"))
    assert answer.status == 429 and re.match(r'"wide";r=0;t=\d+, "narrow";r=2;t=0', answer.header("ratelimit"))
    assert "limited:wide" in [line["access"] for line in httpd.access(33)]


def test_two_limits_under_load(lab):
    httpd = serve(lab, STAMPS + section("GateLimit requests rate=300r/s burst=30 key=everyone name=wide",
                                        "GateLimit requests rate=200r/s burst=20 name=narrow"), children=4)
    httpd.expect(BUSY)
    clients.wrk(httpd.url + "/", seconds=4, connections=32)
    log = stamps(httpd)
    good, want = sum(status == 200 for _, _, status in log), allowed(log, 200, 20)
    assert abs(good - want) <= want * 0.01 + 1, f"{good} admitted, {want} expected"


def test_keys_by_expression(lab):
    httpd = serve(lab, section("GateLimit requests rate=1r/h burst=0 key=%{HTTP:X-Api-Key} name=key"))
    assert statuses(httpd, 2, headers={"X-Api-Key": "a"}) == [200, 429]
    assert statuses(httpd, 2, address="192.0.2.7", headers={"X-Api-Key": "a"}) == [429, 429]
    assert statuses(httpd, 2, headers={"X-Api-Key": "b"}) == [200, 429]
    assert statuses(httpd, 3) == [200] * 3  # no key, no limit


def test_sections_inherit_override_and_switch_off(lab):
    httpd = serve(lab, "GateLimit requests rate=1r/h burst=0 name=outer\n"
                  + section("GateLimit requests rate=1r/h burst=2 name=inner", path="/inner")
                  + section("GateLimit off", path="/off") + section("Require all granted", path="/plain"))
    assert statuses(httpd, 2, path="/plain") == [404, 429]
    assert statuses(httpd, 5, path="/inner") == [404, 404, 404, 429, 429]
    assert statuses(httpd, 3, path="/off") == [404] * 3


@pytest.mark.plane("classic")  # what is proxied has no directory
def test_limits_in_directories(lab):
    """A limit that only the whole walk finds; the others work with it."""
    httpd = serve(lab, section("GateLimit requests rate=1r/h burst=1 name=loc", path="/loc")
                  + '<Directory "${ROOT}/htdocs">\nGateLimit requests rate=1r/h burst=0 name=dir\n</Directory>\n')
    assert statuses(httpd, 2) == [200, 429]
    assert statuses(httpd, 3, path="/loc") == [404, 404, 429]


# ---- what counts --------------------------------------------------------------------------------------------------------------

def test_charged_once(lab):
    """Trap 71: not for sub-requests, internal redirects and error documents; a HEAD, a 304 and a 404 count."""
    httpd = lab.httpd(start=False)
    httpd.write_file("htdocs/d/index.html", "index")
    httpd.write_file("htdocs/gone.html", "gone")
    httpd.write_file("htdocs/page.shtml", '<!--#include virtual="/d/index.html" --><!--#include virtual="/d/" -->')
    httpd.write_conf(conf="LoadModule include_module /usr/lib/apache2/modules/mod_include.so\n" + REMOTE
                     + "ErrorDocument 404 /gone.html\nDirectoryIndex index.html\n"
                     '<Directory "${ROOT}/htdocs">\nOptions +Includes\nAddOutputFilter INCLUDES .shtml\n</Directory>\n'
                     + section("GateLimit requests rate=1r/h burst=99 name=all"))
    httpd.start()
    left = []
    for path, method in (("/d/", "GET"), ("/page.shtml", "GET"), ("/nothing", "GET"), ("/d/index.html", "HEAD"), ("/d/", "GET")):
        answer = clients.request(httpd.port, path, method, headers=as_client("192.0.2.1"))
        left.append(int(re.match(r'"all";r=(\d+)', answer.header("ratelimit")).group(1)))
    assert left == [99, 98, 97, 96, 95]
    assert get(httpd.port, "/page.shtml", headers=as_client("192.0.2.1")).body == b"indexindex"


def test_answers_of_httpds_cache_count(lab):
    """CacheQuickHandler off: limits are asked before the cache (trap 71; a refused request gets nothing from it either)."""
    httpd = lab.httpd(start=False)
    modules = "".join(f"LoadModule {m}_module /usr/lib/apache2/modules/mod_{m}.so\n" for m in ("cache", "cache_socache", "socache_shmcb"))
    httpd.write_conf(conf=modules + REMOTE + "CacheQuickHandler off\nCacheEnable socache /\nCacheDefaultExpire 600\n"
                     "CacheSocache shmcb\n" + section("GateLimit requests rate=1r/h burst=2"))
    if "already loaded" in httpd.check()[1]:
        httpd.expect("AH01574")
    httpd.start()
    assert statuses(httpd, 5) == [200, 200, 200, 429, 429]


def test_streams_are_their_connections_clients(lab):
    """Trap 15: each stream of HTTP/2 is a request of the connection's client, not a client of its own."""
    httpd = serve(lab, section("GateLimit requests rate=1r/h burst=9 name=h2"), tls=True, h2=True)
    load = clients.h2load(httpd.tls_url + "/", requests=40, connections=2, streams=10)
    assert load.requests == 40 and load.bad == 30


def test_a_refused_body_is_not_the_next_request(lab):
    """Trap 5: the connection ends, whatever the body looks like."""
    httpd = serve(lab, section("GateLimit requests rate=1r/h burst=0"))
    assert statuses(httpd, 1) == [200]
    smuggled = b"GET /smuggled HTTP/1.1\r\nHost: x\r\n\r\n"
    with Connection(httpd.port) as c:
        c.send(b"POST / HTTP/1.1\r\nHost: x\r\nX-Client: 192.0.2.1\r\nContent-Length: 5000\r\n\r\n" + smuggled)
        answer = c.recv_all()
    assert answer.startswith(b"HTTP/1.1 429") and answer.count(b"HTTP/1.1") == 1 and b"Connection: close" in answer
    with KeepAlive(httpd.port) as c:  # without a body the connection may go on
        assert [c.get("/", as_client("192.0.2.1")).status for _ in range(3)] == [429] * 3
        assert c.reopened == 0
    assert not [line for line in httpd.access() if "smuggled" in line["uri"]]
    assert post(httpd.port, "/", headers=as_client("192.0.2.1"), body=b"x" * 100).status == 429


def test_expect_100(lab):
    """Trap 10: a limit decides before the client is told to send its body."""
    httpd = serve(lab, section("GateLimit requests rate=1r/h burst=0"))
    assert statuses(httpd, 1) == [200]
    with Connection(httpd.port) as c:
        c.send(b"POST / HTTP/1.1\r\nHost: x\r\nX-Client: 192.0.2.1\r\nContent-Length: 5\r\nExpect: 100-continue\r\n\r\n")
        assert c.recv_all().startswith(b"HTTP/1.1 429")


def test_delay_keeps_order_and_rate(lab):
    httpd = serve(lab, STAMPS + section("GateLimit requests rate=20r/s burst=10 delay name=slow"), threads=32)
    answers = []
    threads = [threading.Thread(target=lambda: answers.append(get(httpd.port, "/", headers=as_client("192.0.2.1")).status))
               for _ in range(11)]
    for t in threads:
        t.start()
        time.sleep(0.01)
    for t in threads:
        t.join()
    assert answers == [200] * 11
    said = [line["access"] for line in httpd.access(11)]
    assert said.count("ok") >= 1 and sum(bool(re.match(r"delayed:slow:\d+ms$", s)) for s in said) >= 9
    log = stamps(httpd)
    for (begin, end, _), (next_begin, next_end, _) in zip(log, log[1:]):
        assert next_end > end or next_begin - begin < 0.003, "one that came later was served before"
        assert next_end - end < 0.3
    assert log[-1][1] - log[0][0] >= 0.5 - 0.02  # the eleventh has waited for ten turns of 50 ms


def test_delay_has_an_end(lab):
    httpd = serve(lab, section("GateLimit requests rate=1r/s burst=100 delay=500ms name=slow"))
    assert get(httpd.port, "/", headers=as_client("192.0.2.1")).status == 200
    began = time.monotonic()
    answer = get(httpd.port, "/", headers=as_client("192.0.2.1"))
    assert answer.status == 429 and answer.header("retry-after") and time.monotonic() - began < 0.5


def test_dry_run(lab):
    httpd = serve(lab, section("GateLimit requests rate=1r/h burst=1 dry-run name=try", "GateLimit connections max=50 dry-run name=c"))
    assert statuses(httpd, 5) == [200] * 5
    assert sorted(line["access"] for line in httpd.access(5)) == ["dry-run:try"] * 3 + ["ok", "ok"]
    httpd.wait_log(r"GATE1014: limit try: would have refused \(dry-run\) a request of 192.0.2.1")
    assert get(httpd.port, "/").header("ratelimit") is None


def test_counts_stay_over_a_graceful_restart(lab):
    httpd = serve(lab, section("GateLimit requests rate=1r/h burst=2 name=keep"))
    assert statuses(httpd, 2) == [200, 200]
    httpd.graceful()
    assert statuses(httpd, 2) == [200, 429]


def test_a_flood_of_keys(lab):
    """Trap 70: a hundred thousand keys on a table for ten thousand; an honest client is served, a bad one stays limited."""
    httpd = serve(lab, section("GateLimit requests rate=10r/m burst=50 keys=10000 name=flood"), children=2, threads=16)
    script = httpd.write_file("flood.lua", """
local n = 0
request = function()
    n = n + 1
    local k = n % 100000
    return wrk.format("GET", "/", { ["X-Client"] = string.format("10.%d.%d.%d", k / 65536, k / 256 % 256, k % 256), ["Host"] = "x" })
end
""")
    assert statuses(httpd, 60, address="203.0.113.66").count(200) == 51
    result = {}
    flood = threading.Thread(target=lambda: result.update(load=clients.wrk(httpd.url + "/", seconds=6, connections=16, script=script)))
    memory = lambda: sum(int(re.search(r"RssShmem:\s+(\d+)", open(f"/proc/{p}/status", encoding="utf-8").read()).group(1))
                         for p in httpd.child_pids())
    flood.start()
    honest = []
    while flood.is_alive():
        honest += statuses(httpd, 1, address="203.0.113.1")
        time.sleep(0.2)
        during = memory()
    flood.join()
    assert honest.count(200) == len(honest) > 10
    assert result["load"].requests > 5000
    assert statuses(httpd, 5, address="203.0.113.66").count(200) <= 2
    assert during < 2 * len(httpd.child_pids()) * 8 * 1024, f"{during} KB"


# ---- connections --------------------------------------------------------------------------------------------------------------

def slow_member(lab, httpd_conf, **words):
    member = lab.upstream()
    member.behave({"delay": 1.5})
    return member, serve(lab, f"ProxyPass /slow/ {member.url}/\n" + httpd_conf, **words)


def test_in_flight(lab):
    member, httpd = slow_member(lab, section("GateLimit connections max=2 name=open", path="/slow/"), children=2)
    answers = []
    threads = [threading.Thread(target=lambda: answers.append(get(httpd.port, "/slow/x", headers=as_client("192.0.2.1"))))
               for _ in range(5)]
    for t in threads:
        t.start()
        time.sleep(0.05)
    for t in threads:
        t.join()
    assert sorted(a.status for a in answers) == [200, 200, 429, 429, 429]
    assert all(a.header("retry-after") == "1" for a in answers if a.status == 429)
    member.behave("ok")
    wait_until(lambda: get(httpd.port, "/slow/x", headers=as_client("192.0.2.1")).status == 200, 5, "places are free again")
    assert sum(line["access"] == "connections:open" for line in httpd.access(6)) >= 3


def test_in_flight_is_by_client_over_h2(lab):
    """Trap 15: ten streams of one connection are ten exchanges of one client."""
    _, httpd = slow_member(lab, section("GateLimit connections max=3", path="/slow/"), tls=True, h2=True)
    load = clients.h2load(httpd.tls_url + "/slow/x", requests=10, connections=1, streams=10)
    assert load.requests == 10 and load.bad == 7


def test_clients_that_hang_up_leave_nothing_behind(lab):
    member, httpd = slow_member(lab, section("GateLimit connections max=2 name=open", path="/slow/"))
    for _ in range(6):
        c = Connection(httpd.port)
        c.send(b"GET /slow/x HTTP/1.1\r\nHost: x\r\nX-Client: 192.0.2.1\r\n\r\n")
        c.reset()
    member.behave("ok")
    wait_until(lambda: get(httpd.port, "/slow/x", headers=as_client("192.0.2.1")).status == 200, 10, "places are free again")


def test_killed_children_leave_nothing_in_flight(lab):
    """Children are killed under load, again and again (./build.sh soak: for a minute): numbers come back to nothing."""
    member, httpd = slow_member(lab, section("GateLimit connections max=6 name=open", path="/slow/"), children=3)
    member.behave({"delay": 0.2})
    httpd.expect("AH10392: children are killed successively", r"AH00052: child pid \d+ exit signal Killed", "AH01102", "AH00898",
                 "AH01114", "AH00957", "AH01097", "AH01084")
    stop = threading.Event()

    def ask():
        while not stop.is_set():
            try:
                get(httpd.port, "/slow/x", headers=as_client("192.0.2.1"))
            except (OSError, BadAnswer):  # its child was killed
                pass
    threads = [threading.Thread(target=ask) for _ in range(8)]
    for t in threads:
        t.start()
    for _ in range(int(os.environ.get("SOAK_TIMES", "12"))):
        time.sleep(0.3)
        for pid in httpd.child_pids()[:1]:
            httpd.kill_child(pid)
    stop.set()
    for t in threads:
        t.join()
    member.behave({"delay": 0.8})
    time.sleep(1)
    answers = []
    threads = [threading.Thread(target=lambda: answers.append(get(httpd.port, "/slow/x", headers=as_client("192.0.2.1")).status))
               for _ in range(6)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    assert answers == [200] * 6  # all six places are free


# ---- what is wrong with a configuration ---------------------------------------------------------------------------------------

@CONFIGURATION
@pytest.mark.parametrize("conf, said", [
    ("GateLimit", "GateLimit: takes requests, connections or off"),
    ("GateLimit request rate=1r/s", "GateLimit: 'request' "),
    ("GateLimit requests", "needs rate="),
    ("GateLimit requests rate=0r/s", "GateLimit: 'rate=0r/s'"),
    ("GateLimit requests rate=10", "GateLimit: 'rate=10'"),
    ("GateLimit requests rate=1r/s rate=2r/s", "rate"),
    ("GateLimit requests rate=1r/s brust=5", "did you mean 'burst"),
    ("GateLimit requests rate=1r/s burst=-1", "'burst=-1'"),
    ("GateLimit requests rate=1r/s key=cleint", "did you mean 'client'"),
    ("GateLimit requests rate=1r/s key=%{NOPE:x}", "is no expression"),
    ("GateLimit connections", "needs max="),
    ("GateLimit connections max=0", "'max=0'"),
    ("GateLimit connections max=5 rate=1r/s", "'rate=1r/s' is not known here"),
    ("GateLimit requests rate=1r/s name=a\nGateLimit requests rate=1r/s name=a", "is already the name of the limit at"),
    ("GateLimit requests rate=1r/s keys=3", "'keys=3'"),
    ("GateLimit off\nGateLimit requests rate=1r/s", "beside 'off'"),
])
def test_bad_configuration(lab, conf, said):
    httpd = lab.httpd(start=False, conf=conf)
    good, text = httpd.check()
    assert not good and said in text, text
