#!/usr/bin/python3
"""
Functions of at most 100 lines, files of at most 800, no tabs, no trailing blanks, no notes to self; nothing imported in vain, no path of one machine;
every trap that the tests count (1 to 76) is named by one of them: "trap N" in its text or in its name.
"""
import ast
import re

from guardlib import find, finish, line_of, read

FUNCTION_MAX = 100
FILE_MAX = 800
TRAPS = 76
# written so that this file does not match itself
NOTES = re.compile(r"\b(TO" r"DO|FIX" r"ME|XX" r"X|HA" r"CK)\b")

# folders of somebody who works on it; likewise
PLACES = re.compile(r"(?<![\w./])/(?:wo" r"rk|ho" r"me|ro" r"ot)/\w+")

problems = []
c_files = [p for pattern in ("modules/**/*.[ch]", "include/**/*.h", "test/**/*.[ch]") for p in find(pattern)]
for path in c_files:
    lines = read(path).split("\n")
    start = None
    for number, line in enumerate(lines, 1):
        if line == "{":
            start = number
        elif line.startswith("}") and start is not None:
            if number - start - 1 > FUNCTION_MAX:
                problems.append(f"{path}:{start}: a function of {number - start - 1} lines")
            start = None
py_files = [p for p in find("test/**/*.py")]
for path in py_files:
    tree = ast.parse(read(path))
    used = {n.id for n in ast.walk(tree) if isinstance(n, ast.Name)} | {n.arg for n in ast.walk(tree) if isinstance(n, ast.arg)}
    for node in ast.walk(tree):
        if isinstance(node, (ast.Import, ast.ImportFrom)):
            for name in node.names:
                if (name.asname or name.name).split(".")[0] not in used:
                    problems.append(f"{path}:{node.lineno}: {name.name} is imported and not used")
    for node in ast.walk(ast.parse(read(path))):
        if isinstance(node, ast.FunctionDef) and node.end_lineno - node.lineno > FUNCTION_MAX:
            problems.append(f"{path}:{node.lineno}: {node.name} has {node.end_lineno - node.lineno} lines")
for path in c_files + py_files + find("conf.d/*") + ["build.sh"] + find("modules/*/README") + find("modules/*/log_ids"):
    text = read(path)
    if text.count("\n") > FILE_MAX and not path.endswith("README"):
        problems.append(f"{path}: {text.count(chr(10))} lines")
    for match in NOTES.finditer(text):
        problems.append(f"{path}:{line_of(text, match.start())}: {match.group(0)}")
    for match in re.finditer(PLACES, text):
        problems.append(f"{path}:{line_of(text, match.start())}: {match.group(0)} is a path of one machine")
    for match in re.finditer(r"\t|[ \t]+$", text, re.M):
        problems.append(f"{path}:{line_of(text, match.start())}: tab or trailing blank")
traps = set()
for path in c_files + py_files:
    for match in re.finditer(r"[Tt]raps?[ _](\d+(?:(?:, and |, | and |_)\d+)*)", read(path)):
        traps.update(int(number) for number in re.findall(r"\d+", match.group(1)))
for number in range(1, TRAPS + 1):
    if number not in traps:
        problems.append(f"test: no test names trap {number}")
finish(problems)
