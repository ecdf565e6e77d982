"""Active checks: what is asked, what counts as good, and what follows for the group."""
import os
import threading
import time

import pytest

import gatehttpd
from clients import curl, get
from gatehttpd import log_time
from groups import group, route
from grpc_server import GrpcServer, framed
from procs import wait_until
from test_core import CHECK, selfcheck

pytestmark = pytest.mark.needs("gate_upstream", "gate_health")
CONFIGURATION = pytest.mark.once("what httpd -t says")
PROBER = pytest.mark.once("the prober asks members itself, whoever serves clients")

FAST = "interval=200ms fast=100ms timeout=500ms"
DOWN = r"GATE0501: group app: member m1: down after 3 failed checks \(%s\), traffic goes to 1 other"
UP = r"GATE0502: group app: member m1: up after 2 good checks"


def conf(members, *lines, name="app"):
    """One group of these members behind /, and the self-check."""
    return CHECK + group(name, members, *lines) + 'ProxyPass "/selfcheck" "!"\n' + route(name)


def probes(member, path="/health"):
    return [r for r in member.requests() if r["target"] == path]


def test_fails_and_rises(lab):
    """
    A member that answers 500 to its check goes down after `fall` checks, and up after `rise`, within one interval of the arithmetic
    (to the next check an interval, from there to the verdict a fast one each, 5 % more or less); one line says why each time.
    """
    members = lab.upstreams(3)
    httpd = lab.httpd(conf(members, "GateHealthCheck GET /health interval=1s fast=250ms timeout=500ms rise=2 fall=3"), children=3)
    wait_until(lambda: all(m.count >= 2 for m in members), 5, "checks")
    before, begun = len(probes(members[0])), time.time()
    members[0].behave("error", "/health")
    found = httpd.wait_log(r"GATE0501: group app: member m1: down after 3 failed checks \(status 500\), traffic goes to 2 others", timeout=5)
    assert 2 * 0.2 < log_time(found[0].string) - begun < 1.05 * (1 + 2 * 0.25) + 1
    assert {get(httpd.port).member for _ in range(12)} == {"m2", "m3"}
    assert len(probes(members[0])) >= before + 3
    begun = time.time()
    members[0].behave("ok", "/health")
    found = httpd.wait_log(r"GATE0502: group app: member m1: up after 2 good checks \(status 200\), it gets traffic again", timeout=5)
    assert 0.2 < log_time(found[0].string) - begun < 1.05 * (1 + 0.25) + 1
    assert {get(httpd.port).member for _ in range(12)} == {"m1", "m2", "m3"}
    selfcheck(httpd)


@pytest.mark.parametrize("mpm", ["prefork", "worker"])
def test_other_mpms(lab, mpm):
    members = lab.upstreams(2)
    httpd = lab.httpd(conf(members, f"GateHealthCheck GET /health {FAST}"), mpm=mpm, children=4)
    members[0].behave("error", "/health")
    httpd.wait_log(DOWN % "status 500", timeout=5)
    assert {get(httpd.port).member for _ in range(8)} == {"m2"}
    httpd.stop()


@pytest.mark.parametrize("front", ["tls", "h2"])
def test_behind_tls(lab, front):
    members = lab.upstreams(2)
    text = conf(members, f"GateHealthCheck GET /health {FAST}")
    httpd = lab.httpd(text, vhost=route(), tls=True, h2=front == "h2")
    members[0].behave("error", "/health")
    httpd.wait_log(DOWN % "status 500", timeout=5)
    for _ in range(6):
        answer = curl(httpd.tls_url + "/", "--http2" if front == "h2" else "--http1.1")[1]
        assert (answer.status, answer.member) == (200, "m2")


FAILURES = {
    "error": r"status 500", "unavailable": r"status 503", "garbage": r"Received HTTP/0.9 when not allowed",
    "closes": r"Empty reply from server", "hangs-up": r"Empty reply from server|Recv failure: Connection reset by peer|"
    r"Connection reset by peer", "resets": r"Connection reset by peer", "hangs": r"no answer within 500 ms",
    "short-body": r"transfer closed with \d+ bytes remaining to read", "slow": r"no answer within 500 ms",
}


@PROBER
@pytest.mark.parametrize("what", FAILURES)
def test_kinds_of_failure(lab, what):
    members = lab.upstreams(2)
    members[0].behave(what)
    httpd = lab.httpd(conf(members, f"GateHealthCheck GET /health {FAST}"))
    httpd.wait_log(DOWN % f"(?:{FAILURES[what]})", timeout=8)


@PROBER
def test_refused_connection(lab):
    good = lab.upstream("m2")
    gone = lab.refusing()
    httpd = lab.httpd(conf([(gone.url, "id=m1"), good], f"GateHealthCheck GET /health {FAST}"))
    httpd.wait_log(DOWN % "Connection refused", timeout=5)


@PROBER
def test_no_answer_to_connecting(lab):
    good = lab.upstream("m2")
    silent = lab.silent()
    httpd = lab.httpd(conf([(silent.url, "id=m1"), good], "GateHealthCheck tcp interval=200ms fast=100ms timeout=300ms"))
    httpd.wait_log(DOWN % "no answer within 300 ms", timeout=8)


@PROBER
def test_name_that_cannot_be_resolved(lab):
    good = lab.upstream("m2")
    httpd = lab.httpd(conf([("http://no-such-host.invalid:80", "id=m1"), good], f"GateHealthCheck GET /health {FAST}"))
    httpd.wait_log(DOWN % "(Could not resolve host: no-such-host.invalid|no answer within 500 ms)", timeout=10)


@PROBER
def test_what_is_asked(lab):
    member = lab.upstream("m1")
    lab.httpd(conf([member], f'GateHealthCheck OPTIONS /ready?full=1 {FAST} host=app.example.com:81 header="X-Why: check" '
                             'header="Accept: a/b"'))
    asked = wait_until(lambda: probes(member, "/ready?full=1"), 5, "a check")[0]
    assert asked["method"] == "OPTIONS"
    headers = asked["headers"]
    assert [v for n, v in headers if n.lower() == "host"] == ["app.example.com:81"]
    assert ["X-Why", "check"] in headers and [v for n, v in headers if n == "Accept"] == ["a/b"]
    assert ["Connection", "close"] in headers
    assert [v for n, v in headers if n == "User-Agent"][0].startswith("Gatehouse/")


@PROBER
def test_own_name_is_asked_for(lab):
    member = lab.upstream("m1")
    lab.httpd(conf([member], f"GateHealthCheck HEAD / {FAST}"))
    asked = wait_until(lambda: probes(member, "/"), 5, "a check")[0]
    assert asked["method"] == "HEAD"
    assert ["Host", member.authority] in asked["headers"]


@PROBER
def test_environment_has_no_say(lab):
    member = lab.upstream("m1")
    lab.httpd(conf([member], f"GateHealthCheck GET /health {FAST}"), env={"http_proxy": "http://127.0.0.1:9", "ALL_PROXY": "http://127.0.0.1:9"})
    wait_until(lambda: probes(member), 5, "a check")


@PROBER
def test_other_port(lab):
    members = lab.upstreams(3)
    asked = members.pop()
    httpd = lab.httpd(conf(members, f"GateHealthCheck GET /health {FAST} port={asked.port}"))
    wait_until(lambda: len(probes(asked)) >= 4, 5, "checks")
    assert not probes(members[0]) and not probes(members[1])
    assert get(httpd.port).member in ("m1", "m2")


@PROBER
@pytest.mark.parametrize("status,body,good", [
    ("status=200", {}, True), ("status=204", {}, False), ("status=400-499,503", {"status": 503}, True),
    ("status=200-399", {"status": 302}, True), ("body=^all.is.well$", {"body": "all is well"}, True),
    ('body="is (well|fine)"', {"body": "all is fine, thanks"}, True), ("body=well", {"body": "all is bad"}, False),
    ("body=x$", {"size": 70000}, False), ("status=200", {"size": 3000000}, True),
])
def test_what_is_good(lab, status, body, good):
    member = lab.upstream("m1")
    member.behave(body, "/health")
    httpd = lab.httpd(conf([member], f"GateHealthCheck GET /health {FAST} {status}"), log_level="notice gate_health:debug")
    result = "good" if good else "failed"
    httpd.wait_log(rf"GATE0505: group app: member m1: check {result}", count=3, timeout=6)
    if not good:
        httpd.wait_log("GATE0504: group app: member m1", timeout=3)


@PROBER
def test_tcp(lab):
    members = lab.upstreams(2)
    httpd = lab.httpd(conf(members, "GateHealthCheck tcp interval=200ms fast=100ms timeout=500ms"), log_level="notice gate_health:debug")
    httpd.wait_log(r"GATE0505: group app: member m1: check good \(connected", timeout=5)
    members[0].kill9()
    httpd.wait_log(DOWN % "Connection refused", timeout=5)
    assert members[1].count == 0
    members[0].start()
    httpd.wait_log(UP, timeout=5)


@PROBER
def test_tls_member(lab):
    secure = lab.upstream("m1", tls=True)
    plain = lab.upstream("m2")
    httpd = lab.httpd("SSLProxyEngine on\n" + conf([secure, plain], f"GateHealthCheck GET /health {FAST}"))
    wait_until(lambda: len(probes(secure)) > 2, 5, "checks")
    secure.behave("error", "/health")
    httpd.wait_log(DOWN % "status 500", timeout=5)


@PROBER
def test_certificates(lab):
    secure = lab.upstream("m1", tls=True)
    plain = lab.upstream("m2")
    text = conf([secure, plain], f"GateHealthCheck GET /health {FAST} verify=%s")
    httpd = lab.httpd("SSLProxyEngine on\n" + text % "system")
    httpd.wait_log(DOWN % "SSL certificate problem: self.signed certificate", timeout=5)
    before = len(probes(secure))
    httpd = lab.httpd("SSLProxyEngine on\n" + text % os.path.join(secure.dir, "cert.pem"))
    wait_until(lambda: len(probes(secure)) > before + 2, 5, "checks with a good certificate")


@PROBER
def test_unix_member(lab):
    member = lab.upstream("m1", unix=True)
    httpd = lab.httpd(conf([member, lab.upstream("m2")], f"GateHealthCheck GET /health {FAST}"))
    wait_until(lambda: len(probes(member)) > 2, 5, "checks")
    member.behave("error", "/health")
    httpd.wait_log(DOWN % "status 500", timeout=5)


@PROBER
def test_fastcgi_by_tcp(lab):
    php = lab.php()
    httpd = lab.httpd(conf([(php.url, "id=m1"), lab.upstream("m2")], "GateHealthCheck tcp interval=200ms fast=100ms timeout=500ms"))
    php.kill9()
    httpd.wait_log(DOWN % "Connection refused", timeout=5)


@PROBER
@pytest.mark.parametrize("answer,status,why", [
    (framed(b"\x08\x01"), "0", None), (framed(b"\x08\x02"), "0", "NOT_SERVING"), (framed(b""), "0", "UNKNOWN"),
    (b"<html>", "0", "the answer is no HealthCheckResponse"), (None, "12", "grpc-status 12: it has no health service"),
    (None, "5", "grpc-status 5: it knows no such service"), (framed(b"\x08\x01"), "14", "grpc-status 14"),
    (framed(b"\x08\x01"), None, "the answer has no grpc-status"),
], ids=["serving", "not-serving", "unknown", "nonsense", "unimplemented", "not-found", "late-error", "no-status"])
def test_grpc(lab, answer, status, why):
    server, other = GrpcServer(answer, status), GrpcServer()
    httpd = lab.httpd(conf([(server.url, "id=m1"), (other.url, "id=m2")], f"GateHealthCheck grpc service=shop.Orders {FAST}"),
                      log_level="notice gate_health:debug")
    if why:
        httpd.wait_log(DOWN % why, timeout=5)
    else:
        httpd.wait_log(r"GATE0505: group app: member m1: check good \(SERVING", count=3, timeout=5)
    assert server.asked[0] == framed(b"\x0a\x0bshop.Orders")
    httpd.stop()
    server.stop()
    other.stop()


@PROBER
def test_grpc_server_that_answers_http(lab):
    server, other = lab.upstream("m1"), GrpcServer()
    httpd = lab.httpd(conf([(f"h2c://127.0.0.1:{server.port}", "id=m1"), (other.url, "id=m2")], f"GateHealthCheck grpc {FAST}"))
    httpd.wait_log(DOWN % ".*", timeout=5)
    assert other.asked[0] == framed(b"")
    httpd.stop()
    other.stop()


def test_all_down_is_answered_at_once(lab):
    """Trap 26: nobody is asked in vain; 503 with Retry-After."""
    members = lab.upstreams(2)
    for member in members:
        member.behave("error", "/health")
    httpd = lab.httpd(conf(members, f"GateHealthCheck GET /health {FAST}"))
    httpd.wait_log("GATE0504: group app: member m[12]: down after 3 failed checks .status 500., no other member is usable: requests are "
                   "answered 503", timeout=5)
    httpd.expect("GATE0501", "GATE022[0-9]")
    asked = [m.count - len(probes(m)) for m in members]
    answer = get(httpd.port)
    assert answer.status == 503 and answer.header("Retry-After")
    assert [m.count - len(probes(m)) for m in members] == asked


def test_panic_overlooks_health(lab):
    """Trap 24: below the share of GatePanic health is ignored, what the admin said is not."""
    members = lab.upstreams(3)
    for member in members[:2]:
        member.behave("error", "/health")
    with_words = [members[0], members[1], (members[2], "state=disabled")]
    httpd = lab.httpd(conf(with_words, f"GateHealthCheck GET /health {FAST}", "GatePanic 50%"))
    httpd.expect("GATE0501")
    httpd.wait_log("GATE0504", timeout=5)
    assert {get(httpd.port).member for _ in range(8)} == {"m1", "m2"}


def test_unknown_members_are_used(lab):
    members = lab.upstreams(2)
    for member in members:
        member.behave("hangs", "/health")
    httpd = lab.httpd(conf(members, "GateHealthCheck GET /health interval=10s fast=5s timeout=10s"))
    assert {get(httpd.port).member for _ in range(4)} == {"m1", "m2"}


@PROBER
def test_checks_are_not_requests(lab):
    """Pains 5 and 9: timeouts of requests have no part in checks; a check is not counted as a try."""
    members = lab.upstreams(2)
    for member in members:
        member.behave({"delay": 0.3}, "/health")
    httpd = lab.httpd(conf(members, "GateHealthCheck GET /health interval=200ms fast=200ms timeout=2s", "GateTimeout first-byte=100ms"),
                      log_level="notice gate_health:debug")
    httpd.wait_log("GATE0505: group app: member m1: check good", count=3, timeout=10)


@PROBER
def test_once_for_the_server(lab):
    """Pain 8: as many children as there may be, one check an interval."""
    member = lab.upstream("m1")
    httpd = lab.httpd(conf([member], "GateHealthCheck GET /health interval=500ms fast=500ms timeout=400ms"), children=6)
    wait_until(lambda: len(probes(member)) >= 3, 10, "checks")
    before = len(probes(member))
    time.sleep(2.0)
    assert 3 <= len(probes(member)) - before <= 5
    selfcheck(httpd)


@PROBER
def test_groups_are_checked_each_by_itself(lab):
    """Pain 12: the same server in two groups has two verdicts."""
    member, other = lab.upstreams(2)
    text = group("app", [member, other], f"GateHealthCheck GET /app {FAST}") + group("shop", [member, other], f"GateHealthCheck GET /shop {FAST}")
    httpd = lab.httpd(text + route("app", "/app/") + route("shop", "/shop/"))
    member.behave("error", "/shop")
    httpd.wait_log(r"GATE0501: group shop: member m1: down", timeout=5)
    assert {get(httpd.port, "/shop/").member for _ in range(6)} == {"m2"}
    assert {get(httpd.port, "/app/").member for _ in range(6)} == {"m1", "m2"}


# --- configuration ---------------------------------------------------------------------------

BAD = {
    "GateHealthCheck": "GateHealthCheck: says nothing",
    "GateHealthCheck get /x": "GateHealthCheck: 'get' is neither 'tcp', nor 'grpc', nor a method in capitals",
    "GateHealthCheck GET": "GateHealthCheck: 'GET' lacks the path",
    "GateHealthCheck GET health": "GateHealthCheck: 'health' is not a path",
    'GateHealthCheck GET "/a b"': "GateHealthCheck: '/a b' is not a path",
    "GateHealthCheck GET / fall=0": "GateHealthCheck: 'fall=0': '0' is not a whole number from 1 to 100 (failed checks in a row before a member is taken out)",
    "GateHealthCheck GET / rise=3x": "GateHealthCheck: 'rise=3x': '3x' is not a whole number",
    "GateHealthCheck GET / intervall=3s": "did you mean 'interval='?",
    "GateHealthCheck GET / interval=1ms": "GateHealthCheck: 'interval=1ms': '1ms' is not a duration",
    "GateHealthCheck GET / interval=1s fast=2s": "GateHealthCheck: 'fast=' is longer than 'interval='",
    "GateHealthCheck GET / status=99": "GateHealthCheck: 'status=99': '99' ",
    "GateHealthCheck GET / body=(": "GateHealthCheck: 'body=(': '(' is not a regular expression",
    "GateHealthCheck GET / host=a/b": "GateHealthCheck: 'host=a/b': 'a/b' is not a host name",
    "GateHealthCheck GET / port=0": "GateHealthCheck: 'port=0': '0' is not a whole number from 1 to 65535",
    "GateHealthCheck GET / header=x": "GateHealthCheck: 'header=x': 'x' is not a header",
    'GateHealthCheck GET / header="Host: x"': "is said by host=",
    "GateHealthCheck GET / verify=/no/such/file": "GateHealthCheck: 'verify=/no/such/file': '/no/such/file' is neither 'off', nor 'system'",
    "GateHealthCheck tcp status=200": "GateHealthCheck: 'status=' means nothing to a check by tcp",
    'GateHealthCheck tcp header="A: b"': "GateHealthCheck: 'header=' means nothing to a check by tcp",
    "GateHealthCheck grpc body=x": "GateHealthCheck: 'body=' means nothing to a check by grpc",
    "GateHealthCheck GET / service=x": "GateHealthCheck: 'service=' means nothing to a check by an HTTP request",
    "GateHealthCheck tcp\nGateHealthCheck tcp": "GateHealthCheck: group 'app' has a check already",
    'GateHealthCheck GET / header="A: b': "begins with a quote that nothing ends",
    "GateHealthCheck GET / timeout=1s timeout=2s": "'timeout=2s'",
    "GateOutlier errors=0": "GateOutlier: 'errors=0': '0' is not a whole number from 1 to 100",
    "GateOutlier max-eject=50": "GateOutlier: 'max-eject=50': '50' ",
    "GateOutlier status=404": "GateOutlier: 'status=404': '404' names an answer below 500",
    "GateOutlier eject=1ms": "GateOutlier: 'eject=1ms': '1ms' is not a duration",
    "GateOutlier on": "GateOutlier: 'on' is not known here",
    "GateOutlier off\nGateOutlier off": "GateOutlier: stands twice in group 'app'",
}


@CONFIGURATION
@pytest.mark.parametrize("line", BAD)
def test_bad_configuration(lab, line):
    httpd = lab.httpd(group("app", ["http://127.0.0.1:1"], line), start=False)
    good, text = httpd.check()
    assert not good and BAD[line] in text, text


@CONFIGURATION
@pytest.mark.parametrize("line", ["GateHealthCheck tcp", "GateOutlier off"])
def test_outside_of_a_group(lab, line):
    good, text = lab.httpd(line + "\n", start=False).check()
    assert not good and f"{line.split()[0]}: belongs inside <GateUpstream NAME>" in text


@CONFIGURATION
def test_good_configuration_of_each_group(lab):
    """Every group has what its own block says, and nothing of another's."""
    first, second = lab.upstreams(2)
    third = lab.upstream("m3")
    lab.httpd(group("a", [first], f"GateHealthCheck GET /one {FAST}") + group("b", [second], f"GateHealthCheck GET /two {FAST}", "GateOutlier off")
              + group("c", [third]))
    wait_until(lambda: probes(first, "/one") and probes(second, "/two"), 5, "checks")
    assert not probes(first, "/two") and not probes(second, "/one") and third.count == 0


@CONFIGURATION
def test_protocols_that_do_not_fit(lab):
    for check in ("GET /", "grpc"):
        httpd = lab.httpd(group("app", ["fcgi://127.0.0.1:9000"], f"GateHealthCheck {check}"), start=False)
        with pytest.raises(Exception):
            httpd.start()
        assert "GATE0500: GateHealthCheck: group app: member 127.0.0.1:9000 is fcgi://127.0.0.1:9000, which cannot be asked by" in httpd.error_log()
        httpd.expect("GATE0500", "AH00020")


# --- restarts and reloads --------------------------------------------------------------------

def test_verdicts_outlive_graceful_restarts(lab):
    """Pain 24: a reload does not forget who is down."""
    members = lab.upstreams(2)
    members[0].behave("error", "/health")
    httpd = lab.httpd(conf(members, "GateHealthCheck GET /health interval=1s fast=100ms timeout=500ms rise=20"))
    httpd.wait_log(DOWN % "status 500", timeout=5)
    for _ in range(3):
        httpd.graceful()
        assert {get(httpd.port).member for _ in range(6)} == {"m2"}
    before = len(probes(members[0]))
    wait_until(lambda: len(probes(members[0])) > before + 2, 5, "checks by the new generation")
    selfcheck(httpd)


@PROBER
def test_check_that_is_no_longer_configured(lab):
    members = lab.upstreams(2)
    members[0].behave("error", "/health")
    httpd = lab.httpd(conf(members, f"GateHealthCheck GET /health {FAST}"))
    httpd.wait_log(DOWN % "status 500", timeout=5)
    httpd.write_conf(conf=conf(members))
    httpd.graceful()
    wait_until(lambda: get(httpd.port).member == "m1", 5, "m1 is used again")


def test_restarts_are_prompt_while_checks_hang(lab):
    members = lab.upstreams(2)
    for member in members:
        member.behave("hangs", "/health")
    httpd = lab.httpd(conf(members, "GateHealthCheck GET /health interval=200ms fast=100ms timeout=60s"))
    wait_until(lambda: all(m.inflight for m in members), 5, "checks that hang")
    ended = threading.Event()
    threading.Thread(target=lambda: (httpd.stop(), ended.set())).start()
    assert ended.wait(8)


def test_without_mod_watchdog_in_use(lab):
    """Groups without checks need none of it."""
    httpd = lab.httpd(conf([lab.upstream()]))
    assert get(httpd.port).status == 200


def test_modules_folder_is_ours():
    assert gatehttpd.built("gate_health")
