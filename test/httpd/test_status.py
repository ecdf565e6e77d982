"""mod_gate_status: page, status.json, metrics, events, explain, mod_status' page. Changes are in test_admin.py."""
import json
import os
import re
from urllib.parse import quote

import pytest
from prometheus_client.openmetrics.parser import text_string_to_metric_families

import gatehttpd
from clients import get, request
from groups import group, route
from procs import wait_until
from sample import EVIL, EVIL_GROUP, NO_HEALTH, REFUSED, ask, load_sample, location, status
from test_core import selfcheck

pytestmark = pytest.mark.needs("gate_status", "gate_upstream")

PATHS = ["", "status.json", "metrics", "events.json", "explain.json?url=/", "page.css", "app.js", "openapi.json"]


def families(httpd):
    """/metrics through the strict parser of python3-prometheus-client: name -> list of samples."""
    answer = ask(httpd, "metrics")
    assert answer.status == 200
    assert answer.header("Content-Type") == "application/openmetrics-text; version=1.0.0; charset=utf-8"
    return {f.name: f for f in text_string_to_metric_families(answer.body.decode())}


def value(found, family, name=None, **labels):
    return sum(s.value for s in found[family].samples
               if s.name == (name or family) and all(s.labels.get(k) == v for k, v in labels.items()))


@pytest.fixture
def app(lab):
    """A server with a group of two members and a status location."""
    members = lab.upstreams(2)
    httpd = lab.httpd(conf=group("app", members) + route(path="/app/") + location())
    httpd.members = members
    yield httpd
    selfcheck(httpd)


def test_status_json_has_what_the_contract_names(app):
    for _ in range(10):
        assert get(app, "/app/x").status == 200
    said = status(app)
    assert said["version"] == 1 and said["uptime_s"] >= 0 and said["server"].startswith("Apache/")
    one = said["groups"][0]
    assert one["name"] == "app" and [m["id"] for m in one["members"]] == ["m1", "m2"]
    for m in one["members"]:
        assert m["state"] in ("up", "unknown") and m["weight"] == 1 and m["inflight"] == 0
        assert (m["requests"], m["failures"], m["retries"]) == (5, 0, 0)
        assert m["bytes_in"] > 0 and m["bytes_out"] > 0
        assert 0 < m["latency_us"]["p50"] <= m["latency_us"]["p90"] <= m["latency_us"]["p99"]
        assert set(m["check"]) >= {"at", "ok", "why"} and isinstance(m["why"], str)
    assert [m["url"] for m in one["members"]] == [m.url for m in app.members]


def test_every_answer_is_kept_by_nobody(app):
    for path in PATHS:
        answer = ask(app, path)
        assert answer.status == 200, path
        assert answer.header("Cache-Control") == "no-store", path
        assert answer.header("X-Content-Type-Options") == "nosniff", path
        assert "default-src 'none'" in answer.header("Content-Security-Policy"), path
        assert "unsafe" not in answer.header("Content-Security-Policy"), path


def test_reading_takes_no_other_method(app):
    for path in PATHS:
        for method in ("POST", "PUT", "DELETE", "PATCH"):
            answer = ask(app, path, method, json={})
            assert (answer.status, answer.header("Allow")) == (405, "GET, HEAD"), (method, path)
        answer = ask(app, path, "HEAD")
        assert (answer.status, answer.body) == (200, b"")


def test_paths(app):
    assert get(app, "/gate-status").status == 308
    assert get(app, "/gate-status").header("Location").endswith("gate-status/")
    for path in ("/gate-status/x", "/gate-status/x/", "/gate-status/index.html", "/gate-status/page/app.js"):
        assert get(app, path).status == 404, path


@pytest.mark.parametrize("inner", ['<LocationMatch "^/st.*$">\nSetHandler gate-status\n</LocationMatch>',
                                   '<Location "/st">\nSetHandler gate-status\n</Location>\n'
                                   '<Location "/st/api">\nRequire all granted\n</Location>\n<If "true">\nRequire all granted\n</If>'])
def test_location_may_be_said_in_other_ways(lab, inner):
    httpd = lab.httpd(conf=inner)
    for path in ("/st/", "/st/status.json", "/st/metrics", "/st/api/v1/groups"):
        assert get(httpd, path).status == 200, path


# --- trap 74: not carried away, not under a foreign name -----------------------------------------------------------------------


@pytest.mark.parametrize("catch_all", ['ProxyPass "/" "http://127.0.0.1:1/"', 'ProxyPassMatch "^/(.*)" "http://127.0.0.1:1/$1"',
                                       'RewriteEngine on\nRewriteRule "^/(.*)" "http://127.0.0.1:1/$1" [P]',
                                       'ProxyPass "/" "http://127.0.0.1:1/" mapping=encoded', 'ProxyPass "/" "gate://app/"'])
def test_trap_74_no_proxy_carries_it_away(lab, catch_all):
    member = lab.upstream()
    httpd = lab.httpd(conf=group("app", [member]) + catch_all + "\n" + location("GateAdmin on"))
    for path in PATHS + ["api/v1/groups"]:
        assert ask(httpd, path).status == 200, path
    assert member.count == 0


@pytest.mark.parametrize("host,status_code", [("localhost", 200), ("127.0.0.1", 200), ("[::1]:8080", 200), ("me.example", 200),
                                              ("a.me.example:80", 200), ("evil.example", 403), ("evil.example:80", 403),
                                              ("me.example.evil.example", 403), ("127.0.0.1.evil.example", 403)])
def test_trap_74_rebinding_host_reads_nothing(lab, host, status_code):
    httpd = lab.httpd(conf="ServerName me.example\n<VirtualHost *:*>\nServerName me.example\nServerAlias *.me.example *\n"
                      + location() + "</VirtualHost>\n")
    httpd.expect(REFUSED)
    for path in ("", "status.json", "events.json", "explain.json?url=/"):
        answer = ask(httpd, path, host=host)
        assert answer.status == status_code, path
        assert status_code == 200 or answer.json()["rule"] == "host"
    assert ask(httpd, "metrics", host=host).status == 200


# --- text from outside ---------------------------------------------------------------------------------------------------------


def test_trap_76_hostile_names_are_text(lab):
    httpd = lab.httpd(conf=load_sample() + location() + '<Location "/server-status">\nSetHandler server-status\n</Location>\n',
                      ours=NO_HEALTH)
    page = ask(httpd, "").text
    assert EVIL not in page and "&lt;script&gt;alert(1)&lt;/script&gt;" in page
    said = status(httpd)
    evil = [g for g in said["groups"] if g["name"] == EVIL_GROUP][0]["members"][0]
    assert (evil["id"], evil["state"], evil["why"]) == (EVIL, "down", f"said {EVIL}")
    assert said["sample"]["text"] == EVIL + "\ufffd\n\""
    assert b"<script>" not in ask(httpd, "status.json").body  # not even as JSON: it might be taken for HTML
    assert b"<script>" not in ask(httpd, "events.json").body
    found = families(httpd)
    assert value(found, "gatehouse_member_up", group=EVIL_GROUP, member=EVIL) == 0
    assert len([s for s in found["gatehouse_member_up"].samples if s.labels["group"] == EVIL_GROUP]) == 1
    text = request(httpd, "/server-status?auto").text
    assert "Gatehouse evil" in text and len([x for x in text.splitlines() if EVIL in x and "Usable" in x]) == 1


@pytest.mark.h1("such a Host ends a stream before httpd sees it")
def test_trap_76_what_clients_send_is_escaped_in_the_log(lab):
    httpd = lab.httpd(conf=location("GateAdmin on"))
    httpd.expect(REFUSED)
    ask(httpd, "status.json", host='evil"\x1b[31m.example')
    assert "\x1b" not in httpd.error_log()


# --- sections ------------------------------------------------------------------------------------------------------------------


def test_sections_appear_everywhere(lab):
    httpd = lab.httpd(conf=load_sample() + location(), ours=NO_HEALTH)
    said = status(httpd)
    assert said["sample"]["things"] == 3 and said["sample"]["list"] == ["a"] and said["sample"]["on"] is True
    assert said["sample"]["at"] == "2023-11-14T22:13:20.123Z" and said["sample"]["never"] is None
    assert said["sample"]["time_us"]["count"] == 1 and 2900 < said["sample"]["time_us"]["p50"] < 3100
    facts = [s for s in said["sections"] if s["name"] == "sample"][0]
    assert [a["method"] for a in facts["actions"]] == ["GET", "POST", "DELETE"]
    one = [g for g in said["groups"] if g["name"] == EVIL_GROUP][0]
    assert one["balance"] == "sample" and one["members"][0]["check"]["ok"] is False
    found = families(httpd)
    assert value(found, "gatehouse_sample_things", "gatehouse_sample_things_total", kind="good") == 3
    assert found["gatehouse_sample_room_bytes"].unit == "bytes" and value(found, "gatehouse_sample_room_bytes") == 4096
    assert value(found, "gatehouse_sample_time_seconds", "gatehouse_sample_time_seconds_bucket", le="0.005") == 1
    assert value(found, "gatehouse_sample_member", member=EVIL) == 7


# --- metrics -------------------------------------------------------------------------------------------------------------------


def test_metrics_agree_with_what_clients_counted(app):
    app.members[0].behave({"status": 404}, path="/missing")
    for i in range(30):
        assert get(app, "/app/x").status == 200
    missing = [get(app, "/app/missing").status for i in range(10)]
    found = families(app)
    total = "gatehouse_requests_total"
    assert value(found, "gatehouse_requests", total, group="app", code="4xx") == missing.count(404) == 5
    assert value(found, "gatehouse_requests", total, group="app") == 40
    for member in app.members:
        count = value(found, "gatehouse_request_duration_seconds", "gatehouse_request_duration_seconds_count", member=member.name)
        assert count == value(found, "gatehouse_requests", total, member=member.name) == member.count == 20
        assert value(found, "gatehouse_request_duration_seconds", "gatehouse_request_duration_seconds_bucket",
                     member=member.name, le="+Inf") == 20
    assert value(found, "gatehouse_member_up", group="app") == 2
    assert value(found, "gatehouse_group_usable_members", group="app") == 2
    assert len(found["gatehouse_member_inflight"].samples) == 2 and value(found, "gatehouse_member_inflight", group="app") == 0
    assert value(found, "gatehouse_retries", "gatehouse_retries_total", group="app") == 0


def test_trap_75_counters_grow_over_graceful_restarts(app):
    asked = 0
    before = {}
    turns = 100 if gatehttpd.RUN == "classic" else 20
    for turn in range(turns):
        assert get(app, "/app/x").status == 200
        asked += 1
        app.graceful()
        if turn % 20 == 19:
            # a request is counted when its exchange has ended, which its client may know a little earlier
            wait_until(lambda: value(families(app), "gatehouse_requests", "gatehouse_requests_total", group="app") == asked, 5,
                       f"{asked} requests are counted")
            found = families(app)
            now = {(s.name, tuple(sorted(s.labels.items()))): s.value for f in found.values() if f.type in ("counter", "histogram")
                   for s in f.samples}
            assert all(now[key] >= old for key, old in before.items())
            before = now
    assert value(found, "gatehouse_generation") == turns + 1


def test_trap_75_a_clients_words_make_no_series(app):
    def series():
        found = families(app)
        return {(s.name, tuple(sorted(s.labels.items()))) for f in found.values() for s in f.samples}
    before = series()
    for i in range(20):
        get(app, f"/app/{i}?x={i}", headers={"X-Forwarded-For": f"192.0.2.{i}", "User-Agent": f"agent{i}"}, host=f"h{i}.example")
    assert series() == before


def test_trap_75_series_of_a_removed_member_vanish(lab):
    members = lab.upstreams(2)
    conf = route(path="/app/") + location("GateAdmin on")
    httpd = lab.httpd(conf=group("app", members) + conf)
    assert value(families(httpd), "gatehouse_group_members", group="app") == 2
    assert ask(httpd, "api/v1/groups/app/members/m1", "DELETE").status == 204
    assert 'member="m1"' not in ask(httpd, "metrics").text
    httpd.write_conf(group("app", members[1:]) + conf)
    httpd.graceful()
    text = ask(httpd, "metrics").text
    assert 'member="m1"' not in text and 'member="m2"' in text
    httpd.write_conf(group("other", members[:1]) + location())
    httpd.graceful()
    text = ask(httpd, "metrics").text
    assert 'group="app"' not in text and 'group="other",member="m1"' in text


# --- events, explain, mod_status -----------------------------------------------------------------------------------------------


def test_events_newest_first(lab):
    httpd = lab.httpd(conf=load_sample() + location(), ours=NO_HEALTH)
    events = ask(httpd, "events.json").json()["events"]
    assert [e["number"] for e in events] == sorted((e["number"] for e in events), reverse=True)
    down = [e for e in events if e["to"] == "down"][0]
    assert down["member"] == EVIL and down["why"] == f"said {EVIL}" and re.fullmatch(r"\d{4}-\d\d-\d\dT.*Z", down["at"])


def test_explain_says_the_way_and_sends_nothing(app):
    said = ask(app, "explain.json?url=/app/x%3Fa=b&header=X-A:%201").json()
    assert said["route"] == {"kind": "group", "group": "app", "target": "gate://app/x?a=b"} or said["route"]["group"] == "app"
    assert said["lookup"]["status"] == 200 and said["vhost"]["name"] and said["plane"] == app.plane
    assert sum(m.count for m in app.members) == 0
    assert all(m["requests"] == 0 for m in status(app)["groups"][0]["members"])


def test_explain_names_the_member_and_takes_no_turn(lab):
    members = lab.upstreams(2)
    conf = (group("app", members) + group("other", members[:1], "GateQueue length=5 timeout=1s") + group("kept", members, "GateSticky cookie=C")
            + route(path="/app/") + route("kept", "/kept/")
            + '<Location "/app/other">\nGateSelect other\n</Location>\n')
    httpd = lab.httpd(conf=conf + location("GateAdmin on"))

    def explain(query):
        return ask(httpd, "explain.json?" + query).json()["upstream"]
    first = explain("url=/app/x")
    assert (first["verdict"], first["group"], first["member"]) == ("member", "app", "m1") and first["why"].startswith("round-robin")
    assert all(explain("url=/app/x") == first for _ in range(5))
    assert get(httpd, "/app/x").member == "m1"
    assert explain("url=/app/x")["member"] == "m2"
    said = explain("url=/app/other")
    assert (said["group"], said["selected"]) == ("other", "GateSelect, instead of app")
    assert explain("url=/")["verdict"] == "none"
    bound = get(httpd, "/kept/x")
    cookie = bound.header("Set-Cookie").split(";")[0]
    said = explain("url=/kept/x&header=" + quote(f"Cookie: {cookie}"))
    assert said["member"] == bound.member and "cookie" in said["why"]
    for member in ("m1", "m2"):
        assert ask(httpd, f"api/v1/groups/app/members/{member}", "PATCH", json={"state": "disabled"}).status == 200
    assert explain("url=/app/x")["verdict"] == "503"
    groups = {g["name"]: g for g in status(httpd)["groups"]}
    assert groups["app"]["balance"] == "round-robin" and groups["app"]["defined"].rsplit(":")[-1].isdigit()
    assert groups["other"]["queue"]["length"] == 5 and groups["kept"]["sticky"] == "cookie"
    assert sum(m["inflight"] for g in groups.values() for m in g["members"]) == 0
    families(httpd)


def test_explain_finds_the_vhost(lab):
    httpd = lab.httpd(start=False)
    httpd.write_conf(location() + f"""
<VirtualHost *:{httpd.port}>
    ServerName one.example
    {location()}
</VirtualHost>
<VirtualHost *:{httpd.port}>
    ServerName two.example
    ServerAlias deux.example
    RewriteEngine on
    RewriteRule "^/gone" - [G]
    <Location "/closed">
        Require all denied
    </Location>
    <Location "/members">
        Require ip 192.0.2.0/24
    </Location>
</VirtualHost>
""")
    httpd.start()
    httpd.expect("AH01630: client denied by server configuration")

    def explain(query):
        return ask(httpd, "explain.json?" + query).json()
    at = f":{httpd.port}"
    assert explain(f"url=http://one.example{at}/")["vhost"]["name"] == "one.example"
    for name in ("two.example", "deux.example"):
        said = explain(f"url=http://{name}{at}/index.html")
        assert said["vhost"]["name"] == "two.example" and said["vhost"]["file"].endswith("httpd.conf") and said["vhost"]["line"] > 0
        assert said["route"]["kind"] == "file" and said["lookup"]["status"] == 200
    assert explain(f"url=http://nobody.example{at}/")["vhost"]["name"] == "one.example"
    assert explain(f"url=http://two.example{at}/gone")["lookup"]["status"] == 410
    assert explain(f"url=http://two.example{at}/closed")["lookup"]["status"] == 403
    assert explain(f"url=http://two.example{at}/members")["lookup"]["status"] == 403
    assert explain(f"url=http://two.example{at}/members&client=192.0.2.9")["lookup"]["status"] == 200
    assert explain(f"url=http://one.example{at}/gate-status/")["route"] == {"kind": "handler", "target": "gate-status"}


def test_explain_asks_the_sections(lab):
    httpd = lab.httpd(conf=load_sample() + location())
    said = ask(httpd, "explain.json?url=/x&method=POST&client=192.0.2.1&header=X-Sample:%20yes").json()
    assert said["sample"] == {"verdict": "marked", "why": "POST /x from 192.0.2.1, note set"}
    assert ask(httpd, "explain.json?url=/x").json()["sample"]["verdict"] == "plain"


@pytest.mark.parametrize("query", ["", "url=", "url=ftp://x/", "url=x", "url=/&method=BREW", "url=/&header=x", "url=/&header=a%0d%0ab:c",
                                   "url=/&header=a:b%0d%0ac", "url=/&client=localhost", "url=/&other=1", "url=%zz", "url"])
def test_explain_says_what_is_wrong(app, query):
    answer = ask(app, "explain.json?" + query)
    assert answer.status == 400 and answer.header("Content-Type") == "application/problem+json"
    assert answer.json()["rule"] == "query" and len(answer.json()["detail"]) > 20


def test_mod_status_shows_a_summary(app):
    get(app, "/app/x")
    app.write_conf(app.conf + '<Location "/server-status">\nSetHandler server-status\n</Location>\n')
    app.graceful()
    assert re.search(r"<td>app</td><td>2</td><td>2</td><td>0</td><td>1</td><td>0</td>", get(app, "/server-status").text)
    text = get(app, "/server-status?auto").text
    assert "Gatehouse app Members: 2\nGatehouse app Usable: 2\n" in text and "Gatehouse app Requests: 1\n" in text


@pytest.mark.parametrize("tls_words", [{"tls": True}, {"tls": True, "h2": True}])
def test_over_tls_and_h2(lab, tls_words):
    from clients import curl
    httpd = lab.httpd(conf=location("GateAdmin on"), **tls_words)
    for path in PATHS:
        assert curl(f"{httpd.tls_url}/gate-status/{path}")[1].status == 200


def test_page_without_script_has_the_members(app):
    page = ask(app, "").text
    assert "<noscript>" in page or "data-state=" in page
    for member in app.members:
        assert member.url in page
    assert not re.search(r"<script(?![^>]*\bsrc=)[^>]*>|\son\w+=|\sstyle=|(src|href)=.(https?:)?//", page)


# --- what lies beside the configuration ----------------------------------------------------------------------------------------


def test_dashboard_and_scrape_sample_name_what_there_is(lab):
    """Every metric that dashboard and rules ask for is in /metrics, and the scrape path is that of the sample."""
    httpd = lab.httpd(conf=group("app", lab.upstreams(1)) + "<IfModule gate_cache_module>\nGateCacheSize 16M\n<Location /c>\nGateCache on\n"
                      "</Location>\n</IfModule>\n" + location())
    text = ask(httpd, "metrics").text
    folder = os.path.join(gatehttpd.TOP, "conf.d")
    with open(os.path.join(folder, "status.grafana.json")) as file:
        dashboard = json.load(file)
    with open(os.path.join(folder, "status.prometheus.yml")) as file:
        scrape = file.read()
    asked = {m for part in (json.dumps(dashboard), scrape) for m in re.findall(r"\bgatehouse_\w+", part)}
    absent = {name for name in asked if not re.search(rf"^{name}[{{ ]", text, re.M)}
    owners = {"gatehouse_cache": "gate_cache", "gatehouse_access": "gate_access"}
    assert not {n for n in absent if all(gatehttpd.built(m) for p, m in owners.items() if n.startswith(p))}
    assert len({p["id"] for p in dashboard["panels"]}) == len(dashboard["panels"])
    with open(os.path.join(folder, "status.conf")) as file:
        path = re.search(r'<Location "([^"]+)">', file.read()).group(1)
    assert f"metrics_path: {path}/metrics" in scrape
