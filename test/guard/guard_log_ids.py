#!/usr/bin/python3
"""
Every GATE_LOGNO is used once, lies in its module's block, and stands in modules/NAME/log_ids with the level that the
code uses; the catalogue lists none that is not used (an id that was given up says "retired" as its level).
A line of log_ids: nnnn level | meaning | what we do next | what to do
"""
import re

from guardlib import MODULES, exists, finish, line_of, read, sources, without_comments

BLOCKS = {"core": (1, 199), "upstream": (200, 499), "health": (500, 699), "cache": (700, 999), "access": (1000, 1199),
          "status": (1200, 1399), "engine": (1400, 1799)}
LEVELS = {"EMERG": "emerg", "ALERT": "alert", "CRIT": "crit", "ERR": "error", "WARNING": "warn", "NOTICE": "notice",
          "INFO": "info", "DEBUG": "debug"}
SAME = {"err": "error", "warning": "warn"}

problems = []
used = {}
for module in MODULES:
    catalogue = {}
    if exists(f"modules/{module}/log_ids"):
        for number, line in enumerate(read(f"modules/{module}/log_ids").splitlines(), 1):
            if not line.strip() or line.startswith("#"):
                continue
            place = f"modules/{module}/log_ids:{number}"
            match = re.match(r"(\d{4}) (\w+) \|([^|]+)\|([^|]+)\|([^|]+)$", line)
            if not match:
                problems.append(f"{place}: not 'nnnn level | meaning | what we do next | what to do'")
                continue
            if match.group(1) in catalogue:
                problems.append(f"{place}: {match.group(1)} is there twice")
            catalogue[match.group(1)] = (SAME.get(match.group(2), match.group(2)), place)
    seen = set()
    for path in sources(module):
        text = without_comments(read(path))
        for match in re.finditer(r"GATE_LOGNO\((\w+)\)", text):
            if text[text.rfind("\n", 0, match.start()) + 1:].startswith("#define"):
                continue
            one, place = match.group(1), f"{path}:{line_of(text, match.start())}"
            if not re.fullmatch(r"\d{4}", one):
                problems.append(f"{place}: GATE_LOGNO({one}) is not four digits")
                continue
            if one in used:
                problems.append(f"{place}: GATE{one} is used at {used[one]} already")
            used[one] = place
            seen.add(one)
            low, high = BLOCKS[module]
            if not low <= int(one) <= high:
                problems.append(f"{place}: GATE{one} lies outside {module}'s block {low:04}-{high:04}")
            if one not in catalogue:
                problems.append(f"{place}: GATE{one} stands not in modules/{module}/log_ids")
                continue
            call = text[max(text.rfind(";", 0, match.start()), text.rfind("{", 0, match.start())):match.start()]
            level = re.findall(r"APLOG_(EMERG|ALERT|CRIT|ERR|WARNING|NOTICE|INFO|DEBUG)\b", call)
            if len(level) == 1 and LEVELS[level[0]] != catalogue[one][0]:
                problems.append(f"{place}: GATE{one} is logged as {LEVELS[level[0]]}, "
                                f"{catalogue[one][1]} says {catalogue[one][0]}")
    for one, (level, place) in catalogue.items():
        if one not in seen and level != "retired":
            problems.append(f"{place}: GATE{one} is not used in the code (say 'retired' as its level if it was given up)")
finish(problems)
