"""Traps that other proxies fell into, by the number they have in our list: what is not passed on, and what is left of a connection."""
import pytest

from clients import BadAnswer, Connection, curl, get, post, request
from groups import MEMBER_TROUBLE, NO_OUTLIER, group, route
from procs import wait_until

pytestmark = pytest.mark.needs("gate_upstream")


def start(lab, members, *lines, conf="", **words):
    httpd = lab.httpd(conf + group("app", members, *lines, *NO_OUTLIER) + route(), **words)
    httpd.expect(*MEMBER_TROUBLE, r"\[proxy_http:", r"\[core:error\]", "AH02430")
    return httpd


def raw(head, body="ok"):
    return {"raw": [f"HTTP/1.1 {head}\r\nContent-Length: {len(body)}\r\n\r\n{body}"]}


# --- 2, 3: what a request's text decides --------------------------------------------------------

def test_trap_2_an_escaped_slash_is_no_way_around_require(lab):
    """Whatever is forwarded as /private/.. was authorised as /private/.."""
    member = lab.upstream()
    httpd = start(lab, [member], conf='<Location "/private">\nRequire all denied\n</Location>\n')
    httpd.expect("AH01630", "AH00026")
    for path in ("/private/a", "/%70rivate/a", "/x/../private/a", "/x/%2e%2e/private/a", "//private/a", "/x%2f..%2fprivate/a"):
        assert get(httpd.port, path).status in (400, 403, 404), path
    assert member.count == 0
    assert get(httpd.port, "/public").status == 200


@pytest.mark.parametrize("words", ['ProxyPassMatch "^/(.*)$" "gate://app/$1"',
                                   'RewriteEngine on\nRewriteRule "^/(.*)$" "gate://app/$1" [P,NE]'])
def test_trap_3_a_request_names_no_member(lab, words):
    """Schemes, authorities and sockets in a path are bytes of the path."""
    member, other = lab.upstream("m1"), lab.upstream("m2")
    httpd = lab.httpd(group("app", [member], *NO_OUTLIER) + words + "\n")
    httpd.expect(*MEMBER_TROUBLE, r"\[core:error\]")
    for path in (f"/@{other.authority}/", f"/unix:/tmp/x|{other.url}/", f"/{other.url}/", f"//{other.authority}/",
                 f"/?unix:/tmp/x|{other.url}/"):
        get(httpd.port, path)
    with Connection(httpd.port) as c:
        c.request(f"{other.url}/absolute", host="app")
    assert (other.count, other.connections) == (0, 0)
    assert member.count > 0


# --- 4: response splitting from a member ------------------------------------------------------

@pytest.mark.parametrize("head", ["200 OK\r\nX-A: b\x01c", "200 OK\r\nX-A: b\rX-Evil: yes", "200 OK\r\nX A: b", "200 OK\r\n: b",
                                  "200 O\x02K", "200 OK\r\nX-\x7f: b"])
def test_trap_4_bad_heads_are_not_passed_on(lab, head):
    member = lab.upstream().behave(raw(head))
    httpd = start(lab, [member])
    answer = get(httpd.port)
    assert answer.status == 502, answer
    assert answer.header("X-Evil") is None
    assert answer.header("Proxy-Status").startswith("gatehouse; error=http_protocol_error")


def test_trap_4_no_status_line_behind_an_interim_answer(lab):
    """What mod_proxy_http takes for HTTP/0.9: its note still has the interim answer's status then."""
    member = lab.upstream().behave({"raw": ["HTTP/1.1 102 Processing\r\n\r\nHTTP/1.1 2x0 OK\r\nX-Evil: yes\r\n\r\nok"]})
    httpd = start(lab, [member])
    answer = get(httpd.port)
    assert (answer.status, b"Evil" in answer.body) == (502, False), answer


def test_trap_4_another_member_answers(lab):
    bad, good = lab.upstream("m1").behave(raw("200 OK\r\nX-A: b\x01c")), lab.upstream("m2")
    httpd = start(lab, [bad, (good, "backup")])
    assert get(httpd.port).member == "m2"


def test_trap_4_odd_but_legal_heads_pass(lab):
    member = lab.upstream().behave(raw("299 Something  odd\r\nX-A: \tb\tc \r\nX-Latin: caf\xe9\r\nX-Empty:"))
    httpd = start(lab, [member])
    answer = get(httpd.port)
    assert (answer.status, answer.header("X-A"), answer.header("X-Empty"), answer.body) == (299, "b\tc", "", b"ok")


# --- 5, 11: what is left on the client's connection -------------------------------------------

@pytest.mark.parametrize("what", ["closes", "resets"])
@pytest.mark.parametrize("at", ["head", "body"])
def test_trap_5_a_body_nobody_read_is_no_request(lab, what, at):
    member = lab.upstream()
    member.behave(what, path="/in", at=at)
    httpd = start(lab, [member])
    evil = b"GET /evil HTTP/1.1\r\nHost: x\r\n\r\n" * 4000
    with Connection(httpd.port) as c:
        try:
            answer = c.request("/in", method="POST", body=evil)
            assert answer.status == 502
            if (answer.header("Connection") or "").lower() != "close":
                assert c.request("/next").status == 200
        except OSError:
            pass  # the connection was closed, which is as good
    assert "/evil" not in [r["target"] for r in member.requests()]
    assert "/evil" not in [line["uri"] for line in httpd.access()]


def test_trap_11_an_early_answer_while_the_client_sends(lab):
    member = lab.upstream().behave({"status": 413, "body": "too much", "close": True, "at": "head", "read_delay": 0})
    httpd = start(lab, [member])
    assert post(httpd.port, "/", body=b"x" * 2000000).status in (413, 502)
    assert get(httpd.port, "/x").status in (413, 200)


# --- 7: upgrades ------------------------------------------------------------------------------

@pytest.mark.parametrize("head", ["101 Switching Protocols", "101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade"])
def test_trap_7_an_upgrade_nobody_asked_for(lab, head):
    member = lab.upstream().behave({"raw": [f"HTTP/1.1 {head}\r\n\r\nGET / HTTP/1.1\r\n\r\n"]})
    httpd = start(lab, [member])
    with Connection(httpd.port) as c:
        assert c.request("/").status == 502


def test_trap_7_an_upgrade_that_is_refused(lab):
    member = lab.upstream().behave({"status": 403, "body": "no"})
    httpd = start(lab, [member])
    member.behave({"raw": ["HTTP/1.1 403 Forbidden\r\nContent-Length: 2\r\n\r\nno"]})
    with Connection(httpd.port) as c:
        answer = c.request("/", headers={"Connection": "Upgrade", "Upgrade": "websocket", "Sec-WebSocket-Version": "13",
                                         "Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ=="})
        assert (answer.status, answer.body) == (403, b"no")


# --- 8: framing -------------------------------------------------------------------------------

def test_trap_8_both_lengths_from_a_member(lab):
    member = lab.upstream()
    member.behave({"raw": ["HTTP/1.1 200 OK\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n"]})
    httpd = start(lab, [member])
    with Connection(httpd.port) as c:
        answer = c.request("/")
        assert answer.status == 502 or (answer.body == b"hello" and answer.header("Content-Length") != "3")


@pytest.mark.parametrize("second", [3, 4])
def test_trap_8_two_lengths_from_a_member(lab, second):
    """mod_proxy_http would read the first and hand on both."""
    member = lab.upstream()
    member.behave({"raw": [f"HTTP/1.1 200 OK\r\nContent-Length: 3\r\nContent-Length: {second}\r\n\r\nok\n"]})
    httpd = start(lab, [member])
    assert get(httpd.port).status == 502


@pytest.mark.parametrize("lines", ["Content-Length: 5\r\nTransfer-Encoding: chunked", "Content-Length: 5\r\nContent-Length: 6",
                                   "Transfer-Encoding: gzip, chunked", "Transfer-Encoding: chunked, identity"])
def test_trap_8_odd_lengths_from_a_client(lab, lines):
    member = lab.upstream()
    httpd = start(lab, [member])
    with Connection(httpd.port) as c:
        c.send(f"POST / HTTP/1.1\r\nHost: x\r\n{lines}\r\n\r\n0\r\n\r\nGET /evil HTTP/1.1\r\nHost: x\r\n\r\n")
        c.recv_all()
    for seen in member.requests():
        heads = [n.lower() for n, _ in seen["headers"]]
        assert heads.count("content-length") + heads.count("transfer-encoding") <= 1, seen


# --- 9: one Host ------------------------------------------------------------------------------

def test_trap_9_host_and_cookies_over_h2(lab):
    member = lab.upstream()
    httpd = start(lab, [member], conf="ProxyPreserveHost on\nProtocols h2c http/1.1\n")
    code, answer, said = curl("--http2-prior-knowledge", "-H", "Cookie: a=1", "-H", "Cookie: b=2", httpd.url + "/")
    assert (code, answer.status) == (0, 200), said
    headers = member.requests()[0]["headers"]
    assert [v for n, v in headers if n.lower() == "host"] == [f"127.0.0.1:{httpd.port}"]
    assert len([v for n, v in headers if n.lower() == "cookie"]) == 1


def test_trap_31_nothing_is_left_in_flight(lab):
    """With connections=1 a single count that leaks would shut the member for ever."""
    member = lab.upstream()
    httpd = start(lab, [(member, "connections=1")], "GateTimeout first-byte=300ms")
    for what in ("closes", "resets", "garbage", "short-body", "hangs", "unavailable", "bad-status"):
        member.script(what)
        try:
            get(httpd.port)
        except (OSError, BadAnswer):  # a cut answer is what some of these are
            pass
        assert get(httpd.port).status == 200, what
    member.script("slow")
    with Connection(httpd.port) as c:
        c.send("GET / HTTP/1.1\r\nHost: x\r\n\r\n")
        c.reset()
    wait_until(lambda: request(httpd.port, "/").status == 200, 5)
