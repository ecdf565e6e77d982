#!/usr/bin/python3
"""
bench.py [ROW ...] - CPU per request of the whole process tree, contenders in turn, medians and ratios.

Rows that the words name (all if none does) are measured; the table goes to build/bench/table.txt, the numbers to
build/bench/table.json. ROUNDS=5, SECONDS=3 (per contender and round) and CONNECTIONS=32 can be set.
A further row is an entry of ROWS; a further contender a function of peers.py: (lab, member ports, ...) -> (url, pid).
"""
import functools
import json
import os
import statistics
import subprocess
import sys
import time

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(os.path.dirname(HERE), "httpd"))
sys.path.insert(0, HERE)

import access_rows  # noqa: E402
import clients  # noqa: E402  (after the path is set)
import gatehttpd  # noqa: E402
import peers  # noqa: E402
import procs  # noqa: E402
from lab import Lab  # noqa: E402

ROUNDS = int(os.environ.get("ROUNDS", "5"))
SECONDS = int(os.environ.get("SECONDS", "3"))
CONNECTIONS = int(os.environ.get("CONNECTIONS", "32"))
TICK = os.sysconf("SC_CLK_TCK")
OUT = os.path.join(gatehttpd.TOP, "build", "bench")


class Row:
    """
    contenders  name -> start function; the ones measured side by side
    goals       (contender, reference, at most): the ratio of their CPU per request
    needs       our modules without which the row is left out
    hits        whether everything is answered from a cache: then the upstream has to stay idle
    refused     whether every answer is a refusal
    """

    def __init__(self, what, contenders, goals, needs=("gate", "gate_upstream"), hits=False, refused=False):
        self.what, self.contenders, self.goals, self.needs, self.hits = what, contenders, goals, needs, hits
        self.refused = refused


def over_tls(function):
    return functools.partial(function, tls=True)


def cached(function):
    return functools.partial(function, cached=True)


ROWS = {
    "classic-1k": Row(
        "1 KB proxied, three members, round-robin, keep-alive on both sides",
        {"mod_proxy_balancer": peers.balancer, "gate classic": peers.gate_classic, "nginx": peers.nginx,
         "haproxy": peers.haproxy},
        [("gate classic", "mod_proxy_balancer", 1.05)]),
    "classic-1k-tls": Row(
        "the same, clients over TLS",
        {"mod_proxy_balancer": over_tls(peers.balancer), "gate classic": over_tls(peers.gate_classic),
         "nginx": over_tls(peers.nginx), "haproxy": over_tls(peers.haproxy)},
        [("gate classic", "mod_proxy_balancer", 1.05)]),
    "classic-hit-1k": Row(
        "1 KB from the cache, keep-alive",
        {"mod_cache_socache": peers.cache_socache, "gate classic": cached(peers.gate_classic),
         "nginx": cached(peers.nginx), "haproxy": cached(peers.haproxy), "varnish": peers.varnish},
        [("gate classic", "mod_cache_socache", 0.75)], needs=("gate", "gate_upstream", "gate_cache"), hits=True),
    "classic-hit-1m": Row(
        "1 MB from the cache, and the same as a file of httpd's own with sendfile off",
        {"static file": peers.static_file, "gate classic": cached(peers.static_file)},
        [("gate classic", "static file", 1.0)], needs=("gate", "gate_cache"), hits=True),
}
ROWS.update(access_rows.rows(Row))

# programs that measure logic alone and print their own figures (test/bench/*_bench.c)
PROGRAMS = {"access-ipset": ("IP sets of a million prefixes: nanoseconds of CPU a look-up", ["ipset_bench", "1000000"])}


def cpu_seconds(pid):
    """User and system time of a process and all below it, with what ended children left to their parents."""
    total = 0
    for one in procs.tree_of(pid):
        fields = procs.stat_of(one)
        if fields:
            total += sum(int(n) for n in fields[11:15])
    return total / TICK


class Sample:
    def __init__(self, usec, rps):
        self.usec, self.rps = usec, rps


def measure(url, pid, seconds, refused=False):
    """One round against one contender."""
    before = cpu_seconds(pid)
    load = clients.wrk(url, seconds=seconds, connections=CONNECTIONS)
    used = cpu_seconds(pid) - before
    good = load.bad >= load.requests - 2 if refused else load.bad == 0 and load.errors == 0
    if not good or not load.requests or used <= 0:
        raise AssertionError(f"{url}: {load.errors} socket errors, {load.bad} bad answers, {used} s of CPU\n{load.text}")
    return Sample(1e6 * used / load.requests, load.rps)


def run_row(name, row):
    """All rounds of one row: {contender: [Sample]}."""
    lab = Lab()
    try:
        ports, origin = peers.origin(lab)
        running = {who: start(lab, ports) for who, start in row.contenders.items()}
        for who, (url, pid) in running.items():
            measure(url, pid, 1, row.refused)
        samples = {who: [] for who in running}
        for number in range(ROUNDS):
            # the order turns, so that nobody always follows the same neighbour
            order = list(running)
            order = order[number % len(order):] + order[:number % len(order)]
            for who in order:
                before = cpu_seconds(origin)
                samples[who].append(measure(*running[who], SECONDS, row.refused))
                if row.hits and cpu_seconds(origin) - before > 0.02 * SECONDS:
                    raise AssertionError(f"{name}: {who} asks the upstream, so this measures no hits")
                print(f"{name} round {number + 1}/{ROUNDS} {who}: {samples[who][-1].usec:.1f} us", file=sys.stderr, flush=True)
        return samples
    finally:
        problems = lab.close()
        lab.remove()
        if problems:
            print("\n".join(problems), file=sys.stderr)


def table(name, row, samples):
    """Text and numbers of one row."""
    lines = [f"{name}: {row.what}", f"  {'':22} {'us/request':>10} {'from':>7} {'to':>7} {'req/s':>8}"]
    numbers = {"what": row.what, "contenders": {}, "ratios": []}
    median = {}
    for who, many in samples.items():
        usecs = [s.usec for s in many]
        median[who] = statistics.median(usecs)
        rps = statistics.median(s.rps for s in many)
        lines.append(f"  {who:22} {median[who]:10.1f} {min(usecs):7.1f} {max(usecs):7.1f} {rps:8.0f}")
        numbers["contenders"][who] = {"usec": usecs, "median_usec": median[who], "rps": rps}
    for who, reference, most in row.goals:
        # round by round, so that a slow minute of the machine meets both
        ratio = statistics.median(a.usec / b.usec for a, b in zip(samples[who], samples[reference]))
        word = "met" if ratio <= most else "MISSED"
        lines.append(f"  {who} / {reference}: {ratio:.3f}, at most {most:.2f}: {word}")
        numbers["ratios"].append({"of": who, "to": reference, "ratio": ratio, "at_most": most})
    return lines, numbers


def run_program(args):
    subprocess.run(["make", "--no-print-directory", "-s", "-f", "apxs.mk", "bench_programs"], cwd=gatehttpd.TOP, check=True,
                   stdout=subprocess.DEVNULL)
    done = subprocess.run([os.path.join(gatehttpd.TOP, "build", "bench", args[0]), *args[1:]], capture_output=True, text=True, check=True)
    return done.stdout.splitlines()


def main():
    words = sys.argv[1:]
    chosen = {n: r for n, r in ROWS.items() if not words or any(w in n for w in words)}
    programs = {n: p for n, p in PROGRAMS.items() if not words or any(w in n for w in words)}
    if not chosen and not programs:
        sys.exit(f"bench: no row of that name; there are {', '.join([*ROWS, *PROGRAMS])}")
    lines = [f"Gatehouse bench, {time.strftime('%Y-%m-%d %H:%M')}, {os.cpu_count()} cores, {ROUNDS} rounds of {SECONDS} s, "
             f"{CONNECTIONS} connections; CPU of the whole process tree", ""]
    numbers = {}
    for name, row in chosen.items():
        missing = [m for m in row.needs if not gatehttpd.built(m)]
        if missing:
            lines += [f"{name}: left out, not built: {', '.join(missing)}", ""]
            continue
        text, numbers[name] = table(name, row, run_row(name, row))
        lines += text + [""]
    for name, (what, args) in programs.items():
        numbers[name] = run_program(args)
        lines += [f"{name}: {what}", *("  " + line for line in numbers[name]), ""]
    os.makedirs(OUT, exist_ok=True)
    with open(os.path.join(OUT, "table.txt"), "w") as file:
        file.write("\n".join(lines))
    with open(os.path.join(OUT, "table.json"), "w") as file:
        json.dump(numbers, file, indent=1)
    print("\n".join(lines) + f"written to {os.path.relpath(OUT, gatehttpd.TOP)}/table.txt")


if __name__ == "__main__":
    main()
