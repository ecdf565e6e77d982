"""
The two planes side by side for requests of rare kinds (wire_kinds.py), under several configurations: the same bytes to the client, the same to the
member, and the same line in the log, whatever LogFormat can say.
"""
import collections
import json
import re
import socket

import pytest

import wire_kinds
from groups import NO_OUTLIER, group
from procs import free_port, wait_until
from test_planes_differ import ANSWER, Recorder, same_words, show

pytestmark = [pytest.mark.needs("gate_upstream", "gate_engine", "gate_cache"), pytest.mark.plane("classic")]  # it has both planes of its own

COUNT = 700
CACHEABLE = (b"HTTP/1.1 200 OK\r\nCache-Control: max-age=600\r\nETag: \"e\"\r\nLast-Modified: Sun, 06 Nov 1994 08:49:37 GMT\r\nContent-Type: text/plain\r\n"
             b"Content-Length: 5\r\n\r\nhello")
CHUNKED = (b"HTTP/1.1 200 OK\r\nDate: Sun, 06 Nov 1994 08:49:37 GMT\r\nTrailer: X-T\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n"
           b"X-T: told\r\n\r\n")

CONF = {
    "plain": "",
    "forwarding": "ProxyAddHeaders Off\nProxyVia Full\nProxyPreserveHost On\nTraceEnable extended",
    "blocking": "ProxyVia Block\nMaxKeepAliveRequests 2\nTraceEnable Off\nUseCanonicalName On",
    "one each": "ProxyVia On\nKeepAlive Off\nProxyErrorOverride On\nErrorDocument 403 \"no %{REQUEST_URI}\"\nHeader always set X-Always 1\nHeader set X-Set \"is %{x}e\"\nServerName host",
}
COMMON = """
DocumentRoot ${ROOT}/htdocs
ProxyPass "/local" "!"
ProxyPass "/" "gate://app/"
<Location "/private">
Require all denied
</Location>
<Location "/small">
LimitRequestBody 10
</Location>
<Location "/cached">
GateCache on
</Location>
"""
# all that mod_log_config and mod_logio can say, but for times and threads (%D %T %t %P %L ..)
ITEMS = ["%a", "%{c}a", "%A", "%b", "%B", "%{a}C", "%{b}C", "%{GATE_GROUP}e", "%{GATE_MEMBER}e", "%{GATE_TRIES}e", "%{GATE_CACHE}e", "%{GATE_ACCESS}e", "%f", "%h", "%H", "%k", "%l", "%m", "%p",
         "%{canonical}p", "%q", "%r", "%<r", "%R", "%s", "%>s", "%<s", "%u", "%U", "%<U", "%v", "%V", "%X", "%I", "%O", "%S", "%200,304{User-Agent}i", "%!200{Referer}i", "%{Host}i", "%{Cookie}i",
         "%{Via}i", "%{X-Forwarded-For}i", "%{X-Forwarded-Host}i", "%{Connection}i", "%{Expect}i", "%{Content-Length}i", "%{Transfer-Encoding}i", "%{Range}i", "%{Upgrade}i", "%{Content-Type}i",
         "%{Content-Type}o", "%{Content-Length}o", "%{Connection}o", "%{Keep-Alive}o", "%{Vary}o", "%{ETag}o", "%{Cache-Status}o", "%{Via}o", "%{Allow}o", "%{Proxy-Status}o", "%{X-Always}o",
         "%{X-Member}o", "%{Transfer-Encoding}o", "%{Upgrade}o", "%{Accept-Ranges}o", "%{Content-Range}o", "%{X-T}^ti", "%{X-T}^to", "%{cache-status}n", "%{no-such}n", "%{outstream}n", "%{HTTPS}x",
         "%{proxy-status}e", "%{REDIRECT_STATUS}e", "%{REDIRECT_URL}e", "%{UNIQUE}e"]
CLOCKS = ["%t", "%{%s}t", "%{begin:msec_frac}t", "%D", "%T", "%{us}T", "%{ms}T", "%{s}T", "%P", "%{tid}P", "%{hextid}P"]


class Member(Recorder):
    """What may be stored, it always says so of: whether the first answer after others that may not is stored, the planes settle differently."""

    def _lines(self, file):
        head = super()._lines(file)
        line = head.split(b"\r\n")[0]
        self.answer = CACHEABLE if b" /cached" in line else CHUNKED if b" /chunked" in line else ANSWER
        return head


def address_of(number):
    return f"127.0.{number // 250}.{number % 250 + 1}"


class Pair:
    """One configuration twice: a port with GateEngine, one without."""

    def __init__(self, httpd, member, ports):
        self.httpd, self.member, self.ports = httpd, member, ports

    def ask(self, plane, data, number=0):
        """What the client got until the server closed, and what the member was asked. number: makes the client's address, by which its lines are found."""
        self.member.asked = asked = []
        got = b""
        with socket.create_connection(("127.0.0.1", self.ports[plane]), timeout=8, source_address=(address_of(number), 0)) as sock:
            try:
                sock.sendall(data)
                sock.shutdown(socket.SHUT_WR)
                while more := sock.recv(1 << 16):
                    got += more
            except ConnectionError:
                got += b"<reset>"
            except TimeoutError:
                got += b"<silence>"
        port = b"%d" % self.ports[plane]
        got = re.sub(rb"(\r\nAge: |; hit; ttl=)\d+", rb"\1N", same_words(got)).replace(port, b"PORT")
        return got, [(head.replace(port, b"PORT"), body) for head, body in asked]

    def log(self):
        """Lines of this pair by plane of the port and the client's address, once all are there."""
        own = {str(port): plane for plane, port in self.ports.items()}
        end = f"/end-of-{self.ports['classic']}"
        for plane in self.ports:
            self.ask(plane, wire_kinds.make("GET", end, "Connection: close"))
        wait_until(lambda: self.httpd.read_file("logs/items.log").count(end) >= 2, 5, "the last lines of the log")
        by_client = collections.defaultdict(list)
        for line in self.httpd.read_file("logs/items.log").splitlines():
            local, client, plane, *items = line.split("\t")
            if local in own:
                by_client[own[local], client].append((plane, [re.sub(r"; ttl=\d+", "; ttl=N", item.replace(local, "PORT")) for item in items]))
        return by_client


@pytest.fixture(scope="module")
def pairs(module_lab):
    member, ports, conf = Member(), {}, ""
    for name, lines in CONF.items():
        ports[name] = {plane: free_port() for plane in ("classic", "express")}
        for plane, port in ports[name].items():
            conf += f"Listen {port}\n<VirtualHost *:{port}>\nGateEngine {'on' if plane == 'express' else 'off'}\n{lines}\n{COMMON}</VirtualHost>\n"
    items = "\\t".join(["%{local}p", "%{c}a", "%{GATE_PLANE}e", *ITEMS, *CLOCKS])
    conf = ("LimitRequestLine 500\nLimitRequestFieldSize 300\nLimitRequestFields 25\nKeepAliveTimeout 5\nTimeout 5\n"
            f"LogFormat {json.dumps(items)} items\nGlobalLog ${{ROOT}}/logs/items.log items\n"
            + group("app", [f"http://127.0.0.1:{member.port}"], "GateRetry attempts=1", *NO_OUTLIER) + conf)
    httpd = module_lab.httpd(conf, children=1, threads=16)
    httpd.expect(".*")
    yield {name: Pair(httpd, member, own) for name, own in ports.items()}
    member.stop()


def differences(classic, express):
    """Of the lines of two connections."""
    if len(classic) != len(express):
        return [f"{len(classic)} and {len(express)} lines"]
    found = []
    for (_, one), (plane, two) in zip(classic, express):
        for item, a, b in zip(ITEMS, one, two):
            if a == b:
                continue
            if item in ("%I", "%S") and len(classic) > 1:
                continue  # httpd counts bytes again that it looks ahead at, when requests follow one another in one packet
            if item == "%X" and (plane != "express" or dict(zip(ITEMS, two))["%>s"] == "416"):
                continue  # of the classic plane's: the engine has seen already that the client has ended its sending
            found.append(f"{item}: {a!r} {b!r}")
    return found


@pytest.mark.parametrize("how", CONF)
def test_kinds(pairs, how):
    pair, differ, asked = pairs[how], [], []
    for plane in pair.ports:  # what is to be stored
        for path in ("/cached", "/cached/b"):
            pair.ask(plane, wire_kinds.make("GET", path, "Connection: close"))
    for number, (kind, data) in enumerate(wire_kinds.requests(f"{how} 1", COUNT)):
        classic, express = (pair.ask(plane, data, number + 1) for plane in ("classic", "express"))
        asked.append((number, data, address_of(number + 1)))
        if classic != express:
            differ.append(kind + " " + show(number, data, classic, express))
    assert not differ, f"{len(differ)} differ\n" + "\n\n".join(differ[:6])
    log = pair.log()
    lines = [(number, data, found) for number, data, client in asked if (found := differences(log["classic", client], log["express", client]))]
    assert not lines, f"{len(lines)} differ in the log\n" + "\n".join(f"{number}: {data[:300]!r}\n   " + "\n   ".join(found) for number, data, found in lines[:8])
    planes = [plane for *_, client in asked for plane, _ in log["express", client]]
    assert planes.count("express") > COUNT / 5, collections.Counter(planes)
