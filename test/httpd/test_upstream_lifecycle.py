"""
Graceful restarts, killed children and members that change, under load: nothing is lost that was not in the killed child.
ROUNDS says how often (default 12; ROUNDS=200 for the long run).
"""
import os
import random
import time

import pytest

from clients import Crowd, get, post
from groups import MEMBER_TROUBLE, NO_OUTLIER, group, route
from procs import wait_until

pytestmark = pytest.mark.needs("gate_upstream")

ROUNDS = int(os.environ.get("ROUNDS", "12"))
CHECK = '<Location "/check">\nSetHandler gate-selfcheck\n</Location>\nProxyPass "/check" "!"\n'
KILLED = [r"AH10392", r"AH00052: child pid \d+ exit signal Killed", r"AH10159", r"AH00485", r"AH00484", r"AH03490", r"AH00287"]


def whole(httpd):
    """The arena as the self-check sees it."""
    answer = get(httpd.port, "/check")
    assert answer.status == 200, answer.text
    return answer.text


def test_graceful_restarts_under_load(lab):
    members = lab.upstreams(3)
    httpd = lab.httpd(CHECK + group("app", members) + route(), threads=24)
    httpd.expect(*KILLED)
    with Crowd(httpd.port, clients=16) as crowd:
        for _ in range(ROUNDS):
            crowd.wait(50)
            httpd.graceful()
        crowd.wait(200)
    assert crowd.failures == [], crowd.failures[:5]
    whole(httpd)


def test_restarts_that_change_the_members(lab):
    """Old children go on with what they know; new ones have the new set; no request fails."""
    members = lab.upstreams(4)
    httpd = lab.httpd(CHECK + group("app", members[:2]) + route(), threads=24)
    httpd.expect(*KILLED)
    dice = random.Random(7)
    with Crowd(httpd.port, clients=16) as crowd:
        for _ in range(ROUNDS):
            chosen = dice.sample(members, dice.randint(1, 4))
            httpd.write_conf(CHECK + group("app", chosen) + route())
            httpd.graceful()
            crowd.wait(40)
    assert crowd.failures == [], crowd.failures[:5]
    whole(httpd)


def test_killed_children_under_load(lab):
    members = lab.upstreams(3)
    httpd = lab.httpd(CHECK + group("app", members) + route(), children=4, threads=16)
    httpd.expect(*KILLED)
    clients = 16
    with Crowd(httpd.port, clients=clients) as crowd:
        for _ in range(ROUNDS):
            crowd.wait(60)
            pids = httpd.child_pids()
            httpd.kill_child(random.choice(pids))
            wait_until(lambda before=len(pids): len(httpd.child_pids()) >= before, 20, "a new child")
    # what each kill may cost is what was in flight in that child
    assert len(crowd.failures) <= ROUNDS * clients, crowd.failures[:5]
    assert not [f for f in crowd.failures if f.startswith("status")], crowd.failures[:5]
    wait_until(lambda: get(httpd.port, "/check").status == 200, 5)
    whole(httpd)


def test_in_flight_numbers_do_not_drift(lab):
    """least-connections with connections=: numbers that leak would shut the members for good."""
    members = lab.upstreams(2)
    httpd = lab.httpd(CHECK + group("app", [(m, "connections=12") for m in members], "GateBalance least-connections",
                                    "GateRetry attempts=1", *NO_OUTLIER) + route(), children=3, threads=16)
    httpd.expect(*KILLED, *MEMBER_TROUBLE)
    with Crowd(httpd.port, clients=10, path="/") as crowd:
        for n in range(ROUNDS):
            crowd.wait(40)
            if n % 3 == 0:
                httpd.kill_child()
            members[n % 2].script("resets", "garbage", "closes", "unavailable", "short-body")
        ended = {httpd.kill_child() for _ in range(1)}
    for member in members:
        member.behave("ok")
    # the parent looks for dead children once a second
    wait_until(lambda: not ended & set(httpd.child_pids()), 10, "the parent has noticed")
    time.sleep(0.2)
    answers = [get(httpd.port) for _ in range(60)]
    assert [a.status for a in answers] == [200] * 60
    shares = [[a.member for a in answers].count(m.name) for m in members]
    assert min(shares) > 20, shares


def test_members_restart_under_load(lab):
    members = lab.upstreams(3)
    # a member that has just come up has new connections only: a reset of those counts against the budget
    httpd = lab.httpd(group("app", members, "GateRetry budget=100%") + route(), threads=24)
    httpd.expect(*MEMBER_TROUBLE)
    with Crowd(httpd.port, clients=16) as crowd:
        for n in range(ROUNDS):
            crowd.wait(60)
            members[n % 3].kill9()
            crowd.wait(60)
            members[n % 3].start()
    assert crowd.failures == [], crowd.failures[:5]


@pytest.mark.parametrize("mpm", ["worker", "prefork"])
def test_other_mpms(lab, mpm):
    members = lab.upstreams(3)
    httpd = lab.httpd(CHECK + group("app", members) + route(), mpm=mpm, children=2, threads=4)
    httpd.expect(*MEMBER_TROUBLE, *KILLED)
    assert {get(httpd.port).member for _ in range(9)} == {"m1", "m2", "m3"}
    assert post(httpd.port, "/", body=b"x" * 90000).json()["body_length"] == 90000
    members[0].kill9()
    assert [get(httpd.port).status for _ in range(9)] == [200] * 9
    httpd.graceful()
    assert get(httpd.port).status == 200
    whole(httpd)


def test_cgi_like_members_under_load(lab):
    members = [lab.upstream(f"m{n}", proto="ajp") for n in (1, 2, 3)]
    httpd = lab.httpd(CHECK + group("app", members, "GateRetry budget=100%") + route(), threads=24)
    httpd.expect(*MEMBER_TROUBLE)
    with Crowd(httpd.port, clients=16, check=lambda a: None if a.status == 200 else f"status {a.status}") as crowd:
        crowd.wait(300)
        members[0].kill9()
        crowd.wait(300)
        members[0].start()
        crowd.wait(300)
    assert crowd.failures == [], crowd.failures[:5]
    whole(httpd)
