"""
Rows about access: what a request costs behind a list of addresses, and what a refusal costs. All serve 1 KB from a file; the client,
127.0.0.1, stands last in every list.
"""
import functools
import os
import random

import peers
import procs

FILES = 'DocumentRoot "{root}/htdocs"\n<Directory "{root}/htdocs">\n{rules}\n</Directory>\n'
MODULES = ("authz_host", "authz_core")


def prefixes(count):
    """So many /24 of public addresses, always the same, and the client."""
    rng = random.Random(count)
    nets = rng.sample(range(1 << 16, 223 << 16), count - 1)
    return [f"{n >> 16}.{n >> 8 & 255}.{n & 255}.0/24" for n in nets if n >> 16 not in (10, 127)] + ["127.0.0.1/32"]


def files(lab, ours, rules, server=""):
    httpd = lab.httpd(start=False)
    httpd.expect("AH01630")
    httpd.write_file("htdocs/1k", peers.BODY)
    text = FILES.format(root=httpd.root, rules=rules)
    if callable(server):
        server = server(httpd)
    httpd.raw = peers.httpd_conf(ours, server + text, modules=MODULES)(httpd)
    httpd.write_conf()
    httpd.start()
    return httpd.url + "/1k", httpd.pid()


def plain(lab, ports):
    """httpd without a list"""
    return files(lab, [], "Require all granted")


def require_ip(lab, ports, count=1000):
    """mod_authz_host's Require ip, one after the other"""
    lists = prefixes(count)
    return files(lab, [], "\n".join("Require ip " + " ".join(lists[n:n + 200]) for n in range(0, len(lists), 200)))


def gate_set(lab, ports, count=1000):
    """Require gate-set"""
    def server(httpd):
        path = httpd.write_file("conf/set.txt", "\n".join(prefixes(count)) + "\n")
        return f"GateIPSet list file={path}\n"
    return files(lab, ["gate", "gate_access"], "Require gate-set list", server)


def nginx_geo(lab, ports, count=1000):
    """nginx with geo"""
    folder = procs.temp_dir()
    port = procs.free_port()
    os.makedirs(f"{folder}/htdocs")
    os.chmod(folder, 0o755)
    with open(f"{folder}/htdocs/1k", "w", encoding="utf-8") as file:
        file.write(peers.BODY)
    with open(f"{folder}/set.conf", "w", encoding="utf-8") as file:
        file.write("".join(f"{p} 1;\n" for p in prefixes(count)))
    temps = " ".join(f"{what}_temp_path {folder}/{what};" for what in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi"))
    path = f"{folder}/nginx.conf"
    with open(path, "w", encoding="utf-8") as file:
        file.write(f"""daemon off; user www-data; worker_processes 2; pid {folder}/pid; error_log {folder}/error.log;
events {{ worker_connections 4096; }}
http {{ access_log off; keepalive_requests 100000000; {temps} open_file_cache max=100;
geo $in {{ default 0; include {folder}/set.conf; }}
server {{ listen 127.0.0.1:{port} reuseport; root {folder}/htdocs;
location / {{ if ($in = 0) {{ return 403; }} }} }} }}
""")
    return peers.peer(lab, "nginx", ["/usr/sbin/nginx", "-p", folder, "-c", path, "-e", f"{folder}/error.log"], folder, port, False)


def denied(lab, ports):
    """stock httpd: 403 by Require ip"""
    return files(lab, [], "Require ip 192.0.2.1")


def banned(lab, ports):
    """Gatehouse: 403 of a banned client"""
    return files(lab, ["gate", "gate_access"], "Require all granted\nGateBan status=200 count=1 window=1h for=1d")


def limited(lab, ports):
    """Gatehouse: 429 of a client over its rate"""
    return files(lab, ["gate", "gate_access"], "Require all granted",
                 '<Location "/">\nGateLimit requests rate=1r/d burst=0\n</Location>\n')


def admitted(lab, ports):
    """Gatehouse: a request that two limits let through"""
    return files(lab, ["gate", "gate_access"], "Require all granted",
                 '<Location "/">\nGateLimit requests rate=1000000r/s burst=1000000\nGateLimit connections max=60000\n</Location>\n')


def rows(row):
    """Entries for bench.py's ROWS; row is its class."""
    found = {}
    for count in (1000, 10000, 100000):
        of = functools.partial
        contenders = {"no list": plain, "Require ip": of(require_ip, count=count), "Require gate-set": of(gate_set, count=count),
                      "nginx geo": of(nginx_geo, count=count)}
        found[f"access-list-{count // 1000}k"] = row(
            f"1 KB file behind a list of {count} prefixes, the client in the last", contenders,
            [("Require gate-set", "Require ip", 1.0), ("Require gate-set", "no list", 1.1)], needs=("gate", "gate_access"))
    found["access-refused"] = row(
        "a refusal", {"stock 403": denied, "gate ban 403": banned, "gate limit 429": limited},
        [("gate ban 403", "stock 403", 1.0), ("gate limit 429", "stock 403", 1.0)], needs=("gate", "gate_access"), refused=True)
    found["access-limits"] = row(
        "1 KB file behind a rate and a concurrency limit", {"no limit": plain, "two limits": admitted},
        [("two limits", "no limit", 1.1)], needs=("gate", "gate_access"))
    return found
