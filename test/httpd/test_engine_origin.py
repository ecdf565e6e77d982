"""Connections from loops to members: https as SSLProxy* says, unix sockets, names, connections that are kept and replaced."""
import pytest

from clients import get, post
from groups import MEMBER_TROUBLE, NO_OUTLIER, group, route
from procs import wait_until

pytestmark = pytest.mark.needs("gate_upstream", "gate_engine")


def serve(lab, members, *lines, conf="", **words):
    words.setdefault("children", 1)
    return lab.httpd(conf + group("app", members, *lines) + route(), plane="express", **words)


def test_https_member_is_express(lab):
    member = lab.upstream("m1", tls=True)
    httpd = serve(lab, [member], conf="SSLProxyEngine on\nSSLProxyCheckPeerName off\n")
    assert [get(httpd.port, f"/{n}").member for n in range(10)] == ["m1"] * 10
    assert post(httpd.port, "/up", body=b"x" * 300_000).json()["body_length"] == 300_000
    assert httpd.planes(11) == {"express": 11}
    assert member.connections <= 4


CASES = {
    "no SSLProxyEngine": ("", "classic", {500, 502, 503}),
    "another name": ("SSLProxyEngine on\nSSLProxyCheckPeerName on\n", "express", None),
    "not trusted": ("SSLProxyEngine on\nSSLProxyCheckPeerName off\nSSLProxyVerify require\nSSLProxyCACertificateFile {other}\n", "express",
                    {502, 503}),
    "not honoured": ("SSLProxyEngine on\nSSLProxyCheckPeerName off\nSSLProxyVerify optional_no_ca\n", "classic", {200}),
    "in Proxy": ('SSLProxyEngine on\nSSLProxyCheckPeerName off\n<Proxy "gate://app/">\nSSLProxyCheckPeerExpire off\n</Proxy>\n', "classic",
                 {200}),
}


@pytest.mark.parametrize("case", CASES)
def test_https_as_on_the_classic_plane(lab, case):
    conf, plane, statuses = CASES[case]
    member, other = lab.upstream("m1", tls=True), lab.upstream("m2", tls=True)
    conf = conf.replace("{other}", f"{other.dir}/cert.pem")
    seen = []
    for on in ("express", "classic"):
        httpd = lab.httpd(conf + group("app", [member], *NO_OUTLIER) + route(), plane=on, children=1)
        httpd.expect(*MEMBER_TROUBLE, "AH0", "ssl:error", "proxy:error", "proxy_http:error", "core:error")
        seen.append(get(httpd.port).status)
        if on == "express":
            assert httpd.access(1)[-1]["plane"] == plane
    assert seen[0] == seen[1]
    assert statuses is None or seen[0] in statuses


def test_unix_and_named_members(lab):
    members = [lab.upstream("m1", unix=True), lab.upstream("m2")]
    named = members[1].url.replace("127.0.0.1", "localhost")
    httpd = serve(lab, [members[0], (named, "id=m2")])
    assert sorted({get(httpd.port).member for _ in range(8)}) == ["m1", "m2"]
    assert httpd.planes(8) == {"express": 8}


def test_kept_connections_are_replaced(lab):
    member = lab.upstream("m1")
    httpd = serve(lab, [member])
    assert get(httpd.port).status == 200
    member.stop()
    member.start()
    assert [get(httpd.port).status for _ in range(6)] == [200] * 6
    assert [post(httpd.port, "/", body=b"once").status for _ in range(3)] == [200] * 3
    member.behave("quiet-close")
    for _ in range(5):  # a POST that goes out before the close is seen could not be sent again
        closed = member.connections - member.open_connections
        assert post(httpd.port, "/", body=b"once").status == 200
        wait_until(lambda before=closed: member.connections - member.open_connections > before, 10, "the member to have closed")
