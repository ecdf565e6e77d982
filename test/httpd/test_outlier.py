"""Passive checks: members that requests meet errors on are ejected, tried one request at a time, and come back."""
import re
import threading
import time

import pytest

from clients import Connection, Crowd, get, post
from groups import MEMBER_TROUBLE
from procs import wait_until
from test_core import selfcheck
from test_health import FAST, conf

pytestmark = pytest.mark.needs("gate_upstream", "gate_health")

EJECTED = r"GATE0510: group app: member m1: ejected for (\d+\.\d) s after %s errors in a row \(%s\), ejection 1, traffic goes to 2 others"
BACK = r"GATE0512: group app: member m1: a trial request went well, it gets traffic again, as do \d+ others"
AGAIN = r"GATE0511: group app: member m1: a trial request failed"
NO_RETRY = "GateRetry attempts=1"


def started(lab, members, *lines, **words):
    httpd = lab.httpd(conf(members, *lines), **words)
    httpd.expect(*MEMBER_TROUBLE)
    return httpd


def asks(httpd, n, **words):
    """Status of n requests, one after the other."""
    return [get(httpd.port, **words).status for _ in range(n)]


def test_ejected_by_default(lab):
    """Without a word about it, five errors in a row eject a member."""
    members = lab.upstreams(3)
    members[0].behave("resets")
    httpd = started(lab, members, NO_RETRY)
    statuses = asks(httpd, 30)
    httpd.wait_log(EJECTED % (5, ".*"), timeout=2)
    assert len([s for s in statuses if s != 200]) == 5
    assert set(asks(httpd, 12)) == {200}
    selfcheck(httpd)


@pytest.mark.parametrize("what,why", [("resets", ".*"), ("closes", ".*"), ("garbage", "the answer was not HTTP"),
                                      ("unavailable", "status 503"), ("hangs", "no answer in time")])
def test_what_is_an_error(lab, what, why):
    members = lab.upstreams(3)
    members[0].behave(what)
    # only whom it is about gets a deadline: on a busy machine a good member is late as well
    httpd = started(lab, members, NO_RETRY, "GateOutlier errors=2 eject=60s", *(["GateTimeout first-byte=1s"] if what == "hangs" else []))
    asks(httpd, 9)
    httpd.wait_log(EJECTED % (2, why), timeout=2)
    assert set(asks(httpd, 6)) == {200}


def test_refused_connection(lab):
    members = lab.upstreams(3)
    httpd = started(lab, members, "GateOutlier errors=2 eject=60s")
    members[0].kill9()
    assert set(asks(httpd, 9)) == {200} # tried again elsewhere, and counted all the same
    httpd.wait_log(EJECTED % (2, ".*"), timeout=2)


def test_errors_of_all_children_count(lab):
    """The row is one for the server, not one for each child."""
    members = lab.upstreams(3)
    members[0].behave("resets")
    httpd = started(lab, members, NO_RETRY, "GateOutlier errors=12 eject=60s", children=6)
    with Crowd(httpd.port, clients=12, check=lambda answer: None) as crowd:
        wait_until(lambda: "GATE0510" in httpd.error_log(), 20, "an ejection")
        assert crowd.ok
    httpd.wait_log(EJECTED % (r"\d\d", ".*"), timeout=2)
    children = {line.split("[pid ")[1].split(":")[0] for line in httpd.error_log().splitlines() if "GATE0225" in line or "GATE0222" in line}
    assert len(children) != 1


def test_clients_and_4xx_eject_nobody(lab):
    """Trap 23: neither clients that leave nor answers below 500 nor answers of 500 say anything about a member."""
    members = lab.upstreams(2)
    for member in members:
        member.behave({"status": 404}, "/missing")
        member.behave("error", "/bug")
        member.behave({"status": 501}, "/not-implemented")
        member.behave({"delay": 0.4}, "/slow")
    httpd = started(lab, members, NO_RETRY, "GateOutlier errors=1")
    assert set(asks(httpd, 6, path="/missing")) == {404}
    assert set(asks(httpd, 6, path="/bug")) == {500}
    assert set(asks(httpd, 6, path="/not-implemented")) == {501}
    for _ in range(8):
        connection = Connection(httpd.port)
        connection.send(b"GET /slow HTTP/1.1\r\nHost: x\r\n\r\n")
        time.sleep(0.05)
        connection.reset()
    for _ in range(4):
        connection = Connection(httpd.port)
        connection.send(b"POST /upload HTTP/1.1\r\nHost: x\r\nContent-Length: 100000\r\n\r\nonly this much")
        time.sleep(0.05)
        connection.reset()
    wait_until(lambda: not any(m.inflight for m in members), 10, "the members have ended")
    time.sleep(0.6)
    assert {get(httpd.port).member for _ in range(6)} == {"m1", "m2"}
    assert "GATE051" not in httpd.error_log()


def test_half_open(lab):
    """Trap 28: one request of all tries the member, the others go elsewhere; a good answer brings it back."""
    members = lab.upstreams(3)
    members[0].behave("resets")
    httpd = started(lab, members, NO_RETRY, "GateOutlier errors=2 window=30s eject=500ms", children=3)
    asks(httpd, 9)
    httpd.wait_log(EJECTED % (2, ".*"), timeout=2)
    members[0].behave({"delay": 1.5})
    before = members[0].count
    with Crowd(httpd.port, clients=12) as crowd:
        wait_until(lambda: members[0].count > before, 5, "a trial")
        for _ in range(40):
            assert members[0].count == before + 1 or "GATE0512" in httpd.error_log()
            time.sleep(0.02)
        httpd.wait_log(BACK, timeout=5)
        wait_until(lambda: members[0].count > before + 3, 5, "traffic again")
    assert not crowd.failures
    selfcheck(httpd)


def test_trial_that_fails(lab):
    """It stays out for longer each time."""
    members = lab.upstreams(3)
    members[0].behave("resets")
    httpd = started(lab, members, "GateOutlier errors=2 window=30s eject=300ms", "GateRetry attempts=2 on=reset")
    with Crowd(httpd.port, clients=2, pause=0.01) as crowd:
        httpd.wait_log(EJECTED % (2, ".*"), timeout=5)
        httpd.wait_log(AGAIN, count=3, timeout=10)
    lengths = [float(s) for s in re.findall(r"a trial request failed \(.*?\), ejected for (\d+\.\d) s more", httpd.error_log())][:3]
    assert lengths[0] >= 0.6 and lengths[1] >= 1.2 and lengths[2] >= 2.4
    assert not crowd.failures # the tries' failures were hidden


def test_trial_of_a_client_that_leaves(lab):
    """It says nothing: the next request is the trial."""
    members = lab.upstreams(2)
    members[0].behave("resets")
    httpd = started(lab, members, NO_RETRY, "GateOutlier errors=1 eject=300ms")
    asks(httpd, 4)
    httpd.wait_log("GATE0510: group app: member m1", timeout=2)
    members[0].behave({"delay": 1.0})
    time.sleep(0.4)
    before = members[0].count
    connection = Connection(httpd.port)
    connection.send(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
    wait_until(lambda: members[0].count > before, 5, "its trial")
    connection.reset()
    members[0].behave("ok")
    with Crowd(httpd.port, clients=2, pause=0.02):
        httpd.wait_log(BACK, timeout=10)


def test_trial_of_a_child_that_dies(lab):
    """Its claim ends with it."""
    members = lab.upstreams(2)
    members[0].behave("resets")
    httpd = started(lab, members, NO_RETRY, "GateOutlier errors=1 eject=300ms", children=3)
    httpd.expect(r"AH00052: child pid \d+ exit signal Killed", "AH10392: children are killed successively")
    asks(httpd, 4)
    httpd.wait_log("GATE0510: group app: member m1", timeout=2)
    members[0].behave("hangs")
    time.sleep(0.4)
    before = members[0].count
    connection = Connection(httpd.port)
    connection.send(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
    wait_until(lambda: members[0].count > before, 5, "its trial")
    members[0].behave("ok")
    for pid in httpd.child_pids():
        httpd.kill_child(pid)
    wait_until(lambda: connection.closed(), 5, "the child has gone")
    with Crowd(httpd.port, clients=2, pause=0.02, check=lambda answer: None):
        httpd.wait_log(BACK, timeout=10)
    selfcheck(httpd)


def test_never_the_last(lab):
    """Trap 24 and pain 4: a lone member is asked whatever it does."""
    member = lab.upstream()
    member.behave("resets")
    httpd = started(lab, [member], NO_RETRY, "GateOutlier errors=2")
    asks(httpd, 8)
    httpd.wait_log("GATE0513: group app: member m1: 2 errors in a row .*, not ejected because no other member is usable", timeout=2)
    assert httpd.error_log().count("GATE0513") == 1
    member.behave("ok")
    assert get(httpd.port).status == 200


def test_max_eject(lab):
    """Of four members two are ejected, however bad all are."""
    members = lab.upstreams(4)
    for member in members:
        member.behave("resets")
    httpd = started(lab, members, NO_RETRY, "GateOutlier errors=2 eject=60s")
    asks(httpd, 40)
    httpd.expect("GATE051[034]")
    log = httpd.error_log()
    assert log.count("GATE0510") == 2 and "GATE0514" in log
    before = [m.count for m in members]
    asks(httpd, 12)
    assert len([1 for m, n in zip(members, before) if m.count > n]) == 2
    for member in members:
        member.behave("ok")
    assert set(asks(httpd, 6)) == {200}


def test_checks_do_not_end_an_ejection(lab):
    """Trap 25: what the check asks for works; what clients ask for does not."""
    members = lab.upstreams(3)
    members[0].behave("resets", "/shop")
    httpd = started(lab, members, NO_RETRY, "GateOutlier errors=2 eject=60s", f"GateHealthCheck GET /health {FAST}",
                    log_level="notice gate_health:debug")
    asks(httpd, 9, path="/shop")
    httpd.wait_log(EJECTED % (2, ".*"), timeout=2)
    httpd.wait_log("GATE0505: group app: member m1: check good", count=httpd.error_log().count("member m1: check good") + 5, timeout=5)
    assert {get(httpd.port).member for _ in range(9)} == {"m2", "m3"}


def test_last_one_of_both_kinds(lab):
    """m1 is ejected, then the check takes m2 out: m1 is used again rather than nobody."""
    members = lab.upstreams(2)
    members[0].behave("resets", "/shop")
    httpd = started(lab, members, NO_RETRY, "GateOutlier errors=2 eject=60s", f"GateHealthCheck GET /health {FAST}")
    asks(httpd, 6, path="/shop")
    httpd.wait_log("GATE0510: group app: member m1", timeout=2)
    members[1].behave("error", "/health")
    httpd.expect("GATE0501", "GATE0504")
    httpd.wait_log("GATE0520: group app: member m1: was ejected for its errors, and is used again", timeout=5)
    assert {get(httpd.port).member for _ in range(4)} == {"m1"}


def test_off(lab):
    members = lab.upstreams(3)
    members[0].behave("resets")
    httpd = started(lab, members, NO_RETRY, "GateOutlier off")
    assert len([s for s in asks(httpd, 60) if s != 200]) == 20
    assert "GATE051" not in httpd.error_log()


def test_switched_off_by_a_restart(lab):
    members = lab.upstreams(3)
    members[0].behave("resets")
    httpd = started(lab, members, NO_RETRY, "GateOutlier errors=2 eject=600s")
    asks(httpd, 9)
    httpd.wait_log(EJECTED % (2, ".*"), timeout=2)
    httpd.graceful()
    members[0].behave("ok")
    assert {get(httpd.port).member for _ in range(6)} == {"m2", "m3"} # kept over the restart
    httpd.write_conf(conf=conf(members, NO_RETRY, "GateOutlier off"))
    httpd.graceful()
    wait_until(lambda: get(httpd.port).member == "m1", 5, "m1 is used again")


def test_post_bodies_and_trials(lab):
    """A trial is a request like others: whole, and once."""
    members = lab.upstreams(2)
    members[0].behave("resets")
    httpd = started(lab, members, NO_RETRY, "GateOutlier errors=1 eject=200ms")
    asks(httpd, 4)
    httpd.wait_log("GATE0510: group app: member m1", timeout=2)
    members[0].behave("ok")
    time.sleep(0.3)
    answers = [post(httpd.port, body=b"x" * 5000) for _ in range(4)]
    assert [a.status for a in answers] == [200] * 4
    assert {a.json()["body_length"] for a in answers} == {5000}
    httpd.wait_log(BACK, timeout=2)


def test_slow_start_after_an_ejection(lab):
    """What comes back is not drowned at once."""
    members = lab.upstreams(2)
    members[0].behave("resets")
    httpd = started(lab, members, NO_RETRY, "GateOutlier errors=1 eject=200ms", "GateSlowStart 30s")
    asks(httpd, 4)
    httpd.wait_log("GATE0510: group app: member m1", timeout=2)
    members[0].behave("ok")
    time.sleep(0.3)
    asks(httpd, 2)
    httpd.wait_log(BACK, timeout=2)
    served = [get(httpd.port).member for _ in range(60)]
    assert served.count("m1") <= 15


def test_many_threads_one_trial(lab):
    """Of forty clients that come at the same moment when the ejection is due, one is the trial."""
    members = lab.upstreams(2)
    members[0].behave("resets")
    httpd = started(lab, members, NO_RETRY, "GateOutlier errors=1 eject=300ms", children=4)
    asks(httpd, 4)
    httpd.wait_log("GATE0510: group app: member m1", timeout=2)
    members[0].behave({"delay": 1.0})
    before = members[0].count
    time.sleep(0.4)
    gate, answers = threading.Barrier(40), []

    def ask():
        gate.wait()
        answers.append(get(httpd.port).member)

    threads = [threading.Thread(target=ask) for _ in range(40)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(20)
    assert members[0].count == before + 1
    assert sorted(answers) == ["m1"] + ["m2"] * 39
    httpd.expect("GATE0512")
