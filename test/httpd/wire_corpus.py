"""
Requests and answers as bytes, thousands of them: good ones put together from parts, and the same with one or two things wrong. The numbers
that a corpus is made from are fixed, so a case that fails has the same number the next time.
"""
import random

METHODS = ["GET"] * 12 + ["POST"] * 5 + ["HEAD"] * 3 + ["PUT", "DELETE", "OPTIONS", "PATCH", "PROPFIND", "get", "BREW", "TRACE", "G(T", ""]
PATHS = ["/", "/a", "/a/b.html", "/dir/", "/a.b/c..d/...", "/x-y_z~w", "/;p=1/q,r", "/@:&=+$!*'()", "/deep/" + "s/" * 20]
ODD_PATHS = ["//", "/a//b", "/./a", "/a/../b", "/../..", "/%41", "/a%2fb", "/a%00b", "/%zz", "/a\\b", "/a|b", "/<x>", "/\xe4", "/" + "l" * 600,
             "*", "a", "http://host/x", "http://other.example:81/x", "HTTP://host", "//host/x", "/a#b", "", "/a b", "/\x01", "/a\tb", "?x", "host:443"]
QUERIES = ["", "", "", "?", "?a=1", "?a=1&b=%20x", "?/../x", "?\"<>", "?\xe4", "?" + "q" * 300, "??"]
HOSTS = ["host"] * 8 + ["localhost", "Host.Example", "host:80", "host:8080", "127.0.0.1", "a-b.c_d"]
ODD_HOSTS = ["", "host.", "ho st", "host:", "host:0", "host:99999", "host:x", "[::1]", "[::1]:80", "[zz]", "a..b", ".a", "a.1", "1.2.3", "123", "a/b", "a,b", "a@b",
             "\xe4", "01.2.3.4"]
FIELDS = [["Accept: */*"], ["Accept-Encoding: gzip, br"], ["User-Agent: a browser (of sorts); 1.0"], ["Cookie: a=1; b=2"], ["Cookie: a=1", "Cookie: b=2"],
          ["X-Empty:"], ["X-Blank: \t "], ["X-Long: " + "v" * 250], ["X-Twice: 1", "x-twice: 2", "X-TWICE: 3"], ["X-Inner: a\tb  c"], ["X-High: \xe4\xff"],
          ["Via: 1.0 before"], ["X-Forwarded-For: 192.0.2.1"], ["X-Forwarded-Host: evil", "X-Forwarded-Server: evil"], ["Referer: http://x/y?z"],
          ["If-None-Match: \"a\", W/\"b\""], ["Authorization: Basic YTpi"], ["Cache-Control: no-cache", "Pragma: no-cache"], ["TE: trailers"], ["Keep-Alive: timeout=9"],
          ["Proxy-Connection: keep-alive"], ["Proxy-Authorization: Basic YTpi"], ["Trailer: X-T"], ["Range: bytes=0-1"], ["Max-Forwards: 3"], ["Upgrade: h2c"],
          ["!#$%&'*+-.^_`|~: all"], ["X-Quote: \"a, b\""], ["Warning: 199 - \"x\""], ["Content-Type: text/plain"], ["Expires: 0"], ["Date: yesterday"]]
CONNECTIONS = [[]] * 8 + [["Connection: keep-alive"], ["Connection: Keep-Alive"], ["Connection: close"], ["Connection: close, TE"],
                          ["Connection: X-Drop, keep-alive", "X-Drop: 1"], ["Connection: keep-alive", "Connection: close"]]
ODD_CONNECTIONS = [["Connection:"], ["Connection: ,"], ["Connection: Host"], ["Connection: X-Forwarded-For"], ["Connection: Content-Length"], ["Connection: \"close\""],
                   ["Connection: close;x"], ["Connection: upgrade", "Upgrade: websocket"], ["Connection: upgrade", "Upgrade: h2c"], ["Upgrade: websocket"]]
ODD_LENGTHS = ["+5", "-5", "05", "0x5", "5,5", "5, 5", "5 ", " 5", "5 5", "5;", "", "5.0", "1e1", "9223372036854775807", "9223372036854775808", "99999999999999999999", "\t5"]
ODD_CODINGS = ["gzip, chunked", "chunked, gzip", "identity", "Chunked", "CHUNKED", "chunked ", "xchunked", "chunked;q=1", "\"chunked\"", "", "\x0bchunked", "chunked, chunked",
               "chunked,", ", chunked", "chunked\t"]
ODD_FIELDS = ["X-Space : 1", "X Space: 1", ": 1", "nocolon", " X-Lead: 1", "X-Ctl: a\x01b", "X-Nul: a\0b", "X-Del: a\x7fb", "X-Cr: a\rb", "X-\xe4: 1", "X-Fold: a\r\n b",
              "X-Fold: a\r\n\t b", "X-Lf: a\nX-Next: b", "X-Tab\t: 1", "\tX-Tab: 1", "X-Paren(: 1", "X-Long: " + "v" * 400, "Host: second", "Expect: x", "X:",
              "Content-Length: 3", "Transfer-Encoding: chunked", "Content-Length : 3", "Transfer-Encoding\t: chunked", "Content_Length: 3"]
VERSIONS = ["HTTP/1.1"] * 20 + ["HTTP/1.0"] * 3
ODD_VERSIONS = ["HTTP/0.9", "HTTP/1.2", "HTTP/2.0", "HTTP/1.10", "HTTP/1.", "http/1.1", "HTTPS/1.1", "HTTP/1.1 ", "HTTP /1.1", "", "HTTP/1.1\t", "HTTP/01.1", "HTTP/3.0"]
ODD_BYTES = [b"\r", b"\n", b"\0", b" ", b"\t", b":", b"\x7f", b"\x80", b"\x0b", b"\r\n", b"\n ", b"\r\n ", b";", b",", b"/", b"#", b"%", b"?", b"0", b"A"]


def chunked(rng, body):
    out, at = b"", 0
    while at < len(body):
        size = rng.randint(1, len(body) - at)
        line = rng.choice(["%x", "%X", "%x", "0%x", "%x;ext=1", "%x ;a=\"b\"", "%x  ", "000%x"]) % size
        out += line.encode() + b"\r\n" + body[at:at + size] + b"\r\n"
        at += size
    return out + rng.choice([b"0\r\n", b"000\r\n", b"0;x\r\n"]) + rng.choice([b"", b"", b"", b"X-T: 1\r\n", b"X-T: 1\r\nX-U:\r\n"]) + b"\r\n"


def broken_chunks(rng, body):
    """A chunked body with something wrong, or nearly."""
    tricks = [b"\r\n", b"x\r\n", b"5\nhello\r\n0\r\n\r\n", b"5\r\nhello0\r\n\r\n", b"5\r\nhello\n0\r\n\r\n", b"-5\r\nhello\r\n0\r\n\r\n", b"0x5\r\nhello\r\n0\r\n\r\n",
              b"5 5\r\nhello\r\n0\r\n\r\n", b"5;\x01\r\nhello\r\n0\r\n\r\n", b"8000000000000000\r\n", b"ffffffffffffffff\r\nx", b"10000000000000000005\r\nhello\r\n0\r\n\r\n",
              b"5" + b" " * 11 + b"\r\nhello\r\n0\r\n\r\n", b"5;" + b"x" * 400 + b"\r\nhello\r\n0\r\n\r\n", b"0\n\n", b"0\r\nX-T\r\n\r\n", b"0\r\nX T: 1\r\n\r\n", b"0\r\nX-T: 1\n\r\n",
              b"5\r\nhel", b"5\r\nhello\r\n", b"0\r\n", b"0\r\nX-T: 1\r\n", b"5\rhello\r\n0\r\n\r\n", b" 5\r\nhello\r\n0\r\n\r\n", b"5\r\r\nhello\r\n0\r\n\r\n"]
    if rng.random() < 0.5:
        return rng.choice(tricks)
    return mutated(rng, chunked(rng, body), 1)


def mutated(rng, data, times):
    data = bytearray(data)
    for _ in range(times):
        at = rng.randrange(len(data) + 1)
        what = rng.random()
        if what < 0.4:
            data[at:at] = rng.choice(ODD_BYTES)
        elif what < 0.7 and at < len(data):
            del data[at:at + rng.choice([1, 1, 2, 8])]
        elif at < len(data):
            data[at:at + 1] = rng.choice(ODD_BYTES)
    return bytes(data)


def odd(rng, chance, good, bad):
    return rng.choice(bad) if rng.random() < chance else rng.choice(good)


def one_request(rng, chance):
    """chance: of each part to be an odd one."""
    method = rng.choice(METHODS)
    target = odd(rng, chance, PATHS, ODD_PATHS) + rng.choice(QUERIES)
    version = odd(rng, chance, VERSIONS, ODD_VERSIONS)
    lines = [[f"Host: {odd(rng, chance, HOSTS, ODD_HOSTS)}"]] if rng.random() > chance / 2 else []
    lines += rng.sample(FIELDS, rng.choice([0, 0, 1, 2, 3, 5]))
    lines.append(odd(rng, chance, CONNECTIONS, ODD_CONNECTIONS))
    if rng.random() < chance:
        lines.append([rng.choice(ODD_FIELDS)])
    if rng.random() < chance / 4:
        lines += [[f"X-{n}: {n}"] for n in range(rng.choice([17, 30]))]
    body = bytes(rng.randrange(256) for _ in range(rng.choice([0, 1, 3, 5, 100]))) if method in ("POST", "PUT", "PATCH") or rng.random() < chance else b""
    if rng.random() < 0.01:
        body = rng.randbytes(rng.choice([15000, 40000, 70000]))  # not about the 16 KiB that decide between length and chunks
    kind = rng.random()
    if not body and kind < 0.9:
        sent = b""
    elif kind < 0.5:
        length = str(len(body)) if rng.random() > chance else rng.choice(ODD_LENGTHS)
        lines.append([f"Content-Length: {length}"])
        sent = body
    else:
        lines.append([f"Transfer-Encoding: {odd(rng, chance, ['chunked'], ODD_CODINGS)}"])
        sent = chunked(rng, body) if rng.random() > chance else broken_chunks(rng, body)
    # with Expect and more than a little body it depends on how fast that comes what a member sees
    if sent and version == "HTTP/1.1" and kind < 0.5 and len(sent) < 1000 and rng.random() < 0.1:
        lines.append(["Expect: 100-continue"])
    rng.shuffle(lines)
    head = "\r\n".join([f"{method} {target} {version}", *[line for group in lines for line in group], "", ""]).encode("latin-1")
    if rng.random() < chance / 2:
        head = head.replace(b"\r\n", b"\n", rng.choice([1, 100])) if rng.random() < 0.5 else mutated(rng, head, rng.choice([1, 1, 2]))
    return head + sent


def requests(seed, count):
    """Byte strings, each of one to four requests."""
    rng = random.Random(seed)
    out = []
    for _ in range(count):
        chance = rng.choice([0, 0, 0.02, 0.15])
        parts = [one_request(rng, chance) for _ in range(rng.choice([1, 1, 1, 1, 2, 2, 3]))]
        if rng.random() < 0.05:
            parts.insert(0, rng.choice([b"\r\n", b"\r\n\r\n", b"\n", b"\r\n" * 12]))
        data = b"".join(parts)
        if rng.random() < 0.03:
            data = data[:rng.randrange(len(data))]
        out.append(data)
    return out


PATH_WORDS = ["a", "b", "c", "map", "raw", "pick", "x.gif", "secret", "index.html", "a b", "~u", "v;p=1", "\xe4\xf6", "$1", "\\"]
PATH_ESCAPES = ["%20", "%2F", "%2f", "%25", "%2525", "%252F", "%C3%A4", "%e4", "%41", "%7e", "%2E", "%2e%2E", "%3F", "%23", "%3B", "%26", "%3D", "%0A", "%0d", "%7F", "%00", "%zz",
                "%4", "%", "%5C", "%22", "%3C", "%7C", "%5E", "%60", "%7B", "%2B", "+", "%24", "%80", "%ff"]
PATH_ODDS = ["|", "<", ">", "\"", "^", "`", "{", "}", "\\", "*", "'", "(", "!", ",", ":", "@", "&", "=", "$", "_", "-"]


def paths(seed, count):
    """Targets in origin-form: what clients and those who try things out make of paths, words that a configuration can name among them."""
    rng = random.Random(seed)
    out = []
    for _ in range(count):
        path = ""
        for _ in range(rng.choice([1, 1, 2, 2, 3, 4, 6])):
            path += rng.choice(["/"] * 12 + ["//", "///", "/./", "/../", "/.", "/%2e/", "/.%2e/", "%2F", "/%2F", "//../"])
            word = rng.choice(PATH_WORDS).replace(" ", "%20")
            if rng.random() < 0.4:
                at = rng.randrange(len(word) + 1)
                word = word[:at] + rng.choice(PATH_ESCAPES if rng.random() < 0.8 else PATH_ODDS) + word[at + rng.choice([0, 0, 1]):]
            path += word
        out.append((path if path[0] == "/" else "/" + path) + rng.choice(["", "", "/", "//", "?", "?q=%20&/../", "?a?b"]))
    return out


ANSWER_LINES = ["HTTP/1.1 200 OK"] * 10 + ["HTTP/1.1 404 Not Found", "HTTP/1.1 204 No Content", "HTTP/1.1 304 Not Modified", "HTTP/1.0 200 OK", "HTTP/1.1 200", "HTTP/1.1 200 ",
                                           "HTTP/1.1 299 Very  fine", "HTTP/1.1 500 Oh", "HTTP/1.1 503 Later", "HTTP/1.1 301 There", "HTTP/1.1 206 Part"]
ODD_ANSWER_LINES = ["HTTP/1.1 99 x", "HTTP/2.0 200 OK", "HTTP/1.1 2x0 OK", "hello", "", "HTTP/1.1", "HTTP/1.1 200 O\x01K", "HTTP/1.1 000 x"]
ANSWER_FIELDS = [["Server: member"], ["Content-Type: text/plain"], ["X-A: 1", "X-A: 2", "x-a: 3"], ["Set-Cookie: a=1", "Set-Cookie: b=2"], ["Vary: A, b", "Vary: a,C"],
                 ["Vary: Accept-Encoding"], ["ETag: \"x\""], ["Last-Modified: Sunday, 06-Nov-94 08:49:37 GMT"], ["Expires: Sun Nov  6 08:49:37 1994"], ["Expires: 0"],
                 ["Cache-Control: max-age=5"], ["X-Empty:"], ["X-High: \xe4"], ["X-Tab: a\tb  c "], ["Keep-Alive: timeout=5"], ["Connection: X-Drop", "X-Drop: 1"],
                 ["Connection: close"], ["Via: 1.1 inner"], ["Trailer: X"], ["Accept-Ranges: bytes"], ["Content-Language: de"], ["Content-Encoding: x"], ["Age: 5"], ["Allow: GET"],
                 ["X-Fold: a\r\n  b\r\n\tc"], ["Proxy-Authenticate: x"], ["WWW-Authenticate: Basic realm=x"], ["Upgrade: h2c"], ["P3P: x"]]
ODD_ANSWER_FIELDS = ["X Space: 1", ": 1", "nocolon", "X-Ctl: a\x01b", "X-Del: a\x7f", "X-Space : 1", "X-\xe4: 1", "X-Cr: a\rb"]


def one_answer(rng, chance):
    lines = rng.sample(ANSWER_FIELDS, rng.choice([0, 1, 2, 4, 8]))
    status = odd(rng, chance, ANSWER_LINES, ODD_ANSWER_LINES)
    if rng.random() < chance:
        lines.append([rng.choice(ODD_ANSWER_FIELDS)])
    body = rng.randbytes(rng.choice([0, 1, 5, 200, 5000]))
    kind = rng.random()
    if kind < 0.6:
        lines.append([f"Content-Length: {len(body)}"])
        sent = body
    elif kind < 0.9:
        lines.append(["Transfer-Encoding: chunked"])
        sent = chunked(rng, body)
    else:
        sent = body
    rng.shuffle(lines)
    head = "\r\n".join([status, "Date: Sun, 06 Nov 1994 08:49:37 GMT", *[line for group in lines for line in group], "", ""]).encode("latin-1")
    if rng.random() < chance / 2:
        head = head.replace(b"\r\n", b"\n")
    interim = rng.choice([b"", b"", b"", b"", b"HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n", b"HTTP/1.1 100 Continue\r\n\r\n", b"HTTP/1.1 102 Processing\r\n\r\n" * 3])
    return interim + head + sent


RANGES = ["bytes=0-0", "bytes=0-", "bytes=1-3", "bytes=-1", "bytes=-5000", "bytes=2-", "bytes=99999-", "bytes=0-1,3-4", "bytes=0-1,1-2", "bytes=3-4,0-1", "bytes=0-0,2-2,4-4,-1",
          "bytes=0-99999", "bytes=5-2", "bytes=x", "bytes=", "bytes=-", "bytes=0-1,", "bytes=,0-1", "bytes= 0-1", "bytes=0-1, 3-4", "Bytes=0-1", "items=0-1", "bytes=-0",
          "bytes=9223372036854775808-", "bytes=" + ",".join(f"{n}-{n}" for n in range(0, 200, 2)), "bytes=0-,0-,0-", "bytes=99999-,0-1"]
IF_RANGES = [[], [], [], ['If-Range: "e"'], ['If-Range: "f"'], ['If-Range: W/"e"'], ["If-Range: Sun, 06 Nov 1994 08:49:37 GMT"], ["If-Range: nonsense"]]


def ranges(seed, count):
    """Pairs: the lines of a request for parts, and what a member says to it: most do not know of ranges, and some do."""
    rng, out = random.Random(seed), []
    for _ in range(count):
        status = rng.choice(["200 OK"] * 6 + ["206 Partial Content", "404 Not Found", "416 Range Not Satisfiable", "304 Not Modified"])
        body = rng.randbytes(rng.choice([0, 1, 5, 5, 200, 3000, 30000]))
        lines = ["Date: Sun, 06 Nov 1994 08:49:37 GMT", rng.choice(["Content-Type: text/html", "Content-Type: text/plain", "X-No: type"])]
        lines += rng.choice([[], ['ETag: "e"'], ["Last-Modified: Sun, 06 Nov 1994 08:49:37 GMT"], ["Accept-Ranges: bytes"], ["Cache-Control: no-store"]])
        lines += ["Content-Range: bytes 0-4/50"] if status.startswith("206") or rng.random() < 0.05 else []
        answer = "\r\n".join([f"HTTP/1.1 {status}", *lines])
        if len(body) > 5000 or rng.random() < 0.8:  # large chunks are cut anew on their way
            data = f"{answer}\r\nContent-Length: {len(body)}\r\n\r\n".encode() + body
        else:
            data = f"{answer}\r\nTransfer-Encoding: chunked\r\n\r\n".encode() + chunked(rng, body)
        out.append(([f"Range: {rng.choice(RANGES)}", *rng.choice(IF_RANGES)], data))
    return out


def answers(seed, count):
    """What a member sends, to its end; it closes then."""
    rng = random.Random(seed)
    return [one_answer(rng, rng.choice([0, 0, 0, 0.2])) for _ in range(count)]
