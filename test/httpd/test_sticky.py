"""GateSticky: who stays with which member, through what, and what the cookie is worth."""
import base64
import re

import pytest

from clients import get, request
from groups import MEMBER_TROUBLE, group, route
from procs import wait_until

pytestmark = pytest.mark.needs("gate_upstream")
CONFIGURATION = pytest.mark.once("what httpd -t says")

CHECK = '<Location "/selfcheck">\nSetHandler gate-selfcheck\nProxyPass "!"\n</Location>\n'
STICKY = "GateSticky cookie=gate"


class Client:
    """A browser that keeps the cookie."""

    def __init__(self, httpd, name="gate", tls=False, cookie=None):
        self.httpd, self.name, self.tls, self.cookie, self.set = httpd, name, tls, cookie, 0

    def get(self, path="/", **words):
        headers = [("Cookie", f"a=b; {self.name}={self.cookie}")] if self.cookie else []
        answer = get(self.httpd, path, headers=headers, tls=self.tls, **words)
        for value in answer.all("Set-Cookie"):
            match = re.match(re.escape(self.name) + r"=([^;]*)", value)
            if match:
                self.cookie, self.set = match.group(1), self.set + 1
        return answer


def settle(httpd, count=1, **words):
    """Clients that have a cookie, and the member of each."""
    clients = [Client(httpd, **words) for _ in range(count)]
    return [(c, c.get().member) for c in clients]


def stay(pairs, times=3):
    for client, member in pairs:
        before = client.cookie
        assert [client.get().member for _ in range(times)] == [member] * times
        assert client.cookie == before


def test_a_client_stays(lab):
    httpd = lab.httpd(group("app", lab.upstreams(3), STICKY) + route())
    pairs = settle(httpd, 6)
    assert {member for _, member in pairs} == {"m1", "m2", "m3"}
    assert [client.set for client, _ in pairs] == [1] * 6
    stay(pairs)


def test_over_tls_and_h2(lab):
    httpd = lab.httpd(group("app", lab.upstreams(3), STICKY) + route(), tls=True, h2=True, vhost=route())
    pairs = settle(httpd, 4, tls=True)
    stay(pairs)
    import subprocess
    for client, member in pairs:
        text = subprocess.run(["curl", "-sSki", "--http2", "-b", f"gate={client.cookie}", httpd.tls_url + "/"], check=True,
                              capture_output=True, text=True, timeout=20).stdout
        assert f"x-member: {member}" in text and "set-cookie" not in text, text


def test_all_children_know_the_key(lab):
    httpd = lab.httpd(group("app", lab.upstreams(3), STICKY) + route(), children=4, threads=4)
    pairs = settle(httpd, 3)
    stay(pairs, 12)
    assert len({entry["child"] for entry in httpd.access(39)}) > 1


def test_cookie_shows_no_address(lab):
    member = lab.upstream()
    httpd = lab.httpd(group("app", [member.url], STICKY) + route())
    cookies = [Client(httpd) for _ in range(3)]
    for client in cookies:
        client.get()
    assert len({c.cookie for c in cookies}) == 3  # two clients of one member have nothing to compare
    for client in cookies:
        assert re.fullmatch(r"[A-Za-z0-9_-]{50}", client.cookie)
        raw = base64.urlsafe_b64decode(client.cookie + "==")
        for secret in (b"127.0.0.1", str(member.port).encode(), member.port.to_bytes(2, "big"), b"\x7f\x00\x00\x01"):
            assert secret not in raw[:1] + raw[9:17]


def test_trap_22_forged_cookies(lab):
    httpd = lab.httpd(group("app", lab.upstreams(3), STICKY) + group("other", lab.upstreams(1), STICKY)
                      + route("other", "/other/") + route(), log_level="notice gate_upstream:debug")
    client, _ = settle(httpd)[0]
    good = client.cookie
    for place in (0, 3, 12, 20, 25, 30, 48):
        changed = good[:place] + ("A" if good[place] != "A" else "B") + good[place + 1:]
        forger = Client(httpd, cookie=changed)
        assert forger.get().status == 200
        assert (forger.set, forger.cookie != changed) == (1, True)
    for bad in ("", "x", good[:-1], good + "A", good + good, '"' + good + '"', "m1", "http://127.0.0.1", "%00", "A" * 50, "=" * 50):
        forger = Client(httpd, cookie=bad)
        assert forger.get().status == 200
        assert forger.set == 1, bad
    stranger = Client(httpd, cookie=good)  # good, but another group's
    assert (stranger.get("/other/").status, stranger.set) == (200, 1)
    assert good not in httpd.error_log()


def test_forged_cookies_do_not_choose(lab):
    """A cookie that is not ours is as good as none: members take turns."""
    httpd = lab.httpd(group("app", lab.upstreams(3), STICKY) + route())
    members = [get(httpd.port, headers=[("Cookie", "gate=" + "A" * 50)]).member for _ in range(9)]
    assert sorted(members) == ["m1"] * 3 + ["m2"] * 3 + ["m3"] * 3


def test_a_good_cookie_behind_bad_ones(lab):
    httpd = lab.httpd(group("app", lab.upstreams(3), STICKY) + route())
    client, member = settle(httpd)[0]
    for header in (f"gate=old; gate={client.cookie}", f"xgate=1; gate=; gate={client.cookie}; gate=2"):
        answers = [get(httpd.port, headers=[("Cookie", header)]) for _ in range(4)]
        assert [a.member for a in answers] == [member] * 4
        assert not any(a.all("Set-Cookie") for a in answers)
    two_fields = [("Cookie", "gate=old"), ("Cookie", f"gate={client.cookie}")]
    assert [get(httpd.port, headers=two_fields).member for _ in range(4)] == [member] * 4


# --- what happens to members ------------------------------------------------------------------

def test_graceful_restart(lab):
    httpd = lab.httpd(CHECK + group("app", lab.upstreams(3), STICKY) + route())
    pairs = settle(httpd, 6)
    for _ in range(3):
        httpd.graceful()
        stay(pairs)
    assert get(httpd.port, "/selfcheck").status == 200


def test_stop_and_start_with_a_state_file(lab):
    httpd = lab.httpd("GateStateFile run/state\n" + group("app", lab.upstreams(3), STICKY) + route())
    pairs = settle(httpd, 6)
    wait_until(lambda: "sticky" in httpd.read_file("run/state"), 10, "the key is kept")
    httpd.stop()
    httpd.start()
    stay(pairs)


def test_stop_and_start_without_one(lab):
    httpd = lab.httpd(group("app", lab.upstreams(3), STICKY) + route())
    (client, _), = settle(httpd)
    httpd.stop()
    httpd.start()
    client.get()
    assert client.set == 2


def drain_conf(members, *words):
    return group("app", [(m, w) for m, w in zip(members, words)], STICKY) + route()


def test_trap_22_draining_members_keep_their_sessions(lab):
    """FIELD trap 22: a member that is to drain serves who has its cookie, and nobody else."""
    members = lab.upstreams(2)
    httpd = lab.httpd("GateStateFile run/state\n" + drain_conf(members, "", ""))
    pairs = settle(httpd, 4)
    wait_until(lambda: "sticky" in httpd.read_file("run/state"), 10, "the key is kept")
    httpd.stop()
    httpd.write_conf(conf="GateStateFile run/state\n" + drain_conf(members, "state=drain", ""))
    httpd.start()
    stay(pairs)
    assert {get(httpd.port).member for _ in range(6)} == {"m2"}


def test_loss_of_a_member(lab):
    members = lab.upstreams(3)
    httpd = lab.httpd(CHECK + group("app", members, STICKY) + route())
    httpd.expect(*MEMBER_TROUBLE)
    pairs = settle(httpd, 9)
    members[0].kill9()
    others = [(c, m) for c, m in pairs if m != "m1"]
    stay(others)
    for client, _ in [(c, m) for c, m in pairs if m == "m1"]:
        answer = client.get()
        assert (answer.status, client.set) == (200, 2)
        assert answer.member in ("m2", "m3")
        stay([(client, answer.member)])


def test_trap_22_disabled_members_lose_their_sessions(lab):
    members = lab.upstreams(2)
    conf = "GateStateFile run/state\n"
    httpd = lab.httpd(conf + drain_conf(members, "", ""))
    pairs = settle(httpd, 4)
    wait_until(lambda: "sticky" in httpd.read_file("run/state"), 10, "the key is kept")
    httpd.stop()
    httpd.write_conf(conf=conf + drain_conf(members, "state=disabled", ""))
    httpd.start()
    for client, member in pairs:
        answer = client.get()
        assert (answer.status, answer.member, client.set) == (200, "m2", 1 + (member == "m1"))


def test_trap_22_removed_members(lab):
    members = lab.upstreams(3)
    httpd = lab.httpd(group("app", members, STICKY) + route())
    pairs = settle(httpd, 6)
    httpd.write_conf(conf=group("app", members[1:], STICKY) + route())
    httpd.graceful()
    for client, member in pairs:
        answer = client.get()
        assert answer.status == 200
        assert (answer.member == member) == (member != "m1")


def test_bound_client_goes_elsewhere_when_its_member_is_full(lab):
    """Without a queue: for this request only, the cookie stays."""
    import threading
    members = lab.upstreams(2)
    httpd = lab.httpd(group("app", [(m, "connections=1") for m in members], STICKY) + route())
    (client, member), = settle(httpd)
    mine = next(m for m in members if m.name == member)
    mine.behave(delay=1.0, path="/slow")
    slow = threading.Thread(target=lambda: get(httpd.port, "/slow", headers=[("Cookie", f"gate={client.cookie}")]))
    slow.start()
    wait_until(lambda: mine.inflight == 1, 5, "the slow one is in")
    assert (client.get().member != member, client.set) == (True, 1)
    slow.join()
    stay([(client, member)])


def test_bound_client_waits_for_its_member(lab):
    import threading
    members = lab.upstreams(2)
    httpd = lab.httpd(group("app", [(m, "connections=1") for m in members], STICKY, "GateQueue length=5 timeout=10s") + route())
    (client, member), = settle(httpd)
    mine = next(m for m in members if m.name == member)
    mine.behave(delay=0.5, path="/slow")
    slow = threading.Thread(target=lambda: get(httpd.port, "/slow", headers=[("Cookie", f"gate={client.cookie}")]))
    slow.start()
    wait_until(lambda: mine.inflight == 1, 5, "the slow one is in")
    assert get(httpd.port).member != member  # the others do not wait for it
    assert client.get().member == member
    slow.join()


# --- attributes, ttl, header --------------------------------------------------------------------

@pytest.mark.parametrize("line,expected", [
    ("cookie=gate", "Path=/"),
    ("cookie=gate ttl=2h path=/app domain=example.com secure httponly samesite=strict",
     "Path=/app; Domain=example.com; Max-Age=7200; Secure; HttpOnly; SameSite=Strict"),
    ("cookie=gate samesite=lax httponly", "Path=/; HttpOnly; SameSite=Lax"),
    ("cookie=gate secure samesite=none", "Path=/; Secure; SameSite=None"),
])
def test_attributes(lab, line, expected):
    httpd = lab.httpd(group("app", lab.upstreams(1), "GateSticky " + line) + route())
    value, = get(httpd.port).all("Set-Cookie")
    assert value.split("; ", 1)[1] == expected


def test_ttl(lab):
    httpd = lab.httpd(group("app", lab.upstreams(3), "GateSticky cookie=gate ttl=2s") + route())
    (client, member), = settle(httpd)
    first = client.cookie
    wait_until(lambda: client.get().member == member and client.set == 2, 5, "a new one in time")
    old = Client(httpd, cookie=first)
    wait_until(lambda: Client(httpd, cookie=first).get().all("Set-Cookie") or None, 5, "the first is out of date")
    old.get()
    assert old.set == 1


def test_members_own_cookies_pass(lab):
    member = lab.upstream()
    member.behave(headers=[["Set-Cookie", "session=1"], ["Set-Cookie", "x=2"]])
    httpd = lab.httpd(group("app", [member], STICKY) + route())
    values = get(httpd.port).all("Set-Cookie")
    assert [v.split("=")[0] for v in values if not v.startswith("gate=")] == ["session", "x"] and len(values) == 3


def test_header(lab):
    members = lab.upstreams(4)
    httpd = lab.httpd(group("app", members, "GateSticky header=X-User") + route())
    httpd.expect(*MEMBER_TROUBLE)

    def where(user):
        found = {get(httpd.port, headers=[("X-User", user)]).member for _ in range(4)}
        assert len(found) == 1
        return found.pop()
    before = {f"user{n}": where(f"user{n}") for n in range(24)}
    assert len(set(before.values())) == 4
    assert not get(httpd.port, headers=[("X-User", "user1")]).all("Set-Cookie")
    assert len({get(httpd.port).member for _ in range(8)}) == 4  # who has no such header takes turns
    httpd.graceful()
    httpd.write_conf(conf=group("app", members[:3], "GateSticky header=X-User") + route())
    httpd.graceful()
    for user, member in before.items():
        assert where(user) == member or member == "m4"


# --- the directive ---------------------------------------------------------------------------

@CONFIGURATION
@pytest.mark.parametrize("line,says", [
    ("GateSticky", "GateSticky: needs cookie=NAME or header=NAME"),
    ("GateSticky cookie=a header=b", "GateSticky: cookie= and header= exclude one another"),
    ("GateSticky cookie=a;b", "GateSticky: 'cookie=a;b'"),
    ("GateSticky cookie=gate ttl=x", "GateSticky: 'ttl=x'"),
    ("GateSticky cookie=gate samesite=some", "GateSticky: 'samesite=some'"),
    ("GateSticky cookie=gate samesite=none", "GateSticky: samesite=none needs secure"),
    ("GateSticky cookie=gate path=app", "GateSticky: path=app does not begin with '/'"),
    ("GateSticky cookie=__Host-g", "GateSticky: cookie=__Host-g needs secure"),
    ("GateSticky cookie=gate colour=red", "GateSticky: 'colour=red' is not known here"),
    ("GateSticky header=X-User secure", "GateSticky: header= sets no cookie"),
    ('GateSticky cookie=gate "path=/a; x"', "GateSticky: 'path=/a; x'"),
])
def test_bad(lab, line, says):
    good, text = lab.httpd(group("app", ["http://127.0.0.1:9"], line), start=False).check()
    assert not good and says in text, text


def test_outside_of_a_group(lab):
    assert "only works inside <GateUpstream NAME>" in lab.httpd(STICKY, start=False).check()[1]


def test_inherited(lab):
    """Routes of every server share the group's cookie."""
    httpd = lab.httpd("<VirtualHost 127.0.0.1:1>\n" + group("app", lab.upstreams(3), STICKY) + "</VirtualHost>\n" + route()
                      + route("app", "/too/"))
    (client, member), = settle(httpd)
    assert {client.get(path).member for path in ("/", "/too/", "/", "/too/")} == {member}


def test_overridden(lab):
    httpd = lab.httpd(group("app", lab.upstreams(1), "GateSticky cookie=first", "GateSticky cookie=second")
                      + group("free", lab.upstreams(1), STICKY, "GateSticky off") + route("free", "/free/") + route())
    assert [v.split("=")[0] for v in get(httpd.port).all("Set-Cookie")] == ["second"]
    assert get(httpd.port, "/free/").all("Set-Cookie") == []


def test_an_error_page_of_ours_sets_no_cookie(lab):
    dead = lab.refusing()
    httpd = lab.httpd(group("app", [f"http://127.0.0.1:{dead.port}"], STICKY) + route())
    httpd.expect(*MEMBER_TROUBLE)
    answer = request(httpd.port)
    assert (answer.status, answer.all("Set-Cookie")) == (503, [])
