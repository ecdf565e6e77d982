"""Cache and limits on the express plane: what is served there, what is handed over, and that nobody can tell by the answer."""
import gzip
import os
import signal
import socket
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

import clients
from clients import Connection, get, post, request
from groups import NO_OUTLIER, group, route
from procs import wait_until

pytestmark = [pytest.mark.needs("gate_engine"), pytest.mark.needs("gate_cache"), pytest.mark.needs("gate_access"),
              pytest.mark.plane("classic")]  # the planes are chosen here

BODY = "0123456789abcdef" * 64


def serve(lab, member, conf, plane="express", **words):
    text = "GateCacheSize 16M\nGateCacheMaxObject 2M\n" + group("app", [member], *NO_OUTLIER) + conf + route("app")
    return lab.httpd(text, plane=plane, **words)


def both(lab, member, conf, **words):
    return [serve(lab, member, conf, plane, **words) for plane in ("classic", "express")]


CACHE = '<Location "/">\nGateCache on\n{}\n</Location>\n'


def plain(answer):
    """Status, headers and body, but for what tells the time or the connection."""
    varying = ("Date", "Age", "X-Connection")
    return (answer.status, [(k, v) for k, v in answer.headers if k not in varying and k != "Cache-Status"],
            [v.split("; ttl=")[0] for v in answer.all("Cache-Status")], answer.body)


def planes(httpd, count):
    return [line["plane"] for line in httpd.access(count)]


def test_a_hit_is_express_and_looks_the_same(lab):
    member = lab.upstream()
    member.behave({"headers": [["Cache-Control", "max-age=60"], ["ETag", '"v"'], ["Last-Modified", "Tue, 14 Nov 2023 22:13:20 GMT"],
                               ["Vary", "Origin, Accept-Encoding"], ["Vary", "origin"], ["Content-Type", "text/css"]], "body": BODY})
    asked = [{}, {}, {"If-None-Match": '"v"'}, {"If-None-Match": '"w"'}, {"If-Modified-Since": "Tue, 14 Nov 2023 22:13:20 GMT"},
             {"Cache-Control": "max-age=30"}, {"Connection": "keep-alive"}, {"Connection": "close"}]
    seen = []
    for httpd in both(lab, member, CACHE.format("")):
        answers = [get(httpd, "/a?b=c", headers=headers) for headers in asked]
        answers += [request(httpd, "/a?b=c", "HEAD"), request(httpd, "/a?b=c", version="HTTP/1.0")]
        seen.append([plain(answer) for answer in answers])
        lines = httpd.access(len(answers))
        # a line is written when its answer has gone out: the next one may be quicker
        assert sorted(line["cache"] for line in lines) == ["hit"] * 9 + ["miss"]
        assert sorted(line["bytes"] for line in lines) == [0] * 3 + [1024] * 7
        if httpd.planes().get("express"):
            assert planes(httpd, len(answers)) == ["express"] * 10
    assert seen[0] == seen[1]


def test_header_lines_and_filters_work_on_hits(lab):
    member = lab.upstream()
    member.behave({"headers": [["Cache-Control", "max-age=60"], ["Content-Type", "text/plain"]], "body": BODY})
    conf = CACHE.format('Header set X-Set here\nHeader append Vary X-Own\nHeader always set X-Always there\n'
                        'Header set X-Word "%{GATE_CACHE}e"\nAddOutputFilterByType DEFLATE text/plain')
    seen = []
    for httpd in both(lab, member, conf):
        answers = [get(httpd, "/a", headers=headers) for headers in ({}, {}, {"Accept-Encoding": "gzip"}, {"Accept-Encoding": "gzip"})]
        assert answers[1].header("X-Word") == "hit" and gzip.decompress(answers[3].body).decode() == BODY
        seen.append([plain(answer) for answer in answers])
    assert seen[0] == seen[1]


def test_codings_made_once_are_given_on_both_planes(lab):
    member = lab.upstream()
    member.behave({"headers": [["Cache-Control", "max-age=60"], ["Content-Type", "text/css"], ["ETag", '"v"']], "body": BODY * 4})
    seen = []
    for httpd in both(lab, member, CACHE.format("GateCacheCompress br gzip")):
        get(httpd, "/a")
        wait_until(lambda: get(httpd, "/a", headers={"Accept-Encoding": "br"}).header("Content-Encoding") == "br"
                   and get(httpd, "/a", headers={"Accept-Encoding": "gzip"}).header("Content-Encoding") == "gzip", 10, "both codings")
        asked = [{"Accept-Encoding": "gzip, br"}, {"Accept-Encoding": "gzip"}, {"Accept-Encoding": "br;q=0, *"}, {},
                 {"Accept-Encoding": "gzip, br", "If-None-Match": '"v--br"'}, {"Accept-Encoding": "gzip, br", "If-None-Match": '"v"'}]
        seen.append([plain(get(httpd, "/a", headers=headers)) for headers in asked])
    assert seen[0] == seen[1]
    assert [dict(headers).get("Content-Encoding") for _, headers, _, _ in seen[0]][:4] == ["br", "gzip", "gzip", None]


def test_what_is_not_kept_passes_by(lab):
    member = lab.upstream()
    member.behave({"headers": [["Cache-Control", "private"], ["Surrogate-Key", "a"], ["Set-Cookie", "u=1"], ["Set-Cookie", "t=1"]],
                   "body": "mine"})
    seen = []
    for httpd in both(lab, member, CACHE.format("GateCacheStripCookie t\nGateCacheCompress gzip")):
        answers = [get(httpd, "/a", headers={"Accept-Encoding": "br, gzip;q=0.1"}) for _ in range(4)]
        seen.append([plain(answer) for answer in answers] + [[r["headers"] for r in member.requests()][-1]])
        assert [line["cache"] for line in httpd.access(4)] == ["pass"] * 4
    assert planes(httpd, 4) == ["express"] * 4
    seen[0][-1], seen[1][-1] = [sorted((k, v) for k, v in last[-1] if not k.startswith("X-Forwarded") and k != "Host") for last in seen]
    assert seen[0] == seen[1]


def test_what_passed_by_is_kept_once_it_may_be(lab):
    member = lab.upstream()
    member.behave({"headers": [["Cache-Control", "no-store"]], "body": "one"})
    httpd = serve(lab, member, CACHE.format(""))
    for _ in range(3):
        get(httpd, "/a")
    member.behave({"headers": [["Cache-Control", "max-age=60"]], "body": "two"})
    wait_until(lambda: (get(httpd, "/a").header("Cache-Status") or "").startswith("gatehouse; hit"), 5, "a hit")
    assert get(httpd, "/a").body == b"two"


def test_a_change_is_express_and_forgets(lab):
    member = lab.upstream()
    member.behave({"headers": [["Cache-Control", "max-age=60"]], "body": "old"})
    seen = []
    for httpd in both(lab, member, CACHE.format("")):
        member.behave({"headers": [["Cache-Control", "max-age=60"]], "body": "old"})
        for path in ("/a", "/b"):
            get(httpd, path)
            assert get(httpd, path).header("Cache-Status").startswith("gatehouse; hit")
        member.behave({"status": 500, "body": "no"}, path="/a")
        bad = post(httpd, "/a", body="x")
        assert get(httpd, "/a").header("Cache-Status").startswith("gatehouse; hit")
        member.behave({"status": 200, "headers": [["Cache-Control", "max-age=60"], ["Content-Location", "/b"]], "body": "new"}, path="/a")
        good = post(httpd, "/a", body="x")
        seen.append([plain(bad), plain(good)])
        assert get(httpd, "/a").body == b"new"
        assert not get(httpd, "/b").header("Cache-Status").startswith("gatehouse; hit")
    assert seen[0] == seen[1]
    assert [line["plane"] for line in httpd.access(9) if line["method"] == "POST"] == ["express"] * 2


def test_an_error_of_ours_past_the_cache(lab):
    member = lab.upstream()
    member.behave({"headers": [["Cache-Control", "no-store"]], "body": "x"})
    httpds = both(lab, member, CACHE.format(""))
    for httpd in httpds:
        httpd.expect(r"proxy.*:error", "GATE022[2-6]")
        get(httpd, "/a")
    member.stop()
    seen = []
    for httpd in httpds:
        answers = [get(httpd, "/a"), post(httpd, "/a", body="x")]
        seen.append([(a.status, a.all("Cache-Control"), a.all("Cache-Status"), a.body) for a in answers])
        assert [line["cache"] for line in httpd.access(3)] == ["pass"] * 3
    assert seen[0] == seen[1] and seen[0][0][0] in (502, 503)


LIMIT = '<Location "/">\nGateCache on\nGateLimit requests rate=1r/m burst=2 name=lim\n</Location>\n'


def test_hits_are_limited(lab):
    member = lab.upstream()
    member.behave({"headers": [["Cache-Control", "max-age=60"]], "body": BODY})
    seen = []
    for httpd in both(lab, member, LIMIT):
        answers = [get(httpd, "/a") for _ in range(5)]
        assert [a.status for a in answers] == [200, 200, 200, 429, 429]
        seen.append([plain(a)[:2] for a in answers])
        assert sorted((line["cache"], line["access"]) for line in httpd.access(5)) == \
            [("-", "limited:lim")] * 2 + [("hit", "ok"), ("hit", "ok"), ("miss", "ok")]
        httpd.wait_log("GATE1014")
    for a, b in zip(*seen):
        assert a[0] == b[0] and [k for k, _ in a[1]] == [k for k, _ in b[1]]
        assert a[1][1][0] == "RateLimit-Policy"


def test_delayed_hits(lab):
    member = lab.upstream()
    member.behave({"headers": [["Cache-Control", "max-age=60"]], "body": BODY})
    httpd = serve(lab, member, '<Location "/">\nGateCache on\nGateLimit requests rate=5r/s burst=10 delay name=slow\n</Location>\n')
    get(httpd, "/a")
    begin = time.monotonic()
    with clients.Crowd(httpd.port, clients=4, path="/a") as crowd:
        wait_until(lambda: crowd.ok >= 8, 10, "delayed answers")
    assert 1.0 < time.monotonic() - begin
    assert {line["access"].split(":")[0] for line in httpd.access()} == {"ok", "delayed"}


def test_a_slow_reader_holds_its_body_and_lets_it_go(lab):
    """Trap 31: what is held for a client that is slow, leaves, or dies with its child goes again."""
    member = lab.upstream()
    big = "x" * (1 << 20)
    member.behave({"headers": [["Cache-Control", "max-age=60"]], "body": big})
    httpd = serve(lab, member, CACHE.format("") + '<Location "/status">\nSetHandler gate-status\n</Location>\n', children=2)

    def held():
        return get(httpd, "/status/status.json").json()["cache"]["being_read"]

    get(httpd, "/a")
    assert get(httpd, "/a").body.decode() == big
    assert held() == 0
    slow = []
    for _ in range(4):
        s = socket.socket()
        s.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        s.connect(("127.0.0.1", httpd.port))
        s.sendall(b"GET /a HTTP/1.1\r\nHost: localhost\r\n\r\n" * 3)
        slow.append(s)
    wait_until(lambda: held() == 4, 5, "four bodies held")
    slow.pop().close()
    wait_until(lambda: held() == 3, 5, "one has left")
    with slow[0].makefile("rb") as file:
        for _ in range(3):
            while file.readline() != b"\r\n":
                pass
            assert file.read(len(big)).decode() == big
    wait_until(lambda: held() == 2, 5, "one has it all")
    for pid in httpd.child_pids():
        os.kill(pid, signal.SIGKILL)
    httpd.expect("AH00052|signal Killed|GATE00")
    wait_until(lambda: held() == 0, 10, "the dead children's")


def test_many_at_once_get_what_is_stored(lab):
    member = lab.upstream()
    for n in range(8):
        member.behave({"headers": [["Cache-Control", "max-age=60"]], "body": f"{n}" * (100 << n)}, path=f"/{n}")
    httpd = serve(lab, member, CACHE.format(""))
    for n in range(8):
        get(httpd, f"/{n}")
    with Connection(httpd.port) as c:
        for _ in range(3):
            c.send(b"".join(b"GET /%d HTTP/1.1\r\nHost: localhost\r\n\r\n" % n for n in range(8)))
            for n in range(8):
                answer = c.read()
                assert answer.status == 200 and answer.body == str(n).encode() * (100 << n), n
    assert member.count == 8


def test_a_place_goes_along_to_the_classic_plane(lab):
    """Admitted after a wait, when what was stored is no longer fresh: it is fetched on the classic plane, and is in flight there."""
    member = lab.upstream()
    member.behave({"headers": [["Cache-Control", "max-age=1"]], "body": BODY})
    httpd = serve(lab, member, CACHE.format("GateLimit requests rate=20r/m burst=2 delay=10s key=everyone name=slow\n"
                                            "GateLimit connections max=1 key=everyone name=open"), children=1)
    assert get(httpd, "/a").status == 200
    member.behave({"headers": [["Cache-Control", "max-age=1"]], "body": BODY, "delay": 2})
    with ThreadPoolExecutor() as pool:
        late = pool.submit(get, httpd, "/a", timeout=20)
        wait_until(lambda: member.count == 2, 10, "it has waited, and asks the member")
        refused = get(httpd, "/b")
        assert (refused.status, late.result().status) == (429, 200)
    assert {line["access"] for line in httpd.access(3)} >= {"connections:open"}
