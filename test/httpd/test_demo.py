"""The demo of ./build.sh run, without its apt and make steps: serves, survives a dead member, leaves nothing behind."""
import json
import os
import re
import signal
import subprocess

import pytest

import gatehttpd
import procs
from clients import curl, get

DEMO = os.path.join(gatehttpd.TOP, "test", "demo", "demo.py")
pytestmark = pytest.mark.needs("gate", "gate_upstream")


@pytest.fixture
def demo(tmp_path):
    port, tls_port = procs.free_port(), procs.free_port()
    out = tmp_path / "out"
    with open(out, "wb") as file:
        child = subprocess.Popen(["/usr/bin/python3", DEMO], stdout=file, stderr=file, stdin=subprocess.DEVNULL,
                                 env=dict(os.environ, PORT=str(port), TLS_PORT=str(tls_port), RESTART="1"))
    try:
        procs.wait_until(lambda: "Ctrl-C ends it" in out.read_text() or child.poll() is not None, 20, "demo starts")
        assert child.poll() is None, out.read_text()
        yield child, port, tls_port, out
    finally:
        if child.poll() is None:
            child.terminate()
            child.wait(30)


def test_page_and_members(demo):
    _, port, tls_port, _ = demo
    page = get(port, "/")
    assert "This page was served by" in page.text and re.search(r'class="big m[123]"', page.text)
    assert {get(port, "/whoami").json()["member"] for _ in range(12)} == {"m1", "m2", "m3"}
    answer = curl(f"https://localhost:{tls_port}/whoami")[1]
    assert answer.raw.startswith("HTTP/2 200") and json.loads(answer.body)["proto"] == "https"


def test_killed_member_is_not_missed_and_comes_back(demo):
    _, port, _, out = demo
    pid = int(re.search(r"kill -9 (\d+)", out.read_text()).group(1))
    os.kill(pid, signal.SIGKILL)
    answers = [get(port, "/whoami") for _ in range(30)]
    assert [a.status for a in answers] == [200] * 30
    procs.wait_until(lambda: "m1 is back" in out.read_text(), 10, "m1 is back")


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_ends_cleanly(demo, number):
    child, port, tls_port, out = demo
    root = re.search(r"tail -f (\S+)/logs/access.log", out.read_text()).group(1)
    pids = procs.tree_of(child.pid)
    assert len(pids) > 5
    child.send_signal(number)
    assert child.wait(20) == 0, out.read_text()
    assert not os.path.exists(root)
    assert [p for p in pids if os.path.exists(f"/proc/{p}")] == []
    assert not {port, tls_port} & procs.listening_ports()


def test_taken_port_is_named(lab):
    member = lab.upstream()
    done = subprocess.run(["/usr/bin/python3", DEMO], env=dict(os.environ, PORT=str(member.port)), text=True,
                          capture_output=True, timeout=20, check=False)
    assert done.returncode == 1 and f"port {member.port} cannot be used" in done.stderr
