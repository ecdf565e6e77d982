"""
A hit of the classic plane that is written at once, past httpd's own filters: nobody can tell, and access has its say before, as ever.
The same answers come below /c/slow/, where a filter that does nothing makes them go the way of all others.
"""
import random
import re

import pytest

from cachelib import Site, is_hit
from clients import Connection, Crowd, request_bytes
from procs import wait_until

pytestmark = [pytest.mark.needs("gate", "gate_cache"), pytest.mark.plane("classic")]

AT_ONCE = r"a hit, written at once"
SLOW = '<Location "/c/slow/">\nSetOutputFilter RATE_LIMIT\n</Location>\n'
LM = "Tue, 14 Nov 2023 22:13:20 GMT"
CSS = b"p { margin: 0 }\n" * 200

ANSWERS = {
    "plain": {"body": b"plain", "headers": [["Cache-Control", "max-age=600"], ["Content-Type", "text/plain"], ["ETag", '"one"'],
                                            ["Last-Modified", LM]]},
    "bare": {"body": b"no type", "headers": "max-age=600"},
    "bare.css": {"body": b"a type by its name", "headers": "max-age=600"},
    "bare.en.html": {"body": b"a language by its name", "headers": "max-age=600"},
    "empty": {"body": b"", "headers": [["Cache-Control", "max-age=600"], ["ETag", '"e"']]},
    "weak": {"body": b"weak", "headers": [["Cache-Control", "max-age=600"], ["ETag", 'W/"w"'], ["Server", "other/1.0"], ["Via", "1.1 x"]]},
    "vary": {"body": b"varies", "headers": [["Cache-Control", "max-age=600"], ["Vary", "X-Kind"], ["Vary", "X-Kind, Accept-Encoding"]]},
    "twice": {"body": b"two lines", "headers": [["Cache-Control", "max-age=600"], ["X-A", "1"], ["X-A", "2"], ["Link", "</a>"]]},
    "gone": {"body": b"gone", "status": 410, "headers": "max-age=600"},
    "moved": {"body": b"moved", "status": 301, "headers": [["Cache-Control", "max-age=600"], ["Location", "/elsewhere"]]},
    "coded.css": {"body": CSS, "headers": [["Cache-Control", "max-age=600"], ["Content-Type", "text/css"], ["ETag", '"c"']]},
}

# what a request may have; None: nothing
CHOICES = [
    [None, ("Accept-Encoding", "gzip"), ("Accept-Encoding", "br;q=1, gzip;q=0.5"), ("Accept-Encoding", "identity"), ("Accept-Encoding", "")],
    [None, None, ("Cache-Control", "max-age=100000"), ("Cache-Control", "min-fresh=60"), ("Cache-Control", "no-transform"), ("Pragma", "x")],
    [None, None, ("If-None-Match", '"one"'), ("If-None-Match", '"c--gzip", W/"w"'), ("If-None-Match", "*"), ("If-Match", '"one"'),
     ("If-Match", '"other"'), ("If-Unmodified-Since", "Tue, 14 Nov 2000 22:13:20 GMT")],
    [None, None, ("If-Modified-Since", LM), ("If-Modified-Since", "Tue, 14 Nov 2000 22:13:20 GMT"), ("If-Modified-Since", "?")],
    [None, None, None, ("Range", "bytes=1-3"), ("Range", "bytes=900000-"), ("Range", "bytes=0-0,2-2")],
    [None, ("Connection", "keep-alive"), ("Connection", "close"), ("Connection", "X-Odd")],
    [None, ("X-Kind", "a"), ("X-Kind", "b"), ("X-Forwarded-Host", "evil"), ("Cookie", "a=1"), ("TE", "trailers"), ("X-Old", "1")],
    [None, None, None, ("Authorization", "Basic YTph"), ("Content-Length", "0"), ("Expect", "100-continue"), ("Upgrade", "h2c")],
]


def site_of(lab, **words):
    words.setdefault("modules", ("ratelimit",))
    site = Site(lab, log_level="notice gate_cache:trace1", more=words.pop("more", "GateCacheCompress gzip min=1K"),
                rest=SLOW + words.pop("rest", ""), **words)
    for name, answer in ANSWERS.items():
        for folder in ("/c/", "/c/slow/"):
            site.says(path=folder + name, **answer)
    return site


def at_once(site):
    """How many hits went the short way so far."""
    return len(re.findall(AT_ONCE, site.httpd.error_log()))


def told(text):
    """A head without what moves by itself: Date, Age, the ttl, the requests that a connection has left, the member's count of its own."""
    text = re.sub(r"(?m)^(Date|Age|X-Connection): [^\r]*", r"\1: N", text)
    return re.sub(r"max=\d+", "max=N", re.sub(r"ttl=-?\d+", "ttl=N", text))


def ask(site, path, method, headers, version):
    with Connection(site.httpd.port) as connection:
        connection.send(request_bytes(path, method, headers, version=version))
        answer = connection.read(method)
        return answer.status, told(answer.raw), answer.body


def line_of(site, mark):
    """What the access log says of the request with this query."""
    found = wait_until(lambda: [line for line in site.httpd.access() if line["query"] == f"?{mark}"], 5, f"a line of {mark}")
    return [found[0][key] for key in ("status", "method", "cache", "plane", "tries")] + [found[0]["bytes"]]


def test_nobody_can_tell(lab):
    """What comes of a request, head, body and log line, is the same both ways."""
    site = site_of(lab, more="GateCacheCompress gzip min=1K\nGateCacheKey ignore-query=*", children=1,
                   rest='BrowserMatch "^Old" nokeepalive\nSetEnvIf X-Old "1" downgrade-1.0 force-response-1.0\n')
    site.httpd.expect("AH01630")
    for name in ANSWERS:
        for folder in ("/c/", "/c/slow/"):
            for other in ([], [("X-Kind", "a")], [("X-Kind", "b")], [("X-Forwarded-Host", "evil")]):
                site.get(folder + name, headers=other)
                assert is_hit(site.get(folder + name, headers=other))
    wait_until(lambda: all(site.get(folder + "coded.css", headers=[("Accept-Encoding", "gzip")]).header("Content-Encoding") == "gzip"
                           for folder in ("/c/", "/c/slow/")), 10, "the coding")
    rng = random.Random(4)
    before = at_once(site)
    for number in range(400):
        name = rng.choice(list(ANSWERS))
        headers = [one for one in map(rng.choice, CHOICES) if one]
        method, version = rng.choice(["GET"] * 7 + ["HEAD"]), rng.choice(["HTTP/1.1"] * 5 + ["HTTP/1.0"])
        short, long = (ask(site, f"{folder}{name}?n{number}{kind}", method, headers, version)
                       for folder, kind in (("/c/", "d"), ("/c/slow/", "s")))
        if "multipart/byteranges" in long[1]:  # each with a boundary of its own
            assert short[0] == long[0] and len(short[2]) == len(long[2])
            continue
        assert short == long, (name, method, version, headers)
        if number % 10 == 0:
            assert line_of(site, f"n{number}d") == line_of(site, f"n{number}s"), (name, method, version, headers)
    assert at_once(site) - before > 60


def test_what_other_modules_do_goes_the_long_way(lab):
    """Header, Expires and filters work on a hit as on a miss; a place without them is written at once."""
    site = site_of(lab, rest="""
<Location "/c/set/">
  Header set X-Set "here"
  Header always set X-Always "there"
  Header append Vary X-Thing
</Location>
<Location "/c/deflate/">
  GateCacheCompress off
  SetOutputFilter DEFLATE
</Location>
<Location "/c/expires/">
  ExpiresActive On
  ExpiresDefault "access plus 1 hour"
</Location>
<Location "/c/charset/">
  AddDefaultCharset utf-8
</Location>
<Location "/c/language/">
  Header set Content-Language de
</Location>
""")
    for folder in ("set", "deflate", "expires", "charset", "language", "plain"):
        site.says(path=f"/c/{folder}/a", body=CSS, headers=[["Cache-Control", "max-age=600"], ["Content-Type", "text/plain"]])
        site.get(f"/c/{folder}/a")
    before = at_once(site)
    one = site.get("/c/set/a")
    assert is_hit(one) and one.header("X-Set") == "here" and one.header("X-Always") == "there" and "X-Thing" in one.header("Vary")
    one = site.get("/c/deflate/a", headers=[("Accept-Encoding", "gzip")])
    assert is_hit(one) and one.header("Content-Encoding") == "gzip"
    one = site.get("/c/expires/a")
    assert is_hit(one) and one.header("Expires")
    one = site.get("/c/charset/a")
    assert is_hit(one) and one.header("Content-Type") == "text/plain; charset=utf-8"
    one = site.get("/c/language/a")
    assert is_hit(one) and one.header("Content-Language") == "de"
    assert at_once(site) == before
    assert is_hit(site.get("/c/plain/a"))
    wait_until(lambda: at_once(site) == before + 1, 5, "the trace")


DENIED = """
<Location "/c/env">
  SetEnvIf X-Pass "^yes$" let_in
  Require env let_in
</Location>
<Location "/c/old">
  Order deny,allow
  Deny from env=keep_out
  SetEnvIf X-Bad "1" keep_out
</Location>
<Location "/c/rewritten">
  RewriteEngine on
  RewriteCond %{HTTP:X-Bad} 1
  RewriteRule .* - [F]
</Location>
"""


def test_access_has_its_say_before(lab):
    """A hit that is written at once for one is still denied to the other, by whatever denies it."""
    site = site_of(lab, modules=("ratelimit", "access_compat"), rest=DENIED)
    site.httpd.expect("AH01630|AH01797|AH01631|AH01622")
    let_in = {"env": ("X-Pass", "yes"), "old": ("X-Good", "1"), "rewritten": ("X-Good", "1")}
    kept_out = {"env": ("X-Pass", "no"), "old": ("X-Bad", "1"), "rewritten": ("X-Bad", "1")}
    for folder, good in let_in.items():
        site.says(path=f"/c/{folder}/a", body=b"secret", headers="max-age=600")
        site.get(f"/c/{folder}/a", headers=[good])
        before = at_once(site)
        assert is_hit(site.get(f"/c/{folder}/a", headers=[good]))
        wait_until(lambda: at_once(site) == before + 1, 5, f"the trace of {folder}")
        denied = site.get(f"/c/{folder}/a", headers=[kept_out[folder]])
        assert denied.status == 403 and b"secret" not in denied.body and at_once(site) == before + 1


@pytest.mark.needs("gate_access")
def test_sets_limits_and_bans_have_their_say_before(lab):
    site = site_of(lab, rest="""
GateIPSet here 127.0.0.1/32
<Location "/c/set">
  <RequireAll>
    Require all granted
    <RequireNone>
      Require gate-set here
    </RequireNone>
  </RequireAll>
</Location>
<Location "/c/limit">
  GateLimit requests rate=1r/h burst=3 name=few
</Location>
<Location "/c/ban">
  GateBan status=404 count=2 window=60s for=10m
</Location>
""")
    site.httpd.expect("AH01630|GATE0[89]|GATE1[0-9]")
    for folder in ("set", "limit", "ban"):
        site.says(path=f"/c/{folder}/a", body=b"secret", headers="max-age=600")
    site.says(path="/c/ban/no", status=404, body=b"no", headers="no-store")
    assert site.get("/c/set/a").status == 403
    answers = [site.get("/c/limit/a") for _ in range(6)]
    assert answers[1].status == 200 and answers[-1].status == 429 and is_hit(answers[1]) and answers[-1].header("Retry-After") and b"secret" not in answers[-1].body
    assert not is_hit(site.get("/c/ban/a")) and is_hit(site.get("/c/ban/a"))
    for _ in range(2):
        site.get("/c/ban/no")
    banned = site.get("/c/ban/a")
    assert banned.status in (403, 429) and b"secret" not in banned.body


def test_what_moved_is_seen_at_once(lab):
    """A purge, a change and another graceful configuration: what was remembered does not outlive what it was about."""
    site = site_of(lab, more="GateCachePurge on")
    for number in range(3):
        body = f"number {number}".encode()
        site.says(path="/c/a", body=body, headers="max-age=600")
        assert not is_hit(site.get("/c/a")) and site.get("/c/a").body == body and is_hit(site.get("/c/a"))
        assert site.get("/c/a", method="PURGE" if number else "DELETE").status < 400
    site.says(path="/c/a", body=b"last", headers="max-age=600")
    site.get("/c/a")
    site.httpd.write_conf(site.httpd.conf + '<Location "/c/a">\nRequire all denied\n</Location>\n')
    site.httpd.graceful()
    site.httpd.expect("AH01630")
    wait_until(lambda: site.get("/c/a").status == 403, 10, "the new configuration")
    assert b"last" not in site.get("/c/a").body


def test_two_threads_at_one_desk(lab):
    """Who finds the desk taken goes the other way: everybody gets the whole body."""
    site = site_of(lab, children=1)
    site.says(path="/c/big", body=b"0123456789abcdef" * 4096, headers=[["Cache-Control", "max-age=600"], ["Content-Type", "image/png"]])
    site.get("/c/big")
    with Crowd(site.httpd.port, 12, "/c/big", check=lambda answer: None if len(answer.body) == 65536 and is_hit(answer) else "wrong") as crowd:
        crowd.wait(600)
    assert not crowd.failures and at_once(site) > 0 and site.asked == 1
