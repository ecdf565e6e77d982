"""
Rows about the express plane: DESIGN.md section 8, and the same along every axis.

A row's name is express-[hit-]SIZE[-tls|-h2][-close][-cN][-mN][-log]: SIZE 1k, 16k or 1m; h2: over TLS; close: a connection per request; cN: so
many clients instead of 64; mN: with h2, so many streams of each at once instead of 10; log: an access log is written. Any such name can be asked for; MATRIX is what a full run measures.
"""
import functools
import re

import peers

NAME = re.compile(r"express-(?P<hit>hit-)?(?P<size>1k|16k|1m)(?P<tls>-tls|-h2)?(?P<close>-close)?(?:-c(?P<clients>\d+))?(?:-m(?P<streams>\d+))?(?P<log>-log)?")
DESIGN = ["express-1k", "express-1k-tls", "express-hit-1k", "express-hit-1k-tls", "express-1k-h2", "express-hit-1k-h2"]
MATRIX = DESIGN + """express-16k express-16k-tls express-hit-16k express-hit-16k-tls
    express-1m express-1m-tls express-hit-1m express-hit-1m-tls
    express-1k-close express-1k-tls-close express-hit-1k-close
    express-1k-c1000 express-1k-c10000 express-hit-1k-c1000 express-hit-1k-c10000
    express-1k-log express-1k-tls-log express-hit-1k-log
    express-16k-h2 express-hit-16k-h2 express-1m-h2 express-hit-1m-h2
    express-1k-h2-c1-m1 express-hit-1k-h2-c1-m1 express-1k-h2-c1-m100 express-hit-1k-h2-c1-m100
    express-1k-h2-m1 express-hit-1k-h2-m1 express-1k-h2-m100 express-hit-1k-h2-m100
    express-1k-h2-c1000-m1 express-hit-1k-h2-c1000-m1 express-hit-1k-h2-c1000""".split()
US = "gate express"


def contenders(hit=False, tls=False, log=False, path="/1k", h2=False):
    words = {"path": path, "cached": hit}
    if tls:
        words["tls"] = True
    if h2:
        words["h2"] = True
    if log:
        words["log"] = True
    found = {"stock httpd": peers.stock, "gate classic": peers.gate_classic, US: peers.gate_express, "nginx": peers.nginx,
             "haproxy": peers.haproxy}
    if not tls and not log:
        found["varnish"] = peers.varnish
    return {who: functools.partial(start, **words) for who, start in found.items()}


def goals(hit, tls, size, h2=False):
    """Section 8's, for 1 KB; further rows are measured alike and have none."""
    if size != "1k":
        return []
    if h2:
        return [(US, "nginx", 0.6)] if hit else [(US, ("nginx", "haproxy"), 0.85)]
    if not hit:
        return [(US, ("nginx", "haproxy"), 0.95)]
    return [(US, ("nginx", "haproxy") if tls else ("nginx", "haproxy", "varnish"), 0.9)]


def named(row, name):
    """The row of that name, or None if it is none of ours; row is bench.py's class."""
    match = NAME.fullmatch(name)
    if not match:
        return None
    hit, tls, close, log = (bool(match[word]) for word in ("hit", "tls", "close", "log"))
    h2 = match["tls"] == "-h2"
    clients, streams = int(match["clients"] or 0), int(match["streams"] or 10)
    if h2 and close:
        raise ValueError(f"{name}: h2 keeps its connections")
    if match["streams"] and not (h2 and 1 <= streams <= 100):
        raise ValueError(f"{name}: 1 to 100 streams, over h2")
    if clients > peers.MOST_CLIENTS:
        raise ValueError(f"{name}: at most {peers.MOST_CLIENTS} clients")
    words = [{"1k": "1 KB", "16k": "16 KB", "1m": "1 MB"}[match["size"]], "from the cache" if hit else "proxied, three members"]
    words += [f"over h2 and TLS, {streams} streams at once" if h2 else "over TLS"] * tls + ["a connection per request" if close else "keep-alive"]
    words += [f"{clients} clients"] * bool(clients) + ["with an access log"] * log
    needs = ["gate", "gate_upstream"] + ["gate_cache"] * hit
    return row(", ".join(words), contenders(hit, tls, log, "/" + match["size"], h2), goals(hit, tls, match["size"], h2),
               needs=needs, hits=hit, clients=clients, close=close, h2=h2, streams=streams)


def rows(row):
    """Entries for bench.py's ROWS."""
    found = {name: named(row, name) for name in MATRIX}
    debian = functools.partial
    found["express-slow"] = row(
        "2000 clients on an upstream that answers after 1 s, MPM settings as Debian has them",
        {"direct": peers.direct, "stock httpd": debian(peers.stock, mpm=peers.DEBIAN_MPM),
         "gate classic": debian(peers.gate_classic, mpm=peers.DEBIAN_MPM), US: debian(peers.gate_express, mpm=peers.DEBIAN_MPM),
         "nginx": peers.nginx, "haproxy": peers.haproxy},
        [(US, "direct", 0.95)], origin=peers.slow_origin, clients=2000, kind="throughput")
    for name, tls in (("express-idle", False), ("express-idle-tls", True)):
        running = contenders(tls=tls)
        found[name] = row("memory per idle kept-alive client" + (", TLS" if tls else ""), running, [(US, "stock httpd", 1.0)], kind="memory")
    return found
