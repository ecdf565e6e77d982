"""mod_gate_access: GateBan, the state file, GateGeo, and sets and passwords together."""
import base64
import hashlib
import os
import stat

import pytest

import clients
import mmdb
from access_conf import REMOTE, UNTRUSTED, as_client, section
from clients import curl, get, post
from groups import behind
from keepalive import KeepAlive
from procs import wait_until

pytestmark = pytest.mark.needs("gate_access")
CONFIGURATION = pytest.mark.once("what httpd -t says")

RULE = "GateBan status=404 count=3 window=60s for=20s\n"


def serve(lab, conf, **words):
    httpd = lab.httpd(conf=REMOTE + conf + behind(lab), **dict(words, start=False))
    httpd.expect("AH01630: client denied", "AH01617", "AH01618", "AH01797")
    return httpd.start()


def status(httpd, address, path="/", **words):
    return get(httpd.port, path, headers=as_client(address), **words).status


def earn(httpd, address, count=3, path="/nothing"):
    return [status(httpd, address, path) for _ in range(count)]


def banned(httpd, address):
    """At once: an answer is counted before it is sent."""
    return status(httpd, address) == 403


def test_earned_and_over(lab):
    httpd = serve(lab, "GateBan status=404 count=3 window=60s for=2s\n")
    assert earn(httpd, "192.0.2.1") == [404] * 3
    assert banned(httpd, "192.0.2.1") and status(httpd, "192.0.2.2") == 200
    httpd.wait_log(r"GATE1011: client 192.0.2.1: banned for 2 s \(0 before\): 3 answers like 404 within 60 s")
    assert "banned" in [line["access"] for line in httpd.access(5)]
    wait_until(lambda: status(httpd, "192.0.2.1") == 200, 8, "the ban is over")
    earn(httpd, "192.0.2.1")
    httpd.wait_log(r"client 192.0.2.1: banned for 4 s \(1 before\)")


@pytest.mark.parametrize("path", ["/nothing", "/closed"])
def test_the_next_request_is_refused(lab, path):
    """However quickly it follows: 40 clients in a row earn a ban by their second answer and ask again on the same connection."""
    httpd = serve(lab, "GateBan status=403,404 count=2 window=60s for=60s\n" + section("Require all denied", path="/closed"))
    want = 404 if path == "/nothing" else 403
    with KeepAlive(httpd.port) as kept:
        for n in range(40):
            answers = [kept.get(path if turn < 2 else "/", as_client(f"192.0.2.{n}")).status for turn in range(3)]
            assert answers == [want, want, 403], f"client {n}"


def test_refused_everywhere(lab):
    """A new connection, a kept-alive one, TLS, h2, both forms of the address, every vhost."""
    httpd = serve(lab, RULE, tls=True, h2=True)
    with KeepAlive(httpd.port) as kept, KeepAlive(httpd.tls_port, tls=True) as kept_tls:
        assert kept.get("/", as_client("192.0.2.1")).status == 200
        assert kept_tls.get("/", as_client("192.0.2.1")).status == 200
        earn(httpd, "192.0.2.1")
        assert banned(httpd, "192.0.2.1")
        assert kept.get("/", as_client("192.0.2.1")).status == 403
        assert kept_tls.get("/", as_client("192.0.2.1")).status == 403
        assert kept.get("/", as_client("192.0.2.2")).status == 200 and kept.reopened == 0
    assert status(httpd, "192.0.2.1") == status(httpd, "::ffff:192.0.2.1") == 403
    for flag in ("--http1.1", "--http2"):
        assert curl(flag, "-H", "X-Client: 192.0.2.1", httpd.tls_url + "/")[1].status == 403
    assert curl("--http2", "-H", "X-Client: 192.0.2.3", httpd.tls_url + "/")[1].raw.startswith("HTTP/2 200")
    answer = post(httpd.port, "/", headers=as_client("192.0.2.1"), body=b"x" * 10000)
    assert answer.status == 403 and (httpd.over_h2 or answer.header("connection") == "close")


def test_streams_share_the_ban(lab):
    """Trap 15: what an h2 client earns on many streams is its own, and bans all of them."""
    httpd = serve(lab, "GateBan status=404 count=20 window=60s for=60s\n", tls=True, h2=True)
    clients.h2load(httpd.tls_url + "/nothing", requests=60, connections=1, streams=10)
    assert "GATE1011" not in httpd.error_log()  # the peer is a trusted proxy: see below
    httpd = lab.httpd(conf="GateBan status=404 count=20 window=60s for=60s\n", tls=True, h2=True)
    clients.h2load(httpd.tls_url + "/nothing", requests=60, connections=1, streams=10)
    httpd.wait_log("GATE1011: client 127.0.0.1: banned")
    assert get(httpd.port, "/").status == 403


def test_trusted_proxies_and_exempt_sets(lab):
    """Trap 72: never a proxy that mod_remoteip trusts, from any vhost and by list; never who is exempt."""
    httpd = lab.httpd(start=False)
    listed = httpd.write_file("conf/proxies.txt", "# ours\n203.0.113.0/24 # farm\n")
    httpd.write_conf(conf=REMOTE + f"RemoteIPTrustedProxyList {listed}\nGateIPSet office 192.0.2.0/24\n"
                     "GateBan status=404 count=2 window=60s for=60s exempt=office\n")
    httpd.start()
    assert [get(httpd.port, "/nothing").status for _ in range(6)] == [404] * 6  # the proxy itself: its health check
    assert earn(httpd, "192.0.2.1", 6) == [404] * 6
    assert earn(httpd, "203.0.113.5", 6) == [404] * 6
    assert earn(httpd, "198.51.100.1", 2) == [404, 404] and banned(httpd, "198.51.100.1")


def test_forged_header_bans_nobody_else(lab):
    """Trap 13: what an untrusted peer writes does not decide who is banned."""
    httpd = lab.httpd(conf=UNTRUSTED + RULE)
    assert earn(httpd, "192.0.2.1") == [404] * 3
    httpd.wait_log("client 127.0.0.1: banned")
    assert get(httpd.port, "/", headers=as_client("192.0.2.99")).status == 403  # the peer is banned, whatever it claims


def test_what_counts(lab):
    """Trap 71: once for a request, with the answer it got in the end; bans do not feed themselves; GateBan off; inner rules."""
    httpd = serve(lab, "ErrorDocument 404 /nothing-either\nGateBan status=404 count=4 window=60s for=30s\n"
                  + section("GateBan off", path="/free") + section("GateBan status=404 count=1 window=60s for=30s", path="/trap"))
    assert earn(httpd, "192.0.2.1", 10, "/free/x") == [404] * 10
    assert earn(httpd, "192.0.2.1", 4) == [404] * 4 and banned(httpd, "192.0.2.1")
    assert earn(httpd, "192.0.2.2", 1, "/trap/x") == [404] and banned(httpd, "192.0.2.2")
    for _ in range(10):
        status(httpd, "192.0.2.2")
    assert httpd.error_log().count("client 192.0.2.2: banned") == 1


def test_passwords_that_are_guessed(lab):
    httpd = lab.httpd(start=False)
    httpd.write_file("conf/passwords", "admin:{SHA}" + base64.b64encode(hashlib.sha1(b"right").digest()).decode() + "\n")
    httpd.write_conf(conf=REMOTE + "GateBan status=401 count=5 window=60s for=30s\n"
                     + section("AuthType Basic", "AuthName x", "AuthBasicProvider file", "AuthUserFile conf/passwords", "Require valid-user"))
    httpd.expect("AH01617", "AH01618")
    httpd.start()

    def try_it(word):
        secret = base64.b64encode(f"admin:{word}".encode()).decode()
        return get(httpd.port, "/", headers=dict(as_client("192.0.2.1"), Authorization=f"Basic {secret}")).status
    assert try_it("right") == 200
    assert [try_it(f"wrong{n}") for n in range(5)] == [401] * 5 and banned(httpd, "192.0.2.1")
    assert try_it("right") == 403


def test_drop(lab):
    """A ban with drop closes connections of the peer itself."""
    httpd = lab.httpd(conf="GateBan status=404 count=2 window=60s for=3s drop\n")
    assert [get(httpd.port, "/nothing").status for _ in range(2)] == [404] * 2
    httpd.wait_log("GATE1011")
    with pytest.raises((OSError, AssertionError)):
        get(httpd.port, "/")
    wait_until(lambda: answers(httpd), 10, "the ban is over")


def answers(httpd):
    try:
        return get(httpd.port, "/").status == 200
    except (OSError, AssertionError):
        return False


def test_graceful_restart_keeps_bans(lab):
    httpd = serve(lab, RULE)
    earn(httpd, "192.0.2.1")
    assert banned(httpd, "192.0.2.1")
    httpd.graceful()
    assert status(httpd, "192.0.2.1") == 403
    httpd.write_conf(conf=REMOTE + RULE + "GateBanPlaces 20000\n")
    httpd.graceful()
    httpd.wait_log("GATE1008: bans: there is room for 20000 now; 1 bans were kept")
    assert status(httpd, "192.0.2.1") == 403 and status(httpd, "192.0.2.2") == 200


def test_bans_outlive_a_stop(lab):
    """Trap 73: kept in a file that is whole, ours alone, in wall time; and one that is damaged is passed over."""
    httpd = lab.httpd(start=False, children=3)
    os.makedirs(httpd.path("state"), exist_ok=True)
    os.chmod(httpd.path("state"), 0o777)
    path = httpd.path("state", "gate")
    httpd.write_conf(conf=REMOTE + f"GateStateFile {path}\n" + RULE)
    httpd.start()
    earn(httpd, "192.0.2.1")
    earn(httpd, "2001:db8::1")
    assert banned(httpd, "192.0.2.1") and banned(httpd, "2001:db8::1")
    wait_until(lambda: os.path.exists(path), 5, "the state file")
    assert stat.S_IMODE(os.stat(path).st_mode) == 0o600
    httpd.stop()
    httpd.start()
    assert (status(httpd, "192.0.2.1"), status(httpd, "2001:db8::2"), status(httpd, "192.0.2.2")) == (403, 403, 200)
    httpd.stop()
    with open(path, "r+b") as file:
        file.seek(40)
        file.write(b"#")
    httpd.start()
    httpd.wait_log(rf"GATE0011: GateStateFile {path}: is damaged \(its checksum is wrong\): begun without that")
    assert status(httpd, "192.0.2.1") == 200


def test_a_state_file_that_cannot_be_written(lab):
    httpd = lab.httpd(start=False)
    httpd.write_conf(conf=REMOTE + "GateStateFile none/state\n" + RULE)
    httpd.start()
    earn(httpd, "192.0.2.1")
    httpd.wait_log("GATE0010: GateStateFile .*/none/state cannot be written: its directory must be writable")
    assert status(httpd, "192.0.2.1") == 403


@CONFIGURATION
@pytest.mark.parametrize("conf, said", [
    ("GateBan", "GateBan: needs status="),
    ("GateBan status=404 count=0 window=1s for=1s", "'count=0'"),
    ("GateBan status=999 count=1 window=1s for=1s", "'status=999'"),
    ("GateBan status=404 count=1 window=0s for=1s", "'window=0s'"),
    ("GateBan status=404 count=1 window=1s for=0", "'for=0'"),
    ("GateBan status=404 count=1 window=1s for=1h max=1m", "max= is shorter than for="),
    ("GateBan status=404 count=1 window=1s for=1h escalate=0.5", "'escalate=0.5'"),
    ("GateBan status=404 count=1 windw=1s for=1h", "did you mean 'window"),
    ("GateBan off\nGateBan status=404 count=1 window=1s for=1h", "beside 'off'"),
    ("GateBanPlaces 5", "GateBanPlaces: '5'"),
    ("GateBanPlaces x", "GateBanPlaces: 'x'"),
    ("GateGeo conf/none.mmdb", "GateGeo: 'conf/none.mmdb' could not be opened as a MaxMind DB file"),
    ("<Location />\nRequire gate-country DEU\n</Location>", "'DEU' is not a country code of two letters"),
    ("<Location />\nRequire gate-country DE\n</Location>", "GATE1003: Require gate-country"),
])
def test_bad_configuration(lab, conf, said):
    httpd = lab.httpd(start=False, conf=conf)
    good, text = httpd.check()
    assert not good and said in text + httpd.error_log(), text + httpd.error_log()


# ---- countries ----------------------------------------------------------------------------------------------------------------

def test_countries(lab):
    httpd = lab.httpd(start=False)
    path = httpd.path("conf", "geo.mmdb")
    mmdb.write(path, {"192.0.2.0/24": "DE", "198.51.100.0/24": "FR", "2001:db8::/32": "DE"})
    httpd.write_conf(conf=REMOTE + f"GateGeo {path}\n" + section("Require gate-country de CH"))
    if "needs libmaxminddb" in httpd.check()[1]:
        pytest.skip("built without libmaxminddb")
    httpd.expect("AH01630")
    httpd.start()
    got = [status(httpd, a) for a in ("192.0.2.1", "198.51.100.1", "2001:db8::1", "203.0.113.1", "::ffff:192.0.2.9")]
    assert got == [200, 403, 200, 403, 200]
    mmdb.write(path + ".new", {"198.51.100.0/24": "CH"})
    os.replace(path + ".new", path)
    wait_until(lambda: all(status(httpd, "198.51.100.1") == 200 and status(httpd, "192.0.2.1") == 403 for _ in range(10)), 10,
               "the new file in every child")
    with open(path + ".new", "wb") as file:
        file.write(b"rubbish")
    os.replace(path + ".new", path)
    httpd.wait_log("GATE1018: GateGeo: the file has changed, but cannot be opened")
    assert status(httpd, "198.51.100.1") == 200


# ---- the admin panel ------------------------------------------------------------------------------------------------------------

def test_admin_panel_by_address_or_password(lab):
    """As in conf.d/access.conf: from the office, or with a password; limits keep to it, and httpd's cache does too."""
    httpd = lab.httpd(start=False)
    secret = base64.b64encode(hashlib.sha1(b"secret").digest()).decode()
    httpd.write_file("conf/admin.htpasswd", f"ann:{{SHA}}{secret}\n")
    httpd.write_file("htdocs/admin/index.html", "panel")
    httpd.write_conf(conf=REMOTE + "GateIPSet office 192.0.2.0/24\n"
                     + section("AuthType Basic", 'AuthName "Admin"', "AuthBasicProvider file", "AuthUserFile conf/admin.htpasswd",
                               "<RequireAny>", "Require gate-set office", "Require valid-user", "</RequireAny>",
                               "GateLimit requests rate=1r/h burst=5 name=admin", path="/admin/"))
    httpd.expect("AH01617", "AH01618")
    httpd.start()
    word = {"Authorization": "Basic " + base64.b64encode(b"ann:secret").decode()}
    assert status(httpd, "192.0.2.1", "/admin/index.html") == 200
    assert status(httpd, "198.51.100.1", "/admin/index.html") == 401
    assert get(httpd.port, "/admin/index.html", headers=dict(as_client("198.51.100.1"), **word)).status == 200
    assert [get(httpd.port, "/admin/index.html", headers=dict(as_client("198.51.100.1"), **word)).status for _ in range(5)] \
        == [200] * 4 + [429]
    said = [line["access"] for line in httpd.access(8)]
    assert sorted(said) == ["denied", "limited:admin"] + ["ok"] * 6
