"""Tries on other members: what is tried again, what is not, and what the client gets in the end."""
import socket
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from clients import BadAnswer, Connection, Crowd, get, post, request
from groups import MEMBER_TROUBLE, NO_OUTLIER, group, route
from procs import wait_until
from upstreams import Host

pytestmark = pytest.mark.needs("gate_upstream")

SLOW_SECONDS = 2.5
NGINX_LIKE = "GateRetry attempts=3 on=connect,timeout,reset,502,503,504"


def start(lab, members, *lines, conf="", **words):
    httpd = lab.httpd(conf + group("app", members, *lines) + route(), **words)
    httpd.expect(*MEMBER_TROUBLE)
    return httpd


# --- what is tried again ---------------------------------------------------------------------

@pytest.mark.parametrize("method", ["GET", "HEAD", "POST", "PUT", "DELETE"])
def test_connect_failure_goes_on_with_any_method(lab, method):
    httpd = start(lab, [lab.refusing(), lab.upstream("m2")])
    body = b"x" * 5000 if method in ("POST", "PUT") else None
    for _ in range(4):
        answer = request(httpd.port, "/", method=method, body=body)
        assert (answer.status, answer.header("X-Member")) == (200, "m2")
        if body:
            assert answer.json()["body_length"] == 5000
    assert sorted(line["tries"] for line in httpd.access(4)) == ["1", "1", "2", "2"]


@pytest.mark.parametrize("size", [10, 15000, 60000, 500000])
@pytest.mark.parametrize("chunked", [False, True])
def test_body_goes_whole_to_the_next_member(lab, size, chunked):
    """Trap 20."""
    good = lab.upstream("m2")
    httpd = start(lab, [lab.refusing(), (good, "backup")], "GateRetry attempts=2")
    body = bytes(i * 13 % 251 for i in range(size))
    with Connection(httpd.port) as c:
        if chunked:
            c.send("POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n")
            for at in range(0, size, 9000):
                part = body[at:at + 9000]
                c.send(f"{len(part):x}\r\n".encode() + part + b"\r\n")
            c.send(b"0\r\n\r\n")
            answer = c.read("POST")
        else:
            answer = c.request("/", method="POST", body=body)
    import hashlib
    assert answer.status == 200, answer
    assert good.requests()[0]["body_sha256"] == hashlib.sha256(body).hexdigest()


@pytest.mark.parametrize("what", ["closes", "resets", "garbage", "unavailable"])
def test_get_goes_on(lab, what):
    bad, good = lab.upstream("m1").behave(what), lab.upstream("m2")
    httpd = start(lab, [bad, good])
    for _ in range(4):
        assert get(httpd.port).member == "m2"
    assert bad.count == 2


def test_keepalive_client_sees_no_reset(lab):
    """mod_proxy_http answers a reset by closing a kept-alive client connection; behind a group it is tried again."""
    bad, good = lab.upstream("m1").behave("resets"), lab.upstream("m2")
    httpd = start(lab, [bad, good])
    with Connection(httpd.port) as c:
        assert [c.request("/").member for _ in range(6)] == ["m2"] * 6


def test_keepalive_client_gets_502(lab):
    bad = lab.upstream("m1").behave("closes")
    httpd = start(lab, [bad])
    with Connection(httpd.port) as c:
        answers = [c.request("/") for _ in range(3)]
    assert [a.status for a in answers] == [502] * 3
    assert all(a.header("Proxy-Status").startswith("gatehouse; error=connection_terminated") for a in answers)


@pytest.mark.parametrize("what", ["closes", "resets", "hangs"])
def test_post_is_not_sent_twice(lab, what):
    """Trap 19: what may have been done must not be done again."""
    bad, good = lab.upstream("m1").behave(what), lab.upstream("m2")
    httpd = start(lab, [bad, (good, "backup")], "GateTimeout first-byte=300ms")
    answer = post(httpd.port, "/", body=b"pay")
    assert answer.status == (504 if what == "hangs" else 502)
    assert (bad.count, good.count) == (1, 0)
    assert httpd.access(1)[0]["tries"] == "1"


def test_post_of_a_member_that_dies_is_not_sent_twice(lab):
    bad, good = lab.upstream("m1").behave("dies"), lab.upstream("m2")
    httpd = start(lab, [bad, (good, "backup")])
    assert post(httpd.port, "/", body=b"x" * 100).status == 502
    assert (bad.count, good.count) == (1, 0)
    wait_until(lambda: not bad.process.alive(), 5, "m1 is gone")
    assert post(httpd.port, "/", body=b"x" * 100).member == "m2"


def test_non_idempotent(lab):
    bad, good = lab.upstream("m1").behave("closes"), lab.upstream("m2")
    httpd = start(lab, [bad, (good, "backup")], "GateRetry non-idempotent")
    answer = post(httpd.port, "/", body=b"x" * 40000)
    assert (answer.status, answer.json()["body_length"]) == (200, 40000)


def test_non_idempotent_with_a_body_too_large_to_keep(lab):
    """Trap 20: what was not kept whole is not sent again, and the log says so."""
    bad, good = lab.upstream("m1").behave("closes"), lab.upstream("m2")
    httpd = start(lab, [bad, (good, "backup")], "GateRetry non-idempotent")
    assert post(httpd.port, "/", body=b"x" * 400000).status == 502
    assert "the request body was not kept whole" in httpd.error_log()
    assert good.count == 0


def test_timeout_goes_on(lab):
    slow, good = lab.upstream("m1").behave("hangs"), lab.upstream("m2")
    httpd = start(lab, [slow, (good, "backup")], "GateTimeout first-byte=200ms")
    begun = time.monotonic()
    assert get(httpd.port).member == "m2"
    assert time.monotonic() - begun < 2


def test_try_timeout(lab):
    slow, good = lab.upstream("m1").behave("slow", delay=5), lab.upstream("m2")
    httpd = start(lab, [slow, (good, "backup")], "GateRetry try-timeout=200ms")
    begun = time.monotonic()
    assert get(httpd.port).member == "m2"
    assert time.monotonic() - begun < 3


def test_try_timeout_does_not_cut_an_answer(lab):
    member = lab.upstream().behave("drip")
    httpd = start(lab, [member], "GateRetry try-timeout=300ms")
    assert len(get(httpd.port).body) == 2000


def test_total(lab):
    members = [lab.upstream(f"m{n}").behave("hangs") for n in range(4)]
    httpd = start(lab, members, "GateTimeout first-byte=300ms total=700ms", "GateRetry attempts=9")
    begun = time.monotonic()
    answer = get(httpd.port)
    assert answer.status == 504
    assert 0.6 < time.monotonic() - begun < 3
    assert 2 <= sum(m.count for m in members) <= 3
    assert answer.header("Proxy-Status").startswith("gatehouse; error=http_response_timeout")


def test_total_cuts_an_answer(lab):
    member = lab.upstream().behave("drip", size=2000, pieces=20, piece_delay=0.1)
    httpd = start(lab, [member], "GateTimeout total=500ms")
    with pytest.raises((BadAnswer, ConnectionError)):
        get(httpd.port)


def test_idle_cuts_an_answer(lab):
    member = lab.upstream().behave("drip", size=2000, pieces=4, piece_delay=1)
    httpd = start(lab, [member], "GateTimeout idle=300ms")
    with pytest.raises((BadAnswer, ConnectionError)):
        get(httpd.port)


def test_slow_member_within_first_byte(lab):
    member = lab.upstream().behave("slow", delay=0.8)
    httpd = start(lab, [member], "GateTimeout first-byte=5s idle=200ms")
    assert get(httpd.port).status == 200


@pytest.mark.parametrize("attempts, expected", [(1, 503), (2, 503), (3, 200)])
def test_attempts(lab, attempts, expected):
    members = [lab.refusing(), lab.refusing(), lab.upstream("m3")]
    members = [members[0], members[1], (members[2], "backup")]
    httpd = start(lab, members, f"GateRetry attempts={attempts}")
    assert get(httpd.port).status == expected
    assert httpd.access(1)[0]["tries"] == str(min(attempts, 3))


def test_listed_statuses(lab):
    bad, good = lab.upstream("m1").behave("unavailable"), lab.upstream("m2")
    httpd = start(lab, [bad, (good, "backup")], "GateRetry on=connect,502")
    assert get(httpd.port).status == 503
    bad.behave({"status": 502, "body": "nope"})
    assert get(httpd.port).member == "m2"


def test_last_answer_is_passed_on(lab):
    members = [lab.upstream(f"m{n}").behave("unavailable") for n in (1, 2)]
    httpd = start(lab, members)
    answer = get(httpd.port)
    assert (answer.status, answer.body, answer.header("Proxy-Status")) == (503, b"later\n", None)
    assert httpd.access(1)[0]["tries"] == "2"
    assert [m.count for m in members] == [1, 1]


def test_post_with_listed_status_is_passed_on(lab):
    bad, good = lab.upstream("m1").behave("unavailable"), lab.upstream("m2")
    httpd = start(lab, [bad, (good, "backup")])
    assert post(httpd.port, "/", body=b"x").body == b"later\n"
    assert good.count == 0


def test_large_unwanted_answer(lab):
    bad = lab.upstream("m1").behave({"status": 503, "size": 3000000})
    httpd = start(lab, [bad, (lab.upstream("m2"), "backup")])
    assert [get(httpd.port).member for _ in range(3)] == ["m2"] * 3


def test_headers_of_a_failed_try_are_gone(lab):
    bad = lab.upstream("m1").behave({"status": 503, "headers": [["X-Secret", "m1"], ["Set-Cookie", "a=b"]], "body": "x"})
    httpd = start(lab, [bad, (lab.upstream("m2"), "backup")])
    answer = get(httpd.port)
    assert (answer.member, answer.header("X-Secret"), answer.header("Set-Cookie")) == ("m2", None, None)


def test_budget(lab):
    """Trap 21: all answers are 503 and all clients are at it: without a budget every request would be sent twice."""
    members = [lab.upstream(f"m{n}").behave("unavailable", delay=0.05) for n in (1, 2)]
    httpd = start(lab, members, "GateRetry budget=0%", threads=32)
    with Crowd(httpd.port, clients=32) as crowd:
        wait_until(lambda: sum(m.count for m in members) > 600, 20, "enough requests")
    done = len(httpd.access())
    assert sum(m.count for m in members) < done * 1.35
    assert crowd is not None


def test_stale_connections_are_replaced(lab):
    """A member that closes its connections after each answer without saying so."""
    member = lab.upstream().behave("quiet-close")
    httpd = start(lab, [member], children=1)
    with Connection(httpd.port) as c:
        answers = [c.request("/") for _ in range(60)]
    assert [a.status for a in answers] == [200] * 60
    assert {line["tries"] for line in httpd.access(60)} == {"1"}


def test_member_restarts_between_requests(lab):
    member = lab.upstream()
    httpd = start(lab, [member], children=1)
    for _ in range(3):
        assert get(httpd.port).status == 200
        member.stop()
        member.start()
    assert get(httpd.port).status == 200


@pytest.mark.parametrize("proto", ["ajp", "scgi", "uwsgi"])
@pytest.mark.parametrize("what", ["closes", "resets"])
def test_cgi_like_members_fail_over(lab, proto, what):
    bad, good = lab.upstream("m1", proto=proto).behave(what), lab.upstream("m2", proto=proto)
    httpd = start(lab, [bad, (good, "backup")])
    assert get(httpd.port).json()["member"] == "m2"
    assert post(httpd.port, "/", body=b"x").status == 502
    assert (bad.count, good.count) == (2, 1)


@pytest.mark.parametrize("scheme", ["ajp", "fcgi", "scgi", "uwsgi", "h2c", "ws"])
def test_connect_failure_of_every_kind(lab, scheme):
    refusing = lab.refusing()
    good = lab.upstream("m2")
    httpd = start(lab, [refusing.url.replace("http:", scheme + ":"), (good, "backup")])
    answer = post(httpd.port, "/", body=b"x" * 1000)
    assert (answer.status, answer.json()["body_length"]) == (200, 1000)
    assert good.count == 1


def test_fcgi_fails_over(lab):
    php1, php2 = lab.php("php1"), lab.php("php2")
    httpd = lab.httpd(group("php", [php1, (php2, "backup")]) + f'ProxyPass "/" "gate://php{php2.root}/"\n')
    httpd.expect(*MEMBER_TROUBLE)
    php1.stop()
    answer = post(httpd.port, "/index.php", body=b"x" * 30000)
    assert (answer.status, answer.json()["member"], answer.json()["body_length"]) == (200, "php2", 30000)


def test_tls_handshake_failure_is_a_connect_failure(lab):
    plain, good = lab.upstream("m1"), lab.upstream("m2")
    httpd = start(lab, ["https://" + plain.authority, (good, "backup")], conf="SSLProxyEngine on\n")
    assert post(httpd.port, "/", body=b"x").member == "m2"
    assert httpd.access(1)[0]["tries"] == "2"


def test_h2_member_fails_over(lab):
    bad, good = lab.nginx("n1", h2=True), lab.nginx("n2", h2=True)
    httpd = start(lab, [bad, (good, "backup")])
    assert get(httpd.port).header("X-Member") == "n1"
    bad.kill9()
    assert [get(httpd.port).header("X-Member") for _ in range(4)] == ["n2"] * 4


def test_expect_continue_and_a_second_member(lab):
    good = lab.upstream("m2")
    httpd = start(lab, [lab.refusing(), (good, "backup")])
    with Connection(httpd.port) as c:
        c.send("POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\nExpect: 100-continue\r\n\r\n")
        assert c.read_head()[0] == 100
        c.send("hello")
        assert c.read("POST").json()["body_length"] == 5
    assert good.count == 1


@pytest.mark.parametrize("h2", [False, True])
def test_tries_over_tls(lab, h2):
    from clients import curl
    bad, closes, good = lab.refusing(), lab.upstream("m1").behave("closes"), lab.upstream("m2")
    httpd = lab.httpd(group("app", [bad, (closes, "backup")], *NO_OUTLIER) + group("b", [closes, (good, "backup")], *NO_OUTLIER),
                      vhost=route("app", "/a/") + route("b", "/b/"), tls=True, h2=True)
    httpd.expect(*MEMBER_TROUBLE)
    words = ["--http2" if h2 else "--http1.1"]
    for _ in range(3):
        code, answer, said = curl(*words, httpd.tls_url + "/b/")
        assert (code, answer.status, answer.header("X-Member")) == (0, 200, "m2"), said
        code, answer, said = curl(*words, httpd.tls_url + "/a/")
        assert (code, answer.status) == (0, 502) and answer.header("Proxy-Status"), said
        code, answer, said = curl(*words, "-d", "x" * 50000, httpd.tls_url + "/b/")
        assert (code, answer.status) == (0, 502), said


def test_killed_member_over_h2(lab):
    from clients import h2load
    import threading
    members = lab.upstreams(3)
    httpd = lab.httpd(group("app", members), vhost=route(), tls=True, h2=True, threads=32)
    httpd.expect(*MEMBER_TROUBLE)
    loads = []
    thread = threading.Thread(target=lambda: loads.append(h2load(httpd.tls_url + "/", requests=4000, connections=4, streams=8)))
    thread.start()
    wait_until(lambda: sum(m.count for m in members) > 800, 20)
    members[0].kill9()
    thread.join()
    assert (loads[0].errors, loads[0].bad) == (0, 0), loads[0].text


@pytest.mark.parametrize("scheme", ["http", "h2c", "https", "h2"])
def test_stopped_member_times_out(lab, scheme):
    """SIGSTOP: the kernel accepts and acknowledges, nobody answers, on new and on kept connections."""
    tls, h2 = scheme in ("https", "h2"), scheme.startswith("h2")
    stopped, good = lab.nginx("n1", tls=tls, h2=h2), lab.nginx("n2", tls=tls, h2=h2)
    httpd = start(lab, [stopped, (good, "backup")], "GateTimeout first-byte=400ms connect=400ms",
                  conf="SSLProxyEngine on\nSSLProxyCheckPeerName off\n", children=1)
    assert get(httpd.port).header("X-Member") == "n1"
    stopped.pause()
    for _ in range(3):
        begun = time.monotonic()
        assert get(httpd.port).header("X-Member") == "n2"
        assert time.monotonic() - begun < 3
    stopped.resume()


def test_member_that_dies_after_the_head(lab):
    bad, good = lab.upstream("m1"), lab.upstream("m2")
    bad.behave({"raw": ["HTTP/1.1 200 OK\r\nContent-Length: 500\r\nX-Member: m1\r\n\r\n", 0.2]})
    httpd = start(lab, [bad, (good, "backup")])
    for _ in range(3):
        assert get(httpd.port).member == "m2"
    assert bad.count == 3


# --- an answer that is cut short --------------------------------------------------------------

@pytest.mark.parametrize("what", ["short-body", "reset-mid-body"])
@pytest.mark.parametrize("chunked", [False, True])
def test_cut_answers_end_as_cut(lab, what, chunked):
    bad, good = lab.upstream("m1").behave(what, chunked=chunked), lab.upstream("m2")
    httpd = start(lab, [bad, (good, "backup")])
    with pytest.raises((BadAnswer, ConnectionError)):
        get(httpd.port)
    assert good.count == 0
    httpd.wait_log("GATE0222")


@pytest.mark.parametrize("tls", [False, True])
@pytest.mark.parametrize("what", ["short-body", "reset-mid-body"])
def test_the_log_says_that_an_answer_was_cut(lab, what, tls):
    """200 is what the client was told; X that it did not get the whole. The next request is logged as ever."""
    member = lab.upstream("m1").script(what, "ok")
    log = 'LogFormat "%X %>s %B" cut\nCustomLog logs/cut.log cut\n'
    httpd = lab.httpd(log + group("app", [member], *NO_OUTLIER) + route(), vhost="CustomLog logs/cut.log cut\n" + route(), tls=True)
    httpd.expect(*MEMBER_TROUBLE)
    port = httpd.tls_port if tls else httpd.port

    def lines(count):
        wait_until(lambda: httpd.read_file("logs/cut.log").count("\n") >= count, 10, f"{count} lines in the log")
        return [line.split() for line in httpd.read_file("logs/cut.log").splitlines()]
    with pytest.raises((BadAnswer, ConnectionError)):
        get(port, tls=tls)
    state, status, size = lines(1)[0]
    assert (state, status) == ("X", "200") and 0 < int(size) < 400000
    whole = get(port, tls=tls)
    state, status, size = lines(2)[1]
    assert state != "X" and status == "200" and int(size) == len(whole.body)


@pytest.mark.parametrize("proto", ["ajp", "uwsgi"])
def test_cut_answers_of_cgi_like_members(lab, proto):
    bad = lab.upstream("m1", proto=proto).behave("short-body")
    httpd = start(lab, [bad])
    with pytest.raises((BadAnswer, ConnectionError)):
        get(httpd.port)


def test_cut_answer_over_h2(lab):
    from clients import curl
    bad = lab.upstream("m1").behave("short-body")
    httpd = start(lab, [bad], conf="Protocols h2c http/1.1\n")
    code, _, said = curl("--http2-prior-knowledge", httpd.url + "/")
    assert code != 0, said


# --- no answer at all ------------------------------------------------------------------------

def test_nobody_there(lab):
    httpd = start(lab, [lab.refusing(), lab.refusing()])
    answer = get(httpd.port)
    assert answer.status == 503
    assert answer.header("Proxy-Status").startswith('gatehouse; error=connection_refused; details="group app: ')
    assert int(answer.header("Retry-After")) > 0
    assert "127.0.0.1" not in answer.text and "127.0.0.1" not in answer.header("Proxy-Status")
    httpd.wait_log(r"GATE0226: group app: .*connection refused; .*connection refused.*: the client gets 503")


def test_all_disabled(lab):
    member = lab.upstream()
    httpd = start(lab, [(member, "state=disabled")])
    answer = get(httpd.port)
    assert (answer.status, member.count) == (503, 0)
    assert "error=destination_unavailable" in answer.header("Proxy-Status")
    httpd.wait_log("GATE0225: group app: no member is usable")
    assert httpd.access(1)[0]["tries"] == "0"


def test_error_document(lab):
    httpd = start(lab, [lab.refusing()], conf='ErrorDocument 503 /sorry.html\nProxyPass "/sorry.html" "!"\n')
    httpd.write_file("htdocs/sorry.html", "We are sorry\n")
    answer = get(httpd.port, "/x")
    assert (answer.status, answer.body) == (503, b"We are sorry\n")
    assert answer.header("Proxy-Status").startswith("gatehouse; error=")
    line = httpd.access(1)[0]
    assert (line["status"], line["group"], line["tries"]) == (503, "app", "1")


def test_error_override(lab):
    member = lab.upstream().behave("error")
    conf = 'ErrorDocument 500 /sorry.html\nProxyPass "/sorry.html" "!"\nProxyErrorOverride on\n'
    httpd = start(lab, [member], conf=conf)
    httpd.write_file("htdocs/sorry.html", "We are sorry\n")
    answers = [get(httpd.port, "/x") for _ in range(3)]
    assert [(a.status, a.body) for a in answers] == [(500, b"We are sorry\n")] * 3


@pytest.mark.parametrize("proto", ["http", "ajp", "scgi", "uwsgi"])
def test_error_override_after_a_second_try(lab, proto):
    members = [lab.upstream(f"m{n}", proto=proto).behave("unavailable") for n in (1, 2)]
    conf = 'ErrorDocument 503 /sorry.html\nProxyPass "/sorry.html" "!"\nProxyErrorOverride on\n'
    httpd = start(lab, members, conf=conf)
    httpd.write_file("htdocs/sorry.html", "We are sorry\n")
    answer = get(httpd.port, "/x")
    assert (answer.status, answer.body) == (503, b"We are sorry\n")
    assert [m.count for m in members] == [1, 1]


def test_error_document_from_the_group(lab):
    member = lab.upstream().behave({"status": 200, "body": "sorry from the group"}, path="/errors/404.html")
    httpd = start(lab, [member], conf='ErrorDocument 404 /errors/404.html\nProxyPass "/here" "!"\nProxyErrorOverride on\n')
    answer = get(httpd.port, "/here/nothing")
    assert (answer.status, answer.body) == (404, b"sorry from the group")


# --- clients that leave ----------------------------------------------------------------------

def test_client_that_leaves_ends_the_tries(lab):
    slow, other = lab.upstream("m1").behave("slow", delay=0.6), lab.upstream("m2")
    httpd = start(lab, [slow, (other, "backup")])
    with Connection(httpd.port) as c:
        c.send("GET / HTTP/1.1\r\nHost: x\r\n\r\n")
        wait_until(lambda: slow.count == 1, 5)
        c.reset()
    httpd.access(1)
    assert other.count == 0
    assert get(httpd.port).status == 200


def test_client_that_breaks_off_its_body(lab):
    member = lab.upstream()
    httpd = start(lab, [member, lab.upstream("m2")])
    with Connection(httpd.port) as c:
        c.send("POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 500000\r\n\r\n" + "x" * 100000)
    line = httpd.access(1)[0]
    assert line["tries"] == "1" and line["status"] >= 400
    assert get(httpd.port).status == 200


def test_bad_chunks_are_the_clients_fault(lab):
    member = lab.upstream()
    httpd = start(lab, [member])
    with Connection(httpd.port) as c:
        c.send("POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\nhello\r\n")
        assert c.read("POST").status == 400
    assert get(httpd.port).status == 200


# --- under load ------------------------------------------------------------------------------

def test_member_killed_under_keepalive_clients(lab):
    members = lab.upstreams(3)
    httpd = start(lab, members, threads=40)
    with Crowd(httpd.port, clients=64) as crowd:
        crowd.wait(1500)
        members[0].kill9()
        crowd.wait(4000)
    assert crowd.failures == [] and crowd.members["m2"] > 500, crowd.failures[:5]


def test_silent_port_under_keepalive_clients(lab):
    members = [lab.silent(), lab.upstream("m2"), lab.upstream("m3")]
    httpd = start(lab, members, "GateTimeout connect=200ms", threads=40)
    with Crowd(httpd.port, clients=32) as crowd:
        crowd.wait(300)
    assert crowd.failures == [], crowd.failures[:5]


def upload(port, path, body):
    answer = post(port, path, body, timeout=30)
    return answer.status, answer.json()["body_length"] if answer.status == 200 else answer.body[:200]


def tunnel(port, listener, size):
    """How many bytes come out of a tunnel whose other end does not read for a while."""
    with Connection(port, timeout=30).sock as client:
        client.sendall(b"GET /tunnel/ HTTP/1.1\r\nHost: x\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n")
        member = listener.accept()[0]
        with member:
            member.settimeout(30)
            member.recv(65536)
            member.sendall(b"HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n")
            assert client.recv(100).startswith(b"HTTP/1.1 101")
            sender = threading.Thread(target=lambda: (client.sendall(bytes(size)), client.shutdown(socket.SHUT_WR)))
            sender.start()
            time.sleep(SLOW_SECONDS)
            got = 0
            while got < size and (part := member.recv(1 << 20)):
                got += len(part)
            sender.join(30)
    return got


def test_member_that_is_slow_to_take_what_it_is_sent(lab):
    """Its window is shut for longer than a silent machine is waited for: but its system answers, so it is not silent."""
    size = 12_000_000
    slow = {"read_delay": SLOW_SECONDS}
    web, cgi = lab.upstream("m1").behave(slow), lab.upstream("m2", proto="scgi").behave(slow)
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.settimeout(30)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 65536)
        timeout = "GateTimeout connect=1s idle=20s"
        members = [("web", web), ("cgi", cgi), ("tunnel", f"http://127.0.0.1:{listener.getsockname()[1]}")]
        httpd = lab.httpd("".join(group(name, [member], timeout) + route(name, f"/{name}/") for name, member in members))
        with ThreadPoolExecutor() as pool:
            results = [pool.submit(upload, httpd.port, "/web/", bytes(size)), pool.submit(upload, httpd.port, "/cgi/", bytes(size)),
                       pool.submit(tunnel, httpd.port, listener, size)]
            assert [result.result() for result in results] == [(200, size), (200, size), size]


@pytest.mark.skipif(not Host.possible(), reason="no network namespaces here")
def test_machine_falls_silent_under_keepalive_clients(lab):
    host = lab.host()
    members = [lab.on_host(host, "m1"), lab.upstream("m2"), lab.upstream("m3")]
    httpd = start(lab, members, "GateTimeout connect=1s", threads=40)
    # leaving it, each client gets the answer to what it has asked: who was waiting for the machine that fell silent too
    with Crowd(httpd.port, clients=64, pause=0.005) as crowd:
        crowd.wait(1500)
        host.silence()
        crowd.wait(1900, timeout=60)
    assert crowd.failures == [], crowd.failures[:5]
    assert crowd.members["m1"] > 100
