"""
The two planes side by side, byte for byte: thousands of generated requests and answers (wire_corpus.py), good and bad, to a vhost with
GateEngine and to one without. The client must get the same, and the member must be asked the same.
"""
import collections
import random
import re
import socket
import threading
import time

import pytest

import wire_corpus
from groups import NO_OUTLIER, group, route
from procs import free_port, wait_until

pytestmark = [pytest.mark.needs("gate_upstream", "gate_engine"), pytest.mark.plane("classic")]  # it has both planes of its own

REQUESTS = 3000
ANSWERS = 1000
PARTS = 6
TARGETS = 600
RANGES = 400
RULES = 500
ANSWER = b"HTTP/1.1 200 OK\r\nDate: Sun, 06 Nov 1994 08:49:37 GMT\r\nX-Member: m1\r\nContent-Length: 5\r\n\r\nhello"

CONF = """
Listen {express}
LimitRequestLine 500
LimitRequestFieldSize 300
LimitRequestFields 25
MaxKeepAliveRequests 50
KeepAliveTimeout 5
Timeout 5
TraceEnable on
<GateUpstream app>
GateMember http://127.0.0.1:{member} id=m1
GateRetry attempts=1
{outlier}
</GateUpstream>
{route}
<VirtualHost *:{express}>
GateEngine on
{route}
</VirtualHost>
"""


class Recorder:
    """A member that keeps what it was asked, whole requests only, and says what it was told to say."""

    def __init__(self):
        self.listener = socket.create_server(("127.0.0.1", 0), backlog=64)
        self.port = self.listener.getsockname()[1]
        self.asked, self.answer, self.closes = [], ANSWER, False
        threading.Thread(target=self._accept, daemon=True).start()

    def stop(self):
        self.listener.close()

    def _accept(self):
        while True:
            try:
                sock, _ = self.listener.accept()
            except OSError:
                return
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            threading.Thread(target=self._serve, args=(sock,), daemon=True).start()

    def _serve(self, sock):
        with sock:
            file = sock.makefile("rb")
            try:
                while self._one(sock, file):
                    pass
            except (OSError, ValueError):
                pass

    def _one(self, sock, file):
        head = self._lines(file)
        if not head:
            return False
        if b"\r\nExpect:" in head:
            sock.sendall(b"HTTP/1.1 100 Continue\r\n\r\n")
        length = re.search(rb"\r\nContent-Length: (\d+)\r\n", head)
        body = b""
        if length:
            body = file.read(int(length[1]))
            if len(body) < int(length[1]):
                return False
        elif b"\r\nTransfer-Encoding: chunked\r\n" in head:
            body = self._chunks(file)
        self.asked.append((head, body))
        sock.sendall(self.answer)
        return not self.closes

    def _lines(self, file):
        head = b""
        while not head.endswith(b"\r\n\r\n"):
            line = file.readline()
            if not line:
                return b""
            head += line
        return head

    def _chunks(self, file):
        body = b""
        while True:
            size = int(file.readline(), 16)
            body += file.read(size)
            if file.readline() != b"\r\n":
                raise ValueError("cut short")
            if size == 0:
                return body


class Pair:
    def __init__(self, lab):
        self.member = Recorder()
        express = free_port()
        self.httpd = lab.httpd(CONF.format(express=express, member=self.member.port, outlier="\n".join(NO_OUTLIER), route=route()), children=1,
                               threads=16)
        self.httpd.expect(".*")
        self.ports = {"classic": self.httpd.port, "express": express}

    def ask(self, plane, data, steps=()):
        """What the client got until the server closed, and what the member was asked. steps: where sending pauses."""
        self.member.asked = asked = []
        got = b""
        with socket.create_connection(("127.0.0.1", self.ports[plane]), timeout=8) as sock:
            try:
                sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                for begin, end in zip((0, *steps), (*steps, len(data))):
                    sock.sendall(data[begin:end])
                    time.sleep(0.001 if end < len(data) else 0)
                sock.shutdown(socket.SHUT_WR)
                while more := sock.recv(1 << 16):
                    got += more
            except ConnectionError:
                got += b"<reset>"
            except TimeoutError:
                got += b"<silence>"
        return same_words(got.replace(b":%d" % self.ports[plane], b":PORT")), asked


def same_words(got):
    """
    Without what may differ: the time in our own Date lines; whether a client that has left is told to go on before it gets its error.
    """
    got = re.sub(rb"HTTP/1.1 100 Continue\r\n\r\n(?=HTTP/1.1 4)", b"", got)
    return re.sub(rb"\r\nDate: \w{3}, \d\d \w{3} (?!1994)[^\r]*", b"\r\nDate: NOW", got)


@pytest.fixture(scope="module")
def pair(module_lab):
    one = Pair(module_lab)
    for plane in one.ports:
        wait_until(lambda p=plane: b" 200 " in one.ask(p, b"GET / HTTP/1.1\r\nHost: host\r\n\r\n")[0], 5, f"{plane} serves")
    yield one
    one.member.stop()


def show(number, data, classic, express):
    return (f"case {number}: {data[:600]!r}\nclassic: {classic[0][:500]!r}\nexpress: {express[0][:500]!r}\n"
            f"asked by classic: {[(h, len(b)) for h, b in classic[1]]!r}\nasked by express: {[(h, len(b)) for h, b in express[1]]!r}")


def planes_of(pair, since):
    return [line["plane"] for line in pair.httpd.access()[since:]]


@pytest.mark.parametrize("part", range(PARTS))
def test_requests(pair, part):
    """Good and bad requests, alone and in pipelines, cut short and whole."""
    differ, before = [], len(pair.httpd.access())
    for number, data in enumerate(wire_corpus.requests(1000 + part, REQUESTS // PARTS)):
        pair.member.answer, pair.member.closes = ANSWER, False
        classic, express = pair.ask("classic", data), pair.ask("express", data)
        if classic != express:
            differ.append(show(number, data, classic, express))
    assert not differ, f"{len(differ)} differ\n" + "\n\n".join(differ[:4])
    planes = planes_of(pair, before)
    assert planes.count("express") > REQUESTS // PARTS // 4, planes  # else nothing was compared


def test_requests_in_pieces(pair):
    """The same, whatever the network makes of them."""
    rng, differ = random.Random(5), []
    for number, data in enumerate(wire_corpus.requests(3000, 150)):
        steps = sorted(rng.sample(range(len(data)), min(len(data), rng.choice([1, 3, 10]))))
        if number % 30 == 0:
            steps = range(1, len(data))  # byte by byte
        pair.member.answer, pair.member.closes = ANSWER, False
        classic, express = pair.ask("classic", data, steps), pair.ask("express", data, steps)
        if classic != express:
            differ.append(show(number, data, classic, express))
    assert not differ, f"{len(differ)} differ\n" + "\n\n".join(differ[:4])


# how a vhost has its paths, and its ProxyPass lines
PATH_CONF = {
    "slashes refused": "",
    "slashes kept": "AllowEncodedSlashes NoDecode",
    "slashes decoded": "AllowEncodedSlashes On",
    "slashes not merged": "AllowEncodedSlashes NoDecode\nMergeSlashes Off",
}
REWRITING = """
RewriteEngine on
RewriteMap low int:tolower
RewriteCond %{HTTPS} !=on
RewriteCond %{HTTP_HOST} ^secure\\. [NC]
RewriteRule ^(.*)$ https://%{HTTP_HOST}$1 [R=301,L]
RewriteCond %{HTTP_HOST} ^www\\.(.+)$ [NC]
RewriteRule ^/(.*) http://%1/$1 [R=302,L,NE]
RewriteRule ^/map/.*\\.gif$ - [F]
RewriteRule ^/c/c - [G]
RewriteRule ^/map/b - [E=thing:mapped]
RewriteCond %{HTTP:X-Thing} (.+)
RewriteRule .* - [E=thing:${low:%1}]
RewriteCond %{ENV:sent_escaped} .
RewriteRule ^/a - [E=seen:%{THE_REQUEST}]
RewriteRule ^/v;(.*) /a/$1 [PT,QSA]
RewriteRule ^/~u - [CO=c:1:host]
RewriteRule ^/pick/a - [T=text/x]
RewriteRule ^/x\\.gif - [E=nokeepalive:1]
RewriteRule ^/index\\.html$ / [R]
RewriteCond %{QUERY_STRING} q=
RewriteRule ^/raw/(.*) gate://app/proxied/$1 [P]
RewriteCond expr "%{REQUEST_METHOD} == 'PUT'"
RewriteRule . - [R=405]
Header set X-Thing "%{thing}e %{seen}e %{SCRIPT_URI}e"
"""
PATH_CONF["rewriting"] = "AllowEncodedSlashes NoDecode" + REWRITING
PATH_LINES = """
ProxyPass "/map/" "gate://app/to%20/"
ProxyPass "/b//c" "gate://app/to/b"
ProxyPass "/raw/" "gate://app/raw/" nocanon
ProxyPass "/c/secret" "!"
ProxyPassMatch "^/pick/([^/]+)/(.*)$" "gate://app/$2/by/$1"
ProxyPassMatch "^/pick(/.*)$" "gate://app$1"
ProxyPassMatch "^/a/.*\\.gif$" "gate://app" nocanon
ProxyPassMatch "\\.gif$" "gate://app/img"
ProxyPass "/" "gate://app/"
SetEnvIf Request_URI "%" sent_escaped
SetEnvIf Request_URI " " has_space
Header set X-Escaped "%{sent_escaped}e"
Header set X-Space "%{has_space}e"
<Location "/secret">
Require all denied
</Location>
<Location "/packed">
SetOutputFilter DEFLATE
</Location>
<Location "/a/b">
Header set X-In "a b"
Header always set X-Always "also on errors"
</Location>
<Location "/a/*/c">
Header set X-Star "star"
</Location>
<LocationMatch "//|^/a b">
Header set X-Match "match"
</LocationMatch>
"""


@pytest.fixture(scope="module")
def pairs_of_paths(module_lab):
    """A Pair for each of PATH_CONF, all in one server."""
    member, ports, conf = Recorder(), {}, ""
    for name, lines in PATH_CONF.items():
        ports[name] = {plane: free_port() for plane in ("classic", "express")}
        for plane, port in ports[name].items():
            conf += (f"Listen {port}\n<VirtualHost *:{port}>\nGateEngine {'on' if plane == 'express' else 'off'}\n{lines}\n{PATH_LINES}\n"
                     "</VirtualHost>\n")
    conf += group("app", [f"http://127.0.0.1:{member.port}"], "GateRetry attempts=1", *NO_OUTLIER)
    httpd = module_lab.httpd(conf, children=1, threads=16)
    httpd.expect(".*")
    pairs = {}
    for name, own in ports.items():
        pairs[name] = pair = Pair.__new__(Pair)
        pair.member, pair.httpd, pair.ports = member, httpd, own
    yield pairs
    member.stop()


@pytest.mark.parametrize("how", PATH_CONF)
def test_paths(pairs_of_paths, how):
    """Escapes, slashes, dots: the member is asked for the same, and the same sections and lines are in force."""
    pair, differ = pairs_of_paths[how], []
    before = len(pair.httpd.access())
    for number, target in enumerate(wire_corpus.paths(7000, TARGETS)):
        pair.member.answer, pair.member.closes = ANSWER, False
        data = f"GET {target} HTTP/1.1\r\nHost: host\r\nConnection: close\r\n\r\n".encode("latin-1")
        classic, express = pair.ask("classic", data), pair.ask("express", data)
        if classic != express:
            differ.append(show(number, data, classic, express))
    assert not differ, f"{len(differ)} differ\n" + "\n\n".join(differ[:4])
    wait_until(lambda: len(pair.httpd.access()) >= before + 2 * TARGETS, 5, "the last lines of the log")
    planes = planes_of(pair, before)
    assert planes.count("express") > TARGETS * 0.45, planes.count("express")  # the others are refused, or not for a group
    lines = collections.Counter((line["status"], line["uri"], line["query"]) for line in pair.httpd.access()[before:])
    assert not [line for line, times in lines.items() if times % 2], "both planes write the same into the log"


def test_rewriting(pairs_of_paths):
    """Rules that leave requests alone, mostly, and some that do not."""
    pair, differ = pairs_of_paths["rewriting"], []
    before, rng = len(pair.httpd.access()), random.Random(3)
    pair.member.answer, pair.member.closes = ANSWER, False
    for number, target in enumerate(wire_corpus.paths(7700, RULES)):
        method = rng.choice(["GET"] * 8 + ["PUT", "HEAD"])
        lines = ["Host: " + rng.choice(["host"] * 6 + ["www.host", "Secure.host:81"]), *rng.choice([[], [], ["X-Thing: Some"], ["X-Thing: A", "X-Thing: b"]])]
        data = "\r\n".join([f"{method} {target} HTTP/1.1", *lines, "Connection: close", "", ""]).encode("latin-1")
        classic, express = pair.ask("classic", data), pair.ask("express", data)
        if classic != express:
            differ.append(show(number, data, classic, express))
    assert not differ, f"{len(differ)} differ\n" + "\n\n".join(differ[:4])
    wait_until(lambda: len(pair.httpd.access()) >= before + 2 * RULES, 5, "the last lines of the log")
    lines = pair.httpd.access()[before:]
    assert sum(line["plane"] == "express" for line in lines) > RULES * 0.3
    counted = collections.Counter((line["status"], line["uri"], line["query"]) for line in lines)
    assert not [line for line, times in counted.items() if times % 2], "both planes write the same into the log"
    assert {301, 302, 403, 404, 405, 200} <= {line["status"] for line in lines}
    assert {(301, "express"), (302, "express"), (403, "express")} <= {(line["status"], line["plane"]) for line in lines}, "rules answer on the loop"


def test_ranges(pairs_of_paths):
    """Parts that a member gives, and those that httpd cuts out of an answer which is whole: with and without other filters."""
    pair, differ = pairs_of_paths["slashes kept"], []
    before = len(pair.httpd.access())
    for number, (lines, answer) in enumerate(wire_corpus.ranges(9000, RANGES)):
        pair.member.answer, pair.member.closes = answer, True
        method, path = [("GET", "/x"), ("GET", "/packed/x"), ("HEAD", "/x"), ("POST", "/x"), ("GET", "/a/b")][number % 5]
        lines += ["Accept-Encoding: gzip"] if path == "/packed/x" else []
        data = "\r\n".join([f"{method} {path} HTTP/1.1", "Host: host", "Connection: close", *lines, "", ""]).encode()
        classic, express = pair.ask("classic", data), pair.ask("express", data)
        if classic != express:
            differ.append(show(number, data + b" .. " + answer[:200], classic, express))
    assert not differ, f"{len(differ)} differ\n" + "\n\n".join(differ[:4])
    wait_until(lambda: len(pair.httpd.access()) >= before + 2 * RANGES, 5, "the last lines of the log")
    planes = planes_of(pair, before)
    assert planes.count("express") >= RANGES * 0.9, planes.count("express")
    lines = collections.Counter((line["status"], line["uri"], line["bytes"]) for line in pair.httpd.access()[before:])
    assert not [line for line, times in lines.items() if times % 2], "both planes write the same into the log"
    assert lines[206, "/x", 1] and any(status == 416 for status, *_ in lines)


@pytest.mark.parametrize("part", range(PARTS))
def test_answers(pair, part):
    """What members say, to a GET and to a HEAD of either version."""
    differ, before = [], len(pair.httpd.access())
    for number, answer in enumerate(wire_corpus.answers(2000 + part, ANSWERS // PARTS)):
        method, version = [("GET", 1), ("HEAD", 1), ("GET", 0), ("GET", 1)][number % 4]
        data = f"{method} /{number} HTTP/1.{version}\r\nHost: host\r\nConnection: keep-alive\r\n\r\n".encode()
        pair.member.answer, pair.member.closes = answer, True
        classic, express = pair.ask("classic", data), pair.ask("express", data)
        if classic != express:
            differ.append(show(number, answer, classic, express))
    assert not differ, f"{len(differ)} differ\n" + "\n\n".join(differ[:4])
    planes = planes_of(pair, before)
    assert planes.count("express") > ANSWERS // PARTS // 3, planes
