"""
Restarts, killed children and members, and thousands of slow clients under load: for long by ./build.sh soak, for a few seconds in the
normal run. SOAK_TIMES: restarts and kills in a row; SOAK_SECONDS: of what goes on for a time; SOAK_CLIENTS: slow ones.
Each ends in the validator over the whole arena.
"""
import json
import os
import re
import subprocess
import sys
import threading
import time

import pytest

import gatehttpd
import procs
from clients import Crowd, get, wrk
from groups import MEMBER_TROUBLE, group, route

LONG = "SOAK_SECONDS" in os.environ
TIMES = int(os.environ.get("SOAK_TIMES", "6"))
SECONDS = int(os.environ.get("SOAK_SECONDS", "5"))
SLOW = int(os.environ.get("SOAK_CLIENTS", "400"))
EVERY = 5.0 if LONG else 1.2  # seconds between restarts
CLIENTS = 16
HERE = os.path.dirname(os.path.abspath(__file__))
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
    # (over HTTP/2 a connection that ends without GOAWAY may always have lost one)
    assert len(crowd.failures) <= TIMES * CLIENTS // (1 if httpd.over_h2 else 2), len(crowd.failures)
    assert set(crowd.members) == {"n1", "n2", "n3"}
    time.sleep(0.1)
    require_sound(httpd)


def test_all_at_once(lab):
    """Restarts every few seconds, members and children killed in between, under load: only what ran in a killed child is lost."""
    members = [lab.nginx(f"n{n}") for n in (1, 2, 3)]
    httpd = lab.httpd(CHECK + STATUS + group("app", members, "GateBalance least-connections", "GateRetry attempts=3") + route(),
                      children=3, threads=32)
    # httpd 2.4.71 may keep a child too many when one is killed after a graceful restart (so without any module of ours)
    httpd.expect("AH10392: children are killed successively", "AH00045: child process", *MEMBER_TROUBLE)
    kills, turn, end = 0, 0, time.monotonic() + SECONDS
    with Crowd(httpd.port, clients=CLIENTS, pause=0.001) as crowd:
        while time.monotonic() < end:
            begun, member, old = time.monotonic(), members[turn % 3], set(httpd.child_pids())
            httpd.graceful()
            crowd.wait(30)
            member.kill9()
            time.sleep(EVERY / 4)
            member.start()
            if turn % 2:
                # mpm_event (2.4.71) starts two for a killed child that it finds dead after the next restart; its stop then forgets one for 9 s
                pid = httpd.kill_child(procs.wait_until(lambda: [p for p in httpd.child_pids() if p not in old], 10, "a new child")[-1])
                procs.wait_until(lambda: not os.path.exists(f"/proc/{pid}"), 10, "the parent has noticed")
                kills += 1
            crowd.wait(30)
            require_sound(httpd)
            time.sleep(max(0.0, begun + EVERY - time.monotonic()))
            turn += 1
    assert not [f for f in crowd.failures if f.startswith("status")], crowd.failures[:5]
    assert len(crowd.failures) <= kills * CLIENTS, (kills, crowd.failures[:5])
    assert set(crowd.members) == {"n1", "n2", "n3"} and turn >= 2
    procs.wait_until(lambda: in_flight(httpd) == 0, 5, "nothing is in flight any more")
    require_sound(httpd)


def in_flight(httpd):
    seen = get(httpd, "/gate-status/status.json").json()["groups"][0]
    return sum(m["inflight"] for m in seen["members"]) + seen["active"] + seen["retrying"]


def asked(httpd):
    return sum(m["requests"] for m in get(httpd, "/gate-status/status.json").json()["groups"][0]["members"])


def kilobytes(pid):
    """Proportional set size of all processes of a server."""
    total = 0
    for one in procs.tree_of(pid):
        try:
            with open(f"/proc/{one}/smaps_rollup", encoding="ascii") as file:
                total += int(re.search(r"^Pss: +(\d+) kB", file.read(), re.M)[1])
        except (OSError, TypeError):  # it has ended
            pass
    return total


@pytest.mark.h1("raw sockets; test_h2_crowds.py has the like")
def test_slow_and_fast_clients(lab):
    """
    Hundreds (soak: 10,000) of clients with a byte a second, in either direction, among fast ones: nobody is cut off, memory stays flat.
    On the classic plane a slow client holds a thread, so there are fewer.
    """
    express = gatehttpd.PLANE == "express"
    slow = SLOW if express else min(SLOW, 24)
    member = lab.nginx("n1", body="x" * 65536, connections=slow + 1000, server='location /1k { return 200 "0123456789"; }')
    httpd = lab.httpd(CHECK + STATUS + "RequestReadTimeout header=0 body=0\nTimeout 600\nKeepAliveTimeout 600\nListenBacklog 4096\n"
                      f"AsyncRequestWorkerFactor {max(2, slow // 16)}\nCustomLog /dev/null gate\n" +
                      group("app", [member], "GateTimeout connect=15s") + route(),
                      threads=32)
    # each fast client pauses between its requests: what is compared is how long it waits, not who has how much of the machine
    paced = httpd.write_file("paced.lua", "function delay() return 5 end\n")
    alone = wrk(httpd.url + "/1k", seconds=min(SECONDS, 30), connections=16, script=paced)
    before = asked(httpd)
    seconds = SECONDS + 3
    crowd = subprocess.Popen([sys.executable, os.path.join(HERE, "slow.py"), str(httpd.port), str(slow), str(seconds), "/"],
                             stdout=subprocess.PIPE, text=True)
    try:
        assert [crowd.stdout.readline().strip() for _ in range(2)] == ["connecting", "connected"]
        procs.wait_until(lambda: asked(httpd) >= before + slow // 2, 10 + slow / 500, "every reader's answer is on its way")
        sizes = []
        ended = threading.Event()
        watcher = threading.Thread(target=lambda: [sizes.append(kilobytes(httpd.pid()))
                                                   for _ in iter(lambda: ended.wait(max(0.5, SECONDS / 120)), True)])
        watcher.start()
        load = wrk(httpd.url + "/1k", seconds=SECONDS, connections=16, script=paced)
        ended.set()
        watcher.join()
        told = json.loads(crowd.stdout.readline())
    finally:
        crowd.terminate()
        crowd.wait(10)
    assert (alone.errors, alone.bad, load.errors, load.bad) == (0, 0, 0, 0), load.text
    assert (told["lost"], told["failures"], told["alive"]) == (0, [], slow)
    # a round lasts a second, or longer where the machine is slow; in some a writer waits for its answer
    assert told["rounds"] > seconds / 3 and told["bytes"] > 0.9 * slow // 2 * (told["rounds"] - 1) and \
        told["read"] > slow // 2 * (told["rounds"] - 2), told
    # every slow request ends some time in each half of a long run
    before, after = max(sizes[:len(sizes) // 2]), max(sizes[len(sizes) // 2:])
    if LONG:
        print(f"{slow} slow clients: {told}; {sizes[len(sizes) // 10]} kB after a tenth of the time, {sizes[-1]} kB at its end, at most {before} kB "
              f"in the first half, {after} kB in the second; {load.requests} fast requests, p99 {1000 * load.latency[99]:.2f} ms, and "
              f"{1000 * alone.latency[99]:.2f} ms without the slow ones")
    assert after <= 1.1 * before + 8192, sizes
    if LONG:
        assert load.latency[99] <= 5 * alone.latency[99] + 0.05, (alone.text, load.text)
    procs.wait_until(lambda: in_flight(httpd) == 0, 20, "nothing is in flight any more")
    require_sound(httpd)
