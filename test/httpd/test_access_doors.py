"""mod_gate_access seen from other modules: the status page, the admin API, explain, the cache, the express plane's neighbours."""
import re
import time

import pytest

from access_conf import REMOTE, UNTRUSTED, as_client, section
from cachelib import Site
from clients import Connection, get
from sample import ask, location, status

pytestmark = pytest.mark.needs("gate_access")
needs_status = pytest.mark.needs("gate_access", "gate_status")


@needs_status
def test_numbers_on_the_status_page(lab):
    conf = (REMOTE + "GateIPSet office 192.0.2.0/24\n"
            + section("GateLimit requests rate=1r/h burst=1 name=tight", path="/tight")
            + section("Require gate-set office", path="/office"))
    httpd = lab.httpd(conf=conf + location("GateAdmin on"))
    httpd.expect("AH01630")
    for path, address in (("/tight", "192.0.2.1"),) * 4 + (("/office", "198.51.100.1"),):
        get(httpd.port, path, headers=as_client(address))
    httpd.access(5)  # a denial counts when it is logged
    access = status(httpd)["access"]
    assert (access["admitted"], access["limited"], access["denied"], access["banned"], access["bans"]) == (2, 2, 1, 0, 0)
    limit = access["limits"][0]
    assert (limit["name"], limit["kind"], limit["key"], limit["admitted"], limit["refused"]) == ("tight", "requests", "client", 2, 2)
    assert access["sets"][0]["name"] == "office" and access["sets"][0]["prefixes"] == 1
    text = ask(httpd, "metrics").text
    assert re.search(r'^gatehouse_access_total\{verdict="limited"\} 2$', text, re.M)
    assert re.search(r"^gatehouse_access_bans 0$", text, re.M)


@needs_status
def test_bans_by_the_admin_api(lab):
    httpd = lab.httpd(conf=REMOTE + location("GateAdmin on"), children=3)
    get(httpd.port, "/")
    answer = ask(httpd, "api/v1/bans", "POST", json={"address": "2001:db8::7", "for": "10m", "why": "abuse <b>"})
    assert answer.status in (200, 201), answer.body
    assert get(httpd.port, "/", headers=as_client("2001:db8::1234")).status == 403
    listed = ask(httpd, "api/v1/bans").json()
    ban = listed["bans"][0]
    assert (ban["address"], ban["why"], ban["manual"], ban["drop"]) == ("2001:db8::/64", "abuse <b>", True, False)
    assert [e for e in ask(httpd, "events.json").json()["events"] if e["to"] == "banned" and e["group"] == "2001:db8::/64"]
    answer = ask(httpd, "api/v1/bans?address=2001:db8::/64", "DELETE")
    assert answer.status in (200, 204), answer.body
    assert [get(httpd.port, "/", headers=as_client("2001:db8::1234")).status for _ in range(9)] == [200] * 9  # at once, everywhere
    for bad in ({"address": "nobody"}, {"address": "192.0.2.1", "for": "soon"}, {"address": "127.0.0.1"}):
        assert ask(httpd, "api/v1/bans", "POST", json=bad).status == 400, bad  # the last is a trusted proxy
    assert ask(httpd, "api/v1/bans?address=192.0.2.9", "DELETE").status == 404
    assert ask(httpd, "api/v1/bans").json()["count"] == 0


@needs_status
def test_explain_counts_nothing(lab):
    conf = REMOTE + section("GateLimit requests rate=1r/h burst=1 name=tight", path="/tight")
    httpd = lab.httpd(conf=conf + location("GateAdmin on"))
    def explain():
        return ask(httpd, "explain.json?url=/tight").json()["access"]
    assert [explain()["verdict"] for _ in range(5)] == ["admit"] * 5
    for _ in range(3):
        get(httpd.port, "/tight")
    said = explain()
    assert (said["verdict"], said["rule"], said["status"]) == ("limited", "tight", 429)
    assert re.search(r"over the rate of GateLimit requests \(.*httpd.conf:\d+\)", said["why"])
    before = status(httpd)["access"]["limited"]
    explain()
    assert status(httpd)["access"]["limited"] == before


@pytest.mark.needs("gate_access", "gate_cache")
def test_cache_hits_are_limited(lab):
    """Trap 71: a hit is a request; a refused client gets nothing from the cache, and the refusal is not stored."""
    site = Site(lab, rest=UNTRUSTED + "GateIPSet all 0.0.0.0/0\n", more="GateLimit requests rate=1r/h burst=3 name=c")
    site.says("hello", headers="max-age=60")
    answers = [site.get() for _ in range(6)]
    assert [a.status for a in answers] == [200] * 4 + [429] * 2 and site.asked == 1
    assert answers[3].header("cache-status").endswith("hit") or "hit" in answers[3].header("cache-status")
    assert all(b"hello" not in a.body for a in answers[4:])


@pytest.mark.needs("gate_access", "gate_cache")
def test_cache_keeps_to_sets_and_bans(lab):
    """What one client may have in the cache is not for one who may not ask."""
    site = Site(lab, rest=REMOTE + "GateIPSet office 192.0.2.0/24\nGateBan status=403 count=3 window=60s for=60s\n",
                more="Require gate-set office")
    site.httpd.expect("AH01630")
    site.says("secret", headers="max-age=60, public")
    assert [site.get(headers=as_client("192.0.2.1")).status for _ in range(2)] == [200, 200] and site.asked == 1
    answers = [site.get(headers=as_client("198.51.100.1")) for _ in range(9)]
    assert [a.status for a in answers] == [403] * 9 and not any(b"secret" in a.body for a in answers)
    assert {"denied", "banned"} <= {line["access"] for line in site.httpd.access(11)}
    assert site.get(headers=as_client("192.0.2.1")).status == 200


# ---- identity -----------------------------------------------------------------------------------------------------------------

@pytest.mark.h1("a PROXY line stands in front of the handshake")
def test_proxy_protocol(lab):
    """Trap 16: the address of a PROXY header counts where mod_remoteip is told to read it, and sets, limits and bans use it."""
    httpd = lab.httpd(conf="RemoteIPProxyProtocol On\nGateIPSet office 192.0.2.0/24\n" + section("Require gate-set office"))
    httpd.expect("AH01630", "AH03503", "AH03508", "AH03513")

    def ask_as(head):
        with Connection(httpd.port) as c:
            c.send(head)
            time.sleep(0.05)  # mod_remoteip does not like a PROXY UNKNOWN that comes together with the request
            c.send(b"GET /nothing HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
            return c.recv_all()[:12]
    assert ask_as(b"PROXY TCP4 192.0.2.1 10.0.0.1 1234 80\r\n") == b"HTTP/1.1 404"
    assert ask_as(b"PROXY TCP6 ::ffff:192.0.2.1 ::1 1234 80\r\n") == b"HTTP/1.1 404"
    assert ask_as(b"PROXY TCP4 198.51.100.1 10.0.0.1 1234 80\r\n") == b"HTTP/1.1 403"
    assert ask_as(b"PROXY UNKNOWN\r\n") in (b"HTTP/1.1 403", b"")  # no address known: not in the set
    assert ask_as(b"") == b""  # no header: the connection ends


def test_vhosts_have_their_own_limits(lab):
    """Trap 18: a limit belongs to the vhost, not to what the Host header says."""
    conf = REMOTE + "".join(f"<VirtualHost *:${{PORT}}>\nServerName {name}\nGateLimit requests rate=1r/h burst=1 name={name}\n"
                            "</VirtualHost>\n" for name in ("one", "two"))
    httpd = lab.httpd(conf=conf)

    def ask_host(host):
        return get(httpd.port, "/nothing", headers={"Host": host, "X-Client": "192.0.2.1"}).status
    assert [ask_host(h) for h in ("one", "ONE:1234", "one.", "unknown.example")] == [404, 404, 429, 429]
    assert [ask_host("two") for _ in range(3)] == [404, 404, 429]


def test_what_the_client_writes_about_itself(lab):
    """Trap 14: X-Real-IP, True-Client-IP, Forwarded and a second X-Forwarded-For line decide nothing."""
    httpd = lab.httpd(conf="RemoteIPHeader X-Forwarded-For\nRemoteIPInternalProxy 203.0.113.1\nGateIPSet office 192.0.2.0/24\n"
                      + section("Require gate-set office"))
    httpd.expect("AH01630")
    for name in ("X-Forwarded-For", "X-Real-IP", "True-Client-IP", "Forwarded", "X-Client-IP", "CF-Connecting-IP"):
        value = "for=192.0.2.1" if name == "Forwarded" else "192.0.2.1"
        assert get(httpd.port, "/nothing", headers=[(name, value), (name, value)]).status == 403, name
