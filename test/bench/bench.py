#!/usr/bin/python3
"""
bench.py [ROW ...] - what a request costs, contenders in turn, medians and ratios.

CPU is the kernel's account of the whole process tree, memory its proportional set size at the end of the load.
Without a word the rows of DESIGN.md section 8 are measured (some minutes); "full" means all; a word that is no row's name means
all rows whose name contains it; express-hit-16k-tls-close-c1000-log and the like can be asked for too (express_rows.py).
The table goes to build/bench/table.txt, the numbers to build/bench/table.json.
ROUNDS=3, SECONDS=2 (per contender and round), CONNECTIONS=64 and ONLY=nginx,gate (contenders by part of their name) can be set.
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

import access_rows  # noqa: E402  (after the path is set)
import clients  # noqa: E402
import express_rows  # noqa: E402
import gatehttpd  # noqa: E402
import measure  # noqa: E402
import peers  # noqa: E402
from lab import Lab  # noqa: E402

ROUNDS = int(os.environ.get("ROUNDS", "3"))
SECONDS = int(os.environ.get("SECONDS", "2"))
CONNECTIONS = int(os.environ.get("CONNECTIONS", "64"))
ONLY = os.environ.get("ONLY", "").split(",")
OUT = os.path.join(gatehttpd.TOP, "build", "bench")
EXPRESS = "gate express"


class Row:
    """
    contenders  name -> start function; the ones measured side by side
    goals       (contender, reference or several of which the best counts, bound): the ratio of what kind says
    kind        cpu (per request, at most the bound), throughput (at least), memory (per idle client, at most)
    needs       our modules without which the row is left out; the contender "gate express" needs mod_gate_engine as well
    hits        whether everything is answered from a cache: then the upstream has to stay idle
    refused     whether every answer is a refusal
    clients     how many at once, if not CONNECTIONS;  close: a connection per request;  h2: over h2 and TLS, streams at once on each connection
    origin      starts what stands behind them all
    """

    def __init__(self, what, contenders, goals, needs=("gate", "gate_upstream"), hits=False, refused=False, clients=0, close=False,
                 h2=False, streams=10, origin=peers.origin, kind="cpu"):
        self.what, self.contenders, self.goals, self.needs, self.hits = what, contenders, goals, needs, hits
        self.refused, self.clients, self.close, self.h2, self.origin, self.kind = refused, clients or CONNECTIONS, close, h2, origin, kind
        self.streams = streams

    def missing(self):
        return [m for m in self.needs if not gatehttpd.built(m)]

    def running(self):
        """Contenders that take part: what is built, and what ONLY names."""
        return {who: start for who, start in self.contenders.items()
                if (who != EXPRESS or gatehttpd.built("gate_engine")) and any(word in who for word in ONLY)}


def of(function, **words):
    return functools.partial(function, **words)


ROWS = {
    "classic-1k": Row(
        "1 KB proxied, three members, round-robin, keep-alive on both sides",
        {"mod_proxy_balancer": peers.balancer, "gate classic": peers.gate_classic},
        [("gate classic", "mod_proxy_balancer", 1.05)]),
    "classic-1k-tls": Row(
        "the same, clients over TLS",
        {"mod_proxy_balancer": of(peers.balancer, tls=True), "gate classic": of(peers.gate_classic, tls=True)},
        [("gate classic", "mod_proxy_balancer", 1.05)]),
    "classic-hit-1k": Row(
        "1 KB from the cache, keep-alive; and a constant from a quick handler, by httpd's filters and past them: the least there is",
        {"mod_cache_socache": peers.cache_stock, "gate classic": of(peers.gate_classic, cached=True), "constant": peers.constant,
         "constant, bare": of(peers.constant, path="/bare")},
        [(who, "mod_cache_socache", 0.75) for who in ("gate classic", "constant", "constant, bare")], needs=("gate", "gate_upstream", "gate_cache"), hits=True),
    "classic-hit-1m": Row(
        "1 MB from the cache, and the same as a file of httpd's own with sendfile off",
        {"static file": peers.static_file, "gate classic": of(peers.static_file, cached=True)},
        [("gate classic", "static file", 1.0)], needs=("gate", "gate_cache"), hits=True),
}
ROWS.update(access_rows.rows(Row))
ROWS.update(express_rows.rows(Row))

# programs that measure logic alone and print their own figures (test/bench/*_bench.c)
PROGRAMS = {"access-ipset": ("IP sets of a million prefixes: nanoseconds of CPU a look-up", ["ipset_bench", "1000000"])}

DEFAULT = [*express_rows.DESIGN, "express-slow", "express-idle", "classic-1k", "classic-hit-1k", "access-ipset"]


def chosen(words):
    """Names of rows and programs; SystemExit for a word that means none."""
    known = [*ROWS, *PROGRAMS]
    if words == ["full"]:
        return known
    found = [] if words else DEFAULT
    for word in words:
        if word not in known and express_rows.named(Row, word):
            ROWS[word] = express_rows.named(Row, word)
            known.append(word)
        several = [word] if word in known else [name for name in known if word in name]
        if not several:
            sys.exit(f"bench: no row is named {word}; there are full, {', '.join(known)}")
        found += [name for name in several if name not in found]
    return found


def plan(row):
    """(rounds, seconds): thousands need some seconds to connect, and a request of a second fills none of two."""
    if row.kind != "cpu":
        return 1, max(SECONDS, 8)
    if row.clients >= 1000:
        return max(1, ROUNDS - 1), max(SECONDS, 2 + row.clients // 2500)
    return ROUNDS, SECONDS


def run_row(name, row):
    """All rounds of one row: {contender: [measure.Sample]}."""
    lab = Lab()
    samples = {}
    try:
        ports, origin = row.origin(lab)
        running = {who: start(lab, ports) for who, start in row.running().items()}
        if row.kind == "memory":
            return {who: [measure.idle(url, pid)] for who, (url, pid) in running.items()}
        rounds, seconds = plan(row)
        for who, (url, pid) in running.items():
            samples[who] = []
            if row.hits:
                clients.curl(url)  # by one client alone, so that the answer is there before a crowd comes
            measure.load(url, pid or origin, 1, row)
        for number in range(rounds):
            # the order turns, so that nobody always follows the same neighbour
            turn = number % len(running)
            for who in (list(running) * 2)[turn:turn + len(running)]:
                url, pid = running[who]
                before = measure.cpu_seconds(origin)
                samples[who].append(measure.load(url, pid or origin, seconds, row))
                if row.hits and measure.cpu_seconds(origin) - before > 0.02 * seconds:
                    samples[who][-1].wrong = "asks the upstream, so this measures no hits"
                print(f"{name} round {number + 1}/{rounds} {who}: {samples[who][-1]}", file=sys.stderr, flush=True)
        return samples
    finally:
        problems = lab.close()
        lab.remove()
        if problems:
            print("\n".join(problems), file=sys.stderr)


def run_program(args):
    subprocess.run(["make", "--no-print-directory", "-s", "-f", "apxs.mk", "bench_programs"], cwd=gatehttpd.TOP, check=True,
                   stdout=subprocess.DEVNULL)
    done = subprocess.run([os.path.join(gatehttpd.TOP, "build", "bench", args[0]), *args[1:]], capture_output=True, text=True, check=True)
    return done.stdout.splitlines()


VALUES = {"cpu": "usec", "throughput": "rps", "memory": "per_client"}


def best_of(row, samples, references):
    """The better one of several, over the whole run."""
    better = max if row.kind == "throughput" else min
    return better(references, key=lambda who: statistics.median(getattr(s, VALUES[row.kind]) for s in samples[who]))


def ratio_of(row, samples, who, reference):
    """Median over the rounds, each against the reference's same round, so that a slow minute of the machine meets both."""
    value = VALUES[row.kind]
    return statistics.median(getattr(mine, value) / getattr(theirs, value) for mine, theirs in zip(samples[who], samples[reference]))


def verdict(row, samples, who, reference, bound):
    """One goal: (text, numbers)."""
    references = [reference] if isinstance(reference, str) else list(reference)
    there = [r for r in references if r in samples and not any(s.wrong for s in samples[r])]
    if who not in samples or not there:
        return f"  {who} / {' or '.join(references)}: not measured", None
    wrong = next((s.wrong for s in samples[who] if s.wrong), None)
    best = best_of(row, samples, there)
    ratio = ratio_of(row, samples, who, best)
    at_least = row.kind == "throughput"
    met = not wrong and (ratio >= bound if at_least else ratio <= bound)
    text = f"  {who} / {best}{', the best' if len(there) > 1 else ''}: {ratio:.3f}, at {'least' if at_least else 'most'} {bound:.2f}: {'met' if met else 'MISSED'}"
    return text, {"of": who, "to": best, "ratio": ratio, "bound": bound, "at_least": at_least, "met": met}


def table(name, row, samples):
    """Text and numbers of one row."""
    lines = [f"{name}: {row.what}"]
    lines.append("  " + measure.HEADINGS[row.kind])
    reference = EXPRESS if EXPRESS in samples and len(samples) > 2 and not any(s.wrong for s in samples[EXPRESS]) else None
    numbers = {"what": row.what, "contenders": {}, "goals": []}
    for who, many in samples.items():
        lines.append("  " + measure.line(row.kind, who, many))
        wrong = next((s.wrong for s in many if s.wrong), None)
        if wrong:
            lines.append(f"  {'':14} ^ {wrong}")
        elif reference and who != reference:
            lines[-1] += f" {ratio_of(row, samples, reference, who):8.2f}"
        numbers["contenders"][who] = [vars(s) for s in many]
    for goal in row.goals:
        text, data = verdict(row, samples, *goal)
        lines.append(text)
        if data:
            numbers["goals"].append(data)
    return lines, numbers


def write(lines, numbers):
    os.makedirs(OUT, exist_ok=True)
    with open(os.path.join(OUT, "table.txt"), "w", encoding="utf-8") as file:
        file.write("\n".join(lines) + "\n")
    with open(os.path.join(OUT, "table.json"), "w", encoding="utf-8") as file:
        json.dump(numbers, file, indent=1)


def main():
    names = chosen(sys.argv[1:])
    files = peers.raise_limits()
    lines = [f"Gatehouse bench, {time.strftime('%Y-%m-%d %H:%M')}, {os.cpu_count()} cores, {ROUNDS} rounds of {SECONDS} s, "
             f"{CONNECTIONS} clients where a row does not say; two workers each; CPU of the whole process tree. "
             f"Last column: {EXPRESS} / that one", ""]
    numbers = {}
    for name in names:
        if name in PROGRAMS:
            what, args = PROGRAMS[name]
            numbers[name] = run_program(args)
            lines += [f"{name}: {what}", *("  " + line for line in numbers[name]), ""]
        elif ROWS[name].missing():
            lines += [f"{name}: left out, not built: {', '.join(ROWS[name].missing())}", ""]
        elif 2 * ROWS[name].clients > files:
            lines += [f"{name}: left out, {ROWS[name].clients} clients need {2 * ROWS[name].clients} descriptors, there are {files}", ""]
        else:
            text, numbers[name] = table(name, ROWS[name], run_row(name, ROWS[name]))
            lines += text + [""]
            print("\n".join(text), file=sys.stderr, flush=True)
        write(lines, numbers)
    print("\n".join(lines) + f"written to {os.path.relpath(OUT, gatehttpd.TOP)}/table.txt")


if __name__ == "__main__":
    main()
