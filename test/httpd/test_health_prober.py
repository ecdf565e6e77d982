"""Who makes the checks: one child at a time, whatever happens to it. SOAK_TIMES=100 kills it so often, instead of 10 times."""
import ctypes
import os
import signal
import threading
import time

import pytest

from clients import Crowd, get
from gatehttpd import log_time
from groups import MEMBER_TROUBLE
from procs import wait_until
from test_core import selfcheck
from test_health import FAST, conf, probes

pytestmark = pytest.mark.needs("gate_upstream", "gate_health")

KILLS = int(os.environ.get("SOAK_TIMES", "10"))
CHILD_KILLED = (r"AH00052: child pid \d+ exit signal Killed", "AH10392: children are killed successively")


def prober(httpd):
    """The child that makes the checks, by the line in which it says so."""
    pids = [int(line.split("checks: child ")[1].split()[0]) for line in httpd.error_log().splitlines() if "GATE0509" in line]
    return next((pid for pid in reversed(pids) if pid in httpd.child_pids()), None)


def test_killed_prober(lab):
    """Trap 27: kill -9 the child that holds the prober, again and again, under traffic: checks go on within two intervals every time."""
    members = lab.upstreams(2)
    interval = 1.0
    httpd = lab.httpd(conf(members, "GateHealthCheck GET /health interval=1s fast=1s timeout=900ms"), children=4,
                      log_level="notice gate_health:info")
    httpd.expect(*CHILD_KILLED, *MEMBER_TROUBLE)
    pauses, kills = [], []
    with Crowd(httpd.port, clients=4, pause=0.02) as crowd:
        wait_until(lambda: prober(httpd) and all(probes(m) for m in members), 10, "checks")
        for _ in range(KILLS):
            pid = wait_until(lambda: prober(httpd), 5, "a prober")
            seen = [len(probes(m)) for m in members]
            killed = time.monotonic()
            kills.append(time.time())
            httpd.kill_child(pid)
            wait_until(lambda: all(len(probes(m)) > n for m, n in zip(members, seen)), 10 * interval, "checks go on")
            pauses.append(time.monotonic() - killed)
        crowd.wait(20)
    # what is usual is one interval; 100 kills on a machine with eight times the work it can do: at most 1.15
    taken = [log_time(line) for line in httpd.error_log().splitlines() if "GATE0509" in line]
    print("from kill to the next prober: s", sorted(round(min((t for t in taken if t > k), default=k) - k, 2) for k in kills))
    print("from kill to a check of each member: s", [round(p, 2) for p in sorted(pauses)])
    assert max(pauses) <= 2 * interval, sorted(pauses)
    selfcheck(httpd)


def test_stopped_prober(lab):
    """Trap 27: one that hangs loses the lease to another, and finds that out when it goes on."""
    member = lab.upstream("m1")
    httpd = lab.httpd(conf([member], f"GateHealthCheck GET /health {FAST}"), children=3, log_level="notice gate_health:info")
    pid = wait_until(lambda: prober(httpd), 5, "a prober")
    os.kill(pid, signal.SIGSTOP)
    try:
        httpd.wait_log("GATE0509", count=2, timeout=5)
        before = len(probes(member))
        wait_until(lambda: len(probes(member)) > before + 2, 5, "checks by another child")
    finally:
        os.kill(pid, signal.SIGCONT)
    time.sleep(1)
    assert httpd.error_log().count("GATE0509") == 2
    before = len(probes(member))
    time.sleep(1)
    assert 3 <= len(probes(member)) - before <= 7 # one child's checks, not two's


def test_graceful_restart_hands_over(lab):
    member = lab.upstream("m1")
    httpd = lab.httpd(conf([member], f"GateHealthCheck GET /health {FAST}"), log_level="notice gate_health:info")
    for count in range(1, 4):
        httpd.wait_log("GATE0509", count=count, timeout=5)
        httpd.graceful()
    before = len(probes(member))
    wait_until(lambda: len(probes(member)) > before + 2, 5, "checks by the new generation")
    selfcheck(httpd)


def threads_named(pid, name):
    found = []
    for tid in os.listdir(f"/proc/{pid}/task"):
        with open(f"/proc/{pid}/task/{tid}/comm", encoding="utf-8") as file:
            if file.read().strip() == name:
                found.append(int(tid))
    return found


class Held(threading.Thread):
    """Keeps threads of other processes from running, as a debugger does; all ptrace calls come from one thread."""

    SEIZE, INTERRUPT, DETACH = 0x4206, 0x4207, 17

    def __init__(self, tids):
        super().__init__(daemon=True)
        self.tids, self.ready, self.release, self.error = tids, threading.Event(), threading.Event(), None

    def run(self):
        libc = ctypes.CDLL(None, use_errno=True)
        libc.ptrace.argtypes = [ctypes.c_long] * 4
        for tid in self.tids:
            for request in (self.SEIZE, self.INTERRUPT):
                if libc.ptrace(request, tid, 0, 0) != 0:
                    self.error = ctypes.get_errno()
        self.ready.set()
        self.release.wait(60)
        for tid in self.tids:
            for _ in range(100):
                if libc.ptrace(self.DETACH, tid, 0, 0) == 0:
                    break
                time.sleep(0.01)

    def __enter__(self):
        self.start()
        self.ready.wait(5)
        if self.error:
            self.release.set()
            pytest.skip(f"this machine does not let us hold threads: {os.strerror(self.error)}")
        return self

    def __exit__(self, *_):
        self.release.set()
        self.join()


def test_checks_that_stopped_are_not_trusted(lab):
    """Nobody checks any more: that is said, and whom the last check called down is used again; then all is as before."""
    members = lab.upstreams(2)
    members[0].behave("error", "/health")
    httpd = lab.httpd(conf(members, f"GateHealthCheck GET /health {FAST}"))
    httpd.wait_log("GATE0501: group app: member m1: down", timeout=5)
    tids = [tid for pid in httpd.child_pids() for tid in threads_named(pid, "gate-health")]
    assert len(tids) == 2
    with Held(tids):
        httpd.wait_log(r"GATE0515: checks: none were made for [34]\.\d s, no child does it", timeout=8)
        httpd.wait_log("GATE0517: group app: member m1: was down by a check, not checked for", timeout=3)
        assert {get(httpd.port).member for _ in range(6)} == {"m1", "m2"}
    httpd.wait_log("GATE0516: checks: they are made again", timeout=5)
    httpd.wait_log("GATE0501: group app: member m1: down", count=2, timeout=5)
    assert {get(httpd.port).member for _ in range(6)} == {"m2"}
    assert httpd.error_log().count("GATE0515") == 1


def test_many_members(lab):
    """Hundreds of members, each checked once in its interval."""
    member = lab.upstream("m1", backlog=4096)
    members = [(f"http://127.0.0.1:{member.port}/n{i}", f"id=n{i}") for i in range(300)]
    httpd = lab.httpd(conf(members, "GateHealthCheck GET /health interval=2s fast=2s timeout=1500ms"), children=2)
    wait_until(lambda: member.count >= 300, 15, "all are checked once")
    begun, before = time.monotonic(), member.count
    time.sleep(4)
    checks = (member.count - before) / (time.monotonic() - begun)
    assert 130 <= checks <= 170, checks
    selfcheck(httpd)


def test_members_that_hang_delay_nobody(lab):
    """Hundreds of checks in flight for their whole timeout, and the others are checked as ever."""
    hanging, good = lab.upstreams(2)
    hanging.behave("hangs", "/health")
    members = [(f"http://127.0.0.1:{hanging.port}/n{i}", f"id=n{i}") for i in range(200)] + [(good.url, "id=good")]
    httpd = lab.httpd(conf(members, "GateHealthCheck GET /health interval=500ms fast=500ms timeout=3s fall=50"))
    wait_until(lambda: hanging.inflight >= 150, 15, "checks that hang")
    before = len(probes(good))
    time.sleep(3)
    assert 4 <= len(probes(good)) - before <= 8
    selfcheck(httpd)
