#!/usr/bin/python3
"""Functions of at most 100 lines, files of at most 800, no tabs, no trailing blanks, no notes to self."""
import ast
import re

from guardlib import find, finish, line_of, read

FUNCTION_MAX = 100
FILE_MAX = 800
# written so that this file does not match itself
NOTES = re.compile(r"\b(TO" r"DO|FIX" r"ME|XX" r"X|HA" r"CK)\b")

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
    for node in ast.walk(ast.parse(read(path))):
        if isinstance(node, ast.FunctionDef) and node.end_lineno - node.lineno > FUNCTION_MAX:
            problems.append(f"{path}:{node.lineno}: {node.name} has {node.end_lineno - node.lineno} lines")
for path in c_files + py_files + find("conf.d/*") + ["build.sh"] + find("modules/*/README") + find("modules/*/log_ids"):
    text = read(path)
    if text.count("\n") > FILE_MAX and not path.endswith("README"):
        problems.append(f"{path}: {text.count(chr(10))} lines")
    for match in NOTES.finditer(text):
        problems.append(f"{path}:{line_of(text, match.start())}: {match.group(0)}")
    for match in re.finditer(r"\t|[ \t]+$", text, re.M):
        problems.append(f"{path}:{line_of(text, match.start())}: tab or trailing blank")
finish(problems)
