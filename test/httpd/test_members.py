"""Members changed at run time, and what a restart makes of that."""
import hashlib
import os
import stat
import threading
import time

import pytest

from clients import BadAnswer, Connection, Crowd, get
from gatehttpd import log_time
from groups import MEMBER_TROUBLE, group, route
from procs import wait_until
from sample import ask, location

pytestmark = pytest.mark.needs("gate_upstream")

STATE = "GateStateFile run/state\n"
CHECK = '<Location "/selfcheck">\nSetHandler gate-selfcheck\nProxyPass "!"\n</Location>\n'
ADDED, REMOVED, WEIGHT, ADMIN = 1, 2, 4, 8
DRAIN, DISABLED = 1, 2


def change(name, what, url, weight=1, configured=1, flags=0, connections=0, admin=0, deadline=0, group_name="app"):
    return "\t".join(map(str, [group_name, name, what, url, weight, configured, flags, connections, admin, deadline, 0, "test"])) + "\n"


def state_file(section, name="members", version=1):
    data = section.encode("latin-1")
    text = b"gatehouse-state 1\nsection %s %d %d\n%s\n" % (name.encode(), version, len(data), data)
    return text + b"end " + hashlib.sha256(text).hexdigest().encode() + b"\n"


def put_state(httpd, data):
    path = httpd.write_file("run/state", data)
    os.chmod(path, 0o600)
    import pwd
    os.chown(path, pwd.getpwnam("www-data").pw_uid, -1)
    return path


def who_answers(httpd, times=12):
    answers = [get(httpd.port) for _ in range(times)]
    return {a.member for a in answers if a.status == 200}


def with_state(lab, members, *changes, conf=""):
    httpd = lab.httpd(STATE + CHECK + conf + group("app", members) + route(), start=False)
    put_state(httpd, state_file("".join(changes)))
    return httpd.start()


def test_added_member_is_back(lab):
    members = lab.upstreams(2)
    httpd = with_state(lab, members[:1], change("m2", ADDED, members[1].url))
    assert who_answers(httpd) == {"m1", "m2"}
    assert "GATE0014" in httpd.error_log()
    httpd.graceful()
    assert who_answers(httpd) == {"m1", "m2"}
    assert get(httpd.port, "/selfcheck").status == 200


def test_drained_disabled_and_removed_ones_stay_so(lab):
    members = lab.upstreams(4)
    httpd = with_state(lab, members, change("m1", ADMIN, members[0].url, admin=DRAIN),
                       change("m2", ADMIN, members[1].url, admin=DISABLED), change("m3", REMOVED, members[2].url))
    assert who_answers(httpd) == {"m4"}
    httpd.graceful()
    assert who_answers(httpd) == {"m4"}


def test_weight_is_back(lab):
    members = lab.upstreams(2)
    httpd = with_state(lab, members, change("m1", WEIGHT, members[0].url, weight=9))
    names = [get(httpd.port).member for _ in range(20)]
    assert (names.count("m1"), names.count("m2")) == (18, 2)


def test_removed_member_that_leaves_the_configuration_is_forgotten(lab):
    members = lab.upstreams(2)
    httpd = with_state(lab, members, change("m2", REMOVED, members[1].url))
    assert who_answers(httpd) == {"m1"}
    for listed in (members[:1], members):
        httpd.write_conf(conf=STATE + CHECK + group("app", listed) + route())
        httpd.graceful()
    assert who_answers(httpd) == {"m1", "m2"}


def test_drain_with_a_deadline_ends(lab):
    """The member is removed; the file knows."""
    members = lab.upstreams(2)
    httpd = with_state(lab, members, change("m1", ADMIN, members[0].url, admin=DRAIN, deadline=1))
    httpd.wait_log("GATE0013: group app: member m1: its drain is over")
    wait_until(lambda: f"app\tm1\t{ADMIN | REMOVED}" in httpd.read_file("run/state") or f"app\tm1\t{REMOVED}\t" in httpd.read_file("run/state"),
               10, "the file has it")
    info = os.stat(httpd.path("run/state"))
    assert stat.S_IMODE(info.st_mode) == 0o600
    assert who_answers(httpd) == {"m2"}
    httpd.stop()
    httpd.start()
    assert who_answers(httpd) == {"m2"}


@pytest.mark.parametrize("data,says", [
    (b"", "GATE0011"), (b"rubbish\n", "GATE0011"), (b"\0" * 5000, "GATE0011"), (state_file("x")[:-3], "GATE0011"),
    (state_file("app\tm2\tnonsense\n"), "GATE0011.*1 lines that make no sense"),
    (state_file("", version=99), "GATE0011.*later release"),
])
def test_nonsense_is_refused_and_the_start_goes_on(lab, data, says):
    httpd = lab.httpd(STATE + CHECK + group("app", lab.upstreams(2)) + route(), start=False)
    put_state(httpd, data)
    httpd.start()
    httpd.wait_log(says)
    assert who_answers(httpd) == {"m1", "m2"}
    assert get(httpd.port, "/selfcheck").status == 200


def test_good_lines_of_a_bad_section_count(lab):
    members = lab.upstreams(2)
    httpd = with_state(lab, members[:1], "app\trubbish\n", change("m2", ADDED, members[1].url))
    httpd.wait_log("GATE0011")
    assert who_answers(httpd) == {"m1", "m2"}


def test_changes_of_a_group_that_is_gone_wait_for_it(lab):
    members = lab.upstreams(2)
    httpd = with_state(lab, members[:1], change("m2", ADDED, members[1].url, group_name="other"))
    assert who_answers(httpd) == {"m1"}
    httpd.write_conf(conf=STATE + group("app", members[:1]) + group("other", members[:1]) + route("other"))
    httpd.graceful()
    assert who_answers(httpd) == {"m1", "m2"}


# --- through the admin API -----------------------------------------------------------------------

with_admin = pytest.mark.needs("gate_status")
LIST = "api/v1/groups/app/members"


def admin_httpd(lab, members, *lines, conf=STATE):
    words = "\n".join(f"    {line}" for line in lines)
    text = conf + location("GateAdmin on") + group("app", members, words) + 'ProxyPass "/gate-status" "!"\n' \
        'ProxyPass "/selfcheck" "!"\n' + route()
    return lab.httpd(text)


def restart(httpd, kind):
    if kind == "graceful":
        httpd.graceful()
    else:
        wait_until(lambda: not saving(httpd), 10, "the state is saved")
        httpd.stop()
        httpd.start()


def saving(httpd):
    """Whether the file is still to follow: it is written within a second or two of a change."""
    path = httpd.path("run/state")
    return not os.path.exists(path) or time.time() - os.stat(path).st_mtime < 1.5


@with_admin
@pytest.mark.parametrize("kind", ["graceful", "stop"])
def test_what_an_admin_did_outlives(lab, kind):
    members = lab.upstreams(5)
    httpd = admin_httpd(lab, members[:4])
    assert ask(httpd, LIST, "POST", json={"url": members[4].url, "id": "m5", "weight": 2}).status == 201
    assert ask(httpd, LIST + "/m1", "PATCH", json={"state": "drain"}).status == 200
    assert ask(httpd, LIST + "/m2", "PATCH", json={"state": "disabled"}).status == 200
    assert ask(httpd, LIST + "/m3", "DELETE").status in (200, 204)
    assert ask(httpd, LIST + "/m4", "PATCH", json={"weight": 4}).status == 200
    for _ in range(2):
        names = [get(httpd.port).member for _ in range(12)]
        assert (names.count("m4"), names.count("m5")) == (8, 4), names
        restart(httpd, kind)
    assert ask(httpd, LIST + "/m1", "PATCH", json={"state": "up"}).status == 200
    assert "m1" in who_answers(httpd)
    assert get(httpd.port, "/selfcheck").status == 200


@with_admin
def test_sticky_sessions_survive_a_drain(lab):
    members = lab.upstreams(2)
    httpd = admin_httpd(lab, members, "GateSticky cookie=gate")
    sessions = []
    for _ in range(4):
        first = get(httpd.port)
        sessions.append((first.header("Set-Cookie").split(";")[0], first.member))
    assert ask(httpd, LIST + "/m1", "PATCH", json={"state": "drain"}).status == 200
    for kind in (None, "graceful", "stop"):
        if kind:
            restart(httpd, kind)
        for cookie, member in sessions:
            assert {get(httpd.port, headers=[("Cookie", cookie)]).member for _ in range(3)} == {member}
        assert who_answers(httpd, 6) == {"m2"}
    assert ask(httpd, LIST + "/m1", "PATCH", json={"state": "disabled"}).status == 200
    answers = [get(httpd.port, headers=[("Cookie", cookie)]) for cookie, member in sessions if member == "m1"]
    assert {a.member for a in answers} == {"m2"} and all(a.header("Set-Cookie") for a in answers)


@with_admin
def test_drain_to_an_end_loses_nothing(lab):
    members = lab.upstreams(2)
    members[0].behave(delay=0.05)
    httpd = admin_httpd(lab, members)
    with Crowd(httpd.port, clients=8) as crowd:
        crowd.wait(50)
        assert ask(httpd, LIST + "/m1", "PATCH", json={"state": "drain", "deadline_s": 1}).status == 200
        httpd.wait_log("GATE0013: group app: member m1: its drain is over")
        crowd.wait(50)
    assert crowd.failures == []
    assert ask(httpd, LIST + "/m1").status == 404
    httpd.graceful()
    assert who_answers(httpd) == {"m2"}


@with_admin
def test_members_under_traffic(lab):
    """Added, weighed, removed again and again: no request is lost."""
    members = lab.upstreams(3)
    httpd = admin_httpd(lab, members[:1])
    with Crowd(httpd.port, clients=8, pause=0.002) as crowd:
        for _ in range(6):
            for member in members[1:]:
                assert ask(httpd, LIST, "POST", json={"url": member.url, "id": member.name}).status == 201
            crowd.wait(20)
            for member in members[1:]:
                assert ask(httpd, f"{LIST}/{member.name}", "DELETE").status in (200, 204)
    assert crowd.failures == []
    assert set(crowd.members) == {"m1", "m2", "m3"}
    assert get(httpd.port, "/selfcheck").status == 200


class Steady:
    """Clients that ask again and again; seen: (when it was asked, who answered, number of the request)."""

    def __init__(self, httpd, clients=12):
        self.httpd, self.seen, self.ending = httpd, [], threading.Event()
        self.threads = [threading.Thread(target=self._ask, args=(n * 1000000,), daemon=True) for n in range(clients)]

    def __enter__(self):
        for thread in self.threads:
            thread.start()
        return self

    def __exit__(self, *_):
        self.ending.set()
        for thread in self.threads:
            thread.join(20)

    def _ask(self, number):
        connection = None
        while not self.ending.is_set():
            number += 1
            try:
                connection = connection or Connection(self.httpd.port)
                begun = time.time()
                self.seen.append((begun, connection.request(f"/app/{number}").member, number))
                if number % 5 == 0:  # every child gets some
                    connection.close()
                    connection = None
            except (BadAnswer, ConnectionError):  # httpd closes kept connections when it is busy
                connection = None
            time.sleep(0.001)

    def wait(self, count):
        """Until so many more were answered; returns them."""
        start = len(self.seen)
        wait_until(lambda: len(self.seen) >= start + count, 10, "answers")
        return self.seen[start:]

    def last(self, member, child_of):
        """When each child was last asked something that this member answered."""
        last = {}
        for begun, who, number in self.seen:
            if who == member:
                last[child_of[number]] = max(begun, last.get(child_of[number], 0))
        return last


@pytest.mark.needs("gate_health")
@pytest.mark.h1("what a client speaks has no part in it, and Python's HTTP/2 is too slow to see milliseconds")
def test_a_verdict_is_seen_by_every_child_at_once(lab):
    """
    Steady requests through four children: ten milliseconds after the admin has spoken, or one child alone has met what ejects a member,
    no child asks that member.
    """
    members = lab.upstreams(2)
    members[0].behave("resets", "/bad")
    httpd = lab.httpd(group("app", members, "GateRetry attempts=1", "GateOutlier errors=1 eject=60s") + route(path="/app/") +
                      location("GateAdmin on"), children=4)
    httpd.expect(*MEMBER_TROUBLE)
    took = []
    with Steady(httpd) as steady:
        for _ in range(10):
            assert {who for _, who, _ in steady.wait(100)} == {"m1", "m2"}
            asked = time.time()
            assert ask(httpd, "api/v1/groups/app/members/m1", "PATCH", {"state": "disabled"}).status == 200
            known = time.time()
            last = max(begun for begun, who, _ in steady.wait(100) + steady.seen if who == "m1")
            assert last < known + 0.010, last - known
            took.append(last - asked)
            assert ask(httpd, "api/v1/groups/app/members/m1", "PATCH", {"state": "up"}).status == 200
        steady.wait(100)
        wait_until(lambda: get(httpd.port, "/app/bad").status == 502, 10, "an error")
        known = log_time(httpd.wait_log("GATE0510: group app: member m1: ejected")[0].string)
        steady.wait(100)
    child_of = {int(line["uri"][5:]): line["child"] for line in httpd.access(len(steady.seen)) if line["uri"][5:].isdigit()}
    assert set(child_of.values()) == set(httpd.child_pids())
    late = {child: begun - known for child, begun in steady.last("m1", child_of).items()}
    assert len(late) == 4 and max(late.values()) < 0.010, late
    print("from asking the admin until m1 was asked for the last time: ms", [round(1000 * t, 1) for t in took])
    print("from the log line of its ejection until then, each child: ms", sorted(round(1000 * t, 1) for t in late.values()))
