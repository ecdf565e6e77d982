#!/usr/bin/python3
"""
status_speed.py - how long a scrape takes with 500 members, each of which has answered requests, and what it costs the server.
Milliseconds from the request's first byte to the answer's last, over a kept-alive connection on this machine; the goal for each
reading is under 10 ms (median). MEMBERS=500, SCRAPES=200.
"""
import os
import statistics
import sys
import time

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(os.path.dirname(HERE), "httpd"))

import clients  # noqa: E402  (after the path is set)
from groups import group, route  # noqa: E402
from lab import Lab  # noqa: E402
from sample import location  # noqa: E402

MEMBERS = int(os.environ.get("MEMBERS", "500"))
SCRAPES = int(os.environ.get("SCRAPES", "200"))
TICK = os.sysconf("SC_CLK_TCK")


def cpu(httpd):
    total = 0
    for pid in httpd.child_pids():
        with open(f"/proc/{pid}/stat") as file:
            fields = file.read().rsplit(") ", 1)[1].split()
        total += int(fields[11]) + int(fields[12])
    return total / TICK


def measure(httpd, path):
    times = []
    with clients.Connection(httpd.port) as line:
        size = len(line.request("/gate-status/" + path).body)
        before = cpu(httpd)
        for _ in range(SCRAPES):
            start = time.perf_counter()
            line.send(clients.request_bytes("/gate-status/" + path))
            # read as a scraper does: until the end is there, without taking it apart
            data = b""
            while not data.endswith((b"\r\n0\r\n\r\n", b"0\r\n\r\n")):
                part = line.sock.recv(1 << 20)
                if not part:
                    break
                data += part
                if len(data) > 64:
                    data = data[-64:]
            times.append((time.perf_counter() - start) * 1000)
        spent = (cpu(httpd) - before) / SCRAPES * 1000
    times.sort()
    return size, statistics.median(times), times[int(len(times) * .99)], spent


def main():
    lab = Lab()
    try:
        # all of them one server, so that each has answers to count
        origin = lab.nginx()
        members = group("many", [f"{origin.url} id=x{n}" for n in range(MEMBERS)])
        httpd = lab.httpd(conf=members + route("many", "/many/") + location())
        with clients.Connection(httpd.port) as line:
            for _ in range(4 * MEMBERS):
                assert line.request("/many/").status == 200
        print(f"{MEMBERS} members, {SCRAPES} scrapes each: bytes, median ms, 99% ms, CPU ms per scrape")
        for path in ("metrics", "status.json"):
            size, median, worst, spent = measure(httpd, path)
            print(f"  {path:12} {size:9} {median:8.2f} {worst:8.2f} {spent:8.2f}   {'ok' if median < 10 else 'MISSED'}: under 10 ms")
    finally:
        lab.close()
        lab.remove()


if __name__ == "__main__":
    main()
