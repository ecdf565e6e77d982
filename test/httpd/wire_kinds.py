"""
Requests of kinds that are rare one by one and come all the same: absolute targets, Expect, upgrades, what Connection may name, codings, methods,
versions, mixed pipelines, sizes at their limits, conditions, fields that proxies add. Combined at random, from fixed numbers.
"""
import random


def make(method, target, *lines, version="HTTP/1.1", host="host", body=b""):
    """One request; nothing that would have the cache throw away what it has, from when on each plane's store is in a state of its own."""
    if "/cached" in target and (method not in ("GET", "HEAD") or body or any(line.startswith(("Content-Length", "Transfer-Encoding")) for line in lines)):
        target = target.replace("/cached", "/x")
    head = [f"{method} {target} {version}", *([f"Host: {host}"] if host is not None else []), *lines, "", ""]
    return "\r\n".join(head).encode("latin-1") + body


def with_body(rng):
    """Lines and bytes of some body, framed well."""
    body = bytes(rng.randrange(256) for _ in range(rng.choice([0, 1, 5, 60])))
    if rng.random() < 0.6:
        return [f"Content-Length: {len(body)}"], body
    return ["Transfer-Encoding: chunked"], (b"%x\r\n" % len(body) + body + b"\r\n" if body else b"") + b"0\r\n\r\n"


def absolute(rng):
    target = rng.choice(["http://host/x", "http://host/x?y=1", "http://HOST/x", "http://host:80/x", "http://host:8080/x", "http://host", "http://host?q", "https://host/x",
                         "HTTP://host/x", "ftp://host/x", "ws://host/x", "http://user@host/x", "http://user:pw@host/x", "http:///x", "http://host:/x", "http:/x", "http:x",
                         "http://[::1]/x", "http://[::1]:80/x", "http://[zz]/x", "http://host/x#f", "http://other.example/x", "http://host./x", "http://a..b/x", "http://host:x/x",
                         "http://host:0/x", "http://host:99999/x", "http://127.0.0.1/x", "http://host//x", "http://host/../x", "http://host/a%2fb", "http://host/%41", "http://host/local/x",
                         "http://host/private/x", "http://ho_st/x", "http://-/x", "http://host\\x/x", "http://%68ost/x", "http://host%00/x", "http://host/cached"])
    host = rng.choice(["host"] * 4 + ["other.example", "host:80", "", None, "a..b", "host:x", "localhost", "host "])
    method = rng.choice(["GET", "GET", "GET", "HEAD", "OPTIONS", "POST"])
    lines, body = with_body(rng) if method == "POST" else ([], b"")
    return make(method, target, *lines, *rng.choice([[], [], ["Connection: close"], ["X-Forwarded-Host: was"], ["Range: bytes=0-1"]]), host=host, body=body,
                version=rng.choice(["HTTP/1.1"] * 5 + ["HTTP/1.0"]))


def expect(rng):
    word = rng.choice(["100-continue"] * 5 + ["100-Continue", "100-CONTINUE", "something", "", "100-continue, 100-continue", "100-continue;x=1", " 100-continue ", "200-ok", "100"])
    lines, body = rng.choice([([], b""), (["Content-Length: 0"], b""), *[with_body(rng) for _ in range(4)]])
    lines = [f"Expect: {word}", *lines, *rng.choice([[], [], [], ["Expect: 100-continue"], ["Expect: x"], ["Connection: close"], ["Connection: Expect"], ["Connection: keep-alive"]])]
    return make(rng.choice(["POST", "PUT", "GET", "HEAD", "OPTIONS"]), rng.choice(["/x", "/x", "/small/x", "/private/x", "/local/x", "/cached", "/x%2fy"]), *lines, body=body,
                version=rng.choice(["HTTP/1.1"] * 4 + ["HTTP/1.0"]))


def upgrade(rng):
    lines = [rng.choice(["Upgrade: h2c", "Upgrade: websocket", "Upgrade: WebSocket", "Upgrade: websocket, h2c", "Upgrade: h2c, websocket", "Upgrade: TLS/1.0", "Upgrade:", "Upgrade: ,",
                         "Upgrade: websocket/13", "X-No: upgrade"]),
             rng.choice(["Connection: Upgrade", "Connection: upgrade", "Connection: keep-alive, Upgrade", "Connection: Upgrade, HTTP2-Settings", "Connection: keep-alive", "Connection: close",
                         "Connection: close, Upgrade", "X-No: connection"]),
             *rng.choice([[], ["HTTP2-Settings: AAMAAABkAARAAAAAAAIAAAAA"], ["Sec-WebSocket-Version: 13", "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ=="],
                          ["Sec-WebSocket-Version: 9", "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ=="], ["Sec-WebSocket-Version: 13"]])]
    method = rng.choice(["GET"] * 4 + ["POST", "OPTIONS", "HEAD"])
    more, body = with_body(rng) if method == "POST" or rng.random() < 0.1 else ([], b"")
    rng.shuffle(lines)
    return make(method, rng.choice(["/x", "/local/x", "/cached"]), *lines, *more, body=body, version=rng.choice(["HTTP/1.1"] * 4 + ["HTTP/1.0"]))


def connection(rng):
    names = ["Cookie", "Authorization", "Host", "X-Forwarded-For", "Content-Length", "Cache-Control", "Range", "If-None-Match", "Expect", "Via", "User-Agent", "Accept-Encoding", "X-Mine",
             "x-mine", "Transfer-Encoding", "TE", "Trailer", "Upgrade", "Keep-Alive", "close", "keep-alive", "Connection", "Content-Type", "Max-Forwards", "If-Modified-Since", "Proxy-Connection"]
    words = rng.choice([", ", ",", " , ", ",, ", "; ", " "]).join(rng.sample(names, rng.choice([1, 1, 2, 3])))
    fields = rng.sample(["Cookie: a=1", "Authorization: Basic YTpi", "X-Forwarded-For: 192.0.2.9", "Cache-Control: no-store", "Range: bytes=0-1", 'If-None-Match: "e"', "Via: 1.1 x",
                         "User-Agent: me", "Accept-Encoding: gzip", "X-Mine: 1", "X-MINE: 2", "TE: trailers, deflate", "Trailer: X-T", "Keep-Alive: 300", "Proxy-Connection: close",
                         "Content-Type: text/x"], 4)
    lines, body = with_body(rng) if rng.random() < 0.3 else ([], b"")
    all_lines = [f"Connection: {words}", *fields, *lines]
    rng.shuffle(all_lines)
    return make(rng.choice(["GET", "POST", "HEAD"]) if not lines else "POST", rng.choice(["/x", "/x", "/cached", "/local/x"]), *all_lines, body=body, version=rng.choice(["HTTP/1.1"] * 4 + ["HTTP/1.0"]))


def coding(rng):
    codings = ["chunked", "Chunked", "identity", "gzip", "deflate, chunked", "chunked, identity", "chunked, chunked", "", ",", "chunked,", " chunked", "chunked ", "\tchunked", "chunke", "chunkedx",
               "chunked; a=b", "x-chunked", "compress"]
    lines = [f"Transfer-Encoding: {rng.choice(codings)}", *([f"Transfer-Encoding: {rng.choice(codings)}"] if rng.random() < 0.3 else []),
             *([f"Content-Length: {rng.choice([0, 5, 11])}"] if rng.random() < 0.3 else []), *rng.choice([[], ["TE: chunked"], ["Trailer: X-T"], ["Connection: Transfer-Encoding"]])]
    rng.shuffle(lines)
    body = rng.choice([b"5\r\nhello\r\n0\r\n\r\n", b"0\r\n\r\n", b"0\r\nX-T: 1\r\n\r\n", b"hello", b"", b"5\r\nhello\r\n0\r\nX-T: 1\r\n\r\nGET /next HTTP/1.1\r\nHost: host\r\n\r\n"])
    return make(rng.choice(["POST", "PUT", "GET", "HEAD", "DELETE"]), rng.choice(["/x", "/local/x"]), *lines, body=body, version=rng.choice(["HTTP/1.1"] * 3 + ["HTTP/1.0"]))


def method(rng):
    word, target = rng.choice([("TRACE", "/x"), ("TRACE", "*"), ("OPTIONS", "*"), ("OPTIONS", "/x"), ("OPTIONS", "/local/x"), ("CONNECT", "host:443"), ("CONNECT", "/x"), ("CONNECT", "host"),
                               ("PRI", "*"), ("get", "/x"), ("BREW", "/x"), ("M-SEARCH", "*"), ("PROPFIND", "/x"), ("MKCOL", "/x"), ("PURGE", "/cached"), ("LOCK", "/local/x"), ("X" * 60, "/x"),
                               ("GET", "*"), ("POST", "*"), ("GE", "/x"), ("GETT", "/x"), ("LINK", "/x"), ("SEARCH", "/private/x"), ("PATCH", "/x"), ("DELETE", "/cached"), ("UPDATE", "/x"),
                               ("INVALID", "/x"), ("TRACE", "/private/x"), ("OPTIONS", "http://host/x"), ("OPTIONS", "http://host"), ("TRACE", "/local/x")])
    lines, body = with_body(rng) if rng.random() < 0.3 else ([], b"")
    return make(word, target, *lines, *rng.choice([[], ["Max-Forwards: 0"], ["Max-Forwards: 1"], ["Cookie: secret=1", "Authorization: Basic YTpi"], ["Connection: close"]]), body=body,
                version=rng.choice(["HTTP/1.1"] * 4 + ["HTTP/1.0", "HTTP/2.0"]))


def version(rng):
    if rng.random() < 0.2:
        return rng.choice([b"GET /x\r\n", b"GET /x\n", b"GET /local/x\r\n", b"HEAD /x\r\n", b"GET  /x\r\n", b"GET /x \r\n", b"GET\r\n", b"/x\r\n", b"GET /x HTTP/0.9\r\n\r\n", b"GET /x\r\n\r\nGET /y HTTP/1.1\r\nHost: host\r\n\r\n"])
    lines = rng.choice([[], ["Connection: keep-alive"], ["Connection: Keep-Alive", "Keep-Alive: 10"], ["Connection: close"], ["Connection: keep-alive, close"], ["Proxy-Connection: keep-alive"]])
    first = make(rng.choice(["GET", "HEAD", "POST"]), rng.choice(["/x", "/local/x", "/cached", "/private/x", "/chunked"]), *lines, *rng.choice([[], ["Content-Length: 0"]]),
                 version=rng.choice(["HTTP/1.0"] * 4 + ["HTTP/1.1", "HTTP/1.2", "HTTP/1.9", "HTTP/2.0", "HTTP/0.9", "HTTP/10.1", "HTTP/1.01", "http/1.0"]), host=rng.choice(["host", "host", None]))
    return first + make("GET", "/y", version=rng.choice(["HTTP/1.0", "HTTP/1.1"]))


def sizes(rng):
    """Of lines and lists, around LimitRequestLine 500, LimitRequestFieldSize 300, LimitRequestFields 25."""
    kind = rng.randrange(5)
    if kind == 0:
        return make("GET", "/" + "p" * (rng.randrange(470, 500)))
    if kind == 1:
        name = "X-" + "n" * rng.choice([1, 20, 290, 296, 300])
        return make("GET", "/x", f"{name}:{' ' * rng.choice([0, 1, 3])}{'v' * max(0, rng.randrange(285, 310) - len(name))}{' ' * rng.choice([0, 0, 2])}")
    if kind == 2:
        return make("GET", "/x", *[f"X-{n}: {n}" for n in range(rng.randrange(21, 28))])
    if kind == 3:  # one name's lines count together
        return make("GET", "/x", *[f"Cookie: c{n}={'v' * rng.randrange(40, 100)}" for n in range(rng.randrange(2, 5))])
    return make("GET", f"/x?{'q' * rng.randrange(470, 495)}", "Cookie: " + "c" * rng.randrange(280, 300))


def condition(rng):
    fields = ['If-None-Match: "e"', 'If-None-Match: W/"e"', 'If-None-Match: "f", "e"', "If-None-Match: *", 'If-None-Match: "f"', "If-None-Match: e", 'If-Match: "e"', 'If-Match: "f"', "If-Match: *",
              "If-Modified-Since: Sun, 06 Nov 1994 08:49:37 GMT", "If-Modified-Since: Sun, 06 Nov 1994 08:49:36 GMT", "If-Modified-Since: Sunday, 06-Nov-94 08:49:37 GMT",
              "If-Modified-Since: nonsense", "If-Modified-Since: Sat, 01 Jan 2050 00:00:00 GMT", "If-Unmodified-Since: Sun, 06 Nov 1994 08:49:37 GMT",
              "If-Unmodified-Since: Sat, 05 Nov 1994 08:49:37 GMT", "Range: bytes=0-1", "Range: bytes=-2", "Range: bytes=9-", "Range: bytes=0-0,2-2", 'If-Range: "e"', 'If-Range: "f"',
              "Cache-Control: no-cache", "Cache-Control: max-age=0", "Cache-Control: no-store", "Cache-Control: only-if-cached", "Cache-Control: min-fresh=5", "Cache-Control: max-stale",
              "Pragma: no-cache", "Authorization: Basic YTpi", "Cookie: a=1", "Accept-Encoding: gzip, br"]
    return make(rng.choice(["GET"] * 5 + ["HEAD"] * 2 + ["POST", "OPTIONS"]), rng.choice(["/cached"] * 5 + ["/cached/b", "/x"]), *rng.sample(fields, rng.choice([1, 1, 2, 3])),
                version=rng.choice(["HTTP/1.1"] * 6 + ["HTTP/1.0"]))


def proxies(rng):
    fields = ["Via: 1.1 one", "Via: 1.0 two, 1.1 three (x)", "VIA: 2.0 four", "X-Forwarded-For: 192.0.2.1", "X-Forwarded-For: 192.0.2.2, unknown", "x-forwarded-for:", "X-Forwarded-Host: a",
              "X-Forwarded-Host: b:81", "X-Forwarded-Server: c", "X-Forwarded-Server: d", "X-Forwarded-Proto: https", "Forwarded: for=192.0.2.1", "Cookie: a=1", "Cookie: b=2; c=3", "Cookie:",
              "cookie: d=4", "Max-Forwards: 5", "Proxy-Authorization: Basic YTpi", "Proxy-Connection: keep-alive", "Authorization: x", "Warning: 110 - x", "Accept: a", "Accept: b", "ACCEPT: c",
              "Content-Type: a", "Content-Type: b", "Referer: x", "Referer: y", "User-Agent: a", "User-Agent: b"]
    return make(rng.choice(["GET", "GET", "HEAD", "POST"]), rng.choice(["/x", "/chunked", "/cached", "/private/x"]), *rng.sample(fields, rng.choice([2, 4, 8])),
                host=rng.choice(["host", "host:8080", "HOST", "other.example"]), version=rng.choice(["HTTP/1.1"] * 4 + ["HTTP/1.0"]))


KINDS = [absolute, expect, upgrade, connection, coding, method, version, sizes, condition, proxies]


def pipeline(rng):
    """Some in a row, of all kinds and both planes."""
    return b"".join(rng.choice([*KINDS, lambda _: make("GET", "/x"), lambda _: make("GET", "/local/x"), lambda _: make("GET", "/cached")])(rng) for _ in range(rng.choice([2, 3, 5])))


def requests(seed, count):
    """Pairs: the kind's name, bytes."""
    rng = random.Random(seed)
    kinds = [*KINDS, pipeline]
    return [(kind.__name__, kind(rng)) for kind in (rng.choice(kinds) for _ in range(count))]
