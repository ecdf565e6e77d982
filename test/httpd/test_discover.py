"""GateDiscover: members that come and go by DNS and by files."""
import os
import threading
import time

import pytest

from clients import BadAnswer, Crowd, get
from dnsserver import Dns
from groups import MEMBER_TROUBLE, route
from procs import wait_until

pytestmark = pytest.mark.needs("gate_upstream")

CHECK = '<Location "/selfcheck">\nSetHandler gate-selfcheck\nProxyPass "!"\n</Location>\n'
STATUS = '<Location "/status">\nSetHandler gate-status\nProxyPass "!"\n</Location>\n'
NO_MEMBER = "GATE0225"


@pytest.fixture
def dns():
    server = Dns()
    yield server
    server.stop()


def group(*lines):
    return "<GateUpstream app>\n" + "\n".join(lines) + "\n</GateUpstream>\n"


def same_port(lab, count, first=2):
    """m1, m2, .. on 127.0.0.2, 127.0.0.3, .. with one port, as the addresses of one name."""
    members, port = [], None
    for n in range(count):
        member = lab.upstream(f"m{n + 1}", host=f"127.0.0.{first + n}", start=False)
        port = port or member.port
        member.port = member.conf["port"] = port
        member.start()
        members.append(member)
    return members


def who(httpd, times=12):
    return {a.member for a in (get(httpd.port) for _ in range(times)) if a.status == 200}


def wait_for(httpd, names, timeout=10):
    wait_until(lambda: who(httpd) == set(names), timeout, f"{names} answer", 0.05)


def start_dns(lab, dns, members, count, words="", conf="", **more):
    dns.set("app.test", "A", *[m.host for m in members[:count]])
    httpd = lab.httpd(CHECK + conf + group(f"GateDiscover dns:app.test:{members[0].port} resolver={dns.address} {words}") + route(), **more)
    httpd.expect(NO_MEMBER)
    wait_for(httpd, [m.name for m in members[:count]])
    return httpd


# --- DNS ---------------------------------------------------------------------------------------

def test_addresses_become_members(lab, dns):
    members = same_port(lab, 3)
    httpd = start_dns(lab, dns, members, 3)
    assert {name for name, _ in dns.asked} == {"app.test"}
    assert get(httpd.port, "/selfcheck").status == 200


def test_new_member_takes_traffic_within_a_second_of_the_answer(lab, dns):
    members = same_port(lab, 2)
    httpd = start_dns(lab, dns, members, 1)
    dns.set("app.test", "A", *[m.host for m in members])
    seen = len(dns.asked)
    wait_until(lambda: len(dns.asked) > seen + 1, 10, "it is asked again", 0.01)
    answered = time.monotonic()
    wait_until(lambda: members[1].count > 0 or not get(httpd.port), 5, "the new one is used", 0.005)
    assert time.monotonic() - answered < 1.0


def test_member_that_vanishes_loses_no_running_request(lab, dns):
    members = same_port(lab, 2)
    members[1].behave(delay=3.0, path="/slow")
    members[0].behave(delay=3.0, path="/slow")
    httpd = start_dns(lab, dns, members, 2)
    answers = []
    slow = [threading.Thread(target=lambda: answers.append(get(httpd.port, "/slow"))) for _ in range(4)]
    for thread in slow:
        thread.start()
    wait_until(lambda: members[0].inflight == members[1].inflight == 2, 5, "two on each")
    dns.set("app.test", "A", members[0].host)
    wait_for(httpd, ["m1"])
    assert members[1].inflight == 2
    for thread in slow:
        thread.join()
    assert sorted((a.status, a.member) for a in answers) == [(200, "m1")] * 2 + [(200, "m2")] * 2


def test_changes_under_traffic(lab, dns):
    members = same_port(lab, 4)
    httpd = start_dns(lab, dns, members, 2, words="interval=200ms")
    with Crowd(httpd.port, clients=8, pause=0.005) as crowd:
        for n in (3, 4, 1, 2, 4, 1, 3):
            dns.set("app.test", "A", *[m.host for m in members[:n]])
            time.sleep(0.5)
    assert crowd.failures == []
    assert set(crowd.members) == {"m1", "m2", "m3", "m4"}
    assert get(httpd.port, "/selfcheck").status == 200


def test_ids_are_stable(lab, dns):
    """A member keeps its counters and its sessions whatever order the answers come in."""
    members = same_port(lab, 2)
    httpd = start_dns(lab, dns, members, 2)
    dns.set("app.test", "A", *[m.host for m in reversed(members)])
    time.sleep(1.5)
    who(httpd)
    assert {entry["member"] for entry in httpd.access(1)} - {None, "-"} == {m.authority for m in members}


def test_short_ttl_is_clamped(lab, dns):
    members = same_port(lab, 1)
    dns.set("app.test", "A", members[0].host, ttl=0)
    start_dns(lab, dns, members, 1)
    before = len(dns.asked)
    time.sleep(2.5)
    assert len(dns.asked) - before <= 2 * 3 + 2  # A and AAAA once a second, not in every tick


def test_long_ttl_is_kept_to(lab, dns):
    members = same_port(lab, 1)
    httpd = lab.httpd(group(f"GateDiscover dns:app.test:{members[0].port} resolver={dns.address}") + route(), start=False)
    dns.set("app.test", "A", members[0].host, ttl=60)
    httpd.start()
    httpd.expect(NO_MEMBER)
    wait_for(httpd, ["m1"])
    time.sleep(2)
    assert len(dns.asked) == 2


@pytest.mark.parametrize("how", ["silent", "refuse", "garbage", "no-name", "empty", "dead"])
def test_failure_keeps_the_last_good_set(lab, dns, how):
    members = same_port(lab, 2)
    httpd = start_dns(lab, dns, members, 2)
    if how == "no-name":
        dns.remove("app.test")
    elif how == "empty":
        dns.set("app.test", "A")
    elif how == "dead":
        dns.stop()
    else:
        dns.mode = how
    httpd.wait_log("GATE0240: group app: GateDiscover dns:app.test:.*the group's 2 members stay as they are", timeout=20)
    assert who(httpd) == {"m1", "m2"}
    assert httpd.error_log().count("GATE0240") == 1  # once, not every time
    if how != "dead":
        dns.mode = None
        dns.set("app.test", "A", members[0].host)
        httpd.wait_log("GATE0241", timeout=20)
        wait_for(httpd, ["m1"])


def test_failure_of_one_family_keeps_its_part(lab, dns):
    members = same_port(lab, 1)
    six = lab.upstream("six", host="::1", start=False)
    six.port = six.conf["port"] = members[0].port
    six.start()
    dns.set("app.test", "AAAA", "::1")
    dns.set("app.test", "A", members[0].host)
    httpd = lab.httpd(group(f"GateDiscover dns:app.test:{members[0].port} resolver={dns.address}") + route())
    httpd.expect(NO_MEMBER)
    wait_for(httpd, ["m1", "six"])
    dns.modes[("app.test", 28)] = "refuse"
    httpd.wait_log("GATE0240.*a part of it could not be looked up")
    assert who(httpd) == {"m1", "six"}
    dns.modes.clear()
    httpd.wait_log("GATE0241")


def test_truncated_answers_are_fetched_over_tcp(lab, dns):
    members = same_port(lab, 2)
    dns.mode = "truncate"
    start_dns(lab, dns, members, 2)


def test_aliases(lab, dns):
    """A CNAME and the address behind it in one answer, as recursive servers send it."""
    from dnsserver import TYPES, rdata, wire_name
    import struct
    members = same_port(lab, 1)
    real = rdata("CNAME", "real.test")

    class Alias(Dns):
        def answer(self, question, tcp):
            if b"\x03app" not in question or question[-13:-11] == b"\x00\x1c":
                return super().answer(question, tcp)
            end = question.index(b"\0", 12) + 5
            body = b"\xc0\x0c" + struct.pack(">HHIH", TYPES["CNAME"], 1, 5, len(real)) + real
            body += wire_name("real.test") + struct.pack(">HHIH", 1, 1, 60, 4) + rdata("A", members[0].host)
            return question[:2] + struct.pack(">HHHHH", 0x8180, 1, 2, 0, 0) + question[12:end] + body
    alias = Alias()
    try:
        httpd = lab.httpd(group(f"GateDiscover dns:app.test:{members[0].port} resolver={alias.address}") + route())
        httpd.expect(NO_MEMBER)
        wait_for(httpd, ["m1"])
    finally:
        alias.stop()


def test_hosts_file_knows_localhost(lab):
    member = lab.upstream()
    with open("/etc/hosts") as file:
        if not any(line.split()[:1] == ["127.0.0.1"] and "localhost" in line.split() for line in file):
            pytest.skip("this machine's /etc/hosts has no localhost")
    httpd = lab.httpd(group(f"GateDiscover dns:localhost:{member.port}", "GateRetry attempts=3 budget=100%") + route())
    httpd.expect(NO_MEMBER, *MEMBER_TROUBLE)
    wait_until(lambda: get(httpd.port).status == 200, 10, "localhost answers")


def test_connections_and_weight(lab, dns):
    members = same_port(lab, 1)
    httpd = start_dns(lab, dns, members, 1, words="connections=1")
    members[0].behave(delay=0.5)
    httpd.expect(NO_MEMBER)
    statuses = []
    threads = [threading.Thread(target=lambda: statuses.append(get(httpd.port).status)) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert members[0].most_inflight == 1 and statuses.count(200) >= 1


# --- SRV ---------------------------------------------------------------------------------------

def start_srv(lab, dns, *services, **more):
    dns.set("_http._tcp.app.test", "SRV", *services)
    httpd = lab.httpd(group(f"GateDiscover srv:_http._tcp.app.test resolver={dns.address}") + route(), **more)
    httpd.expect(NO_MEMBER)
    return httpd


def test_srv_ports_and_weights(lab, dns):
    members = lab.upstreams(2)
    for n, member in enumerate(members):
        dns.set(f"node{n}.test", "A", "127.0.0.1")
    httpd = start_srv(lab, dns, (0, 3, members[0].port, "node0.test"), (0, 1, members[1].port, "node1.test"))
    wait_for(httpd, ["m1", "m2"])
    names = [get(httpd.port).member for _ in range(40)]
    assert (names.count("m1"), names.count("m2")) == (30, 10)


def test_srv_priority(lab, dns):
    members = lab.upstreams(2)
    dns.set("node.test", "A", "127.0.0.1")
    httpd = start_srv(lab, dns, (10, 1, members[0].port, "node.test"), (20, 1, members[1].port, "node.test"))
    httpd.expect(*MEMBER_TROUBLE)
    wait_for(httpd, ["m1"])
    members[0].kill9()
    assert get(httpd.port).member == "m2"  # the try goes on to the next priority


def test_srv_target_that_fails_keeps_its_part(lab, dns):
    members = lab.upstreams(2)
    for n in range(2):
        dns.set(f"node{n}.test", "A", "127.0.0.1")
    httpd = start_srv(lab, dns, (0, 1, members[0].port, "node0.test"), (0, 1, members[1].port, "node1.test"))
    wait_for(httpd, ["m1", "m2"])
    dns.modes[("node1.test", 1)] = "refuse"
    httpd.wait_log("GATE0240.*a part of it could not be looked up")
    assert who(httpd) == {"m1", "m2"}
    dns.set("_http._tcp.app.test", "SRV", (0, 1, members[0].port, "node0.test"))
    wait_for(httpd, ["m1"])


# --- what the status says ------------------------------------------------------------------------

def test_status_shows_each_source(lab, dns):
    members = same_port(lab, 2)
    dns.set("app.test", "A", *[m.host for m in members])
    path = f"dns:app.test:{members[0].port}"
    other = lab.upstream("m9")
    httpd = lab.httpd(group(f"GateDiscover {path} resolver={dns.address} interval=1s", "GateDiscover file:run/members") + route()
                      + STATUS, start=False)
    httpd.write_file("run/members", f"{other.url} id=m9\n")
    httpd.start()

    def discovery():
        return get(httpd.port, "/status/status.json").json()["groups"][0]["discovery"]

    def source(number):
        return discovery()["sources"][number]
    wait_until(lambda: source(0)["state"] == "good", 10, "an answer")
    first, second = discovery()["sources"]
    assert (first["source"], first["members"], first["why"], first["failures"]) == (path, 2, None, 0)
    assert (second["source"], second["state"], second["members"]) == ("file:run/members", "good", 1)
    assert first["last_good"] and first["last_good"] <= first["last_try"]
    looks = first["looks"]
    wait_until(lambda: source(0)["looks"] > looks, 10, "another look")
    dns.mode = "refuse"
    httpd.wait_log("GATE0240: group app: GateDiscover dns")
    wait_until(lambda: source(0)["state"] == "failing", 5, "it is shown")
    first = source(0)
    assert first["why"] and first["members"] == 2 and first["failures"] >= 1 and first["last_good"] < first["last_try"]
    text = get(httpd.port, "/status/metrics").text
    assert 'gatehouse_discovery_failing{group="app"} 1' in text
    httpd.graceful()
    assert source(0)["failures"] >= first["failures"] and source(0)["state"] == "failing"
    dns.mode = None
    httpd.wait_log("GATE0241")
    wait_until(lambda: source(0)["state"] == "good" and source(0)["why"] is None, 10, "it works again")
    httpd.write_conf(group("GateDiscover file:run/members") + route() + STATUS)
    httpd.graceful()
    # another source in the first one's place
    assert [s["source"] for s in discovery()["sources"]] == ["file:run/members"]
    assert discovery()["failing"] == 0 and source(0)["failures"] == 0


# --- files ---------------------------------------------------------------------------------------

def put(httpd, *lines):
    """As an editor or a tool should: whole."""
    path = httpd.write_file("run/members.new", "\n".join(lines) + "\n")
    os.rename(path, httpd.path("run/members"))


def start_file(lab, *lines, words="", conf=""):
    httpd = lab.httpd(CHECK + conf + group(f"GateDiscover file:run/members {words}") + route(), start=False)
    put(httpd, *lines)
    return httpd.start()


def line(member, words=""):
    return f"{member.url} id={member.name} {words}"


def test_file(lab):
    members = lab.upstreams(3)
    httpd = start_file(lab, "# ours", line(members[0]), "", line(members[1], "weight=2 # twice"))
    assert who(httpd) == {"m1", "m2"}  # from the first request on
    put(httpd, line(members[1]), line(members[2]))
    wait_for(httpd, ["m2", "m3"])
    assert get(httpd.port, "/selfcheck").status == 200


def test_file_written_in_place(lab):
    members = lab.upstreams(2)
    httpd = start_file(lab, line(members[0]))
    with open(httpd.path("run/members"), "a") as file:
        file.write(line(members[1]) + "\n")
    wait_for(httpd, ["m1", "m2"])


@pytest.mark.parametrize("lines,says", [
    (["http://127.0.0.1:1 wieght=3"], "line 1: 'wieght=3' is not known here"),
    (["# one", "gopher://x"], "line 2: 'gopher://x'"),
    (["http://127.0.0.1:1 id=a", "http://127.0.0.1:2 id=a"], "line 2: the id 'a' is there twice"),
    (["# nobody"], "names no member"),
    (["\0"], "is not text"),
])
def test_bad_file_keeps_the_last_good_set(lab, lines, says):
    members = lab.upstreams(1)
    httpd = start_file(lab, line(members[0]))
    put(httpd, *lines)
    httpd.wait_log("GATE0240: group app: GateDiscover file:run/members: " + says.replace("(", r"\("))
    assert who(httpd) == {"m1"}
    put(httpd, line(members[0]))
    httpd.wait_log("GATE0241")


def test_file_that_vanishes_keeps_the_last_good_set(lab):
    members = lab.upstreams(2)
    httpd = start_file(lab, line(members[0]), line(members[1]))
    os.unlink(httpd.path("run/members"))
    httpd.wait_log("GATE0240.*No such file")
    assert who(httpd) == {"m1", "m2"}
    httpd.graceful()
    assert who(httpd) == {"m1", "m2"}
    httpd.expect("GATE0240")


# --- life of the server ---------------------------------------------------------------------------

def test_killed_holders(lab):
    """Whichever child watches: when it is killed another goes on."""
    members = lab.upstreams(2)
    httpd = start_file(lab, line(members[0]))
    httpd.expect("AH10392: children are killed successively", r"AH00052: child pid \d+ exit signal Killed", *MEMBER_TROUBLE)
    for turn in range(6):
        want = members[:1 + turn % 2]
        for pid in httpd.child_pids():
            httpd.kill_child(pid)
        put(httpd, *[line(m) for m in want])
        wait_until(lambda: _quiet(httpd) == {m.name for m in want}, 15, f"turn {turn}", 0.1)
    assert get(httpd.port, "/selfcheck").status == 200


def _quiet(httpd):
    try:
        return who(httpd)
    except (OSError, BadAnswer):
        return None


def test_graceful_restart_keeps_what_was_found(lab, dns):
    members = same_port(lab, 2)
    httpd = start_dns(lab, dns, members, 2)
    dns.mode = "silent"
    httpd.expect("GATE0240")
    with Crowd(httpd.port, clients=4, pause=0.005) as crowd:
        for _ in range(3):
            httpd.graceful()
            time.sleep(0.3)
    assert crowd.failures == []
    assert who(httpd) == {"m1", "m2"}


def test_discovery_taken_out_of_the_configuration(lab, dns):
    members = same_port(lab, 2)
    other = lab.upstream("m9")
    httpd = start_dns(lab, dns, members, 2)
    httpd.write_conf(conf=group(f"GateMember {other.url}") + route())
    httpd.graceful()
    wait_for(httpd, ["m9"])


def test_beside_configured_members(lab, dns):
    members = same_port(lab, 2)
    own = lab.upstream("own")
    dns.set("app.test", "A", members[0].host)
    httpd = lab.httpd(group(f"GateMember {own.url}", f"GateMember http://{members[0].authority} weight=3",
                            f"GateDiscover dns:app.test:{members[0].port} resolver={dns.address}") + route())
    dns.set("app.test", "A", *[m.host for m in members])
    wait_for(httpd, ["own", "m1", "m2"])  # m1 is configured, and stays what it is
    dns.set("app.test", "A", members[1].host)
    time.sleep(1.5)
    assert who(httpd) == {"own", "m1", "m2"}


def test_two_sources_of_one_group(lab, dns):
    members = same_port(lab, 2)
    filed = lab.upstream("filed")
    dns.set("app.test", "A", members[0].host)
    httpd = lab.httpd(group(f"GateDiscover dns:app.test:{members[0].port} resolver={dns.address}", "GateDiscover file:run/members")
                      + route(), start=False)
    put(httpd, line(filed))
    httpd.start()
    wait_for(httpd, ["m1", "filed"])
    dns.set("app.test", "A", members[1].host)
    wait_for(httpd, ["m2", "filed"])


# --- the directive --------------------------------------------------------------------------------

@pytest.mark.parametrize("text,says", [
    ("", "GateDiscover: names no source"),
    ("app.test:80", "GateDiscover: 'app.test:80' is none of dns:HOST:PORT, srv:NAME, file:PATH"),
    ("dns:app.test", "GateDiscover: 'dns:app.test' lacks its port"),
    ("dns:app.test:0", "lacks its port"),
    ("dns:app..test:80", "has no name that DNS could know"),
    ("dns:a/b:80", "has no name that DNS could know"),
    ("srv:", "has no name that DNS could know"),
    ("file:", "GateDiscover: 'file:' lacks its path"),
    ("dns:app.test:80 scheme=gopher", "GateDiscover: 'scheme=gopher'"),
    ("dns:app.test:80 interval=1ms", "GateDiscover: 'interval=1ms'"),
    ("dns:app.test:80 weight=0", "GateDiscover: 'weight=0'"),
    ("dns:app.test:80 resolver=dns.test", "GateDiscover: 'resolver=dns.test': 'dns.test' is not an address"),
    ("dns:app.test:80 color=red", "GateDiscover: 'color=red' is not known here"),
    ("file:x weight=3", "GateDiscover: 'weight=3' has no use with file:"),
])
def test_bad(lab, text, says):
    good, said = lab.httpd(group("GateDiscover " + text), start=False).check()
    assert not good and says in said, said


def test_twice(lab):
    good, said = lab.httpd(group("GateDiscover dns:a.test:80", "GateDiscover dns:a.test:80"), start=False).check()
    assert not good and "GateDiscover: 'dns:a.test:80' stands in group app already" in said


def test_outside_of_a_group(lab):
    assert "only works inside <GateUpstream NAME>" in lab.httpd("GateDiscover dns:a.test:80", start=False).check()[1]


def test_inherited(lab):
    """A group written in a vhost discovers for routes of every server."""
    member = lab.upstream()
    httpd = lab.httpd("<VirtualHost 127.0.0.1:1>\n" + group("GateDiscover file:run/members") + "</VirtualHost>\n" + route(), start=False)
    put(httpd, line(member))
    httpd.start()
    assert who(httpd) == {"m1"}


def test_overridden(lab):
    """The configuration's own member stands against a discovered one of the same id."""
    members = lab.upstreams(2)
    httpd = lab.httpd(group(f"GateMember {members[0].url} id=same", "GateDiscover file:run/members") + route(), start=False)
    put(httpd, f"{members[1].url} id=same", f"{members[1].url} id=other")
    httpd.start()
    assert who(httpd) == {"m1", "m2"}
    put(httpd, f"{members[1].url} id=same")
    wait_for(httpd, ["m1"])
