"""h2c:// and h2:// members on event loops: the same to clients as on the classic plane, whatever the member does."""
import concurrent.futures
import signal
import threading
import time

import pytest

from clients import BadAnswer, Connection, Crowd, get, post
from groups import MEMBER_TROUBLE, NO_OUTLIER, group, route
from h2_member import H2Member
from h2client import H2Client
from nghttpd import Nghttpd
from procs import wait_until

pytestmark = pytest.mark.needs("gate_upstream", "gate_engine")

STATUS = '<Location "/gate-status">\nSetHandler gate-status\n</Location>\nProxyPass "/gate-status" "!"\n'


def serve(lab, members, *lines, conf="", plane="express", **words):
    words.setdefault("children", 1)
    httpd = lab.httpd("GateEngineLoops 1\n" + STATUS + conf + group("app", members, *NO_OUTLIER, *lines) + route(), plane=plane, **words)
    httpd.expect(*MEMBER_TROUBLE, "AH0", "AH1")
    return httpd


def scripted(lab, *script, **words):
    return lab.keep(H2Member(*script, **words))


def planes(httpd, count=1):
    """Of at least so many requests."""
    def lines():
        return [line for line in httpd.access() if "gate-status" not in line["uri"]]
    wait_until(lambda: len(lines()) >= count, 10, f"{count} lines in the log")
    return {line["plane"] for line in lines()}


def idle(httpd):
    """Nothing is counted in flight any more."""
    def counted():
        return sum(m["inflight"] for m in get(httpd.port, "/gate-status/status.json").json()["groups"][0]["members"])
    wait_until(lambda: counted() == 0, 10, "nothing in flight")
    return True


def httpd_waits(httpd, count):
    """Are so many requests in flight?"""
    def counted():
        return sum(m["inflight"] for m in get(httpd.port, "/gate-status/status.json").json()["groups"][0]["members"]) == count
    return counted


# --- what clients see, on both planes ----------------------------------------------------------------

# script of the one member, method, status; the backup member answers 200 where it is asked
SAME = {
    "whole": ("ok", "GET", "m1"), "posted": ("ok", "POST", "m1"), "reset": ("reset", "GET", "m2"), "reset post": ("reset", "POST", 502),
    "closed": ("close", "GET", "m2"), "closed post": ("close", "POST", 502), "garbage": ("garbage", "GET", "m2"),
    "garbage post": ("garbage", "POST", 502), "hangs": ("hang", "GET", "m2"), "hangs post": ("hang", "POST", 504),
    "hints": ("hints", "GET", "m1"), "trailers": ("trailers", "GET", "m1"), "empty": ("empty", "GET", "m1"),
    "a field that is none": ("bad-field", "POST", 502), "no status": ("no-status", "POST", 502),
}


@pytest.mark.parametrize("case", SAME)
def test_as_on_the_classic_plane(lab, case):
    script, method, expected = SAME[case]
    seen = []
    for plane in ("express", "classic"):
        bad, good = scripted(lab, script), scripted(lab, "ok", name="m2")
        httpd = serve(lab, [bad, (good, "backup")], *(["GateTimeout first-byte=400ms"] if script == "hang" else []), plane=plane)
        answer = get(httpd.port, "/x?y") if method == "GET" else post(httpd.port, "/x?y", body=b"b" * 1000)
        line = httpd.access(1)[-1]
        assert line["plane"] == plane
        words = answer.header("Proxy-Status") if script not in ("bad-field", "no-status", "garbage") else None  # mod_proxy_http2 does not tell why
        seen.append((answer.status, answer.reason, answer.header("X-Member"), answer.header("Content-Length"), answer.header("Alt-Svc"), words,
                     answer.body if answer.status < 400 else None, line["member"], line["tries"], line["status"]))
    assert (seen[0][2] or seen[0][0]) == expected
    assert seen[0] == seen[1]


# --- what may be sent again ------------------------------------------------------------------------------

@pytest.mark.parametrize("script", [("refuse", "ok"), ("ok", "refuse", "ok"), ("early-refuse", "ok"), ("goaway", "ok"), ("ok", "goaway", "ok")])
def test_what_the_member_has_not_touched_is_sent_again(lab, script):
    """Even a POST, to the same member, and not at its cost."""
    member = scripted(lab, *script)
    httpd = serve(lab, [member])
    for _ in range(len(script) - 1):
        answer = post(httpd.port, "/", body=b"b" * 5000)
        assert (answer.status, answer.body) == (200, b"whole")
    assert member.requests == len(script)
    assert [line["tries"] for line in httpd.access(len(script) - 1)] == ["1"] * (len(script) - 1)
    assert idle(httpd)


def test_a_member_that_goes_answers_what_it_has(lab):
    member = scripted(lab, "ok", "last", "ok")
    httpd = serve(lab, [member])
    assert [get(httpd.port).status for _ in range(4)] == [200] * 4
    assert member.connections == 2


def test_always_refused(lab):
    refusing, good = scripted(lab, "refuse"), scripted(lab, "ok", name="m2")
    httpd = serve(lab, [refusing, (good, "backup")])
    assert post(httpd.port, "/", body=b"x").member == "m2"
    good.stop()
    assert post(httpd.port, "/", body=b"x").status in (502, 503)
    assert idle(httpd)


@pytest.mark.parametrize("what", ["reset-mid-body", "close-mid-body", "bad-length"])
def test_cut_answers_end_as_cut(lab, what):
    bad, good = scripted(lab, what), scripted(lab, "ok", name="m2")
    httpd = serve(lab, [bad, (good, "backup")])
    with pytest.raises((BadAnswer, ConnectionError)):
        get(httpd.port)
    assert good.requests == 0
    httpd.wait_log("GATE0222")
    assert idle(httpd)


def test_an_answer_before_the_body(lab):
    member = scripted(lab, "early")
    httpd = serve(lab, [member])
    with Connection(httpd.port) as client:
        client.send("POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 1000000\r\n\r\n" + "b" * 1000)
        assert client.read("POST").status == 200
    assert idle(httpd)
    assert get(httpd.port).status == 200
    assert member.connections == 1


def test_expect_continue(lab):
    member = scripted(lab, "ok")
    httpd = serve(lab, [member])
    with Connection(httpd.port) as client:
        client.send("POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\nExpect: 100-continue\r\n\r\n")
        assert client.read_head()[0] == 100
        client.send("hello")
        assert client.read("POST").status == 200
    assert member.bodies == [5]


# --- connections ----------------------------------------------------------------------------------------------

def test_as_many_streams_as_the_member_lets(lab):
    member = scripted(lab, "waits", settings=[(3, 4)])
    httpd = serve(lab, [member])
    with concurrent.futures.ThreadPoolExecutor(16) as pool:
        answers = [pool.submit(get, httpd.port) for _ in range(16)]
        wait_until(lambda: member.connections >= 4, 10, "connections for all of them")
        member.go_on.set()
        assert [a.result().status for a in answers] == [200] * 16
    assert member.connections == 4
    assert idle(httpd)


def test_a_member_that_lets_nobody(lab):
    """What was asked before it said so may be answered; nobody waits for ever, and no connection is made again and again."""
    member = scripted(lab, "ok", settings=[(3, 0)])
    httpd = serve(lab, [member])
    assert {get(httpd.port).status for _ in range(5)} <= {200, 503}
    assert member.connections <= 15
    assert idle(httpd)


def test_settings_that_come_late(lab):
    """One stream is asked at once, the others when it takes longer than a connection may."""
    member = scripted(lab, "waits", settings=None)
    httpd = serve(lab, [member])
    with concurrent.futures.ThreadPoolExecutor(4) as pool:
        answers = [pool.submit(get, httpd.port) for _ in range(4)]
        wait_until(lambda: member.requests == 1, 10, "the first stream")
        wait_until(httpd_waits(httpd, 4), 10, "all of them")
        assert member.requests == 1
        member.go_on.set()
        assert [a.result().status for a in answers] == [200] * 4
    assert member.connections == 1


def test_a_window_that_never_opens(lab):
    member = scripted(lab, "ok", settings=[(4, 0)])
    httpd = serve(lab, [member], "GateTimeout first-byte=1s idle=1s")
    assert post(httpd.port, "/", body=b"x" * 500_000).status == 504
    assert get(httpd.port).status == 200
    assert idle(httpd)


def test_a_connection_that_fell_silent_gets_no_more(lab):
    member = scripted(lab, "ok", "hang", "ok")
    httpd = serve(lab, [member], "GateTimeout first-byte=1200ms connect=200ms", "GateRetry attempts=1")
    assert get(httpd.port).status == 200
    assert get(httpd.port).status == 504
    assert get(httpd.port).status == 200
    assert member.connections >= 1
    assert idle(httpd)


def test_floods_end_the_connection_alone(lab):
    good = scripted(lab, "ok", name="m2")
    httpd = serve(lab, [scripted(lab, "floods"), (good, "backup")], "GateTimeout first-byte=2s")
    assert get(httpd.port).member == "m2"
    assert idle(httpd)


def test_many_at_once_on_one_connection(lab):
    member = lab.nginx(h2=True)
    httpd = serve(lab, [member])
    with concurrent.futures.ThreadPoolExecutor(16) as pool:
        assert {a.header("X-Protocol") for a in pool.map(lambda _: get(httpd.port), range(200))} == {"HTTP/2.0"}
    assert planes(httpd) == {"express"}


def test_a_slow_client_holds_back_its_stream_alone(lab):
    size = 20_000_000
    member = lab.nginx(h2=True, body="b" * size)
    httpd = serve(lab, [member])

    def memory():
        with open(f"/proc/{httpd.child_pids()[0]}/status", encoding="ascii") as status:
            return sum(int(line.split()[1]) for line in status if line.startswith("VmRSS"))
    assert len(get(httpd.port).body) == size
    before = memory()
    with Connection(httpd.port) as slow:
        slow.send("GET / HTTP/1.1\r\nHost: x\r\n\r\n")
        time.sleep(0.3)
        assert len(get(httpd.port).body) == size
        assert memory() - before < 8192
        assert len(slow.read("GET").body) == size
    assert idle(httpd)


@pytest.mark.parametrize("what", ["graceful", "kill9"])
def test_members_that_come_and_go(lab, what):
    members = [lab.nginx("n1", h2=True), lab.nginx("n2", h2=True)]
    httpd = serve(lab, members, children=2)
    assert {get(httpd.port).status for _ in range(10)} == {200}
    if what == "graceful":
        httpd.graceful()
    else:
        members[0].kill9()
    assert {get(httpd.port).status for _ in range(20)} == {200}
    assert planes(httpd) == {"express"}
    assert idle(httpd)


def test_killed_under_load(lab):
    members = [lab.nginx("n1", h2=True), lab.nginx("n2", h2=True)]
    httpd = serve(lab, members)
    with Crowd(httpd.port, clients=8) as crowd:
        crowd.wait(300)
        members[0].kill9()
        crowd.wait(600)
    assert not crowd.failures
    assert idle(httpd)


def test_a_reload_of_the_member_under_load(lab):
    """It says GOAWAY to its connections: of requests that it does not take any more none is lost, though all of them are POST."""
    member = lab.nginx(h2=True, server='location /p { return 200 "done"; }')
    httpd = serve(lab, [member])
    stop, done = threading.Event(), []

    def work():
        while not stop.is_set():
            answer = post(httpd.port, "/p", body=b"b" * 100)
            done.append((answer.status, answer.body))
    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        running = [pool.submit(work) for _ in range(8)]
        for _ in range(4):
            before = len(done)
            wait_until(lambda at=before: len(done) > at + 50, 20, "answers")
            member.process.send(signal.SIGHUP)
        stop.set()
        for one in running:
            one.result()
    assert set(done) == {(200, b"done")}
    assert idle(httpd)


# --- a server nobody here wrote -----------------------------------------------------------------------

@pytest.mark.parametrize("tls", [False, True])
def test_nghttpd(lab, tls):
    """Requests, uploads that come back, trailers; many at once; and it goes."""
    text = "0123456789abcde\n" * 20_000
    member = lab.keep(Nghttpd({"short": "short\n", "long": text}, tls))
    conf = "SSLProxyEngine on\nSSLProxyCheckPeerName off\n" if tls else ""
    httpd = serve(lab, [member], conf=conf, vhost=conf + route(), tls=True, before="Protocols h2 http/1.1\n")
    for path, body in (("/short", b"short\n"), ("/long", text.encode())):
        answer = get(httpd.port, path)
        assert (answer.status, answer.body) == (200, body)
    assert get(httpd.port, "/none").status == 404
    with Connection(httpd.tls_port, tls=True, alpn=["h2"]) as client:
        answer = H2Client(client.sock).ask("/long", "GET", [], b"", "localhost")  # it says a length: HTTP/1.1 has no room for trailers then
        assert (bytes(answer.body), answer.trailers) == (text.encode(), [("x-sum", "7")])
    for size in (0, 1, 65536, 1_000_000):
        answer = post(httpd.port, "/echo", body=b"u" * size)
        assert (answer.status, answer.body) == (200, b"u" * size)
    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda n: get(httpd.port, "/long") if n % 2 else post(httpd.port, "/echo", body=b"x" * n * 1000), range(40)))
    assert [len(answer.body) for answer in answers] == [len(text) if n % 2 else n * 1000 for n in range(40)]
    assert planes(httpd) == {"express"} and idle(httpd)
    member.stop()
    assert get(httpd.port, "/short").status in (502, 503)
    assert idle(httpd)


# --- TLS ------------------------------------------------------------------------------------------------------

def test_over_tls(lab):
    member = lab.nginx(h2=True, tls=True)
    httpd = serve(lab, [member], conf="SSLProxyEngine on\nSSLProxyCheckPeerName off\n")
    assert [get(httpd.port).header("X-Protocol") for _ in range(5)] == ["HTTP/2.0"] * 5
    assert planes(httpd) == {"express"}


def test_a_member_that_does_not_offer_h2(lab):
    plain, good = lab.upstream("m1", tls=True), lab.nginx("n2", h2=True, tls=True)
    conf = "SSLProxyEngine on\nSSLProxyCheckPeerName off\n"
    httpd = serve(lab, ["h2://" + plain.authority, (good, "backup")], conf=conf)
    assert get(httpd.port).header("X-Member") == "n2"
    assert (plain.count, httpd.access(1)[-1]["tries"]) == (0, "2")
    alone = serve(lab, ["h2://" + plain.authority], conf=conf)
    answer = get(alone.port)
    assert answer.status == 503 and "tls_protocol_error" in answer.header("Proxy-Status")
    alone.wait_log(r"GATE0226.*TLS handshake failed: the member does not offer HTTP/2 \(ALPN h2\)")


def test_certificates_are_checked(lab):
    member, other = lab.nginx(h2=True, tls=True), lab.upstream("m2", tls=True)
    httpd = serve(lab, [member], conf="SSLProxyEngine on\nSSLProxyCheckPeerName off\nSSLProxyVerify require\n"
                  f"SSLProxyCACertificateFile {other.dir}/cert.pem\n")
    answer = get(httpd.port)
    assert answer.status == 503 and "tls_protocol_error" in answer.header("Proxy-Status")


def test_without_sslproxyengine_it_is_classic(lab):
    httpd = serve(lab, [lab.nginx(h2=True, tls=True)])
    assert get(httpd.port).status >= 500
    assert planes(httpd) == {"classic"}


def test_other_protocols_stay_classic(lab):
    httpd = serve(lab, [lab.nginx(h2=True), (lab.upstream("m2", proto="ajp"), "backup")])
    assert get(httpd.port).status == 200
    assert planes(httpd) == {"classic"}
