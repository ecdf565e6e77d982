"""A group answers: every kind of route, every kind of member, and what a request looks like when it arrives."""
import os

import pytest

from clients import WebSocket, get, h2load, post, request
from groups import MEMBER_TROUBLE, NO_OUTLIER, group, route

pytestmark = pytest.mark.needs("gate_upstream")


def test_one_member(lab):
    member = lab.upstream()
    httpd = lab.httpd(group("app", [member]) + route())
    answer = get(httpd.port, "/a?b=c")
    assert (answer.status, answer.member) == (200, "m1")
    assert member.requests()[0]["target"] == "/a?b=c"


def test_members_in_turn(lab):
    members = lab.upstreams(3)
    httpd = lab.httpd(group("app", members) + route())
    assert sorted(get(httpd.port).member for _ in range(9)) == ["m1"] * 3 + ["m2"] * 3 + ["m3"] * 3


# --- routes ----------------------------------------------------------------------------------

ROUTES = {
    "ProxyPass": 'ProxyPass "/x/" "gate://app/y/"',
    "ProxyPass-Location": '<Location "/x/">\nProxyPass "gate://app/y/"\n</Location>',
    "ProxyPassMatch": 'ProxyPassMatch "^/x/(.*)$" "gate://app/y/$1"',
    "RewriteRule": 'RewriteEngine on\nRewriteRule "^/x/(.*)$" "gate://app/y/$1" [P]',
    "RewriteRule-bare": 'RewriteEngine on\nRewriteRule ^/x/(.*)$ gate://app/y/$1 [P,L]',
    "RewriteRule-Location": '<Location "/x">\nRewriteEngine on\nRewriteRule "/x/(.*)$" "gate://app/y/$1" [P]\n</Location>',
}


@pytest.mark.parametrize("kind", ROUTES)
def test_routes(lab, kind):
    member = lab.upstream()
    httpd = lab.httpd(group("app", [member]) + ROUTES[kind])
    answers = [get(httpd.port, "/x/z?q=1") for _ in range(3)]
    assert [a.status for a in answers] == [200] * 3
    assert member.requests()[0]["target"] == "/y/z?q=1"
    assert httpd.access(3)[0]["group"] == "app"


@pytest.mark.parametrize("kind", ["ProxyPass", "ProxyPassMatch", "RewriteRule"])
def test_routes_in_a_vhost(lab, kind):
    member = lab.upstream()
    conf = f"<VirtualHost 127.0.0.1:${{PORT}}>\nServerName localhost\n{ROUTES[kind]}\n</VirtualHost>"
    httpd = lab.httpd(group("app", [member]) + conf)
    assert get(httpd.port, "/x/z").member == "m1"
    assert member.requests()[0]["target"] == "/y/z"


def test_group_written_in_a_vhost_is_global(lab):
    member = lab.upstream()
    httpd = lab.httpd("<VirtualHost 127.0.0.1:1>\n" + group("app", [member]) + "</VirtualHost>\n" + route())
    assert get(httpd.port).member == "m1"


def test_set_handler(lab):
    member = lab.upstream()
    httpd = lab.httpd(group("app", [member]) + '<Location "/x">\nSetHandler "proxy:gate://app/"\n</Location>')
    assert get(httpd.port, "/x/z?q=1").member == "m1"
    assert member.requests()[0]["target"] == "/x/z?q=1"


@pytest.mark.parametrize("kind", ["ProxyPass", "RewriteRule", "SetHandler"])
def test_connections_to_members_are_kept(lab, kind):
    member = lab.upstream()
    conf = ROUTES.get(kind, '<Location "/x">\nSetHandler "proxy:gate://app/"\n</Location>')
    httpd = lab.httpd(group("app", [member]) + conf, children=1)
    for _ in range(12):
        assert get(httpd.port, "/x/z").status == 200
    # an event loop keeps its own
    assert member.connections <= (1 if httpd.plane == "classic" else os.cpu_count())


# --- members of every kind -------------------------------------------------------------------

def test_https_member(lab):
    member = lab.upstream(tls=True)
    httpd = lab.httpd("SSLProxyEngine on\nSSLProxyCheckPeerName off\n" + group("app", [member]) + route())
    assert [get(httpd.port, "/s").member for _ in range(2)] == ["m1"] * 2


@pytest.mark.parametrize("proto", ["https", "h2"])
def test_trust_of_one_vhost_is_not_the_others(lab, proto):
    """A TLS connection that somebody made who does not ask for the member's certificate is not for somebody who does."""
    member = lab.nginx(h2=True, tls=True) if proto == "h2" else lab.upstream(tls=True)
    other = lab.upstream("m2", tls=True)
    trusting = "SSLProxyEngine on\nSSLProxyCheckPeerName off\n"
    strict = f"SSLProxyEngine on\nSSLProxyVerify require\nSSLProxyCACertificateFile {other.dir}/cert.pem\n"
    httpd = lab.httpd(trusting + f'<Proxy "gate://app/strict/*">\n{strict}</Proxy>\n' + group("app", [member], *NO_OUTLIER) + route(),
                      vhost=strict + route(), tls=True, children=1)
    httpd.expect(*MEMBER_TROUBLE, r"\[ssl:error\]", r"\[ssl:warn\]", "GATE0515")
    for _ in range(4):
        assert get(httpd.port, "/loose/").status == 200
        assert get(httpd.port, "/strict/").status in (502, 503)
        assert get(httpd.tls_port, "/loose/", tls=True).status in (502, 503)


def test_h2c_member(lab):
    member = lab.nginx(h2=True)
    httpd = lab.httpd(group("app", [member]) + route())
    answers = [get(httpd.port, "/s") for _ in range(3)]
    assert [(a.status, a.header("X-Member"), a.header("X-Protocol")) for a in answers] == [(200, "n1", "HTTP/2.0")] * 3


def test_h2_member(lab):
    member = lab.nginx(h2=True, tls=True)
    httpd = lab.httpd("SSLProxyEngine on\nSSLProxyCheckPeerName off\n" + group("app", [member]) + route())
    answers = [get(httpd.port, "/s") for _ in range(3)]
    assert [(a.status, a.header("X-Protocol")) for a in answers] == [(200, "HTTP/2.0")] * 3


def test_unix_member(lab):
    member = lab.upstream(unix=True)
    httpd = lab.httpd(group("app", [member]) + route())
    assert [get(httpd.port, "/u").member for _ in range(3)] == ["m1"] * 3


@pytest.mark.parametrize("unix", [False, True])
def test_fcgi_member(lab, unix):
    php = lab.php(unix=unix)
    httpd = lab.httpd(group("php", [php]) + f'ProxyPass "/" "gate://php{php.root}/"\n')
    answer = post(httpd.port, "/index.php?a=b", body=b"x" * 50000)
    assert answer.status == 200, answer
    said = answer.json()
    assert (said["body_length"], said["server"]["QUERY_STRING"]) == (50000, "a=b")
    assert said["server"]["SCRIPT_FILENAME"] == php.script


def test_fcgi_by_set_handler(lab):
    php = lab.php()
    httpd = lab.httpd(group("php", [php]) + f'Alias /php {php.root}\n<Directory {php.root}>\nRequire all granted\n'
                      '<FilesMatch "\\.php$">\nSetHandler "proxy:gate://php/"\n</FilesMatch>\n</Directory>')
    answer = get(httpd.port, "/php/index.php?a=b")
    assert answer.status == 200, answer
    assert answer.json()["server"]["SCRIPT_FILENAME"].endswith(php.script)


@pytest.mark.parametrize("proto", ["ajp", "scgi", "uwsgi"])
def test_cgi_like_members(lab, proto):
    members = [lab.upstream("m1", proto=proto), lab.upstream("m2", proto=proto)]
    httpd = lab.httpd(group("app", members) + route(path="/x/", target="/y/"))
    answers = [post(httpd.port, "/x/z?q=1", body=b"a" * 9000) for _ in range(4)]
    assert [a.status for a in answers] == [200] * 4
    assert sorted(a.json()["member"] for a in answers) == ["m1", "m1", "m2", "m2"]
    assert answers[0].json()["body_length"] == 9000
    assert get(httpd.port, "/x/z").status == 200


@pytest.mark.parametrize("tls", [False, True])
def test_websocket(lab, tls):
    member = lab.upstream(tls=tls)
    httpd = lab.httpd("SSLProxyEngine on\nSSLProxyCheckPeerName off\n" + group("app", [member]) + route())
    with WebSocket(httpd.port, "/ws") as socket:
        assert socket.accepted()
        for word in ("one", "two", "x" * 3000):
            socket.send(word)
            assert socket.receive() == (1, word)
    line = httpd.access(1)[0]
    assert (line["status"], line["member"], line["tries"]) == (101, "m1", "1")


# --- what arrives ----------------------------------------------------------------------------

def sent(member):
    return {name.lower(): value for name, value in member.requests()[-1]["headers"]}


def test_host_and_forwarded_headers(lab):
    """Trap 6: a client that names X-Forwarded-For in Connection does not take ours away."""
    member = lab.upstream()
    httpd = lab.httpd(group("app", [member]) + route())
    get(httpd.port, "/", headers={"Connection": "X-Forwarded-For", "X-Forwarded-For": "9.9.9.9"}, host="www.example.org")
    headers = sent(member)
    assert headers["host"] == member.authority
    assert headers["x-forwarded-host"] == "www.example.org"
    assert headers["x-forwarded-for"].endswith("127.0.0.1")


def test_preserve_host(lab):
    member = lab.upstream()
    httpd = lab.httpd("ProxyPreserveHost on\nProxyAddHeaders off\n" + group("app", [member]) + route())
    get(httpd.port, "/", host="www.example.org")
    assert sent(member)["host"] == "www.example.org"
    assert "x-forwarded-for" not in sent(member)


@pytest.mark.parametrize("path, words, arrives", [
    ("/x/a%20b", "", "/y/a%20b"),
    ("/x/a%2541", "", "/y/a%2541"),
    ("/x/a%2541", "nocanon", "/y/a%2541"),
    ("/x/a;b=c?d=%20e", "", "/y/a;b=c?d=%20e"),
    ("/x/%c3%a9", "", "/y/%c3%a9"),
    ("/x/a%3bb", "nocanon", "/y/a%3bb"),
    ("/x/a%3Bb", "mapping=encoded", "/y/a%3Bb"),
])
def test_paths_arrive_as_mod_proxy_sends_them(lab, path, words, arrives):
    """Trap 2: what is escaped stays so, as mod_proxy's own policy (nocanon, mapping=) says."""
    member, plain = lab.upstream("m1"), lab.upstream("m2")
    httpd = lab.httpd(group("app", [member]) + route(path="/x/", target="/y/", words=words)
                      + f'ProxyPass "/p/" "{plain.url}/y/" {words}\n')
    assert get(httpd.port, path).status == 200
    assert get(httpd.port, path.replace("/x/", "/p/")).status == 200
    assert member.requests()[0]["target"] == plain.requests()[0]["target"]
    assert member.requests()[0]["target"].lower() == arrives.lower()


@pytest.mark.parametrize("rule", [
    'RewriteRule "^/x/(.*)$" "gate://app/y/$1" [P]',
    'RewriteRule "^/x/(.*)$" "gate://app/y/?z=$1" [P]',
    'RewriteRule "^/x/(.*)$" "gate://app/y/$1" [P,NE]',
])
@pytest.mark.parametrize("path", ["/x/a%0d%0aX-Evil:%20yes", "/x/a%20HTTP/1.1%0d%0aHost:%20evil%0d%0a%0d%0a", "/x/a%00b"])
def test_request_splitting_is_not_possible(lab, rule, path):
    """Trap 1: decoded bytes of a request do not become lines of another."""
    member = lab.upstream()
    httpd = lab.httpd(group("app", [member]) + "RewriteEngine on\n" + rule)
    httpd.expect(r"AH\d+", r"GATE0220", r"GATE0224")
    answer = get(httpd.port, path)
    for seen in member.requests():
        assert "x-evil" not in [name.lower() for name, _ in seen["headers"]], answer
        assert "\r\nHost: evil" not in seen["raw"]
        assert len(seen["raw"].split("\r\n")[0].split(" ")) == 3


def test_member_with_a_path(lab):
    member = lab.upstream()
    httpd = lab.httpd(group("app", [member.url + "/base/"]) + route(path="/x/", target="/y/"))
    get(httpd.port, "/x/z")
    assert member.requests()[0]["target"] == "/base/y/z"


@pytest.mark.parametrize("size", [0, 1, 20000, 300000])
@pytest.mark.parametrize("chunked", [False, True])
def test_bodies_arrive_whole(lab, size, chunked):
    member = lab.upstream()
    httpd = lab.httpd(group("app", [member]) + route())
    body = bytes(i * 7 % 251 for i in range(size))
    if chunked:
        from clients import Connection
        with Connection(httpd.port) as c:
            c.send("POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n")
            for at in range(0, size, 7000):
                part = body[at:at + 7000]
                c.send(f"{len(part):x}\r\n".encode() + part + b"\r\n")
            c.send(b"0\r\n\r\n")
            said = c.read().json()
    else:
        said = post(httpd.port, "/", body=body).json()
    import hashlib
    seen = member.requests()[0]
    assert (said["body_length"], seen["body_sha256"]) == (size, hashlib.sha256(body).hexdigest())


def test_expect_continue(lab):
    from clients import Connection
    member = lab.upstream()
    httpd = lab.httpd(group("app", [member]) + route())
    with Connection(httpd.port) as c:
        c.send("POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\nExpect: 100-continue\r\n\r\n")
        head = c.read_head()
        assert b"100" in head[:20] if isinstance(head, bytes) else "100" in str(head)
        c.send("hello")
        assert c.read("POST").json()["body_length"] == 5


@pytest.mark.parametrize("method", ["HEAD", "OPTIONS", "PUT", "DELETE", "PATCH"])
def test_methods(lab, method):
    member = lab.upstream()
    httpd = lab.httpd(group("app", [member]) + route())
    assert request(httpd.port, "/", method=method).status == 200
    assert member.requests()[0]["method"] == method


def test_answers_pass_unchanged(lab):
    member = lab.upstream().behave({"status": 418, "reason": "Teapot", "headers": [["X-A", "1"], ["X-A", "2"]], "body": "tea"})
    httpd = lab.httpd(group("app", [member]) + route())
    answer = get(httpd.port)
    assert (answer.status, answer.reason, answer.body, answer.all("X-A")) == (418, "" if httpd.over_h2 else "Teapot", b"tea", ["1", "2"])


def test_interim_and_trailers(lab):
    member = lab.upstream().behave("early-hints")
    httpd = lab.httpd(group("app", [member]) + route())
    answer = get(httpd.port)
    assert (answer.status, answer.interim) == (200, [103])


# --- over TLS and h2 -------------------------------------------------------------------------

def test_over_tls(lab):
    members = lab.upstreams(2)
    httpd = lab.httpd(group("app", members) + route(), vhost=route(), tls=True)
    assert sorted(get(httpd.tls_port, tls=True).member for _ in range(4)) == ["m1", "m1", "m2", "m2"]
    assert post(httpd.tls_port, "/", body=b"x" * 40000, tls=True).json()["body_length"] == 40000


def test_over_h2(lab):
    members = lab.upstreams(2)
    httpd = lab.httpd(group("app", members) + route(), vhost=route(), tls=True, h2=True)
    load = h2load(httpd.tls_url + "/", requests=400, connections=2, streams=10)
    assert (load.errors, load.bad) == (0, 0), load.text
    assert abs(members[0].count - members[1].count) <= 20


# --- log variables ---------------------------------------------------------------------------

def test_log_variables(lab):
    member = lab.upstream().behave("slow", delay=0.1)
    httpd = lab.httpd(group("app", [member]) + route())
    get(httpd.port)
    line = httpd.access(1)[0]
    assert (line["group"], line["member"], line["tries"], line["plane"]) == ("app", "m1", "1", httpd.plane)
    assert 0 <= int(line["connect_us"]) < 100000 <= int(line["first_byte_us"]) <= int(line["total_us"])
    # the loop's clock is read when it wakes up, httpd's a little later
    assert int(line["total_us"]) <= line["us"] + 100000


def test_default_ids(lab):
    member = lab.upstream()
    httpd = lab.httpd(group("app", [member.url]) + route())
    get(httpd.port)
    assert httpd.access(1)[0]["member"] == member.authority
