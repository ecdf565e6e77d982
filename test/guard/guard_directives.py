#!/usr/bin/python3
"""Every directive that code registers stands in its module's README and in conf.d, and neither names one that is not there."""
import re

from guardlib import MODULES, exists, find, finish, line_of, make_list, read, sources, without_comments

REGISTERS = re.compile(r'AP_INIT_\w+\s*\(\s*"(<?)(Gate\w+)>?"')
# a directive, in force or switched off with a # right before it; "# Gate" with a blank is prose
NAMED = re.compile(r"^\s*#?<?(Gate[A-Z]\w*)", re.M)

problems = []
known = set()
makes = make_list()
listed = set(makes["source"])
samples = {path: read(path) for path in find("conf.d/*.conf")}
for module in MODULES:
    manual = read(f"modules/{module}/README") if exists(f"modules/{module}/README") else ""
    for path in sources(module):
        text = without_comments(read(path))
        for match in REGISTERS.finditer(text):
            name = match.group(2)
            known.add(name)
            # a module that is not in the build yet need not be in the manuals
            if path not in listed and path.endswith(".c"):
                continue
            place = f"{path}:{line_of(text, match.start())}: {name}"
            if not re.search(rf"\b{name}\b", manual):
                problems.append(f"{place} has no entry in modules/{module}/README")
            if not any(re.search(rf"^\s*#?<?{name}\b", sample, re.M) for sample in samples.values()):
                problems.append(f"{place} stands in no file of conf.d (a commented-out line is enough)")
for path, text in samples.items():
    module = path.split("/")[1][:-len(".conf")]
    if module in MODULES and module not in makes["module"]:
        continue
    for match in NAMED.finditer(text):
        if match.group(1) not in known:
            problems.append(f"{path}:{line_of(text, match.start())}: no module registers {match.group(1)}")
finish(problems)
