"""
Restarts and killed children under load; ./build.sh soak does 200 of each, the normal run a few (SOAK=n).
Each ends in the validator over the whole arena.
"""
import os
import time

import pytest

import procs
from clients import Crowd, get
from groups import group, route

TIMES = int(os.environ.get("SOAK", "6"))
CLIENTS = 16
CHECK = '<Location "/selfcheck">\nSetHandler gate-selfcheck\n</Location>\nProxyPass /selfcheck !\n'

STATUS = '<Location "/gate-status">\nSetHandler gate-status\nRequire all granted\n</Location>\nProxyPass /gate-status !\n'

pytestmark = pytest.mark.needs("gate", "gate_upstream", "gate_status")


def start(lab, **words):
    members = [lab.nginx(f"n{n}") for n in (1, 2, 3)]
    httpd = lab.httpd(CHECK + STATUS + group("app", members, "GateBalance least-connections") + route(), **words)
    return httpd


def require_sound(httpd):
    answer = get(httpd, "/selfcheck")
    assert answer.status == 200 and answer.text.startswith("ok\n"), answer.text


class Counters:
    """What status.json counts of each member, which never goes back."""

    NAMES = ("requests", "bytes_in", "bytes_out", "failures", "retries")

    def __init__(self, httpd):
        self.httpd = httpd
        self.last = self.read()

    def read(self):
        members = get(self.httpd, "/gate-status/status.json").json()["groups"][0]["members"]
        return {(m["id"], name): m[name] for m in members for name in self.NAMES}

    def require_grown(self):
        now = self.read()
        assert {key: (self.last[key], value) for key, value in now.items() if value < self.last[key]} == {}
        assert sum(now[key] for key in now if key[1] == "requests") > sum(self.last[key] for key in now if key[1] == "requests")
        self.last = now


def test_graceful_restarts_under_load(lab):
    httpd = start(lab, children=2, threads=32)
    counters = Counters(httpd)
    with Crowd(httpd.port, clients=CLIENTS, pause=0.001) as crowd:
        for _ in range(TIMES):
            crowd.wait(30)
            httpd.graceful()
            require_sound(httpd)
            counters.require_grown()
    assert crowd.failures == []
    assert set(crowd.members) == {"n1", "n2", "n3"}
    lines = [line for line in httpd.access() if line["uri"] == "/"]
    assert sum(n for (_, name), n in counters.read().items() if name == "requests") >= crowd.ok
    assert len(lines) >= crowd.ok and {line["status"] for line in lines} == {200}


def test_killed_children_under_load(lab):
    httpd = start(lab, children=3, threads=16)
    counters = Counters(httpd)
    httpd.expect("AH10392: children are killed successively")
    with Crowd(httpd.port, clients=CLIENTS, pause=0.001) as crowd:
        for _ in range(TIMES):
            crowd.wait(30)
            before = httpd.child_pids()
            pid = httpd.kill_child(before[0])
            procs.wait_until(lambda: len(set(httpd.child_pids()) - {pid}) >= len(before), 10, "a child in its place")
            require_sound(httpd)
            counters.require_grown()
    # only what was in flight in a killed child may be lost, and nobody was told of an error
    assert not [f for f in crowd.failures if f.startswith("status")], crowd.failures[:5]
    assert len(crowd.failures) <= TIMES * CLIENTS // 2, len(crowd.failures)
    assert set(crowd.members) == {"n1", "n2", "n3"}
    time.sleep(0.1)
    require_sound(httpd)
