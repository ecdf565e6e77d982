#!/usr/bin/python3
"""
httpd loads modules into one name space. So: no function or variable is defined by two of our modules, what crosses
modules begins with gate_, and every gate_ name that a module needs is defined by core (or itself).
Looks at build/modules; modules that are not built are not looked at.
"""
import os
import subprocess

from guardlib import TOP, find, finish

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
finish(problems)
