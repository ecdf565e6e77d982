#!/usr/bin/python3
"""Runs every test of the project and adds them up.

  run_tests.py [NAME] [--only PART]

NAME runs what contains it: a unit test, a fuzz target's seeds, a guard, or tests of the httpd suite.
The parts, in order: build, nm, unit, asan, tsan, seeds, guard, httpd, express, h2, browser. express is the httpd suite once more
with GateEngine on, h2 its scenarios a third time over HTTP/2. The last line is "N passed, N failed"; the exit status is 0 only if nothing failed.
"""
import argparse
import concurrent.futures
import glob
import importlib.util
import os
import re
import subprocess
import sys
import time
import xml.etree.ElementTree

TOP = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
JOBS = int(os.environ.get("JOBS", os.cpu_count() or 2))
PARTS = ["build", "nm", "unit", "asan", "tsan", "seeds", "guard", "httpd", "express", "h2", "browser"]
TIMEOUT = 300


class Tally:
    """What passed, what failed; prints a line for each step and the whole output of a failure."""

    def __init__(self):
        self.passed = 0
        self.failed = 0
        self.failures = []

    def note(self, part, name, passed, failed, seconds, output=""):
        self.passed += passed
        self.failed += failed
        word = "ok" if not failed else "FAILED"
        print(f"{part:7} {name:40} {passed:5} {word} {seconds:6.1f}s", flush=True)
        if failed:
            self.failures.append(f"{part} {name}")
            print(output.rstrip(), flush=True)


def run(args, timeout=TIMEOUT, env=None):
    """Runs a command in the top folder; returns (status, output, seconds)."""
    start = time.monotonic()
    full = dict(os.environ, **(env or {}))
    try:
        done = subprocess.run(args, cwd=TOP, env=full, timeout=timeout, stdin=subprocess.DEVNULL,
                              stdout=subprocess.PIPE, stderr=subprocess.STDOUT, errors="replace")
        status, output = done.returncode, done.stdout
    except subprocess.TimeoutExpired as late:
        out = late.stdout or b""
        status = -1
        output = (out.decode(errors="replace") if isinstance(out, bytes) else out) + f"\nno end after {timeout} s\n"
    return status, output, time.monotonic() - start


def make(*words):
    return run(["make", "--no-print-directory", "-f", "apxs.mk", f"-j{JOBS}", *words], timeout=1200)


def step(tally, part, name, args_or_result):
    """One command that counts as one test; returns whether it passed."""
    status, output, seconds = args_or_result
    tally.note(part, name, int(status == 0), int(status != 0), seconds, output)
    return status == 0


# --- builds ------------------------------------------------------------------------------------

def part_build(tally, _name):
    """Nothing else can run without the first; the second is only looked at."""
    good = step(tally, "build", "gcc, no warning", make("WERROR=1", "all", "unit"))
    if good:
        # the words that count come from its parser, and nothing of this runs
        step(tally, "build", "clang, no warning", make("CC=clang", "WERROR=1", "EXTRA_CFLAGS=-O0 -g0 -U_FORTIFY_SOURCE", "all", "unit"))
    return good


def part_nm(tally, _name):
    """Logic that refers to a symbol of the server is not logic."""
    for archive in sorted(glob.glob(os.path.join(TOP, "build", "logic_*.a"))):
        status, output, seconds = run(["nm", "-u", archive])
        bad = [line for line in output.splitlines() if re.search(r"\bU ap_", line)]
        tally.note("nm", os.path.basename(archive), int(not bad and status == 0), int(bool(bad) or status != 0),
                   seconds, "logic refers to the server:\n" + "\n".join(bad))


# --- unit tests --------------------------------------------------------------------------------

def run_unit(binary, extra_env, prefix):
    env = {"CMOCKA_MESSAGE_OUTPUT": "TAP"}
    env.update(extra_env)
    status, output, seconds = run(prefix + [binary], env=env)
    passed = len(re.findall(r"^ok \d+", output, re.M))
    failed = len(re.findall(r"^not ok \d+", output, re.M))
    if status != 0 and failed == 0:
        output += f"\nexit status {status}"
        failed = 1
    if status == 0 and passed + failed == 0:
        output += "\nran no test"
        failed = 1
    return binary, passed, failed, seconds, output


def run_units(tally, part, sources, folder, env=None, prefix=()):
    binaries = [os.path.join("build", folder, "unit", os.path.basename(s)[:-2]) for s in sources]
    with concurrent.futures.ThreadPoolExecutor(JOBS) as pool:
        for binary, passed, failed, seconds, output in pool.map(
                lambda b: run_unit(b, env or {}, list(prefix)), binaries):
            # late on a busy machine, as in second_go(); a test that stops half-way leaks, so that alone does not count
            if re.search(r"^not ok", output, re.M) and not re.search(r"AddressSanitizer|ThreadSanitizer|runtime error", output):
                print(f"SECOND GO of {part} {os.path.basename(binary)}, which said:\n{output}", flush=True)
                binary, passed, failed, seconds, output = run_unit(binary, env or {}, list(prefix))
            tally.note(part, os.path.basename(binary), passed, failed, seconds, output)


def unit_sources(name, pattern="test_*.c"):
    found = sorted(glob.glob(os.path.join(TOP, "test", "unit", pattern)))
    return [s for s in found if not name or name in os.path.basename(s)]


def part_unit(tally, name):
    sources = unit_sources(name)
    if sources:
        run_units(tally, "unit", sources, "")


SAN_ENV = {
    "ASAN_OPTIONS": "detect_leaks=1:abort_on_error=0:detect_stack_use_after_return=1",
    "UBSAN_OPTIONS": "print_stacktrace=1",
}


def part_asan(tally, name):
    sources = unit_sources(name)
    if not sources:
        return
    targets = [f"build/asan/unit/{os.path.basename(s)[:-2]}" for s in sources]
    if step(tally, "asan", "build", make("CC=gcc", "SAN=address,undefined", *targets)):
        run_units(tally, "asan", sources, "asan", SAN_ENV)


def part_tsan(tally, name):
    sources = unit_sources(name, "test_*threads*.c")
    if not sources:
        return
    targets = [f"build/tsan/unit/{os.path.basename(s)[:-2]}" for s in sources]
    if step(tally, "tsan", "build", make("CC=clang", "SAN=thread", *targets)):
        # the thread sanitizer wants its addresses where it expects them
        prefix = ["setarch", "-R"] if run(["setarch", "-R", "true"])[0] == 0 else []
        options = "halt_on_error=0:second_deadlock_stack=1"
        supp = os.path.join(TOP, "test", "unit", "tsan.supp")
        if os.path.exists(supp):
            options += f":suppressions={supp}"
        run_units(tally, "tsan", sources, "tsan", {"TSAN_OPTIONS": options}, prefix)


def part_seeds(tally, name):
    sources = sorted(glob.glob(os.path.join(TOP, "test", "fuzz", "fuzz_*.c")))
    names = [os.path.basename(s)[5:-2] for s in sources]
    names = [n for n in names if not name or name in n or name in "fuzz_" + n]
    if not names:
        return
    targets = [f"build/asan/replay/fuzz_{n}" for n in names]
    if not step(tally, "seeds", "build", make("CC=gcc", "SAN=address,undefined", *targets)):
        return
    for n in names:
        folder = f"test/fuzz/seeds/{n}"
        seeds = sum(len(files) for _, _, files in os.walk(os.path.join(TOP, folder)))
        status, output, seconds = run([f"build/asan/replay/fuzz_{n}", folder], env=SAN_ENV)
        if status != 0:
            output += f"\nexit status {status}"
        if seeds == 0:
            status, output = 1, f"no seeds in {folder}"
        tally.note("seeds", n, seeds if status == 0 else 0, int(status != 0), seconds, output)


# --- guards, httpd, browser --------------------------------------------------------------------

def part_guard(tally, name):
    for script in sorted(glob.glob(os.path.join(TOP, "test", "guard", "guard_*.py"))):
        label = os.path.basename(script)[6:-3]
        if not name or name in "guard_" + label:
            step(tally, "guard", label, run([sys.executable, script]))


def read_junit(path):
    suites = xml.etree.ElementTree.parse(path).getroot().iter("testsuite")
    total = bad = skipped = 0
    for suite in suites:
        total += int(suite.get("tests", 0))
        bad += int(suite.get("failures", 0)) + int(suite.get("errors", 0))
        skipped += int(suite.get("skipped", 0))
    return max(0, total - bad - skipped), bad


SECOND_GO = 5  # so many failures of a part may be the machine's; more are not looked at again


def failures_of(path):
    """pytest's names of the tests that failed, but for those in which a process crashed or a sanitizer spoke: no load explains that."""
    names = []
    for case in xml.etree.ElementTree.parse(path).getroot().iter("testcase"):
        said = "".join(text for kind in ("failure", "error") for part in case.findall(kind) for text in part.itertext())
        if said and not any(word in said for word in ("exit signal", "Sanitizer")):
            names.append(case.get("classname").replace(".", "/") + ".py::" + case.get("name"))
    return names


# The files of the httpd suite that take longest, by test seconds: they begin first, so that none of them is left alone at the end.
LONGEST = ["planes_differ", "health", "engine_routes", "discover", "status", "engine_same", "upstream_tries", "cache_rules", "upstream_basic",
           "clients_that_leave", "queue", "sticky", "access_limits", "upstream_answers", "upstream_config", "members", "harness", "outlier",
           "upstream_lifecycle", "soak", "health_prober", "admin", "cache_flight", "engine_conn", "h2_crowds"]


def httpd_files():
    """The files of the httpd suite by name (without test_), in the order in which they are to begin."""
    names = {os.path.basename(f)[5:-3]: f for f in sorted(glob.glob(os.path.join(TOP, "test", "httpd", "test_*.py")))}
    return {name: names[name] for name in sorted(names, key=lambda n: LONGEST.index(n) if n in LONGEST else len(LONGEST))}


def at_once():
    """The httpd suite mostly waits: a few files of it at the same time, if xdist is there."""
    if importlib.util.find_spec("xdist") is None:
        return []
    return ["-n", os.environ.get("PYTEST_JOBS", "4"), "--dist", "loadfile"]


def run_pytest(tally, part, folders, name, more=(), env=None):
    junit = os.path.join(TOP, "build", f"{part}.xml")
    os.makedirs(os.path.dirname(junit), exist_ok=True)
    if os.path.exists(junit):
        os.unlink(junit)
    args = [sys.executable, "-m", "pytest", "-q", "--no-header", "-p", "no:cacheprovider",
            f"--junitxml={junit}", "--durations=8", *more, *folders]
    if name:
        args += ["-k", name]
    start = time.monotonic()
    child = subprocess.Popen(args, cwd=TOP, stdin=subprocess.DEVNULL, env=dict(os.environ, **(env or {})))
    try:
        status = child.wait(3600)
    except BaseException:
        child.terminate()
        child.wait(30)
        raise
    passed, failed = read_junit(junit) if os.path.exists(junit) else (0, 1)
    if status not in (0, 5) and failed == 0:
        failed = 1
    if status == 1 and os.path.exists(junit) and 0 < failed <= SECOND_GO:
        saved = second_go(failures_of(junit), env)
        passed, failed = passed + saved, failed - saved
    tally.note(part, "suite", passed, failed, time.monotonic() - start)


def second_go(names, env):
    """
    Many servers at once on a small machine can be late for a test's patience. What failed runs once more by itself, for all to see;
    what fails again has failed. @return how many passed
    """
    saved = 0
    for name in names:
        args = [sys.executable, "-m", "pytest", "-q", "--no-header", "-p", "no:cacheprovider", name]
        status, output, _ = run(args, timeout=300, env=env)
        print(f"SECOND GO {'passed' if status == 0 else 'failed'}: {name}", flush=True)
        if status != 0:
            print(output.rstrip(), flush=True)
        saved += status == 0
    return saved


def part_httpd(tally, name):
    if name and os.path.exists(os.path.join(TOP, "test", "unit", f"test_{name}.c")):
        return
    run_pytest(tally, "httpd", list(httpd_files().values()), name, at_once())


# Files of the httpd suite that are about neither plane: configurations, files, documents, the harness itself, where members come from and
# who asks after their health.
ONE_PLANE = ["core", "demo", "harness", "install", "manuals", "openapi", "readme", "samples", "cache_config", "upstream_config", "discover",
             "health_prober", "admin"]
# (What is so of single tests, they say themselves: @pytest.mark.once.)
# .. and those whose scenarios HTTP/2 has no part in: pages that the classic plane makes in any case, probes, clients of raw bytes.
NOT_OVER_H2 = ["status", "health", "health_members", "clients_that_leave", "access_doors", "planes_differ"]


def again(tally, part, name, left_out, plane):
    """The scenarios once more; the files test_engine* and test_h2* say themselves which plane they want."""
    if not os.path.exists(os.path.join(TOP, "build", "modules", "mod_gate_engine.so")):
        return
    if name and os.path.exists(os.path.join(TOP, "test", "unit", f"test_{name}.c")):
        return
    chosen = [f for n, f in httpd_files().items() if n not in left_out and not n.startswith(("engine", "h2"))]
    run_pytest(tally, part, chosen, name, [*at_once(), "-rs"], {"GATE_PLANE": plane})


def part_express(tally, name):
    again(tally, "express", name, ONE_PLANE, "express")


def part_h2(tally, name):
    again(tally, "h2", name, ONE_PLANE + NOT_OVER_H2, "h2")


def part_browser(tally, name):
    if glob.glob(os.path.join(TOP, "test", "browser", "test_*.py")):
        run_pytest(tally, "browser", ["test/browser"], name)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("name", nargs="?", default="")
    parser.add_argument("--only", choices=PARTS, action="append")
    args = parser.parse_args()
    tally = Tally()
    start = time.monotonic()
    for part in PARTS:
        if args.only and part not in args.only:
            continue
        if args.name and part == "nm":
            continue
        go_on = globals()["part_" + part](tally, args.name)
        if go_on is False:
            break
    if tally.failures:
        print("failed:\n  " + "\n  ".join(tally.failures))
    print(f"took {time.monotonic() - start:.0f} s")
    print(f"{tally.passed} passed, {tally.failed} failed")
    return 1 if tally.failed or tally.passed == 0 else 0


if __name__ == "__main__":
    sys.exit(main())
