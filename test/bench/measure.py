"""One measurement of one contender: CPU and memory of its process tree, and what its clients saw."""
import os
import re
import selectors
import socket
import ssl
import statistics
import subprocess
import tempfile
import threading
import time
import urllib.parse

import clients
import procs

TICK = os.sysconf("SC_CLK_TCK")
IDLE = int(os.environ.get("IDLE", "4000"))  # idle clients of the memory rows

HEADINGS = {
    "cpu": f"{'':22} {'us/request':>10} {'from':>7} {'to':>7} {'req/s':>8} {'p50 ms':>8} {'p99 ms':>8} {'MB':>7} {'ratio':>8}",
    "throughput": f"{'':22} {'req/s':>10} {'errors':>7} {'us/request':>11} {'p50 ms':>8} {'p99 ms':>8} {'MB':>7} {'ratio':>8}",
    "memory": f"{'':22} {'KB/client':>10} {'MB at rest':>11} {'ratio':>8}",
}


def cpu_seconds(pid):
    """User and system time of a process and all below it, with what ended children left to their parents."""
    total = 0
    for one in procs.tree_of(pid):
        fields = procs.stat_of(one)
        if fields:
            total += sum(int(n) for n in fields[11:15])
    return total / TICK


def megabytes(pid):
    """Proportional set size of a process and all below it: what is shared counts once."""
    total = 0
    for one in procs.tree_of(pid):
        try:
            with open(f"/proc/{one}/smaps_rollup", encoding="ascii") as file:
                total += int(re.search(r"^Pss: +(\d+) kB", file.read(), re.M)[1])
        except (OSError, TypeError):  # ended meanwhile
            pass
    return total / 1024


class Sample:
    """wrong: why it does not count, or None. usec: CPU a request. p50, p99 in seconds. per_client: KB of memory."""

    def __init__(self, wrong=None, usec=0.0, rps=0.0, errors=0, p50=0.0, p99=0.0, mb=0.0, per_client=0.0):
        self.wrong, self.usec, self.rps, self.errors = wrong, usec, rps, errors
        self.p50, self.p99, self.mb, self.per_client = p50, p99, mb, per_client

    def __str__(self):
        return self.wrong or f"{self.usec:.1f} us, {self.rps:.0f} req/s"


def load(url, pid, seconds, row):
    """One round of wrk against one contender."""
    memory = []
    late = threading.Timer(0.8 * seconds, lambda: memory.append(megabytes(pid)))
    before = cpu_seconds(pid)
    late.start()
    if row.h2:
        seen = h2load(url, seconds, row.clients, row.streams)
    else:
        seen = clients.wrk(url, seconds=seconds, connections=row.clients, headers=[("Connection", "close")] if row.close else ())
    late.join()
    used = cpu_seconds(pid) - before
    good = seen.bad >= seen.requests - 2 if row.refused else seen.bad == 0 and seen.errors == 0
    wrong = None
    if not seen.requests or used <= 0:
        wrong = f"{seen.requests} requests, {used} s of CPU"
    elif not good and row.kind == "cpu":
        wrong = f"{seen.errors} socket errors, {seen.bad} bad answers of {seen.requests}"
    return Sample(wrong, 1e6 * used / max(1, seen.requests), seen.rps, seen.errors + seen.bad, seen.latency.get(50, 0.0),
                  seen.latency.get(99, 0.0), memory[0] if memory else 0.0)


def h2load(url, seconds, connections, streams):
    """So many streams at once on each connection, for so many seconds."""
    with tempfile.NamedTemporaryFile() as log:
        try:
            text = subprocess.run(["h2load", "-D", str(seconds), "-c", str(connections), "-m", str(streams), "-t", "1", f"--log-file={log.name}",
                                   url], capture_output=True, text=True, timeout=seconds + 20, check=True).stdout
        except subprocess.TimeoutExpired:  # it waits for connections that a server has no thread for
            return clients.Load("", 0, float(seconds), connections, 0)
        took = sorted(int(line.split()[2]) for line in log)
    done, failed, errored, timeout = map(int, re.search(
        r"(\d+) done, \d+ succeeded, (\d+) failed, (\d+) errored, (\d+) timeout", text).groups())
    other = sum(map(int, re.search(r"\d+ 2xx, (\d+) 3xx, (\d+) 4xx, (\d+) 5xx", text).groups()))
    latency = {share: took[len(took) * share // 100] / 1e6 for share in (50, 99)} if took else {}
    return clients.Load(text, done, float(seconds), failed + errored + timeout, other, latency)


class Crowd:
    """Clients that have each asked once and keep their connection."""

    def __init__(self, url, count):
        parts = urllib.parse.urlsplit(url)
        context = None
        if parts.scheme == "https":
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
            context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        self.socks = []
        for _ in range(count):
            sock = socket.create_connection((parts.hostname, parts.port), 10)
            if context:
                sock = context.wrap_socket(sock)
            sock.sendall(f"GET {parts.path} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())
            got = b""
            while len(got) < 1024 or b"\r\n\r\n" not in got:
                more = sock.recv(8192)
                assert more, f"closed after {got[:200]!r}"
                got += more
            self.socks.append(sock)

    def alive(self):
        """How many the server has not closed."""
        chooser = selectors.DefaultSelector()
        for sock in self.socks:
            chooser.register(sock, selectors.EVENT_READ)
        return len(self.socks) - len(chooser.select(0))

    def close(self):
        for sock in self.socks:
            sock.close()


def idle(url, pid):
    """What a kept-alive client costs that does nothing: memory with IDLE of them and with a few."""
    first = Crowd(url, 64)
    before = megabytes(pid)
    try:
        crowd = Crowd(url, IDLE)
    except (OSError, AssertionError) as error:
        first.close()
        return Sample(f"does not take {IDLE} clients: {error}")
    time.sleep(0.5)
    after, alive = megabytes(pid), crowd.alive()
    crowd.close()
    first.close()
    wrong = None if alive >= 0.99 * IDLE else f"keeps {alive} of {IDLE} clients"
    return Sample(wrong, mb=before, per_client=1024 * (after - before) / IDLE)


def line(kind, who, samples):
    """A line of the table, under HEADINGS[kind]."""
    def middle(name):
        return statistics.median(getattr(s, name) for s in samples)
    usecs = [s.usec for s in samples]
    ends = f"{1000 * middle('p50'):8.2f} {1000 * middle('p99'):8.2f} {middle('mb'):7.1f}"
    if kind == "memory":
        return f"{who:22} {middle('per_client'):10.2f} {middle('mb'):11.1f}"
    if kind == "throughput":
        return f"{who:22} {middle('rps'):10.0f} {sum(s.errors for s in samples):7} {middle('usec'):11.1f} {ends}"
    return f"{who:22} {middle('usec'):10.1f} {min(usecs):7.1f} {max(usecs):7.1f} {middle('rps'):8.0f} {ends}"
