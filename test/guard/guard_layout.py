#!/usr/bin/python3
"""The top folder holds what belongs there; every source and test file is built; every fuzz target has seeds."""
import os
import re
import shutil
import subprocess

from guardlib import MODULES, TOP, exists, find, finish, make_list, read

TOP_LEVEL = {"modules", "include", "conf.d", "test", "apxs.mk", "build.sh", "README", "NOTICE", "LICENSE", "CHANGES"}
TEST_LEVEL = {"unit", "httpd", "fuzz", "bench", "browser", "guard", "demo", "run_tests.py", "README"}
MADE = {"build", "node_modules", "__pycache__"}

problems = []
for name in sorted(os.listdir(TOP)):
    if name not in TOP_LEVEL | MADE and not name.startswith("."):
        problems.append(f"{name}: does not belong in the top folder")
for name in sorted(TOP_LEVEL):
    if not exists(name):
        problems.append(f"{name}: missing")
for name in sorted(os.listdir(os.path.join(TOP, "test"))):
    if name not in TEST_LEVEL | MADE and not name.startswith("."):
        problems.append(f"test/{name}: does not belong there")
for name in sorted(os.listdir(os.path.join(TOP, "modules"))):
    if name not in MODULES:
        problems.append(f"modules/{name}: no module of that name in apxs.mk")

listed = make_list()["source"]
for path in listed:
    if not exists(path):
        problems.append(f"apxs.mk: {path} does not exist")
    if listed.count(path) > 1:
        problems.append(f"apxs.mk: {path} is listed more than once")
for path in find("modules/**/*.c"):
    if path not in listed:
        problems.append(f"{path}: stands in no list of apxs.mk")
for module in make_list()["module"]:
    if not exists(f"modules/{module}/README"):
        problems.append(f"modules/{module}/README: missing")

for path in find("test/unit/test_*.c"):
    text = read(path)
    tests = set(re.findall(r"^static void (\w+)\(void \*\*\w*\)", text, re.M))
    for name in sorted(tests):
        if len(re.findall(rf"\b{name}\b", text)) < 2:
            problems.append(f"{path}: {name} is written and not in the list of tests")
    if "cmocka_run_group_tests" not in text:
        problems.append(f"{path}: runs no cmocka group")
for path in find("test/fuzz/fuzz_*.c"):
    name = os.path.basename(path)[5:-2]
    if not find(f"test/fuzz/seeds/{name}/*"):
        problems.append(f"{path}: no seeds in test/fuzz/seeds/{name}")
for path in find("test/httpd/*.py") + find("test/browser/*.py"):
    if re.search(r"^def test_", read(path), re.M) and not os.path.basename(path).startswith("test_"):
        problems.append(f"{path}: has tests and is not named test_*.py")
if shutil.which("git") and exists(".git"):
    ignored = subprocess.run(["git", "ls-files", "-ci", "--exclude-standard"], cwd=TOP, capture_output=True, text=True,
                             check=False)
    problems += [f"{path}: committed, yet .gitignore names it" for path in ignored.stdout.split()]
finish(problems)
