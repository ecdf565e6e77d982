"""Checks and members that come and go; what is shown of them."""
import time

import pytest

import gatehttpd
from clients import get, request
from groups import MEMBER_TROUBLE, group, route
from procs import wait_until
from test_core import CHECK, selfcheck
from test_health import DOWN, FAST, conf, probes

pytestmark = pytest.mark.needs("gate_upstream", "gate_health")

shown = pytest.mark.needs("gate_status")
STATUS = '<Location "/status">\nSetHandler gate-status\nGateAdmin on\nProxyPass "!"\n</Location>\n'
MEMBERS = "/status/api/v1/groups/app/members"


def seen(httpd):
    return get(httpd.port, "/status/status.json").json()


def member_of(httpd, name):
    return next((m for g in seen(httpd)["groups"] for m in g["members"] if m["id"] == name), None)


def admin(httpd, method, path, body=None):
    answer = request(httpd.port, path, method, headers={"Content-Type": "application/json"} if body else {}, body=body)
    assert answer.status < 300, answer.body
    return answer


@shown
def test_what_is_shown(lab):
    members = lab.upstreams(2)
    httpd = lab.httpd(STATUS + conf(members, f"GateHealthCheck GET /health {FAST}"))
    wait_until(lambda: all(m["check"].get("passed", 0) >= 3 for g in seen(httpd)["groups"] for m in g["members"]), 5, "checks")
    check = member_of(httpd, "m1")["check"]
    assert check["ok"] is True and check["why"] == "status 200" and check["result"] == "ok" and check["at"].startswith("20")
    assert 0 < check["took_us"] < 500000 and check["age_s"] < 2 and set(check["strip"]) == {"+"}
    members[0].behave("error", "/health")
    httpd.wait_log(DOWN % "status 500", timeout=5)
    member = member_of(httpd, "m1")
    assert member["state"] == "down" and member["why"] == "3 failed checks: status 500"
    assert member["check"]["ok"] is False and member["check"]["strip"].endswith("sss")
    health = seen(httpd)["health"]
    assert health["prober_pid"] in httpd.child_pids() and health["trusted"] is True and health["prober_age_s"] < 2
    metrics = get(httpd.port, "/status/metrics").text
    for name in ('gatehouse_member_checks_total{group="app",member="m1",result="failed"}', "gatehouse_member_check_age_seconds{",
                 "gatehouse_health_checks_total", "gatehouse_health_prober_age_seconds"):
        assert name in metrics, name


@shown
def test_ejection_is_shown(lab):
    members = lab.upstreams(2)
    members[0].behave("resets")
    httpd = lab.httpd(STATUS + conf(members, "GateRetry attempts=1", "GateOutlier errors=2 eject=60s"))
    httpd.expect(*MEMBER_TROUBLE)
    for _ in range(6):
        get(httpd.port)
    member = member_of(httpd, "m1")
    assert member["state"] == "ejected" and member["why"].startswith("2 errors in a row, the last: ")
    assert member["outlier"]["ejections"] == 1 and 50000 < member["outlier"]["trial_in_ms"] <= 66000
    assert member["outlier"]["trial_running"] is False
    events = get(httpd.port, "/status/events.json").text
    assert '"ejected"' in events and "errors in a row" in events


@shown
def test_member_added_at_run_time(lab):
    """It is checked like the others, unknown until then, and goes down like the others."""
    members = lab.upstreams(3)
    httpd = lab.httpd(STATUS + conf(members[:2], f"GateHealthCheck GET /health {FAST}"))
    members[2].behave("error", "/health")
    admin(httpd, "POST", MEMBERS, f'{{"id":"m3","url":"{members[2].url}"}}')
    httpd.wait_log(r"GATE0501: group app: member m3: down after 3 failed checks \(status 500\)", timeout=5)
    members[2].behave("ok", "/health")
    httpd.wait_log("GATE0502: group app: member m3: up after 2 good checks", timeout=5)
    assert {get(httpd.port).member for _ in range(9)} == {"m1", "m2", "m3"}
    admin(httpd, "DELETE", f"{MEMBERS}/m3")
    time.sleep(0.3)
    before = len(probes(members[2]))
    time.sleep(1)
    assert len(probes(members[2])) <= before + 1
    selfcheck(httpd)


@shown
def test_what_the_admin_took_out_is_checked_on(lab):
    """Traps 22 and 24: nothing that checks say brings a disabled member back; that it is well is seen all the same."""
    members = lab.upstreams(2)
    httpd = lab.httpd(STATUS + conf([(members[0], "state=disabled"), members[1]], f"GateHealthCheck GET /health {FAST}"))
    wait_until(lambda: len(probes(members[0])) >= 4, 5, "checks")
    assert member_of(httpd, "m1")["state"] == "disabled" and member_of(httpd, "m1")["check"]["ok"] is True
    assert {get(httpd.port).member for _ in range(6)} == {"m2"}


def test_discovered_members_are_checked(lab):
    """Pain 13: members out of a file or a name are members like others."""
    members = lab.upstreams(2)
    members[1].behave("error", "/health")
    httpd = lab.httpd(start=False)
    path = httpd.write_file("run/members", f"{members[0].url} id=m1\n")
    httpd.write_conf(conf=CHECK + f"<GateUpstream app>\nGateDiscover file:{path} interval=1s\nGateHealthCheck GET /health {FAST}\n"
                     "</GateUpstream>\n" + 'ProxyPass "/selfcheck" "!"\n' + route())
    httpd.start()
    wait_until(lambda: len(probes(members[0])) >= 2, 10, "checks of the first")
    httpd.write_file("run/members", f"{members[0].url} id=m1\n{members[1].url} id=m2\n")
    httpd.wait_log(r"GATE0501: group app: member \S+: down after 3 failed checks \(status 500\), traffic goes to 1 other", timeout=10)
    assert {get(httpd.port).member for _ in range(6)} == {"m1"}
    selfcheck(httpd)


def test_module_that_is_gone(lab):
    """What it said about members goes with it."""
    members = lab.upstreams(2)
    members[0].behave("error", "/health")
    httpd = lab.httpd(conf(members, f"GateHealthCheck GET /health {FAST}"))
    httpd.wait_log(DOWN % "status 500", timeout=5)
    httpd.ours = [name for name in gatehttpd.OURS if gatehttpd.built(name) and name != "gate_health"]
    httpd.write_conf(conf=CHECK + group("app", members) + 'ProxyPass "/selfcheck" "!"\n' + route())
    httpd.graceful()
    assert {get(httpd.port).member for _ in range(6)} == {"m1", "m2"}
    selfcheck(httpd)
