"""mod_gate_cache: children killed with -9 while they read, write, evict and compress: no wrong byte, nothing lost, all valid."""
import hashlib
import os
import random
import threading
import time

import procs
import pytest

from cachelib import Site, is_hit
from clients import Connection, get

pytestmark = pytest.mark.needs("gate", "gate_cache", "gate_status")

KILLS = int(os.environ.get("KILLS", "40"))
STATUS = '<Location "/status">\n  SetHandler gate-status\n</Location>\n'
CHECK = '<Location "/selfcheck">\n  SetHandler gate-selfcheck\n</Location>\n'


def used_of(site):
    return site.get("/status/status.json").json()["cache"]["used"]


class Reader(threading.Thread):
    """Asks for one object after another; every whole body must be one that the member sent."""

    def __init__(self, site, bodies, seed):
        super().__init__()
        self.site, self.bodies, self.random = site, bodies, random.Random(seed)
        self.good, self.wrong, self.over = 0, [], False

    def run(self):
        while not self.over:
            path = self.random.choice(list(self.bodies))
            try:
                answer = self.site.get(path, timeout=20)
            except Exception:  # noqa: BLE001  (its child was killed)
                continue
            if answer.status == 200:
                if hashlib.sha256(answer.body).digest() == self.bodies[path]:
                    self.good += 1
                else:
                    self.wrong.append(path)


def test_killed_while_they_read_write_evict_and_compress(lab):
    """After KILLS of them no byte was wrong, the store is valid, and when all is purged as much memory is used as in the beginning."""
    site = Site(lab, more="GateCacheCompress gzip br=4\nGateCachePurge on", rest=CHECK + STATUS, children=4, threads=8)
    empty = used_of(site)
    bodies = {}
    for n in range(60):
        body = (f"object {n} " * (200 + n * n * 5)).encode()[:900000]
        path = f"/c/{n}"
        bodies[path] = hashlib.sha256(body).digest()
        site.says(body, path=path, headers=[["Cache-Control", "max-age=1" if n % 3 else "max-age=600"], ["Content-Type", "text/css"],
                                            ["ETag", f'"{n}"']])
    readers = [Reader(site, bodies, n) for n in range(6)]
    for reader in readers:
        reader.start()
    chance = random.Random(7)
    for _ in range(KILLS):
        time.sleep(0.05 + chance.random() / 10)
        pids = site.httpd.child_pids()
        if pids:
            site.httpd.kill_child(chance.choice(list(pids)))
    for reader in readers:
        reader.over = True
    for reader in readers:
        reader.join()
    assert not [path for reader in readers for path in reader.wrong]
    assert sum(reader.good for reader in readers) > 100
    check = get(site.httpd.port, "/selfcheck")
    assert check.body.startswith(b"ok"), check.body
    assert used_of(site) > empty
    # a child may still be about to store what it had begun
    procs.wait_until(lambda: site.get(method="PURGE", headers=[("Gatehouse-Purge", "all")]).status == 200 and used_of(site) == empty, 20,
                     f"{empty} bytes in use, as in the beginning")
    site.httpd.expect("AH10392", r"AH00052: child pid \d+ exit signal Killed", "AH0")


def test_killed_children_leave_no_pins(lab):
    site = Site(lab, rest=CHECK + STATUS, children=2)
    site.says(size=900000, headers="max-age=600")
    site.get()
    slow = [Connection(site.httpd.port) for _ in range(4)]
    for connection in slow:
        connection.send(b"GET /c/a HTTP/1.1\r\nHost: localhost\r\n\r\n")
        connection.read_head()
    for pid in list(site.httpd.child_pids()):
        site.httpd.kill_child(pid)
    for connection in slow:
        connection.close()
    time.sleep(0.5)
    assert is_hit(site.get()) and len(site.get().body) == 900000
    assert get(site.httpd.port, "/selfcheck").body.startswith(b"ok")
    status = site.get("/status/status.json")
    if status.status == 200:
        assert status.json()["cache"]["being_read"] <= 1
    site.httpd.expect("AH10392", r"AH00052: child pid \d+ exit signal Killed")


def test_a_child_killed_while_it_refreshes_leaves_no_claim(lab):
    """RFC 5861, 3: what it had begun in the background is begun anew by others at once, not when a claim has run out."""
    site = Site(lab, children=2)
    site.says(b"old", headers=[["Cache-Control", "max-age=60, stale-while-revalidate=600"], ["Age", "100"]])
    site.get()
    site.says(b"new", headers="max-age=60", delay=60)
    assert site.get().body == b"old"
    procs.wait_until(lambda: site.asked == 2, 10, "the refresh")
    for _ in range(3):
        assert site.get().body == b"old"
    assert site.asked == 2, "one at a time"
    for pid in list(site.httpd.child_pids()):
        site.httpd.kill_child(pid)
    site.says(b"new", headers="max-age=60")

    def fresh():
        try:
            return site.get().body == b"new"
        except OSError:  # children are being started
            return False

    procs.wait_until(fresh, 10, "a refresh by others")
    assert site.asked == 3
    site.httpd.expect("AH10392", r"AH00052: child pid \d+ exit signal Killed")
