"""Configuration of groups: what is refused and in which words, what is inherited, what a reload keeps."""
import re

import pytest

from clients import get
from groups import MEMBER_TROUBLE, group, route

pytestmark = pytest.mark.needs("gate_upstream")

M = "GateMember http://127.0.0.1:1\n"
GOOD = f"<GateUpstream app>\n{M}</GateUpstream>\n"


def block(*lines, name="app"):
    return f"<GateUpstream {name}>\n" + "\n".join(lines) + "\n</GateUpstream>\n"


BAD = {
    # the block
    "no name": ("<GateUpstream>\n" + M + "</GateUpstream>", "<GateUpstream>: names no group"),
    "bad name": (block(M, name="a/b"), "<GateUpstream>: 'a/b'"),
    "two names": (block(M, name="a b"), "'b' follows the name"),
    "no member": (block(""), "group 'app' has no member; write GateMember"),
    "duplicate group": (GOOD + GOOD, "there is a group 'app' already"),
    "duplicate in a vhost": (GOOD + f"<VirtualHost *:1>\n{GOOD}</VirtualHost>", "names are global"),
    "nested": (block(M, GOOD.replace("app", "b")), "does not belong|cannot stand inside another"),
    "other directive inside": (block(M, "ServerName x"), "ServerName: does not belong inside <GateUpstream>"),
    # members
    "no URL": (block("GateMember"), "GateMember: names no member"),
    "bad URL": (block("GateMember htp://10.0.0.1"), "GateMember: 'htp://10.0.0.1' begins with none of the schemes"),
    "no scheme": (block("GateMember 10.0.0.1:80"), "GateMember: '10.0.0.1:80' is not a URL such as http://"),
    "bad port": (block("GateMember http://a:99999"), "GateMember: 'http://a:99999' has the port '99999'"),
    "user info": (block("GateMember http://u:p@a"), "user name in it"),
    "duplicate member": (block(M, M), "GateMember: 'http://127.0.0.1:1' has the id '127.0.0.1:1', which .* has already"),
    "duplicate id": (block("GateMember http://a id=x", "GateMember http://b id=x"), "id 'x', which 'http://a' of group app has already"),
    "weight 0": (block("GateMember http://a weight=0"), "GateMember: 'weight=0': '0' is not a whole number from 1 to 1000"),
    "weight 3x": (block("GateMember http://a weight=3x"), "GateMember: 'weight=3x': '3x' is not a whole number from 1 to 1000"),
    "weight 1001": (block("GateMember http://a weight=1001"), "from 1 to 1000"),
    "unknown key": (block("GateMember http://a wieght=3"), "GateMember: 'wieght=3' .*did you mean 'weight"),
    "key twice": (block("GateMember http://a weight=3 weight=4"), "weight"),
    "backup with a value": (block("GateMember http://a backup=yes"), "GateMember: 'backup=yes'"),
    "bad state": (block("GateMember http://a state=off"), "GateMember: 'state=off': 'off' is none of: up, drain, disabled"),
    "bad id": (block("GateMember http://a id=a/b"), "GateMember: 'id=a/b'"),
    "connections 0": (block("GateMember http://a connections=0"), "GateMember: 'connections=0'"),
    "socket path": (block(f"GateMember unix:/{'x' * 103}|http://a"), "GateMember: .*uds path|GateMember: .*socket path"),
    # strategies
    "no strategy": (block(M, "GateBalance"), "GateBalance: names no strategy"),
    "unknown strategy": (block(M, "GateBalance least-conections"), "GateBalance: 'least-conections' is not a strategy; did you mean "
                         "'least-connections'.*known: round-robin"),
    "hash without key": (block(M, "GateBalance hash"), "GateBalance: 'hash' needs a key"),
    "key without hash": (block(M, "GateBalance first key=%{REMOTE_ADDR}"), "GateBalance: 'first' has no use for 'key="),
    "bad key": (block(M, "GateBalance hash key=%{nonsense"), "GateBalance: 'key=%{nonsense': '%{nonsense' is not an expression"),
    "load factor": (block(M, "GateBalance hash key=%{REMOTE_ADDR} load-factor=1"), "GateBalance: 'load-factor=1'"),
    # times and tries
    "timeout nothing": (block(M, "GateTimeout"), "GateTimeout: says nothing"),
    "timeout unit": (block(M, "GateTimeout connect=3y"), "GateTimeout: 'connect=3y'"),
    "timeout unknown": (block(M, "GateTimeout conect=3s"), "GateTimeout: 'conect=3s' .*did you mean 'connect"),
    "timeout zero": (block(M, "GateTimeout idle=0"), "GateTimeout: 'idle=0'"),
    "retry nothing": (block(M, "GateRetry"), "GateRetry: says nothing"),
    "retry attempts": (block(M, "GateRetry attempts=0"), "GateRetry: 'attempts=0': '0' is not a whole number from 1 to 10"),
    "retry word": (block(M, "GateRetry on=connect,tiemout"), "GateRetry: 'on=connect,tiemout': 'connect,tiemout' has 'tiemout' in it"),
    "retry status": (block(M, "GateRetry on=200"), "GateRetry: 'on=200': '200' has '200' in it, which is not a status from 400 to 599"),
    "retry empty": (block(M, "GateRetry on=connect,,503"), "GateRetry: 'on=connect,,503': 'connect,,503' has '' in it"),
    "retry budget": (block(M, "GateRetry budget=20"), "GateRetry: 'budget=20'"),
    "retry flag": (block(M, "GateRetry non-idempotent=1"), "GateRetry: 'non-idempotent=1'"),
    "slow start": (block(M, "GateSlowStart fast"), "GateSlowStart: 'fast'"),
    "panic": (block(M, "GatePanic 150%"), "GatePanic: '150%'"),
    # outside of a block
    **{f"{name} outside": (f"{name} {words}", f"{name}: only works inside <GateUpstream NAME>")
       for name, words in [("GateMember", "http://a"), ("GateBalance", "first"), ("GateTimeout", "idle=1s"),
                           ("GateRetry", "attempts=1"), ("GateSlowStart", "1s"), ("GatePanic", "1%")]},
    "GateMember in a location": (f"<Location />\n{M}</Location>", "GateMember not allowed"),
    # GateSelect
    "select nothing": ("<Location />\nGateSelect\n</Location>", "GateSelect: names no group"),
    "select unknown": (GOOD + "<Location />\nGateSelect ap\n</Location>", r"GateSelect: 'ap' is no group .*did you mean 'app'"),
    "select weight": (GOOD + "<Location />\nGateSelect app weight=101\n</Location>", "GateSelect: 'weight=101'"),
    "select too much": (GOOD + "<Location />\nGateSelect app weight=60\nGateSelect app weight=41\n</Location>", "makes 101 of 100"),
    "select expr": (GOOD + "<Location />\nGateSelect app \"expr=req(\"\n</Location>", "GateSelect: 'expr=req\\(': 'req\\(' is not a condition"),
    # routes
    "unknown group": (GOOD + 'ProxyPass "/x" "gate://aap/"', r"ProxyPass: 'gate://aap' names no group .*did you mean 'app'.* line \d+"),
    "unknown group, none near": (GOOD + 'ProxyPass "/x" "gate://somethingelse/"', "ProxyPass: 'gate://somethingelse' names no group;"),
    "unknown in ProxyPassMatch": (GOOD + 'ProxyPassMatch "^/x(.*)" "gate://ap$1"\nProxyPassMatch "^/y(.*)" "gate://ap/$1"',
                                  "ProxyPassMatch: 'gate://ap'"),
    "unknown in a location": (GOOD + '<Location /x>\nProxyPass "gate://ap/"\n</Location>', "ProxyPass: 'gate://ap'"),
    "unknown in a vhost": (GOOD + '<VirtualHost *:1>\nProxyPass "/" "gate://ap/"\n</VirtualHost>', "ProxyPass: 'gate://ap'"),
    "unknown in RewriteRule": (GOOD + 'RewriteEngine on\nRewriteRule "^/(.*)" "gate://ap/$1" [P]', "RewriteRule: 'gate://ap'"),
    "RewriteRule without P": (GOOD + 'RewriteEngine on\nRewriteRule "^/(.*)" "gate://app/$1" [R]', r"RewriteRule: .*flag \[P\]"),
    "RewriteRule without flags": (GOOD + 'RewriteEngine on\nRewriteRule ^/(.*) gate://app/$1', r"RewriteRule: .*flag \[P\]"),
    "RewriteRule in the middle": (GOOD + 'RewriteEngine on\nRewriteRule ^/(.*) /x/gate://app/$1 [P]', "must begin with it"),
    "unknown in SetHandler": (GOOD + '<Location /x>\nSetHandler "proxy:gate://ap/"\n</Location>', "SetHandler: 'gate://ap'"),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_configuration(lab, case):
    conf, words = BAD[case]
    httpd = lab.httpd(conf, start=False)
    good, said = httpd.check()
    assert not good, "was taken"
    assert re.search(words, said), said


def test_several_mistakes_are_told_at_once(lab):
    httpd = lab.httpd(GOOD + 'ProxyPass "/x" "gate://a/"\nProxyPass "/y" "gate://b/"\n', start=False)
    said = httpd.check()[1]
    assert "gate://a'" in said and "gate://b'" in said


def test_missing_protocol_module(lab):
    raw = lab.httpd(block("GateMember fcgi://127.0.0.1:9000"), start=False)
    text = raw.read_file("conf/httpd.conf")
    raw.write_file("conf/httpd.conf", re.sub(r"LoadModule proxy_fcgi_module.*\n", "", text))
    good, said = raw.check()
    assert not good and "GateMember: 'fcgi://127.0.0.1:9000' needs mod_proxy_fcgi: load it with LoadModule" in said


@pytest.mark.parametrize("url", ["http://a", "https://a:8443/base", "h2://a", "h2c://a", "ws://a", "wss://a", "fcgi://a:9000", "ajp://a",
                                 "scgi://a:1", "uwsgi://a:1", "unix:/run/x.sock|http://a", "http://[::1]:8080", "HTTP://A.Example:80/"])
def test_good_members(lab, url):
    good, said = lab.httpd(block(f"GateMember {url} weight=3 backup connections=5 state=drain"), start=False).check()
    assert good, said


def test_names_only_known_at_run_time(lab):
    member = lab.upstream()
    httpd = lab.httpd(group("app", [member]) + 'RewriteEngine on\nRewriteRule "^/(a[a-z]*)/(.*)" "gate://$1/$2" [P]\n')
    assert get(httpd.port, "/app/x").member == "m1"
    httpd.expect("GATE0224")
    assert get(httpd.port, "/aaa/x").status == 502


def test_graceful_restart_keeps_and_changes(lab):
    m1, m2, m3 = lab.upstreams(3)
    httpd = lab.httpd(group("app", [m1, m2]) + route())
    assert {get(httpd.port).member for _ in range(4)} == {"m1", "m2"}
    httpd.write_conf(group("app", [m2, (m3, "weight=3")]) + route())
    httpd.graceful()
    before = m1.count
    members = [get(httpd.port).member for _ in range(8)]
    assert (members.count("m2"), members.count("m3"), m1.count) == (2, 6, before)


def test_graceful_restart_with_a_mistake(lab):
    """httpd checks before it lets go of the old configuration only when it is asked to; ours is a check that it can run."""
    httpd = lab.httpd(group("app", [lab.upstream()]) + route())
    httpd.write_conf(group("app", [lab.upstream("m2")]) + route("ap"))
    good, said = httpd.check()
    assert not good and "did you mean 'app'" in said
    assert get(httpd.port).member == "m1"


# --- GateTimeout and mod_proxy's own times ----------------------------------------------------

@pytest.mark.parametrize("conf, lines, words, status", [
    ("", ["GateTimeout first-byte=200ms"], "", 504),
    ("ProxyTimeout 1\n", [], "", 504),
    ("ProxyTimeout 1\n", ["GateTimeout first-byte=5s"], "", 200),
    ("", ["GateTimeout first-byte=200ms"], "timeout=5", 200),
    ("", ["GateTimeout first-byte=5s"], "timeout=1", 504),
])
def test_whose_timeout_counts(lab, conf, lines, words, status):
    member = lab.upstream().behave("slow", delay=1.6)
    httpd = lab.httpd(conf + group("app", [member], *lines) + route(words=words))
    httpd.expect(*MEMBER_TROUBLE)
    assert get(httpd.port).status == status


# --- GateSelect ------------------------------------------------------------------------------

def two_groups(lab, select, conf=""):
    members = lab.upstreams(2)
    return lab.httpd(group("app", [members[0]]) + group("canary", [members[1]]) + route() + conf
                     + f'<Location "/">\n{select}\n</Location>')


def test_select_by_expression(lab):
    httpd = two_groups(lab, "GateSelect canary \"expr=req('X-Canary') == 'yes'\"")
    assert get(httpd.port).member == "m1"
    assert get(httpd.port, headers={"X-Canary": "yes"}).member == "m2"
    assert [line["group"] for line in httpd.access(2)] == ["app", "canary"]


def test_select_always(lab):
    assert get(two_groups(lab, "GateSelect canary").port).member == "m2"


def test_select_first_match_wins(lab):
    httpd = two_groups(lab, "GateSelect app \"expr=%{QUERY_STRING} == 'old'\"\nGateSelect canary")
    assert (get(httpd.port, "/?old").member, get(httpd.port, "/?new").member) == ("m1", "m2")


def test_select_by_weight_is_steady_and_fair(lab):
    httpd = two_groups(lab, "GateSelect canary weight=25", conf="RemoteIPHeader X-Client\nRemoteIPInternalProxy 127.0.0.1\n")

    def ask(n):
        return get(httpd.port, headers={"X-Client": f"10.1.{n // 250}.{n % 250}"}).member
    first = [ask(n) for n in range(400)]
    assert [ask(n) for n in range(0, 400, 7)] == first[::7]
    assert 70 <= first.count("m2") <= 130


def test_select_is_inherited_and_overridden(lab):
    conf = '<Location "/plain">\nGateSelect app\n</Location>\n<Location "/sub">\nHeader set X-Sub yes\n</Location>\n'
    members = lab.upstreams(2)
    httpd = lab.httpd(group("app", [members[0]]) + group("canary", [members[1]]) + route() + '<Location "/">\nGateSelect canary\n</Location>\n'
                      + conf)
    assert get(httpd.port, "/x").member == "m2"
    assert get(httpd.port, "/sub").member == "m2"
    assert get(httpd.port, "/plain").member == "m1"


def test_select_in_the_server(lab):
    members = lab.upstreams(2)
    httpd = lab.httpd(group("app", [members[0]]) + group("canary", [members[1]]) + route() + "GateSelect canary\n")
    assert get(httpd.port, "/x").member == "m2"
