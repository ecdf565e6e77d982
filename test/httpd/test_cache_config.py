"""mod_gate_cache: its directives: good, bad, inherited, overridden."""
import pytest

from cachelib import Site, is_hit, status_of

pytestmark = pytest.mark.needs("gate", "gate_cache")

GOOD = [
    "GateCacheSize 8M", "GateCacheSize 64G\nGateCacheMaxObject 1G", "GateCacheMaxObject 1K",
    "GateCache on", "GateCache off", "GateCache on default-ttl=10 max-ttl=1d stale-while-revalidate=1h stale-if-error=0 wait=100ms "
    "client-reload=off", "GateCacheKey sort-query", "GateCacheKey ignore-query=a,b* \"expr=%{HTTP:X-T}\"",
    "GateCacheCompress br", "GateCacheCompress gzip=1", "GateCacheCompress br=11 gzip types=text/,a/b min=1K", "GateCacheCompress off",
    "GateCacheTags X-Keys", "GateCacheBypass \"expr=%{REQUEST_METHOD} == 'GET'\"", "GateCachePurge on", "GateCacheStripCookie a b",
]

BAD = [
    ("GateCacheSize 1M", "GateCacheSize: '1M' "), ("GateCacheSize x", "GateCacheSize: 'x' "),
    ("GateCacheSize -8M", "GateCacheSize: '-8M' "), ("GateCacheMaxObject 0", "GateCacheMaxObject: '0' "),
    ("<Location />\nGateCacheSize 8M\n</Location>", "GateCacheSize"),
    ("GateCache", "GateCache: needs on or off"), ("GateCache maybe", "GateCache: 'maybe' "),
    ("GateCache on ttl=5", "GateCache: 'ttl=5' "), ("GateCache on wait=5x", "wait=5x"),
    ("GateCache on wait=1s wait=2s", "GateCache: "), ("GateCache on default-ttl=-1", "default-ttl=-1"),
    ("GateCacheKey", "GateCacheKey: needs"), ("GateCacheKey ignore-query=", "GateCacheKey: "),
    ("GateCacheKey expr=%{nonsense", "GateCacheKey: "), ("GateCacheCompress br=12", "GateCacheCompress: "),
    ("GateCacheCompress gzip=0", "GateCacheCompress: "), ("GateCacheCompress zstd", "GateCacheCompress: 'zstd' "),
    ("GateCacheTags 'a b'", "GateCacheTags: 'a b' "), ("GateCacheBypass true", "GateCacheBypass: 'true' "),
    ("GateCacheBypass \"expr=%{\"", "GateCacheBypass: "), ("GateCachePurge perhaps", "GateCachePurge: 'perhaps' "),
    ("GateCacheStripCookie a=b", "GateCacheStripCookie: 'a=b' "),
]


@pytest.mark.parametrize("text", GOOD)
def test_good(lab, text):
    status, said = lab.httpd(start=False, conf=text).check()
    assert "Syntax OK" in said and status, said


@pytest.mark.parametrize("text, message", BAD)
def test_bad(lab, text, message):
    status, said = lab.httpd(start=False, conf=text).check()
    assert not status and message in said, said


def test_an_object_limit_that_does_not_fit_the_size(lab):
    httpd = lab.httpd(start=False, conf="GateCacheSize 8M\nGateCacheMaxObject 4M")
    with pytest.raises(Exception):
        httpd.start()
    said = httpd.error_log() + httpd.read_file("logs/stderr.log")
    assert "GATE0700: GateCacheMaxObject: 4096K is more than a fifth of GateCacheSize (8192K)" in said
    assert "raise GateCacheSize to 21M" in said
    httpd.expect("GATE0700", "AH0")


def test_too_little_memory_for_so_many_children(lab):
    httpd = lab.httpd(conf="GateCacheSize 8M", children=2)
    assert httpd.process.alive()


def test_inherited_and_overridden(lab):
    site = Site(lab, cache="default-ttl=1h", more="GateCacheKey ignore-query=x\nGateCacheTags X-T\nGateCachePurge on\n"
                                                   "GateCacheBypass \"expr=-n %{HTTP:X-By}\"\nGateCacheStripCookie t\nGateCacheCompress gzip",
                rest='<Location "/c/in">\n</Location>\n<Location "/c/off">\nGateCache off\n</Location>\n'
                     '<Location "/c/own">\nGateCache on default-ttl=0\nGateCacheKey sort-query\nGateCacheTags X-U\nGateCachePurge off\n'
                     'GateCacheBypass "expr=-n %{HTTP:X-Own}"\nGateCacheStripCookie u\nGateCacheCompress off\n</Location>')
    site.says(b"a" * 400, headers=[["Content-Type", "text/css"], ["X-T", "t"], ["X-U", "u"]])
    # inherited
    first = site.get("/c/in?x=1")
    assert first.header("X-T") is None and first.header("X-U") == "u" and first.header("Vary") == "Accept-Encoding"
    assert is_hit(site.get("/c/in?x=2"))
    assert status_of(site.get("/c/in", headers=[("X-By", "1")]))["fwd"] == "bypass"
    assert site.get("/c/in", method="PURGE").json() == {"purged": 1}
    # off
    assert site.get("/c/off").header("Cache-Status") is None
    # overridden
    own = site.get("/c/own?x=1")
    assert own.header("X-T") == "t" and own.header("X-U") is None and own.header("Vary") is None
    assert not is_hit(site.get("/c/own?x=1"))
    site.says(b"a", headers="max-age=60")
    site.get("/c/own?b=1&a=2")
    assert is_hit(site.get("/c/own?a=2&b=1")) and not is_hit(site.get("/c/own?a=2&b=1&x=3"))
    assert status_of(site.get("/c/own", headers=[("X-Own", "1")]))["fwd"] == "bypass"
    assert "fwd" in status_of(site.get("/c/own", headers=[("X-By", "1")]))
    assert status_of(site.get("/c/own?z", headers=[("X-By", "1")]))["fwd"] != "bypass"
    site.says(b"a", headers=[["Cache-Control", "max-age=60"], ["Set-Cookie", "t=1"], ["Set-Cookie", "u=1"]])
    assert site.get("/c/own?cookie").header("Set-Cookie") == "t=1"
    assert site.get("/c/in?cookie").header("Set-Cookie") == "u=1"


def test_the_rest_of_a_section_is_kept_when_one_word_changes(lab):
    site = Site(lab, cache="default-ttl=1h stale-if-error=1h", rest='<Location "/c/in">\nGateCache on max-ttl=5s\n</Location>')
    site.says(headers=[["Content-Type", "text/css"]])
    site.get("/c/in/a")
    assert 0 < int(status_of(site.get("/c/in/a"))["ttl"]) <= 5


def test_key_expression(lab):
    site = Site(lab, more='GateCacheKey "expr=%{HTTP:X-Tenant}"')
    site.says(headers=[["Cache-Control", "max-age=60"], ["Vary", "User-Agent"]])
    site.get(headers=[("X-Tenant", "a")])
    assert is_hit(site.get(headers=[("X-Tenant", "a"), ("User-Agent", "x")]))
    assert not is_hit(site.get(headers=[("X-Tenant", "b")]))


def test_prefork_and_worker(lab):
    for mpm in ("prefork", "worker"):
        site = Site(lab, mpm=mpm, more="GateCacheCompress gzip", children=1, threads=4)
        site.says(b"body " * 200, headers=[["Cache-Control", "max-age=60"], ["Content-Type", "text/css"]])
        site.get()
        assert is_hit(site.get()) and site.get().body == b"body " * 200


def test_without_the_module_the_samples_still_load(lab):
    assert lab.httpd(start=False, ours=["gate"], conf="<IfModule gate_cache_module>\nGateCache on\n</IfModule>").check()[0]
