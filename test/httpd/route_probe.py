"""The engine's routes as route_module.c tells them, without the engine."""
import os
import subprocess
import urllib.parse

import gatehttpd
from clients import request

HERE = os.path.dirname(os.path.abspath(__file__))
ENGINE = os.path.join(gatehttpd.TOP, "modules", "engine")
FILES = ["eligible.c", "eligible_tell.c", "eligible_table.c", "header_ops.c", "route.c", "route_server.c", "route_path.c", "route_rewrite.c", "route_object.c", "eligible_rewrite.c", "route_alias.c", "route_agent.c", "route_type.c",
         "route_ready.c", "route_reverse.c", "route_request.c", "output.c", "message.c", "h1_scan.c", "h1_fields.c", "h1_request.c", "h1_answer.c", "loop.c", "wheel.c"]
# what eligible.h's bits are called there
NEEDS = {1: "log", 2: "env", 4: "browser", 8: "headers", 16: "output", 32: "authz", 64: "authz-request", 128: "limit", 256: "cache",
         512: "select", 1024: "remote", 2048: "ask", 4096: "answer", 8192: "tls", 16384: "rewrite"}


def load_probe():
    """Builds the module and returns its LoadModule line."""
    target = os.path.join(gatehttpd.TOP, "build", "test", "mod_gate_route_probe.so")
    sources = [os.path.join(HERE, "route_module.c"), *(os.path.join(ENGINE, f) for f in FILES)]
    headers = [os.path.join(folder, n) for folder in (os.path.join(gatehttpd.TOP, "include"), ENGINE) for n in os.listdir(folder)
               if n.endswith(".h")]
    if not os.path.exists(target) or os.path.getmtime(target) < max(map(os.path.getmtime, sources + headers)):
        os.makedirs(os.path.dirname(target), exist_ok=True)
        flags = subprocess.run("apxs -q CFLAGS; apxs -q EXTRA_CPPFLAGS; echo -isystem $(apxs -q INCLUDEDIR); apr-1-config --includes",
                               shell=True, check=True, capture_output=True, text=True).stdout.split()
        part = f"{target}.{os.getpid()}"
        subprocess.run(["gcc", "-std=gnu11", "-O2", "-shared", "-fPIC", "-Wall", "-Wextra", "-Werror", "-Wno-missing-field-initializers", *flags,
                        f"-I{gatehttpd.TOP}/include", f"-I{ENGINE}", "-o", part, *sources], check=True)
        os.replace(part, target)
    return f"LoadModule gate_engine_module {target}\n"


def head(path="/x", method="GET", host="localhost", version="1.1", *fields):
    lines = [f"{method} {path} HTTP/{version}"] + ([f"Host: {host}"] if host is not None else []) + list(fields)
    return "\r\n".join(lines) + "\r\n\r\n"


def probe(httpd, path="/x", method="GET", host="localhost", fields=(), version="1.1", raw=None, times=0, show="", answer=None):
    """What route_find() says; "why" is None when the request would go express."""
    words = {"X-Head": urllib.parse.quote(raw or head(path, method, host, version, *fields), safe="")}
    if times:
        words["X-Times"] = str(times)
    if show:
        words["X-Format"] = show
    if answer:
        words["X-Answer"] = urllib.parse.quote(answer, safe="")
    reply = request(httpd.port, "/probe", "GET", words)
    assert reply.status == 200, reply.body
    found = reply.json()
    found["needs"] = {name for bit, name in NEEDS.items() if found.get("needs", 0) & bit}
    return found
