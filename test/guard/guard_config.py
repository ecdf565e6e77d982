#!/usr/bin/python3
"""
Configuration is written as a field list (include/gate_conf.h), so that no field can be forgotten in create or merge:
a *_conf_t is never a hand-written struct, every list is used for both struct and functions, no field stands twice,
and a module that creates a configuration also merges it (trap 68: a directive that a virtual host loses).
"""
import re

from guardlib import MODULES, finish, line_of, read, sources, without_comments

problems = []
for module in MODULES:
    for path in sources(module):
        text = without_comments(read(path))
        for match in re.finditer(r"(?:typedef\s+)?struct\s*\w*\s*\{[^{}]*\}\s*(\w+_conf_t)\b|struct\s+(\w+_conf_t)\s*\{", text):
            problems.append(f"{path}:{line_of(text, match.start())}: {match.group(1) or match.group(2)} is written by hand; "
                            "use GATE_CONF_STRUCT with a field list")
        structs = dict(re.findall(r"GATE_CONF_STRUCT\s*\(\s*(\w+)\s*,\s*(\w+)\s*\)", text))
        functions = {t: f for t, f in re.findall(r"GATE_CONF_FUNCTIONS\s*\(\s*\w+\s*,\s*(\w+)\s*,\s*(\w+)\s*\)", text)}
        for struct, fields in structs.items():
            if path.endswith(".c") and functions.get(struct) != fields:
                problems.append(f"{path}: {struct} is made of {fields}, its functions of {functions.get(struct)}")
        for match in re.finditer(r"#define\s+(\w+_FIELDS)\(F\)((?:[^\n]*\\\n)*[^\n]*)", text):
            names = re.findall(r"\bF\(\s*[^,]+,\s*(\w+)\s*,", match.group(2))
            for name in {n for n in names if names.count(n) > 1}:
                problems.append(f"{path}:{line_of(text, match.start())}: {match.group(1)} has {name} twice")
        for match in re.finditer(r"AP_DECLARE_MODULE\(\w+\)\s*=\s*\{\s*STANDARD20_MODULE_STUFF\s*,([^}]*)\}", text):
            words = [w.strip() for w in match.group(1).split(",")]
            for create, merge, what in ((0, 1, "directory"), (2, 3, "server")):
                if len(words) > merge and words[create] != "NULL" and words[merge] == "NULL":
                    problems.append(f"{path}:{line_of(text, match.start())}: creates a {what} configuration ({words[create]}) "
                                    "and does not merge it")
finish(problems)
