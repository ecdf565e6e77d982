"""mod_gate_access: sets, Require gate-set, GateDrop; files that change, break and grow."""
import os
import socket
import threading
import time

import pytest

from access_conf import REMOTE, UNTRUSTED, as_client, section
from clients import Crowd, get
from keepalive import KeepAlive
from procs import wait_until

pytestmark = pytest.mark.needs("gate_access")
CONFIGURATION = pytest.mark.once("what httpd -t says")
REFUSED = "AH01630: client denied by server configuration"  # mod_authz_core says it of each

def serve(lab, *args, **words):
    httpd = lab.httpd(*args, **dict(words, start=False))
    httpd.expect(REFUSED)
    return httpd if words.get("start") is False else httpd.start()


def status(httpd, address, path="/"):
    """404 for whoever is let in (there is nothing at these paths), 403 for who is not."""
    return get(httpd.port, path.rstrip("/") + "/nothing", headers=as_client(address)).status


def test_require_gate_set(lab):
    httpd = serve(lab, conf=REMOTE + "GateIPSet office 192.0.2.0/24 !192.0.2.9 2001:db8::/32\n"
                      + section("Require gate-set office"))
    for address, allowed in (("192.0.2.1", True), ("::ffff:192.0.2.1", True), ("192.0.2.9", False), ("198.51.100.1", False),
                             ("2001:db8::7", True), ("2001:db9::7", False)):
        assert (status(httpd, address) != 403) == allowed, address
    assert [line["access"] for line in httpd.access(6)].count("denied") == 3


def test_sets_in_require_any_all_none(lab):
    conf = (REMOTE + "GateIPSet a 192.0.2.0/24\nGateIPSet b 192.0.2.128/25\n"
            + section("<RequireAny>", "Require gate-set b", "Require expr %{HTTP:X-Pass} == 'yes'", "</RequireAny>", path="/any")
            + section("<RequireAll>", "Require gate-set a", "<RequireNone>", "Require gate-set b", "</RequireNone>", "</RequireAll>",
                      path="/all")
            + section("Require gate-set b nothere a", path="/many").replace("nothere ", ""))
    httpd = serve(lab, conf=conf)
    assert status(httpd, "192.0.2.200", "/any") == 404
    assert status(httpd, "192.0.2.1", "/any") == 403
    assert get(httpd.port, "/any/nothing", headers={"X-Client": "192.0.2.1", "X-Pass": "yes"}).status == 404
    assert (status(httpd, "192.0.2.1", "/all"), status(httpd, "192.0.2.200", "/all"), status(httpd, "10.0.0.1", "/all")) == (404, 403, 403)
    assert status(httpd, "192.0.2.1", "/many") == 404


def test_no_rule_in_a_set_file_is_lost(lab):
    """Directive and file together; comments, mapped addresses, zone ids."""
    httpd = serve(lab, start=False)
    path = httpd.write_file("conf/office.txt", "# office\n\n203.0.113.0/24 ; net\n!203.0.113.7\n::ffff:198.51.100.1\nfe80::1%eth0\n")
    httpd.write_conf(conf=REMOTE + f"GateIPSet office 192.0.2.1 file={path}\n" + section("Require gate-set office"))
    httpd.start()
    got = {a: status(httpd, a) for a in ("192.0.2.1", "203.0.113.1", "203.0.113.7", "198.51.100.1", "fe80::1", "192.0.2.2")}
    assert got == {"192.0.2.1": 404, "203.0.113.1": 404, "203.0.113.7": 403, "198.51.100.1": 404, "fe80::1": 404, "192.0.2.2": 403}


# ---- what is wrong with a configuration -----------------------------------------------------------------------------------

@CONFIGURATION
@pytest.mark.parametrize("conf, said", [
    ("GateIPSet a 10.0.0.0/40", "GateIPSet a: '10.0.0.0/40' has no prefix length from 0 to 32"),
    ("GateIPSet a 10.0.0", "GateIPSet a: '10.0.0' is not an IPv4 or IPv6 address or prefix"),
    ("GateIPSet a file=", "names no file"),
    ("GateIPSet a file=conf/none.txt", "conf/none.txt cannot be read: No such file"),
    ("GateIPSet a", "takes a name, and prefixes"),
    ("GateIPSet 'a b' 10.0.0.1", "GateIPSet: 'a b'"),
    ("GateIPSet a 10.0.0.1\nGateIPSet a 10.0.0.2", "there is already a set 'a', at "),
    ("<VirtualHost *:1>\nGateIPSet a 10.0.0.1\n</VirtualHost>", "GateIPSet"),
    ("GateIPSet office 10.0.0.1\n<Location />\nRequire gate-set ofice\n</Location>",
     "Require gate-set: there is no set 'ofice'"),
    ("GateIPSet office 10.0.0.1\nGateDrop ofice", "did you mean 'office'?"),
    ("GateIPSet office 10.0.0.1\nGateBan status=401 count=1 window=1s for=1s exempt=ofice", "GateBan: there is no set 'ofice'"),
    ("<Location />\nRequire gate-set\n</Location>", "names no set"),
    ("<Location />\nGateDrop off\n</Location>", "GateDrop"),
])
def test_bad_configuration(lab, conf, said):
    httpd = serve(lab, start=False, conf=conf)
    good, text = httpd.check()
    assert not good and said in text + httpd.error_log(), text + httpd.error_log()


@CONFIGURATION
def test_bad_line_of_a_file(lab):
    httpd = serve(lab, start=False)
    path = httpd.write_file("conf/bad.txt", "10.0.0.1\n\n10.0.0.300 # typo\n")
    httpd.write_conf(conf=f"GateIPSet a file={path}")
    good, text = httpd.check()
    assert not good and f"{path}:3: '10.0.0.300' is not an IPv4 or IPv6 address" in text


def test_host_bits_are_said(lab):
    httpd = serve(lab, start=False)
    path = httpd.write_file("conf/odd.txt", "10.0.0.0/8\n172.16.5.0/12\n")
    httpd.write_conf(conf=f"GateIPSet a 192.0.2.77/24 file={path}")
    httpd.expect("GATE1001", "GATE1004")
    httpd.start()
    log = httpd.error_log()
    assert log.count("GATE1001: GateIPSet a: '192.0.2.77/24' has bits set behind its prefix length: read as 192.0.2.0/24") == 1
    assert f"{path}:2: '172.16.5.0/12' has bits set behind its prefix length: read as 172.16.0.0/12" in log


# ---- files that change ------------------------------------------------------------------------------------------------------

def replace(path, text):
    with open(path + ".new", "w", encoding="utf-8") as file:
        file.write(text)
    os.chmod(path + ".new", 0o644)
    os.replace(path + ".new", path)


def watched(lab, text, **words):
    httpd = serve(lab, start=False, **words)
    path = httpd.write_file("conf/office.txt", text)
    httpd.write_conf(conf=REMOTE + f"GateIPSet office file={path}\n" + section("Require gate-set office"))
    httpd.start()
    return httpd, path


def test_a_changed_file_counts_within_two_seconds(lab):
    httpd, path = watched(lab, "192.0.2.1\n", children=3)
    assert (status(httpd, "192.0.2.1"), status(httpd, "192.0.2.2")) == (404, 403)
    for turn in range(3):
        one, other = ("192.0.2.2", "192.0.2.1") if turn % 2 == 0 else ("192.0.2.1", "192.0.2.2")
        replace(path, f"{one}\n")
        began = time.monotonic()
        wait_until(lambda: status(httpd, one) == 404, 10, "the new set")
        assert time.monotonic() - began < 4  # 2 s by design; the machine may be busy
        assert [status(httpd, other) for _ in range(20)] == [403] * 20
    httpd.wait_log("GATE1006: set office: read again, 1 prefixes", count=3)


def test_a_broken_file_changes_nothing(lab):
    httpd, path = watched(lab, "192.0.2.1\n")
    replace(path, "192.0.2.1\n192.0.2.2\nnonsense\n")
    httpd.wait_log(rf"GATE1005: set office: {path}:3: 'nonsense' is not an IPv4 or IPv6 address.*stays as it was \(1 prefixes\)")
    assert (status(httpd, "192.0.2.1"), status(httpd, "192.0.2.2")) == (404, 403)
    os.unlink(path)
    httpd.wait_log("GATE1005: set office: a file of it is not there")
    assert status(httpd, "192.0.2.1") == 404
    replace(path, "192.0.2.2\n")
    wait_until(lambda: status(httpd, "192.0.2.2") == 404, 10, "the repaired set")
    assert status(httpd, "192.0.2.1") == 403
    assert httpd.error_log().count("GATE1005") == 2


def test_a_grown_file_needs_a_restart_and_says_so(lab):
    httpd, path = watched(lab, "192.0.2.1\n")
    big = "".join(f"10.{i >> 16 & 255}.{i >> 8 & 255}.{i & 255}\n" for i in range(0, 800000, 3)) + "192.0.2.2\n"
    replace(path, big)
    httpd.wait_log("GATE1005: set office: has grown to more than four times what it was: it takes up its new size with a graceful")
    assert (status(httpd, "192.0.2.1"), status(httpd, "192.0.2.2")) == (404, 403)
    httpd.graceful()
    wait_until(lambda: status(httpd, "192.0.2.2") == 404, 10, "the set of the new generation")
    assert (status(httpd, "192.0.2.1"), status(httpd, "10.0.0.3")) == (403, 404)


def test_the_watcher_dies(lab):
    """Whoever watches is killed: another child goes on."""
    httpd, path = watched(lab, "192.0.2.1\n", children=3)
    httpd.expect("AH10392: children are killed successively", r"AH00052: child pid \d+ exit signal Killed")
    for turn in range(3):
        time.sleep(0.6)
        for pid in httpd.child_pids():
            httpd.kill_child(pid)
        replace(path, f"192.0.2.{turn + 2}\n")
        wait_until(lambda: status(httpd, f"192.0.2.{turn + 2}") == 404, 12, "the new set")
        assert status(httpd, f"192.0.2.{turn + 1}") == 403


def test_no_request_is_answered_by_half_a_set(lab):
    """Either of two sets allows exactly one of two clients: under load and replacements, never none and never both for long."""
    body = [f"10.{v}.{i >> 8}.{i & 255}\n" for v in (0, 1) for i in range(5000)]
    sets = ["".join(body[:5000]), "".join(body[5000:])]
    httpd, path = watched(lab, sets[0], children=2)
    answers, stop = [], threading.Event()

    def ask():
        with KeepAlive(httpd.port) as c:
            while not stop.is_set():
                # 10.2.0.1 is in neither version; 10.0.19.135 is the last of the one, 10.1.19.135 of the other
                got = [c.get("/nothing", as_client(a)).status
                       for a in ("10.2.0.1", "10.0.19.135", "10.1.19.135", "10.0.19.136")]
                answers.append(got)
    threads = [threading.Thread(target=ask) for _ in range(4)]
    for t in threads:
        t.start()
    for turn in range(4):
        replace(path, sets[(turn + 1) % 2])
        httpd.wait_log("GATE1006", count=turn + 1)
    stop.set()
    for t in threads:
        t.join()
    assert len(answers) > 50
    assert all(a[0] == 403 and a[3] == 403 for a in answers)
    # the two clients are asked one after the other: a change may lie between them, so both may be in or out once per change and thread
    odd = [a for a in answers if (a[1] == 404) == (a[2] == 404)]
    assert len(odd) <= 4 * 4
    assert {404, 403} == {a[1] for a in answers} == {a[2] for a in answers}


def test_reload_of_sets_under_load(lab):
    httpd, path = watched(lab, "127.0.0.1\n::1\n10.0.0.0/8\n", children=2)
    with Crowd(httpd.port, clients=4, path="/nothing", check=lambda r: None if r.status == 404 else f"status {r.status}") as crowd:
        for turn in range(3):
            replace(path, f"127.0.0.1\n::1\n10.0.0.0/{9 + turn}\n")
            httpd.graceful()
            assert (status(httpd, "10.0.0.1"), status(httpd, "11.0.0.1")) == (404, 403)
            crowd.wait(20)
    assert not crowd.failures


# ---- GateDrop ---------------------------------------------------------------------------------------------------------------

REQUEST = b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"


def closed_unheard(port, send):
    """(Without a byte the kernel would not even hand the connection over: AcceptFilter.)"""
    with socket.create_connection(("127.0.0.1", port), timeout=5) as s:
        try:
            s.sendall(send)
            return s.recv(100) == b""
        except ConnectionResetError:
            return True


def test_drop(lab):
    httpd = serve(lab, conf="GateIPSet bad 127.0.0.0/8\nGateDrop bad\n", children=2)
    assert closed_unheard(httpd.port, REQUEST)
    assert closed_unheard(httpd.port, b"?")  # not even a request: nothing of it is read
    assert httpd.access() == []


def test_drop_before_tls(lab):
    httpd = serve(lab, conf="GateIPSet bad 127.0.0.0/8\n", vhost="GateDrop bad\n", tls=True)
    assert get(httpd.port, "/nothing").status == 404  # another vhost
    assert closed_unheard(httpd.tls_port, b"\x16\x03\x01")


def test_drop_off_and_inherited(lab):
    conf = "GateIPSet bad 127.0.0.0/8\nGateDrop bad\n"
    httpd = serve(lab, conf=conf, vhost="GateDrop off\n", tls=True)
    assert closed_unheard(httpd.port, REQUEST)
    assert get(httpd.tls_port, "/nothing", tls=True).status == 404
    httpd = serve(lab, conf=conf, vhost="", tls=True)
    assert closed_unheard(httpd.tls_port, b"\x16")


@pytest.mark.h1("the name is in the Host of a request in the clear")
def test_drop_of_a_vhost_by_name(lab):
    """Which vhost is meant is known only with the first request: then its connection ends without an answer."""
    httpd = serve(lab, conf="GateIPSet bad 127.0.0.0/8\n<VirtualHost *:${PORT}>\nServerName first\n</VirtualHost>\n"
                           "<VirtualHost *:${PORT}>\nServerName second\nGateDrop bad\n</VirtualHost>\n")
    assert get(httpd.port, "/nothing", headers={"Host": "first"}).status == 404
    assert closed_unheard(httpd.port, b"GET / HTTP/1.1\r\nHost: second\r\n\r\n")


def test_drop_is_about_the_peer(lab):
    """Trap 13: a header of an untrusted peer decides nothing, and a proxy is not dropped for its clients."""
    httpd = serve(lab, conf=REMOTE + "GateIPSet bad 192.0.2.0/24\nGateDrop bad\n")
    assert status(httpd, "192.0.2.1") == 404


# ---- identity ---------------------------------------------------------------------------------------------------------------

def test_a_forged_header_never_decides(lab):
    """Trap 13: only what a trusted proxy says, and of that the last address that is not a trusted proxy's."""
    sets = "GateIPSet office 192.0.2.0/24\n" + section("Require gate-set office")
    httpd = serve(lab, conf=UNTRUSTED + sets)
    assert status(httpd, "192.0.2.1") == 403  # 127.0.0.1 is not trusted: its word is not heard
    httpd = serve(lab, conf=REMOTE + sets)
    assert status(httpd, "192.0.2.1, 10.9.9.9") == 403
    assert status(httpd, "10.9.9.9, 192.0.2.1") == 404
    assert status(httpd, "10.9.9.9, 192.0.2.1, 127.0.0.1") == 404
