"""The admin API of mod_gate_status: what it does, and whom it does not do it for."""
import re

import pytest

from clients import Crowd, curl, get, request
from groups import group, route
from procs import wait_until
from sample import EVIL, EVIL_GROUP, NO_HEALTH, REFUSED, ask, load_sample, location, member_of, status
from test_core import selfcheck

pytestmark = pytest.mark.needs("gate_status", "gate_upstream")

LIST = "api/v1/groups/app/members"
ONE = LIST + "/m1"
JSON = {"Content-Type": "application/json"}


def made(lab, *lines, members=2, more="", **words):
    members = lab.upstreams(members)
    httpd = lab.httpd(conf=load_sample() + group("app", members) + route(path="/app/") + location("GateAdmin on", *lines) + more,
                      ours=NO_HEALTH, **words)
    httpd.members = members
    return httpd


@pytest.fixture
def app(lab):
    httpd = made(lab)
    yield httpd
    selfcheck(httpd)


def token(httpd, **words):
    return re.search(r'name="gate-token" content="([0-9a-f]{64})"', ask(httpd, "", **words).text).group(1)


def browser(httpd, **more):
    """Headers as a browser sends them from the page."""
    return {"Origin": f"http://localhost:{httpd.port}", "Sec-Fetch-Site": "same-origin", "X-Gate-Token": token(httpd), **more}


def problem(answer, code, rule):
    assert (answer.status, answer.header("Content-Type")) == (code, "application/problem+json"), answer.body
    said = answer.json()
    assert said["status"] == code and said["rule"] == rule and len(said["detail"]) > 10 and said["title"]
    assert answer.header("Cache-Control") == "no-store"


def standing(httpd):
    """What an admin may change, of all members."""
    return [(g["name"], m["id"], m["url"], m["weight"], m["state"], m["etag"]) for g in status(httpd)["groups"] for m in g["members"]]


# --- what it does --------------------------------------------------------------------------------------------------------------


def test_drain_enable_disable(app):
    for state, usable in (("drain", False), ("disabled", False), ("up", True)):
        answer = ask(app, ONE, "PATCH", json={"state": state})
        assert answer.status == 200 and answer.json()["usable"] == usable
        assert answer.json()["state"] in ((state,) if state != "up" else ("up", "unknown"))
        served = {get(app, "/app/x").member for _ in range(6)}
        assert served == ({"m1", "m2"} if usable else {"m2"})
    event = [e for e in ask(app, "events.json").json()["events"] if e["member"] == "m1" and e["to"] == "drain"][0]
    assert (event["area"], event["who"], event["why"]) == ("admin", "127.0.0.1", "set to drain by 127.0.0.1")
    assert "GATE1204: admin: group app: member m1: state drain, asked for by 127.0.0.1" in app.error_log()


def test_weight(app):
    assert ask(app, ONE, "PATCH", json={"weight": 3}).json()["weight"] == 3
    served = [get(app, "/app/x").member for _ in range(8)]
    assert (served.count("m1"), served.count("m2")) == (6, 2)
    assert member_of(app, "app", "m1")["weight_configured"] == 1


def test_add_and_remove(lab, app):
    new = lab.upstream("new")
    answer = ask(app, LIST, "POST", json={"url": new.url, "id": "new", "weight": 2, "connections": 10, "state": "drain"})
    assert answer.status == 201 and answer.header("Location") == "/gate-status/" + LIST + "/new"
    said = answer.json()
    assert (said["id"], said["weight"], said["connections"], said["state"], said["origin"]) == ("new", 2, 10, "drain", "runtime")
    assert {get(app, "/app/x").member for _ in range(6)} == {"m1", "m2"}
    assert request(app, answer.header("Location"), "PATCH", JSON, '{"state":"up"}').status == 200
    assert {get(app, "/app/x").member for _ in range(8)} == {"m1", "m2", "new"}
    answer = ask(app, LIST + "/new", "DELETE")
    assert (answer.status, answer.body) == (204, b"")
    assert {get(app, "/app/x").member for _ in range(6)} == {"m1", "m2"}
    problem(ask(app, LIST + "/new", "DELETE"), 404, "path")
    problem(ask(app, LIST + "/new"), 404, "path")
    assert [e["to"] for e in ask(app, "events.json").json()["events"] if e["member"] == "new"][-1] == "added"


def test_id_of_an_added_member(app):
    assert ask(app, LIST, "POST", json={"url": "http://127.0.0.1:9"}).json()["id"] == "127.0.0.1:9"
    assert ask(app, LIST, "POST", json={"url": "http://127.0.0.1:9/x"}).json()["id"] == "r1"
    assert ask(app, LIST, "POST", json={"url": "unix:/run/x.sock|http://x"}).json()["id"] == "x:80"
    problem(ask(app, LIST, "POST", json={"url": "http://127.0.0.1:8", "id": "r1"}), 409, "id")


def test_changes_live_through_graceful_restarts(app):
    ask(app, ONE, "PATCH", json={"state": "drain"})
    ask(app, LIST, "POST", json={"url": "http://127.0.0.1:9", "id": "new", "weight": 7})
    def mine():
        return [one for one in standing(app) if one[0] == "app"]
    before = mine()
    for _ in range(3):
        app.graceful()
        assert mine() == before
    assert status(app)["admin"]["done"] == 2


def test_changes_live_through_a_stop_with_a_state_file(lab):
    members = lab.upstreams(4)
    httpd = lab.httpd(conf="GateStateFile run/state\n" + group("app", members[:3]) + route(path="/app/") + location("GateAdmin on"))
    assert ask(httpd, LIST + "/m1", "PATCH", json={"state": "drain"}).status == 200
    assert ask(httpd, LIST + "/m2", "DELETE").status == 204
    assert ask(httpd, LIST, "POST", json={"url": members[3].url, "id": "new", "weight": 5}).status == 201

    def mine():
        return [(m["id"], m["url"], m["weight"], m["state"] == "drain") for m in ask(httpd, LIST).json()["members"]]
    before = mine()
    assert [m[0] for m in before] == ["m1", "m3", "new"]
    httpd.stop()
    httpd.start()
    assert mine() == before
    assert {get(httpd, "/app/x").member for _ in range(12)} == {"m3", "m4"}


def test_drain_with_a_deadline_ends_in_removal(app):
    said = ask(app, ONE, "PATCH", json={"state": "drain", "deadline_s": 1}).json()
    assert said["state"] == "drain" and said["drain_until"].endswith("Z")
    wait_until(lambda: member_of(app, "app", "m1") is None, 10, "m1 is removed")
    for body in ({"deadline_s": 5}, {"state": "up", "deadline_s": 5}, {"state": "drain", "deadline_s": 0}):
        problem(ask(app, LIST + "/m2", "PATCH", json=body), 400, "field")


def test_reading(app):
    said = ask(app, LIST).json()
    assert said["group"] == "app" and [m["id"] for m in said["members"]] == ["m1", "m2"]
    assert ask(app, ONE).json()["id"] == "m1"
    assert {"name": "app", "members": 2} in ask(app, "api/v1/groups").json()["groups"]
    for path in ("api/v1/", "api/v1/groups/nobody/members", "api/v1/groups/app", "api/v1/groups/app/members/", "api/v1/other",
                 LIST + "/m1/x", "api/v2/groups"):
        assert ask(app, path).status == 404, path


def test_if_match(app):
    first = ask(app, ONE)
    tag = first.header("ETag")
    assert first.json()["etag"] == tag.strip('"') == member_of(app, "app", "m1")["etag"]
    get(app, "/app/x")
    assert ask(app, ONE).header("ETag") == tag  # counters do not move it
    second = ask(app, ONE, "PATCH", json={"weight": 5}, headers={"If-Match": tag})
    assert second.status == 200 and second.header("ETag") not in (None, tag)
    problem(ask(app, ONE, "PATCH", json={"weight": 6}, headers={"If-Match": tag}), 412, "if-match")
    problem(ask(app, ONE, "DELETE", headers={"If-Match": tag}), 412, "if-match")
    problem(ask(app, ONE, "PATCH", json={"weight": 6}, headers={"If-Match": "W/" + second.header("ETag")}), 412, "if-match")
    assert member_of(app, "app", "m1")["weight"] == 5
    for good in ("*", f'"x", {second.header("ETag")}'):
        assert ask(app, ONE, "PATCH", json={"weight": 5}, headers={"If-Match": good}).status == 200
    listed = ask(app, LIST).header("ETag")
    assert ask(app, LIST, "POST", json={"url": "http://127.0.0.1:9"}, headers={"If-Match": listed}).status == 201
    problem(ask(app, LIST, "POST", json={"url": "http://127.0.0.1:7"}, headers={"If-Match": listed}), 412, "if-match")


def test_if_match_lets_one_of_many_win(app):
    import concurrent.futures
    tag = ask(app, ONE).header("ETag")
    with concurrent.futures.ThreadPoolExecutor(12) as pool:
        codes = list(pool.map(lambda n: ask(app, ONE, "PATCH", json={"weight": n + 2}, headers={"If-Match": tag}).status, range(12)))
    assert sorted(codes) == [200] + [412] * 11


@pytest.mark.parametrize("path,method,body,words", [
    (LIST, "POST", {}, "url is missing"),
    (LIST, "POST", {"url": 5}, "url must be a text"),
    (LIST, "POST", {"url": "127.0.0.1:80"}, "url: '127.0.0.1:80' "),
    (LIST, "POST", {"url": "http://user:pw@127.0.0.1/"}, "url: '"),
    (LIST, "POST", {"url": "http://127.0.0.1/", "id": EVIL}, f"id: '{EVIL}' "),
    (LIST, "POST", {"url": "http://127.0.0.1/", "weight": 0}, "weight must be a whole number from 1 to 1000"),
    (LIST, "POST", {"url": "http://127.0.0.1/", "weight": "3"}, "weight must be"),
    (LIST, "POST", {"url": "http://127.0.0.1/", "backup": 1}, "backup must be true or false"),
    (LIST, "POST", {"url": "http://127.0.0.1/", "state": "down"}, "state: 'down' is none of up, drain, disabled"),
    (LIST, "POST", {"url": "http://127.0.0.1/", "colour": 1}, "'colour' is no field here"),
    (LIST, "POST", {"url": "http://169.254.169.254/latest"}, "link-local"),
    (LIST, "POST", {"url": "http://[fe80::1]/"}, "link-local"),
    (LIST, "POST", {"url": "http://metadata.google.internal/"}, "link-local"),
    (LIST, "POST", [], "must be a JSON object"),
    (ONE, "PATCH", {}, "nothing to change"),
    (ONE, "PATCH", {"url": "http://127.0.0.1/"}, "'url' is no field here"),
    (ONE, "PATCH", {"weight": 1001}, "weight must be"),
    (ONE, "PATCH", {"weight": 1.5}, "weight must be"),
])
def test_bad_fields_are_named(app, path, method, body, words):
    before = standing(app)
    answer = ask(app, path, method, json=body)
    problem(answer, 400, "field")
    assert words in answer.json()["detail"]
    assert standing(app) == before and status(app)["admin"]["failed"] == 1


@pytest.mark.parametrize("body", ["", "{", '{"weight":1,"weight":2}', '{"weight":2}x', "null", "{\"weight\":2,\"x\":\"\xff\"}"])
def test_broken_json(app, body):
    problem(ask(app, ONE, "PATCH", body=body.encode("latin-1"), headers=JSON), 400, "field")
    assert member_of(app, "app", "m1")["weight"] == 1


def test_large_bodies_are_not_read(app):
    app.expect(r"AH\d+: Request body.*")
    body = '{"weight":' + " " * 70000 + "2}"
    problem(ask(app, ONE, "PATCH", body=body, headers=JSON), 413, "body")


def test_who_is_the_user_when_there_is_one(lab):
    import subprocess
    httpd = made(lab)
    line = subprocess.run(["openssl", "passwd", "-apr1", "secret"], capture_output=True, text=True, check=True).stdout.strip()
    path = httpd.write_file("conf/users", f"alice:{line}\n")
    auth = ["AuthType Basic", "AuthName x", f"AuthUserFile {path}", "Require valid-user"]
    httpd.write_conf(load_sample() + group("app", httpd.members) + location("GateAdmin on", *auth))
    httpd.graceful()
    alice = {"Authorization": "Basic YWxpY2U6c2VjcmV0"}
    assert ask(httpd, ONE, "PATCH", json={"state": "drain"}).status == 401
    assert ask(httpd, ONE, "PATCH", json={"state": "drain"}, headers=alice).status == 200
    assert ask(httpd, "events.json", headers=alice).json()["events"][0]["who"] == "alice"
    # the page's token is alice's alone
    assert re.search(r'content="([0-9a-f]{64})"', ask(httpd, "", headers=alice).text)


# --- sections' actions ---------------------------------------------------------------------------------------------------------


def test_actions(app):
    assert ask(app, "api/v1/sample/things").json() == {"things": 3}
    answer = ask(app, "api/v1/sample/things", "POST", json={"kind": "good", "count": 4, "soft": True, "names": ["a", "b"]})
    assert answer.status == 200 and answer.json() == {"said": "5 parameters, now 7 things"}
    assert ask(app, "events.json").json()["events"][0] | {"number": 0, "at": 0} == {
        "number": 0, "at": 0, "area": "sample", "group": "sample/things", "member": "", "from": "", "to": "Add things",
        "why": "5 parameters, now 7 things", "who": "127.0.0.1"}
    assert ask(app, "api/v1/sample/things?kind=x", "DELETE").json() == {"said": "no things left"}
    problem(ask(app, "api/v1/sample/things", "POST", json={"kind": "bad"}), 409, "action")
    for body in ({}, {"kind": "other"}, {"kind": "good", "count": -1}, {"kind": "good", "count": "x"}, {"kind": "good", "soft": 1},
                 {"kind": "good", "names": [1]}, {"kind": ["good"]}, {"kind": "good", "other": 1}):
        problem(ask(app, "api/v1/sample/things", "POST", json=body), 400, "field")
    for query in ("", "?kind=%zz", "?kind=a&kind=b", "?other=1", "?kind"):
        problem(ask(app, "api/v1/sample/things" + query, "DELETE"), 400, "field")


# --- trap 74: who is turned away -----------------------------------------------------------------------------------------------

WRITES = [(LIST, "POST", '{"url":"http://127.0.0.1:9"}'), (ONE, "PATCH", '{"state":"disabled"}'), (ONE, "DELETE", None),
          ("api/v1/sample/things", "POST", '{"kind":"good"}'), ("api/v1/sample/things?kind=x", "DELETE", None)]


def refused(httpd, code, rule, headers=(), body=None, methods=None, **words):
    """Every write is refused so, logged, counted, and changes nothing."""
    before, things = standing(httpd), ask(httpd, "api/v1/sample/things").json()
    count = status(httpd)["admin"]["refused"]
    turned_away = 0
    for path, method, good_body in WRITES:
        if methods and method not in methods:
            continue
        send = good_body if body is None else body
        pairs = dict(JSON if send is not None else {}, **dict(headers))
        problem(ask(httpd, path, method, headers=pairs, body=send, **words), code, rule)
        turned_away += 1
    assert turned_away
    httpd.wait_log(REFUSED, count=turned_away)
    assert standing(httpd) == before and ask(httpd, "api/v1/sample/things").json() == things
    assert status(httpd)["admin"]["refused"] == count + turned_away


def test_trap_74_cross_site_post(app):
    good = browser(app)
    for site in ("cross-site", "same-site", "none", ""):
        refused(app, 403, "site", {**good, "Sec-Fetch-Site": site}, host=f"localhost:{app.port}")


@pytest.mark.parametrize("origin", ["https://evil.example", "null", "http://localhost", "http://localhost:1", "http://localhost:%d.evil",
                                    "http://localhost:%d@evil.example", "ftp://localhost:%d", "http://127.0.0.1:%d", "", "http://"])
def test_trap_74_wrong_origin(app, origin):
    good = browser(app)
    del good["Sec-Fetch-Site"]
    refused(app, 403, "origin", {**good, "Origin": origin.replace("%d", str(app.port))}, host=f"localhost:{app.port}")


@pytest.mark.parametrize("kind", ["application/x-www-form-urlencoded", "multipart/form-data; boundary=x", "text/plain",
                                  "text/plain; application/json", "application/jsonx", ""])
def test_trap_74_simple_form_post(app, kind):
    refused(app, 415, "type", {"Content-Type": kind}, methods=("POST", "PATCH"))
    refused(app, 415, "type", {"Content-Type": kind}, body="state=disabled")
    refused(app, 415, "type", {**browser(app), "Content-Type": kind}, host=f"localhost:{app.port}", methods=("POST", "PATCH"))


@pytest.mark.parametrize("bad", [None, "", "0" * 64, "x"])
def test_trap_74_missing_token(app, bad):
    headers = browser(app)
    del headers["X-Gate-Token"]
    if bad is not None:
        headers["X-Gate-Token"] = bad
    refused(app, 403, "token", headers, host=f"localhost:{app.port}")
    del headers["Sec-Fetch-Site"]
    refused(app, 403, "token", headers, host=f"localhost:{app.port}")


@pytest.mark.parametrize("host", ["evil.example", "evil.example:80", "127.0.0.1.evil.example", "localhost.evil.example"])
def test_trap_74_rebinding_host(app, host):
    refused(app, 403, "host", host=host)
    refused(app, 403, "host", {**browser(app), "Origin": f"http://{host}"}, host=host)


def test_trap_74_get_changes_nothing(app):
    before, things = standing(app), ask(app, "api/v1/sample/things").json()
    for path in (LIST, ONE, "api/v1/sample/things"):
        for query in ("?state=disabled", "?_method=DELETE", "?kind=good&url=http://127.0.0.1:9"):
            assert ask(app, path + query).status in (200, 400)
            ask(app, path + query, headers={"X-HTTP-Method-Override": "DELETE"})
    app.write_conf(app.conf)
    for method in ("PUT", "PROPFIND", "MKCOL"):
        for path in (LIST, ONE):
            assert ask(app, path, method).status == 405, method
    answer = ask(app, ONE, "PUT", json={})
    assert answer.header("Allow") == "GET, PATCH, DELETE, OPTIONS"
    answer = ask(app, ONE, "OPTIONS")
    assert answer.status == 204 and answer.header("Access-Control-Allow-Origin") is None
    assert standing(app) == before and ask(app, "api/v1/sample/things").json() == things


def test_the_pages_own_requests_pass(app):
    assert ask(app, ONE, "PATCH", json={"state": "drain"}, headers=browser(app), host=f"localhost:{app.port}").status == 200
    old = browser(app)
    app.graceful()
    assert ask(app, ONE, "PATCH", json={"state": "up"}, headers=old, host=f"localhost:{app.port}").status == 200
    app.stop()
    app.start()
    app.expect(REFUSED)
    assert ask(app, ONE, "PATCH", json={"state": "up"}, headers=old, host=f"localhost:{app.port}").status == 403


@pytest.mark.parametrize("host,origin", [("localhost", "http://localhost"), ("localhost", "https://localhost"),
                                         ("localhost:80", "http://localhost"), ("localhost:443", "https://localhost"),
                                         ("LOCALHOST", "http://localhost:80")])
def test_default_ports_of_an_origin(app, host, origin):
    headers = {**browser(app), "Origin": origin}
    assert ask(app, ONE, "PATCH", json={"state": "up"}, headers=headers, host=host).status == 200


# --- GateAdmin: good, bad, inherited, overridden -------------------------------------------------------------------------------


def test_without_admin_every_write_is_403(lab):
    members = lab.upstreams(2)
    base = load_sample() + group("app", members)
    for lines in ((), ("GateAdmin off",)):
        httpd = lab.httpd(conf=base + location(*lines))
        httpd.members = members
        httpd.expect(REFUSED)
        for path, method, body in [*WRITES, ("api/v1/nothing", "POST", "{}"), ("api/v1/cache/purge", "POST", "{}"),
                                   ("api/v1/bans", "DELETE", None)]:
            problem(ask(httpd, path, method, headers=JSON, body=body), 403, "off")
        assert ask(httpd, LIST).status == 200 and ask(httpd, "api/v1/sample/things").status == 403
        assert not re.search(r'name="gate-token" content="."', ask(httpd, "").text)
        assert status(httpd)["admin"]["on"] is False
        httpd.stop()


def test_admin_word_is_checked(lab):
    httpd = lab.httpd(start=False, conf=location("GateAdmin maybe"))
    assert "GateAdmin: 'maybe' " in httpd.check()[1]
    httpd.write_conf("GateAdmin on")
    assert "GateAdmin not allowed here" in httpd.check()[1]


def test_admin_is_inherited_and_overridden(lab):
    members = lab.upstreams(1)
    inner = '<Location "/gate-status/api/v1/groups/app/members/m1">\n%s\n</Location>\n'
    httpd = lab.httpd(conf=group("app", members) + location("GateAdmin on") + location(path="/other") + inner % "Require all granted")
    httpd.expect(REFUSED)
    assert ask(httpd, ONE, "PATCH", json={"weight": 2}).status == 200
    assert request(httpd, "/other/" + ONE, "PATCH", JSON, '{"weight":3}').status == 403
    httpd.write_conf(group("app", members) + location("GateAdmin on") + inner % "GateAdmin off")
    httpd.renew()
    assert ask(httpd, ONE, "PATCH", json={"weight": 4}).status == 403
    assert ask(httpd, LIST, "POST", json={"url": "http://127.0.0.1:9"}).status == 201
    assert member_of(httpd, "app", "m1")["weight"] == 2


# --- over TLS and h2, under load -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("words", [{"tls": True}, {"tls": True, "h2": True}])
def test_over_tls_and_h2(lab, words):
    httpd = made(lab, **words)
    url = f"{httpd.tls_url}/gate-status/{ONE}"
    answer = curl(url, "-X", "PATCH", "-H", "Content-Type: application/json", "-d", '{"state":"drain"}')[1]
    assert answer.status == 200 and answer.json()["state"] == "drain"
    assert curl(url, "-X", "DELETE")[1].status == 204


def test_a_thousand_members_come_and_go_under_load(lab):
    httpd = made(lab, members=2, children=2, threads=25)
    crowd = Crowd(httpd.port, clients=4, path="/app/x", pause=0.005)
    crowd.start() if hasattr(crowd, "start") else None
    spare = httpd.members[0].url
    from clients import Connection
    with Connection(httpd.port) as line:
        def call(path, method, body=None):
            return line.request("/gate-status/" + path, method, JSON if body else {}, body)
        for n in range(1000):
            assert call(LIST, "POST", '{"url":"%s","id":"x%d","state":"drain"}' % (spare, n)).status == 201, n
            if n % 3 == 0:
                assert call(f"{LIST}/x{n}", "PATCH", '{"state":"up"}').status == 200
        assert [g["members"] for g in call("api/v1/groups", "GET").json()["groups"] if g["name"] == "app"] == [1002]
        for n in range(1000):
            assert call(f"{LIST}/x{n}", "PATCH", '{"state":"drain"}').status == 200
            assert call(f"{LIST}/x{n}", "DELETE").status == 204
    crowd.stop()
    assert crowd.ok > 100 and not crowd.failures
    assert [m["id"] for g in status(httpd)["groups"] if g["name"] == "app" for m in g["members"]] == ["m1", "m2"]
    selfcheck(httpd)


def test_hostile_group_in_a_path(app):
    from urllib.parse import quote
    answer = ask(app, f"api/v1/groups/{quote(EVIL_GROUP.replace('/', '%2F'), safe='')}/members")
    assert answer.status == 404 and b"<script>" not in answer.body
