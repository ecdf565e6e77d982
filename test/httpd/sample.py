"""The sample module (sample_module.c), and what tests of status and admin share."""
import os
import subprocess

import gatehttpd
from clients import request

HERE = os.path.dirname(os.path.abspath(__file__))
EVIL = "<script>alert(1)</script>"
EVIL_GROUP = f'evil {EVIL}"\\'
# the two words that a refusal is logged with
REFUSED = r"GATE120[02]"


# the sample vouches for its verdict "down"; mod_gate_health would lift it, as that of a member that nothing checks
NO_HEALTH = [name for name in gatehttpd.OURS if name != "gate_health"]


def load_sample():
    """Builds the module and returns its LoadModule line."""
    return load_built(os.path.join(HERE, "sample_module.c"), "gate_sample")


def load_built(source, name):
    """Builds a module of the tests' own, if it is not built yet; returns its LoadModule line."""
    target = os.path.join(gatehttpd.TOP, "build", "test", f"mod_{name}.so")
    headers = [os.path.join(gatehttpd.TOP, "include", n) for n in os.listdir(os.path.join(gatehttpd.TOP, "include"))]
    if not os.path.exists(target) or os.path.getmtime(target) < max(map(os.path.getmtime, [source, *headers])):
        os.makedirs(os.path.dirname(target), exist_ok=True)
        flags = subprocess.run("apxs -q CFLAGS; apxs -q EXTRA_CPPFLAGS; echo -I$(apxs -q INCLUDEDIR); apr-1-config --includes",
                               shell=True, check=True, capture_output=True, text=True).stdout.split()
        part = f"{target}.{os.getpid()}"
        subprocess.run(["gcc", "-shared", "-fPIC", "-Wall", "-Wextra", "-Werror", "-Wno-override-init",
                        "-Wno-missing-field-initializers", *flags, f"-I{gatehttpd.TOP}/include", "-o", part, source], check=True)
        os.replace(part, target)
    return f"LoadModule {name}_module {target}\n"


def location(*lines, path="/gate-status"):
    inner = "\n".join(["    SetHandler gate-status", *(f"    {line}" for line in lines)])
    return f'<Location "{path}">\n{inner}\n</Location>\n<Location "/selfcheck">\n    SetHandler gate-selfcheck\n</Location>\n'


def ask(httpd, path, method="GET", json=None, headers=(), body=None, **words):
    """A request below /gate-status; json: becomes a JSON body with its Content-Type."""
    import json as json_module
    pairs = dict(headers)
    if json is not None:
        body = json_module.dumps(json)
        pairs.setdefault("Content-Type", "application/json")
    return request(httpd, "/gate-status/" + path, method, pairs, body, **words)


def status(httpd):
    answer = ask(httpd, "status.json")
    assert answer.status == 200, answer.body
    return answer.json()


def member_of(httpd, group, member):
    """A member as status.json has it, or None."""
    for one in status(httpd)["groups"]:
        if one["name"] == group:
            for m in one["members"]:
                if m["id"] == member:
                    return m
    return None
