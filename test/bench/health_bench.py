#!/usr/bin/python3
"""
health_bench.py - what it costs to check many members: MEMBERS=1000 with INTERVAL=1 second each, for SECONDS=15.

Prints CPU of httpd's process tree in percent of one core, checks a second, the oldest result that was seen, and whether all were in
time. Once by http, once by tcp, once by http with every second member silent (each of its checks in flight until its timeout).
"""
import json
import os
import sys
import time

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(os.path.dirname(HERE), "httpd"))
sys.path.insert(0, HERE)

import peers  # noqa: E402  (after the path is set)
from measure import cpu_seconds  # noqa: E402
from clients import get  # noqa: E402
from lab import Lab  # noqa: E402

MEMBERS = int(os.environ.get("MEMBERS", "1000"))
INTERVAL = float(os.environ.get("INTERVAL", "1"))
SECONDS = int(os.environ.get("SECONDS", "15"))
MOST_PERCENT = 15


def state(httpd):
    """Checks that have been finished, in flight, and the ages of the last results."""
    seen = json.loads(get(httpd.port, "/status/status.json", timeout=30).body)
    members = [m for g in seen["groups"] for m in g["members"]]
    return seen["health"]["checks"], seen["health"]["in_flight"], [m["check"].get("age_s", 999) for m in members]


def measure(what, check, silent=0):
    lab = Lab()
    try:
        ports, _ = peers.origin(lab, 100)
        hanging = lab.upstream("hangs", backlog=4096).behave("hangs") if silent else None
        urls = [f"http://127.0.0.1:{hanging.port if silent and i % silent == 0 else ports[i % 100]}/n{i}" for i in range(MEMBERS)]
        lines = "\n".join(f"GateMember {url} id=n{i}" for i, url in enumerate(urls))
        httpd = lab.httpd(f"<GateUpstream many>\n{lines}\n{check} interval={int(INTERVAL * 1000)}ms fast={int(INTERVAL * 1000)}ms\n"
                          '</GateUpstream>\n<Location "/status">\nSetHandler gate-status\n</Location>\n')
        httpd.expect("GATE0501", "GATE0504", "GATE0507")
        time.sleep(3 * INTERVAL + 3)
        before, used, begun = state(httpd)[0], cpu_seconds(httpd.pid()), time.monotonic()
        time.sleep(SECONDS)
        used, passed = cpu_seconds(httpd.pid()) - used, time.monotonic() - begun
        checks, in_flight, ages = state(httpd)
        percent, oldest = 100 * used / passed, max(ages)
        print(f"{what:28} {percent:6.1f} % of a core   {(checks - before) / passed:7.0f} checks/s   {in_flight:5} in flight   "
              f"oldest result {oldest:.2f} s", flush=True)
        return percent, oldest
    finally:
        lab.close()
        lab.remove()


def main():
    print(f"{MEMBERS} members, each checked every {INTERVAL:g} s, {SECONDS} s measured")
    percent, oldest = measure("http", "GateHealthCheck GET /1k timeout=900ms")
    measure("tcp", "GateHealthCheck tcp timeout=900ms")
    measure("http, half of them silent", "GateHealthCheck GET /1k timeout=900ms", silent=2)
    met = percent <= MOST_PERCENT and oldest <= 1.2 * INTERVAL + 1
    print(f"at most {MOST_PERCENT} % of one core by http, all in time: {'met' if met else 'MISSED'}")


if __name__ == "__main__":
    main()
