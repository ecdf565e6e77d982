"""mod_gate: the arena, its directives, seats of children that end."""
import os
import re
import subprocess

import pytest

import gatehttpd
from clients import get, post
from procs import wait_until

CHECK = '<Location "/selfcheck">\n  SetHandler gate-selfcheck\n</Location>\n'

pytestmark = pytest.mark.needs("gate")


def selfcheck(httpd):
    answer = get(httpd.port, "/selfcheck")
    assert (answer.status, answer.body.split(b"\n")[0]) == (200, b"ok"), answer.body
    return dict(line.split() for line in answer.body.decode().splitlines()[1:])


def test_selfcheck(lab):
    httpd = lab.httpd(conf=CHECK)
    assert selfcheck(httpd)["generation"] == "1"
    answer = post(httpd.port, "/selfcheck", body=b"x")
    assert answer.status == 405


def test_graceful_restarts_keep_the_arena(lab):
    httpd = lab.httpd(conf=CHECK)
    memory = selfcheck(httpd)["memory"]
    for generation in range(2, 6):
        httpd.graceful()
        said = selfcheck(httpd)
        assert (said["generation"], said["memory"]) == (str(generation), memory)


def test_killed_children(lab):
    httpd = lab.httpd(conf=CHECK, children=3)
    for _ in range(20):
        httpd.kill_child()
        selfcheck(httpd)
    httpd.expect("AH10392: children are killed successively", r"AH00052: child pid \d+ exit signal Killed")


def early_end():
    """Builds early_end.c; returns the library."""
    target = os.path.join(gatehttpd.TOP, "build", "test", "early_end.so")
    source = os.path.join(os.path.dirname(os.path.abspath(__file__)), "early_end.c")
    if not os.path.exists(target) or os.path.getmtime(target) < os.path.getmtime(source):
        os.makedirs(os.path.dirname(target), exist_ok=True)
        part = f"{target}.{os.getpid()}"
        subprocess.run(["gcc", "-O2", "-shared", "-fPIC", "-Wall", "-Wextra", "-Werror", "-o", part, source, "-ldl"], check=True)
        os.replace(part, target)
    return target


@pytest.mark.skipif(os.geteuid() != 0, reason="only root's children drop their rights")
@pytest.mark.parametrize("mpm", ["event", "worker", "prefork"])
def test_a_child_that_is_told_to_end_while_it_begins(lab, mpm):
    """SIGTERM in the midst of initgroups(): within the handler everything would be freed, while the C library allocates."""
    httpd = lab.httpd(start=False, mpm=mpm, children=1, threads=2)
    httpd.preloaded = [early_end()]
    httpd.env["EARLY_END"] = httpd.write_file("logs/early", "")
    httpd.start()
    wait_until(lambda: httpd.read_file("logs/early.at"), 10, "the end of a child")
    assert httpd.read_file("logs/early.at") == "behind\n"
    assert get(httpd.port, "/").status == 200


def test_memory_is_checked_and_explained(lab):
    httpd = lab.httpd(start=False, conf="GateMemory 12x")
    assert "GateMemory: '12x' " in httpd.check()[1]
    for bad in ("1M", "-5M", "x", "65G", "8M M"):
        httpd.write_conf(conf=f'GateMemory "{bad}"')
        assert f"GateMemory: '{bad}'" in httpd.check()[1], bad


def test_trap_69_no_shared_memory_in_files(lab):
    """Containers have 64 MB in /dev/shm, or none: nothing of ours is there, nor in any other file system."""
    httpd = lab.httpd(conf=CHECK)
    selfcheck(httpd)
    with open(f"/proc/{httpd.pid()}/maps") as file:
        shared = [line.split(None, 5) for line in file if re.match(r"\S+ ...s ", line)]
    assert sum(int(b, 16) - int(a, 16) for a, b in (line[0].split("-") for line in shared)) > 1 << 20
    assert {line[5].strip() for line in shared} <= {"/dev/zero (deleted)"}


def test_memory_too_small_names_what_would_do(lab):
    """Trap 69, too: the size that would do is named."""
    members = "\n".join(f"  GateMember http://127.0.0.1:{9000 + i}" for i in range(4000))
    httpd = lab.httpd(start=False, conf=f"GateMemory 8M\n<GateUpstream big>\n{members}\n</GateUpstream>\n")
    if "Invalid command" in httpd.check()[1]:
        pytest.skip("mod_gate_upstream is not built")
    with pytest.raises(Exception):
        httpd.start()
    said = re.search(r"GATE0001: GateMemory: 8M is not enough: this configuration needs \d+K \(registry \d+K, .*\); "
                     r"set GateMemory (\d+)M or more", httpd.error_log() + httpd.read_file("logs/stderr.log"))
    assert said
    httpd.expect("GATE0001", "AH00020: Configuration Failed")
    httpd.write_conf(conf=f"GateMemory {said.group(1)}M\n<GateUpstream big>\n{members}\n</GateUpstream>\n")
    httpd.start()


@pytest.mark.parametrize("line", ["<VirtualHost *:1>\nGateMemory 32M\n</VirtualHost>",
                                  "<VirtualHost *:1>\nGateStateFile x\n</VirtualHost>"])
def test_server_wide_directives(lab, line):
    assert "cannot occur within <VirtualHost> section" in lab.httpd(start=False, conf=line).check()[1]


def test_state_file_directive(lab):
    httpd = lab.httpd(start=False)
    for good in ("off", "logs/gatehouse.state"):
        httpd.write_conf(conf=f"GateStateFile {good}")
        assert "Syntax OK" in httpd.check()[1]
