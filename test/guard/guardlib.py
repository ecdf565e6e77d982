"""What the guards share: the sources of the modules and a way to report."""
import glob
import os
import re
import subprocess
import sys

TOP = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
MODULES = ["core", "upstream", "health", "cache", "access", "status", "engine"]


def read(path):
    with open(os.path.join(TOP, path), errors="replace") as file:
        return file.read()


def exists(path):
    return os.path.exists(os.path.join(TOP, path))


def find(pattern):
    """Paths below the top folder, relative to it, sorted."""
    found = glob.glob(os.path.join(TOP, pattern), recursive=True)
    return sorted(os.path.relpath(p, TOP) for p in found if os.path.isfile(p))


def sources(module):
    return find(f"modules/{module}/**/*.c") + find(f"modules/{module}/**/*.h")


def without_comments(text):
    """C text with comments blanked out, line numbers kept."""
    def blank(match):
        word = match.group(0)
        return word if word[0] in "\"'" else re.sub(r"[^\n]", " ", word)
    return re.sub(r'"(?:\\.|[^"\\\n])*"|\'(?:\\.|[^\'\\\n])*\'|/\*.*?\*/|//[^\n]*', blank, text, flags=re.S)


def line_of(text, at):
    return text.count("\n", 0, at) + 1


def make_list():
    """What apxs.mk knows: {"module": [...], "source": [...], "logic": [...]}."""
    text = subprocess.run(["make", "-s", "--no-print-directory", "-f", "apxs.mk", "list"], cwd=TOP, check=True,
                          capture_output=True, text=True).stdout
    found = {"module": [], "source": [], "logic": []}
    for line in text.splitlines():
        kind, word = line.split(None, 1)
        found[kind].append(word)
    return found


def finish(problems):
    for problem in problems:
        print(problem)
    sys.exit(1 if problems else 0)
