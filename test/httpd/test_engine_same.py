"""
What can be told of a request from outside is the same on both planes: status, header lines in their order, body, what follows on the
connection, the line in the access log, and the bytes that a member got. Two servers side by side, the same bytes to each.
"""
import difflib
import re
import socket
import time

import pytest

from clients import get
from gatehttpd import built
from groups import MEMBER_TROUBLE, group, route
from procs import wait_until

pytestmark = pytest.mark.needs("gate_upstream", "gate_engine")

CONF = """
GracefulShutdownTimeout 2
LimitRequestLine 4000
LimitRequestFields 30
LimitRequestFieldSize 2000
RequestReadTimeout header=1 body=1
ProxyVia On
Header set X-Set "by httpd"
Header append Vary X-Thing
Header always set X-Always "always"
RequestHeader set X-To-Member "told"
AddOutputFilterByType DEFLATE text/html
ErrorDocument 503 "later, please"
ErrorDocument 404 /errors/404.html
RemoteIPHeader X-Client
RemoteIPInternalProxy 127.0.0.1
ProxyPass "/errors/" "!"
ProxyPass "/status" "!"
ProxyPass "/local" "!"
ProxyPass "/dead/" "gate://dead/"
ProxyPass "/both/" "gate://both/"
ProxyPass "/under/" "gate://app/below/"
<Location "/private">
Require ip 192.0.2.1
</Location>
<Location "/named">
UseCanonicalName On
</Location>
<Location "/ported">
UseCanonicalPhysicalPort On
</Location>
<Location "/private/text">
ErrorDocument 403 "not you %{REMOTE_ADDR}"
Header always set X-Refused "yes %{no_such}e"
SetEnv late 1
</Location>
<Location "/private/page">
ErrorDocument 403 /errors/403.html
</Location>
<Location "/private/old">
AuthMerging Off
Require all granted
Order deny,allow
Deny from all
</Location>
<Location "/private/admitted">
AuthMerging Off
Require ip 127.0.0.1
</Location>
<Location "/small">
LimitRequestBody 100
</Location>
"""
CACHE = '<Location "/cached">\nGateCache on\n</Location>\n' if built("gate_cache") else ""
LIMIT = "".join(f'<Location "/limited{part}">\nGateLimit requests rate=1r/m burst=1 name=l{number}\n</Location>\n'
                for number, part in enumerate(["", "-h", "-b", "-t"])) + '<Location "/limited-t">\nErrorDocument 429 "slowly"\n</Location>\n' if built("gate_access") else ""

BEHAVIOUR = {
    "/html": {"body": "<p>all of this</p>\n" * 300, "headers": [["Content-Type", "text/html"], ["ETag", '"one"']]},
    "/chunked": {"body": "in pieces " * 500, "chunked": True, "pieces": 5},
    "/trailers": {"body": "with trailers", "chunked": True, "trailers": [["X-Checksum", "abc"]]},
    "/empty-chunks": {"raw": ["HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"]},
    "/none": {"status": 204, "reason": "No Content"},
    "/same": {"status": 304, "reason": "Not Modified", "headers": [["ETag", '"one"']]},
    "/missing": {"status": 404, "reason": "Not Found", "body": "no\n"},
    "/error": {"status": 500, "reason": "Internal Server Error", "body": "broken\n"},
    "/unavailable": {"status": 503, "reason": "Service Unavailable", "body": "later\n"},
    "/odd": {"status": 299, "reason": "Quite Fine", "body": "odd\n"},
    "/teapot": {"status": 418, "reason": "I'm a teapot", "body": "tea\n"},
    "/hints": {"interim": [[103, [["Link", "</style.css>; rel=preload"]]]], "body": "hinted\n"},
    "/redirect": {"redirect": "/there", "body": "there\n"},
    "/named/redirect": {"redirect": "/there", "body": "there\n"},
    "/ported/redirect": {"redirect": "/there", "body": "there\n"},
    "/cookie": {"cookie": "session=1", "body": "eat\n"},
    "/cookies": {"headers": [["Set-Cookie", "a=1; Path=/"], ["Set-Cookie", "b=2; Path=/"], ["X-A", "1"], ["X-A", "2"]], "body": "two\n"},
    "/big": {"size": 300000},
    "/close": {"close": True, "body": "bye\n"},
    "/quiet": {"quiet_close": True, "body": "bye\n"},
    "/hop": {"headers": [["Connection", "X-Hop"], ["X-Hop", "1"], ["Keep-Alive", "timeout=99"], ["Upgrade", "h2c"], ["X-Stays", "1"]],
             "body": "hop\n"},
    "/dates": {"headers": [["Last-Modified", "Sun, 06 Nov 1994 08:49:37 GMT"], ["Expires", "0"], ["Cache-Control", "no-cache"]],
               "body": "old\n"},
    "/vary": {"headers": [["Vary", "Accept-Encoding"], ["Vary", "Cookie"]], "body": "varies\n"},
    "/server": {"headers": [["Server", "other/1.0"], ["Via", "1.1 elsewhere"]], "body": "served\n"},
    "/cached": {"headers": [["Cache-Control", "max-age=60"], ["ETag", '"c"'], ["Content-Type", "text/plain"]], "body": "keep me\n" * 20},
    "/raw-1.0": {"raw": ["HTTP/1.0 200 OK\r\nContent-Type: text/plain\r\n\r\nuntil the end\n"]},
    "/raw-space": {"raw": ["HTTP/1.1 200 OK\r\nContent-Length: 3\r\nX-Odd:   spaces  \r\nx-lower: 1\r\n\r\nok\n"]},
    "/garbage": {"raw": ["\x16\x03\x01 this is no answer\r\n\r\n"]},
    "/banana": {"raw": ["HTTP/1.1 banana OK\r\nContent-Length: 0\r\n\r\n"]},
    "/folded": {"raw": ["HTTP/1.1 200 OK\r\nContent-Length: 3\r\nX-Long: one\r\n two\r\n\r\nok\n"]},
    "/two-lengths": {"raw": ["HTTP/1.1 200 OK\r\nContent-Length: 3\r\nContent-Length: 4\r\n\r\nok\n"]},
    "/no-reason": {"raw": ["HTTP/1.1 200\r\nContent-Length: 3\r\n\r\nok\n"]},
    "/short": {"size": 4000, "fail": "close", "at": "answer"},
    "/reset": {"fail": "reset", "at": "body"},
    "/shut": {"fail": "close", "at": "body"},
}


def ask(path, *lines, method="GET", version="1.1", host="localhost", body=b""):
    head = [f"{method} {path} HTTP/{version}", *([f"Host: {host}"] if host else []), *lines, "", ""]
    return "\r\n".join(head).encode("latin-1") + body


def post(path, body=b"hello body", *lines, method="POST"):
    return ask(path, f"Content-Length: {len(body)}", *lines, method=method, body=body)


CHUNKED = "Transfer-Encoding: chunked"
CHUNKS = b"5\r\nhello\r\n6;ext=1\r\n chunk\r\n0\r\n\r\n"

# name: (bytes, how many answers)
CASES = {
    "get": (ask("/ok"), 1),
    "get twice": (ask("/ok") + ask("/html"), 2),
    "query": (ask("/ok?a=1&b=%20x"), 1),
    "empty query": (ask("/ok?"), 1),
    "escapes": (ask("/o%6b/%41%2d%7e"), 1),
    "escaped slash": (ask("/a%2fb"), 1),
    "escaped percent": (ask("/a%25b"), 1),
    "bad escape": (ask("/a%zz"), 1),
    "dots": (ask("/a/../ok"), 1),
    "dots too far": (ask("/../../ok"), 1),
    "slashes": (ask("//a///b"), 1),
    "semicolon": (ask("/ok;v=1"), 1),
    "odd characters": (ask("/ok?<>\"{}|^`"), 1),
    "8 bit": (ask("/\xe4\xf6"), 1),
    "mapped": (ask("/under/ok"), 1),
    "not proxied": (ask("/local/index.html"), 1),
    "the index": (ask("/errors/none"), 1),
    "asterisk": (ask("*", method="OPTIONS"), 1),
    "absolute": (ask("http://localhost/ok"), 1),
    "absolute, other host": (ask("http://other.example/ok"), 1),
    "host with port": (ask("/ok", host="localhost:8080"), 1),
    "host in capitals": (ask("/ok", host="LocalHost"), 1),
    "host with dot": (ask("/ok", host="localhost."), 1),
    "host bad": (ask("/ok", host="a b"), 1),
    "host missing": (ask("/ok", host=None), 1),
    "host twice": (ask("/ok", "Host: other"), 1),
    "head": (ask("/html", method="HEAD"), 1),
    "options": (ask("/ok", method="OPTIONS"), 1),
    "delete": (ask("/ok", method="DELETE"), 1),
    "patch": (post("/ok", method="PATCH"), 1),
    "put": (post("/ok", method="PUT"), 1),
    "trace": (ask("/ok", method="TRACE"), 1),
    "connect": (ask("localhost:80", method="CONNECT"), 1),
    "odd method": (ask("/ok", method="BREW"), 1),
    "small method": (ask("/ok", method="get"), 1),
    "post": (post("/ok"), 1),
    "post nothing": (post("/ok", b""), 1),
    "post large": (post("/ok", b"x" * 200000), 1),
    "post chunked": (ask("/ok", CHUNKED, method="POST", body=CHUNKS), 1),
    "post chunked, trailers": (ask("/ok", CHUNKED, "Trailer: X-T", method="POST", body=b"2\r\nhi\r\n0\r\nX-T: 1\r\n\r\n"), 1),
    "post chunked, nothing": (ask("/ok", CHUNKED, method="POST", body=b"0\r\n\r\n"), 1),
    "post chunked, bad": (ask("/ok", CHUNKED, method="POST", body=b"zz\r\nhi\r\n0\r\n\r\n"), 1),
    "post, then get": (post("/ok") + ask("/html"), 2),
    "post too large": (post("/small/x", b"x" * 200), 1),
    "get with body": (post("/ok", method="GET"), 1),
    "expect": (post("/ok", b"hello", "Expect: 100-continue"), 1),
    "expect other": (post("/ok", b"hello", "Expect: something"), 1),
    "both lengths": (ask("/ok", "Content-Length: 5", CHUNKED, method="POST", body=CHUNKS), 1),
    "two lengths": (ask("/ok", "Content-Length: 5", "Content-Length: 6", method="POST", body=b"hello!"), 1),
    "same length twice": (ask("/ok", "Content-Length: 5", "Content-Length: 5", method="POST", body=b"hello"), 1),
    "negative length": (ask("/ok", "Content-Length: -5", method="POST"), 1),
    "gzip coding": (ask("/ok", "Transfer-Encoding: gzip, chunked", method="POST", body=CHUNKS), 1),
    "coding unknown": (ask("/ok", "Transfer-Encoding: x", method="POST"), 1),
    "1.0": (ask("/ok", version="1.0"), 1),
    "1.0 kept": (ask("/ok", "Connection: keep-alive", version="1.0") + ask("/html", version="1.0"), 2),
    "1.0 without host": (ask("/ok", version="1.0", host=None), 1),
    "1.0 of chunks": (ask("/chunked", version="1.0"), 1),
    "1.0 of chunks, kept": (ask("/chunked", "Connection: keep-alive", version="1.0"), 1),
    "1.2": (ask("/ok", version="1.2"), 1),
    "2.0": (ask("/ok", version="2.0"), 1),
    "0.9": (b"GET /ok\r\n", 1),
    "close": (ask("/ok", "Connection: close"), 1),
    "connection names": (ask("/ok", "Connection: X-Gone", "X-Gone: 1", "X-Stays: 1"), 1),
    "hop by hop": (ask("/ok", "TE: trailers", "Keep-Alive: 5", "Proxy-Connection: x", "Upgrade: h2c", "Proxy-Authorization: x"), 1),
    "same names": (ask("/ok", "X-A: 1", "X-B: 2", "x-a: 3", "Cookie: a=1", "Cookie: b=2"), 1),
    "empty field": (ask("/ok", "X-Empty:"), 1),
    "spaces": (ask("/ok", "X-Odd:   a   b  "), 1),
    "space before colon": (ask("/ok", "X-Odd : a"), 1),
    "folded": (ask("/ok", "X-Long: a", " b"), 1),
    "no colon": (ask("/ok", "nonsense"), 1),
    "control": (ask("/ok", "X-Odd: a\x01b"), 1),
    "nul": (ask("/ok", "X-Odd: a\0b"), 1),
    "8 bit field": (ask("/ok", "X-Odd: \xe4"), 1),
    "bare newlines": (b"GET /ok HTTP/1.1\nHost: localhost\n\n", 1),
    "empty lines first": (b"\r\n\r\n" + ask("/ok"), 1),
    "spaces in the line": (b"GET  /ok  HTTP/1.1\r\nHost: localhost\r\n\r\n", 1),
    "garbage": (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n", 1),
    "long line": (ask("/" + "x" * 5000), 1),
    "long field": (ask("/ok", "X-Long: " + "x" * 3000), 1),
    "many fields": (ask("/ok", *[f"X-{n}: 1" for n in range(40)]), 1),
    "unfinished": (b"GET /ok HTTP/1.1\r\nHost: loc", 1),
    "unfinished body": (ask("/ok", "Content-Length: 10", method="POST", body=b"five!"), 1),
    "deflate": (ask("/html", "Accept-Encoding: gzip"), 1),
    "deflate, old browser": (ask("/html", "Accept-Encoding: gzip", "User-Agent: Mozilla/4.0"), 1),
    "deflate of head": (ask("/html", "Accept-Encoding: gzip", method="HEAD"), 1),
    "if none match": (ask("/html", 'If-None-Match: "one"'), 1),
    "if modified": (ask("/dates", "If-Modified-Since: Sun, 06 Nov 1994 08:49:37 GMT"), 1),
    "range": (ask("/big", "Range: bytes=10-19"), 1),
    "private": (ask("/private/x"), 1),
    "private, head": (ask("/private/x", method="HEAD") + ask("/ok"), 2),
    "private, body": (post("/private/x") + ask("/ok"), 2),
    "private, escaped": (ask("/%70rivate/%20y?q") + ask("/ok"), 2),
    "private, text": (ask("/private/text") + ask("/private/page"), 2),
    "private, old": (ask("/private/x", "Connection: keep-alive", version="1.0") + ask("/ok"), 2),
    "private, old way": (ask("/private/old/x") + ask("/private/admitted/x"), 2),
    "forwarded": (ask("/ok", "X-Forwarded-For: 198.51.100.7", "X-Client: 198.51.100.8", "Via: 1.0 before"), 1),
    "max forwards": (ask("/ok", "Max-Forwards: 0", method="OPTIONS"), 1),
    "max forwards left": (ask("/ok", "Max-Forwards: 0010") + ask("/ok", "Max-Forwards: 1"), 2),
    "max forwards bad": (ask("/ok", "Max-Forwards: x"), 1),
    "canonical name": (ask("/named/ok", host="other.example:81") + ask("/named/redirect", host="other.example"), 2),
    "physical port": (ask("/ported/ok", host="other.example") + ask("/ported/redirect", host="other.example:81"), 2),
    "auth": (ask("/ok", "Authorization: Basic YTpi"), 1),
    "pipeline": (ask("/ok") + ask("/chunked") + ask("/missing") + post("/ok") + ask("/html"), 5),
    "pipeline, classic within": (ask("/ok") + ask("/local/x") + ask("/ok") + ask("/status/x") + ask("/ok"), 5),
    "pipeline, bad end": (ask("/ok") + b"nonsense\r\n\r\n" + ask("/ok"), 2),
    "pipeline, close": (ask("/ok") + ask("/ok", "Connection: close") + ask("/ok"), 2),
    "dead group": (ask("/dead/x"), 1),
    "dead group, post": (post("/dead/x"), 1),
    "one dead member": (ask("/both/ok"), 1),
    **{f"answer {path[1:]}": (ask(path) + ask("/ok"), 2) for path in BEHAVIOUR},
    **{f"head of {path[1:]}": (ask(path, method="HEAD") + ask("/ok"), 2) for path in BEHAVIOUR if "raw" not in BEHAVIOUR[path]},
    **({"cache again": (ask("/cached") * 3, 3), "cache 304": (ask("/cached", 'If-None-Match: "c"'), 1),
        "cache head": (ask("/cached", method="HEAD"), 1), "cache, no": (ask("/cached", "Cache-Control: no-cache"), 1),
        "cache, range": (ask("/cached", "Range: bytes=0-3"), 1)} if CACHE else {}),
    **({"limited": (ask("/limited/x") * 4, 4), "limited, head": (ask("/limited-h/x", method="HEAD") * 3, 3),
        "limited, body": (post("/limited-b/x") * 3, 2), "limited, text": (ask("/limited-t/%20x?q") * 3, 3)} if LIMIT else {}),
}

# what a stock proxy does all day has to be express, or nothing is won
EXPRESS = ["private", "private, head", "private, text", "private, old way", "limited", "max forwards left", "canonical name", "physical port", "get", "query", "head", "post", "post chunked", "close", "1.0", "deflate", "answer chunked", "answer big", "answer missing",
           "answer error", "answer redirect", "answer cookies", "answer none", "forwarded"]



class Pair:
    def __init__(self, lab):
        self.member = lab.upstream()
        for path, acts in BEHAVIOUR.items():
            self.member.behave(acts, path=path)
        self.member.behave("ok", body="fine\n")
        self.dead = lab.refusing()
        off = ["GateOutlier off"] if built("gate_health") else []
        groups = (group("app", [self.member], "GateRetry attempts=2 budget=100%", *off) + group("dead", [self.dead.url], *off)
                  + group("both", [(self.dead.url, "id=dead"), self.member], "GateBalance first", *off))
        conf = CONF + CACHE + LIMIT + groups + route()
        self.servers = {plane: lab.httpd(conf, plane=plane, children=1, threads=16, log_level="notice", modules=("access_compat",)) for plane in ("classic", "express")}
        for httpd in self.servers.values():
            httpd.expect(*MEMBER_TROUBLE, ".*")  # both say much about requests like these; crashes are surprises all the same
        self.seen = {plane: 0 for plane in self.servers}

    def ask(self, plane, data, answers):
        """What came back until the server closed or fell silent, what the member got, and the new log lines."""
        httpd = self.servers[plane]
        asked = len(self.member.requests())
        with socket.create_connection(("127.0.0.1", httpd.port), timeout=10) as sock:
            sock.sendall(data)
            got, closed = self._until_quiet(sock, answers)
        lines = self._log(httpd, plane)
        return same_words(got, httpd, self.member), closed, lines, [told(r, httpd, self.member) for r in self.member.requests()[asked:]]

    @staticmethod
    def _until_quiet(sock, answers):
        """Everything that comes; for long while answers are due, and a little longer for what should not come."""
        got, closed, last = b"", False, time.monotonic()
        sock.settimeout(0.05)
        while not closed and time.monotonic() - last < (0.12 if len(re.findall(rb"HTTP/1\.[01] [2-5]", got)) >= answers else 3):
            try:
                more = sock.recv(1 << 16)
                closed = not more
                got += more
                last = time.monotonic()
            except TimeoutError:
                pass
            except ConnectionError:
                closed = True
        return got, closed

    def _log(self, httpd, plane):
        time.sleep(0.02)
        lines = httpd.access()
        new, self.seen[plane] = lines[self.seen[plane]:], len(lines)
        for line in new:
            for name in ("us", "child", "connect_us"):  # whether there was a connection left is chance
                del line[name]
            for name in ("first_byte_us", "total_us"):
                line[name] = "-" if line[name] == "-" else "some"
        return new


def same_words(data, httpd, member):
    """Bytes without what has to differ: ports, the time."""
    text = data.decode("latin-1")
    text = re.sub(rf"\b({httpd.port}|{member.port})\b", "PORT", text)
    text = re.sub(r"(?m)^(Date|Expires|Last-Modified): \w{3}, .*GMT\r$", r"\1: TIME\r", text)
    text = re.sub(r"(?m)^(Age|X-Connection|Retry-After|RateLimit[\w-]*): .*\r$", r"\1: N\r", text)
    return re.sub(r"gatehouse; hit; ttl=\d+", "gatehouse; hit; ttl=N", text)


def difference(classic, express):
    def lines(value):
        if isinstance(value, (list, tuple)):
            return [line for one in value for line in lines(one)]
        if isinstance(value, dict):
            return [f"{name}: {one}" for name, one in value.items()]
        return str(value).split("\n")
    return "\n".join(line[:300] for line in difflib.unified_diff(lines(classic), lines(express), "classic", "express", n=1, lineterm=""))


def told(request, httpd, member):
    raw = request["raw"] if isinstance(request["raw"], str) else str(request["raw"])
    return same_words(raw.encode("latin-1", "replace"), httpd, member), request["body_length"], request["body_sha256"]


@pytest.fixture(scope="module")
def pair(module_lab):
    one = Pair(module_lab)
    for httpd in one.servers.values():
        wait_until(lambda h=httpd: get(h.port, "/ok").status == 200, 5, "it serves")
    time.sleep(0.1)
    for plane, httpd in one.servers.items():
        one.seen[plane] = len(httpd.access(1))
    return one


@pytest.mark.parametrize("name", CASES)
def test_same(pair, name):
    data, answers = CASES[name]
    classic, express = (pair.ask(plane, data, answers) for plane in ("classic", "express"))
    planes = [line.pop("plane") for line in express[2]], [line.pop("plane") for line in classic[2]]
    what = ("answer", "is it closed", "log", "bytes at the member")
    wrong = [f"{w}:\n" + difference(one, other) for w, one, other in zip(what, classic, express) if one != other]
    assert not wrong, "\n".join(wrong)
    assert set(planes[1]) <= {"classic", "-"}
    if name in EXPRESS:
        assert planes[0][0] == "express", pair.servers["express"].error_log()[-2000:]
