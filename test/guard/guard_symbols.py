#!/usr/bin/python3
"""
httpd loads modules into one name space. So: no function or variable is defined by two of our modules, what crosses
modules begins with gate_, and every gate_ name that a module needs is defined by core (or itself).
Trap 67: mod_proxy's structures are its own to make; their sizes differ between versions, so none of our code asks for one.
Looks at build/modules; modules that are not built are not looked at.
"""
import os
import re
import subprocess

from guardlib import MODULES, TOP, find, finish, line_of, read, sources, without_comments

problems = []
defined, wanted = {}, {}
for path in find("build/modules/*.so"):
    text = subprocess.run(["nm", "-D", path], cwd=TOP, capture_output=True, text=True, check=True).stdout
    for line in text.splitlines():
        kind, name = line.split()[-2:]
        if kind == "U":
            wanted.setdefault(name, []).append(path)
        elif kind in "TDBRVW" and not name.startswith("_"):
            defined.setdefault(name, []).append(path)
for name, paths in sorted(defined.items()):
    if len(paths) > 1:
        problems.append(f"{name}: defined by " + " and by ".join(map(os.path.basename, paths)))
core = os.path.join("build", "modules", "mod_gate.so")
for name, paths in sorted(wanted.items()):
    if name.startswith("gate_") and core not in defined.get(name, []):
        problems.append(f"{name}: needed by {', '.join(map(os.path.basename, paths))}, not defined by mod_gate.so")
for path in [p for module in MODULES for p in sources(module)]:
    text = without_comments(read(path))
    for match in re.finditer(r"\bsizeof\s*\(?\s*(proxy_\w+)|\bpalloc\([^;]*\b(proxy_worker\w*|proxy_server_conf|proxy_balancer\w*)\)", text):
        problems.append(f"{path}:{line_of(text, match.start())}: relies on the size of {match.group(1) or match.group(2)}")
finish(problems)
