"""mod_gate_cache against RFC 9111, section by section, over a real server; RFC 5861, 8246, 9211, 9213; traps 34 to 49."""
import gzip
import time

import pytest

from cachelib import Site, age_of, is_hit, status_of
from clients import Connection, curl

pytestmark = pytest.mark.needs("gate", "gate_cache")

LM = "Tue, 14 Nov 2023 22:13:20 GMT"
STALE = [["Cache-Control", "max-age=60"], ["Age", "100"]]


class SiteOverH2(Site):
    """The same site, asked over HTTP/2 and TLS."""

    def get(self, path="/c/a", method="GET", headers=(), body=None, host=None, **_):
        words = ["--http2", "--path-as-is"]
        words += ["--head"] if method == "HEAD" else ["-X", method]
        for name, value in headers:
            words += ["-H", f"{name}: {value}"]
        if body is not None:
            words += ["--data-binary", body.decode()]
        if host:
            words += ["-H", f"Host: {host}"]
        code, answer, said = curl(*words, self.httpd.tls_url + path)
        if code or answer is None:
            raise AssertionError(f"curl: {code} {said}")
        return answer


@pytest.fixture(params=["http/1.1", "h2"])
def site(lab, request):
    if request.param == "h2":
        return SiteOverH2(lab, tls=True, h2=True)
    return Site(lab)


def stored(site, path="/c/a", **words):
    """True when a second request does not reach the member."""
    before = site.asked
    first, second = site.get(path, **words), site.get(path, **words)
    assert not is_hit(first)
    return site.asked == before + 1 and is_hit(second) and second.body == first.body


# --- section 3: storing ------------------------------------------------------------------------------------


def test_rfc9111_3_a_fresh_answer_is_stored(site):
    assert stored(site.says(headers="max-age=60"))


@pytest.mark.parametrize("cc", ["no-store", "private", "private, max-age=60", "no-store, max-age=60", "max-age=0"])
def test_rfc9111_3_forbidden(site, cc):
    assert not stored(site.says(headers=cc))


def test_rfc9111_3_statuses(site):
    for status in (200, 203, 300, 301, 404, 410, 500, 599):
        assert stored(site.says(status=status, headers="max-age=60"), f"/c/{status}"), status
    assert stored(site.says(status=204, body="", headers="max-age=60"), "/c/204")
    assert not stored(site.says(status=404), "/c/404-plain")


def test_rfc9111_3_request_no_store(site):
    site.says(headers="max-age=60")
    assert not stored(site, headers=[("Cache-Control", "no-store")])
    assert stored(site)


def test_rfc9111_3_1_fields(site):
    site.says(headers=[["Cache-Control", "max-age=60"], ["Connection", "X-Hop"], ["X-Hop", "1"], ["X-Kept", "a"], ["X-Kept", "b"],
                       ["Keep-Alive", "timeout=5"]])
    site.get()
    hit = site.get()
    assert is_hit(hit) and hit.header("X-Kept") == "a, b" and hit.header("X-Hop") is None


def test_rfc9111_3_3_and_trap_12_what_is_cut_short_is_never_stored(site):
    site.says(headers="max-age=60", size=400000, fail="close", at="answer")
    for _ in range(2):
        with pytest.raises(Exception):
            answer = site.get()
            assert len(answer.body) == 400000
    site.says(headers="max-age=60", size=400000)
    assert len(site.get().body) == 400000
    site.httpd.expect("AH01110|error reading response|AH01102")


def test_rfc9111_3_3_chunked_without_end(site):
    raw = "HTTP/1.1 200 OK\r\nCache-Control: max-age=60\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n"
    site.says(raw=[raw])
    with pytest.raises(Exception):
        site.get()
    assert stored(site.says(headers="max-age=60"))
    site.httpd.expect("AH01110|error reading response")


def test_rfc9111_3_5_and_trap_35_authorization(site):
    auth = [("Authorization", "Basic eDp5")]
    assert not stored(site.says(headers="max-age=60"), "/c/1", headers=auth)
    assert stored(site.says(headers="max-age=60, public"), "/c/2", headers=auth)
    assert stored(site.says(headers="s-maxage=60"), "/c/3", headers=auth)
    assert stored(site.says(headers="max-age=60, must-revalidate"), "/c/4", headers=auth)


# --- section 4: answering -----------------------------------------------------------------------------------


def test_rfc9111_4_age_and_date(site):
    site.says(headers=[["Cache-Control", "max-age=60"], ["Age", "7"], ["Date", LM]])
    first = site.get()
    assert not is_hit(first)
    site.says(headers=[["Cache-Control", "max-age=60"], ["Age", "7"]])
    date = site.get("/c/b").header("Date")
    time.sleep(1.1)
    hit = site.get("/c/b")
    assert is_hit(hit) and 8 <= age_of(hit) <= 10
    assert hit.header("Date") == date


def test_rfc9111_4_host_is_part_of_the_key(site):
    site.says(headers="max-age=60")
    site.get(host="one.example")
    assert not is_hit(site.get(host="two.example"))
    assert is_hit(site.get(host="ONE.example"))
    assert not is_hit(site.get(host="one.example:81"))


def test_trap_39_path_and_query_are_part_of_the_key(site):
    site.says(headers="max-age=60")
    for path in ("/c/x", "/c/x?", "/c/X", "/c/x?a", "/c/x?b", "/c/x%3Fa"):
        site.get(path)
    asked = site.asked
    assert asked == 5
    assert is_hit(site.get("/c/%78"))
    assert is_hit(site.get("/c/./y/../x"))
    assert site.asked == asked


def test_rfc9111_4_1_vary(site):
    site.says(headers=[["Cache-Control", "max-age=60"], ["Vary", "X-Lang"]])
    site.get(headers=[("X-Lang", "de")])
    assert is_hit(site.get(headers=[("X-Lang", "de")]))
    assert not is_hit(site.get(headers=[("X-Lang", "en")]))
    assert is_hit(site.get(headers=[("X-Lang", "de")]))
    assert is_hit(site.get(headers=[("X-Lang", "en")]))
    assert not is_hit(site.get())


@pytest.mark.parametrize("vary", [["*"], ["X-A, *"], ["X-A", "*"], ["", ", *"], ["User-Agent"], ["Cookie"]])
def test_trap_40_vary_that_suits_nobody(site, vary):
    site.says(headers=[["Cache-Control", "max-age=60"]] + [["Vary", v] for v in vary])
    assert not stored(site)


def test_trap_40_vary_over_lines_and_empty_members(site):
    site.says(headers=[["Cache-Control", "max-age=60"], ["Vary", ", X-A"], ["Vary", "X-B,,"]])
    site.get(headers=[("X-A", "1"), ("X-B", "1")])
    assert is_hit(site.get(headers=[("X-A", "1"), ("X-B", "1")]))
    assert not is_hit(site.get(headers=[("X-A", "1"), ("X-B", "2")]))


def test_trap_41_a_coding_only_for_those_who_take_it(site):
    site.says(b"fake br", headers=[["Cache-Control", "max-age=60"], ["Vary", "Accept-Encoding"], ["Content-Encoding", "br"]])
    site.get(headers=[("Accept-Encoding", "gzip"), ("Accept-Encoding", "br")])
    assert is_hit(site.get(headers=[("Accept-Encoding", "br, gzip, deflate")]))
    site.says(b"plain", headers=[["Cache-Control", "max-age=60"], ["Vary", "Accept-Encoding"]])
    for accept in ("gzip, br;q=0", "gzip", "*;q=0.5, br;q=0"):
        answer = site.get(headers=[("Accept-Encoding", accept)])
        assert answer.body == b"plain", accept
    assert site.get(headers=[("Accept-Encoding", "gzip, br")]).body == b"fake br"


def test_trap_41_without_vary_too(site):
    site.says(b"fake br", headers=[["Cache-Control", "max-age=60"], ["Content-Encoding", "br"]])
    site.get(headers=[("Accept-Encoding", "br")])
    site.says(b"plain", headers=[["Cache-Control", "max-age=60"]])
    assert site.get().body == b"plain"


def test_trap_40_what_is_forwarded_is_normalised(site):
    site.says(headers="max-age=60")
    site.get(headers=[("Accept-Encoding", "zstd, gzip;q=0.9, br")])
    seen = dict((k.lower(), v) for k, v in site.member.requests()[-1]["headers"])
    assert seen["accept-encoding"] == "br, gzip"


def test_rfc9111_4_2_1_and_trap_45_sloppy_members(site):
    fresh = ["max-age=\"60\"", "MAX-AGE=60", "max-age=60, max-age=0", "max-age=99999999999999999999", "a=\"b, max-age=0\", max-age=60"]
    stale = ["max-age=x", "max-age=-1", "max-age=1.0", "max-age=0, max-age=60"]
    for n, cc in enumerate(fresh):
        assert stored(site.says(headers=cc), f"/c/f{n}"), cc
    for n, cc in enumerate(stale):
        assert not stored(site.says(headers=cc), f"/c/s{n}"), cc


def test_rfc9111_4_2_2_heuristic(site):
    assert stored(site.says(headers=[["Last-Modified", LM]]))
    assert not stored(site.says(headers=[["Last-Modified", LM]], status=302), "/c/b")


def test_rfc9111_4_2_4_max_stale(site):
    site.says(headers=STALE + [["ETag", '"1"']])
    site.get()
    answer = site.get(headers=[("Cache-Control", "max-stale=100")])
    assert is_hit(answer) and status_of(answer)["detail"] == "MAX-STALE"
    assert not is_hit(site.get(headers=[("Cache-Control", "max-stale=1")]))


# --- 4.3: validation --------------------------------------------------------------------------------------------


def test_rfc9111_4_3_1_and_4_3_3_a_304_makes_it_fresh(site):
    site.says(b"version 1", headers=STALE + [["ETag", '"v1"'], ["X-Old", "1"], ["Last-Modified", LM]])
    site.get()
    site.says("", status=304, headers=[["Cache-Control", "max-age=60"], ["ETag", '"v1"'], ["X-New", "2"]])
    answer = site.get()
    asked = dict((k.lower(), v) for k, v in site.member.requests()[-1]["headers"])
    assert asked["if-none-match"] == '"v1"' and asked["if-modified-since"] == LM
    assert (answer.status, answer.body) == (200, b"version 1")
    said = status_of(answer)
    assert said["fwd"] == "stale" and said["fwd-status"] == "304"
    assert answer.header("X-Old") == "1" and answer.header("X-New") == "2"
    again = site.get()
    assert is_hit(again) and again.header("X-New") == "2" and again.body == b"version 1"
    assert site.asked == 2


def test_rfc9111_4_3_3_a_200_replaces_it(site):
    site.says(b"version 1", headers=STALE + [["ETag", '"v1"']])
    site.get()
    site.says(b"version 2", headers=[["Cache-Control", "max-age=60"], ["ETag", '"v2"']])
    assert site.get().body == b"version 2"
    again = site.get()
    assert is_hit(again) and again.body == b"version 2"


def test_rfc9111_4_3_3_and_trap_48_errors(site):
    site.says(b"version 1", headers=[["Cache-Control", "max-age=60, stale-if-error=600"], ["Age", "100"], ["ETag", '"v1"']])
    site.get()
    site.says("broken", status=503)
    answer = site.get()
    assert (answer.status, answer.body) == (200, b"version 1")
    assert status_of(answer)["detail"] == "STALE-IF-ERROR"
    for status in (401, 403, 404, 410):
        site.says("no", status=status)
        assert site.get().status == status


def test_trap_48_the_member_is_gone(site):
    site.says(b"version 1", headers=[["Cache-Control", "max-age=60, stale-if-error=600"], ["Age", "100"], ["ETag", '"v1"']])
    site.get()
    site.says(b"strict", path="/c/b", headers=[["Cache-Control", "max-age=60, stale-if-error=600, must-revalidate"], ["Age", "100"],
                                               ["ETag", '"v1"']])
    site.get("/c/b")
    site.member.kill9()
    answer = site.get()
    assert (answer.status, answer.body) == (200, b"version 1")
    assert site.get("/c/b").status == 503
    site.httpd.expect("GATE0710", "AH00957", "AH01114", "AH00959", "AH01102")


def test_rfc9111_4_3_2_conditions_are_answered_here(site):
    site.says(headers=[["Cache-Control", "max-age=60"], ["ETag", '"v1"'], ["Last-Modified", LM], ["Vary", "X-A"]])
    site.get()
    for headers, status in (([("If-None-Match", '"v1"')], 304), ([("If-None-Match", 'W/"v1"')], 304),
                            ([("If-None-Match", '"v0", "v1"')], 304), ([("If-None-Match", '"v0"')], 200),
                            ([("If-Modified-Since", LM)], 304), ([("If-Modified-Since", "Tue, 14 Nov 2023 22:13:19 GMT")], 200),
                            ([("If-None-Match", '"v0"'), ("If-Modified-Since", LM)], 200),
                            ([("If-Match", '"v1"')], 200), ([("If-Match", '"v0"')], 412)):
        answer = site.get(headers=headers)
        assert answer.status == status, headers
        if status == 304:
            # trap 44: what the client must learn is there
            assert answer.header("ETag") == '"v1"' and answer.header("Vary") and answer.header("Cache-Control")
            assert answer.body == b""
    assert site.asked == 1


def test_rfc9111_4_3_2_a_condition_on_a_miss_fills_the_cache(site):
    site.says(headers=[["Cache-Control", "max-age=60"], ["ETag", '"v1"']])
    answer = site.get(headers=[("If-None-Match", '"v1"')])
    assert answer.status == 304
    time.sleep(0.2)  # what is stored is complete just after the client has its answer
    whole = site.get()
    assert is_hit(whole) and whole.body == b"hello" and site.asked == 1


def test_rfc9111_4_3_4_a_304_about_something_else_is_not_believed(site):
    site.says(b"version 1", headers=STALE + [["ETag", '"v1"']])
    site.get()
    site.member.script({"status": 304, "headers": [["ETag", '"other"']]},
                       {"body": "version 3", "headers": [["Cache-Control", "max-age=60"], ["ETag", '"v3"']]})
    answer = site.get()
    assert (answer.status, answer.body) == (200, b"version 3")


def test_trap_44_a_304_cannot_change_what_the_bytes_are(site):
    site.says(b"version 1", headers=STALE + [["ETag", '"v1"'], ["Content-Type", "text/css"]])
    site.get()
    site.says("", status=304, headers=[["Cache-Control", "max-age=60"], ["ETag", '"v1"'], ["Content-Encoding", "gzip"],
                                       ["Content-Type", "text/html"], ["Set-Cookie", "a=b"]])
    for _ in range(2):
        answer = site.get()
        assert answer.header("Content-Encoding") is None and answer.header("Content-Type") == "text/css"
        assert answer.header("Set-Cookie") is None and answer.body == b"version 1"


def test_rfc9111_4_3_5_and_trap_42_head(site):
    site.says(headers=[["Cache-Control", "max-age=60"], ["ETag", '"v1"']])
    assert site.get(method="HEAD").status == 200
    first = site.get()
    assert not is_hit(first) and first.body == b"hello", "a HEAD leaves no empty object"
    head = site.get(method="HEAD")
    assert is_hit(head) and head.body == b"" and head.header("Content-Length") == "5" and head.header("ETag") == '"v1"'


def test_rfc9111_4_3_5_a_head_freshens_or_throws_out(site):
    site.says(headers=STALE + [["ETag", '"v1"']])
    site.get()
    site.says(headers=[["Cache-Control", "max-age=60"], ["ETag", '"v1"']])
    site.get(method="HEAD")
    assert is_hit(site.get())
    site.says(headers=STALE + [["ETag", '"v1"']])
    site.get("/c/b")
    site.says("other!", headers=[["Cache-Control", "max-age=60"], ["ETag", '"v2"']])
    site.get("/c/b", method="HEAD")
    answer = site.get("/c/b")
    assert "if-none-match" not in dict((k.lower(), v) for k, v in site.member.requests()[-1]["headers"])
    assert answer.body == b"other!"


# --- 4.4: invalidation -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "PATCH", "MKCOL", "FROBNICATE"])
def test_rfc9111_4_4_unsafe_and_unknown_methods(site, method):
    site.says(headers="max-age=60")
    for path in ("/c/a", "/c/b", "/c/other"):
        site.get(path)
    site.says("", headers=[["Location", "/c/b"], ["Content-Location", "http://elsewhere.example/c/other"]])
    assert site.get(method=method, body=b"x").status == 200
    site.says(headers="max-age=60")
    assert not is_hit(site.get("/c/a")) and not is_hit(site.get("/c/b")) and is_hit(site.get("/c/other"))


def test_rfc9111_4_4_a_failed_or_safe_one_changes_nothing(site):
    site.says(headers="max-age=60")
    site.get()
    site.says("", status=403)
    site.get(method="POST", body=b"x")
    site.says("")
    site.get(method="OPTIONS")
    assert is_hit(site.get())


# --- section 5 -----------------------------------------------------------------------------------------------------------


def test_rfc9111_5_2_1_request_directives(site):
    site.says(headers=[["Cache-Control", "max-age=60"], ["Age", "30"]])
    site.get()
    for cc, hit in (("max-age=40", True), ("min-fresh=20", True), ("max-age=20", False), ("min-fresh=40", False),
                    ("no-cache", False), ("max-age=0", False)):
        assert is_hit(site.get(headers=[("Cache-Control", cc)])) == hit, cc
    assert not is_hit(site.get(headers=[("Pragma", "no-cache")]))


def test_rfc9111_5_2_1_7_only_if_cached(site):
    site.says(headers="max-age=60")
    answer = site.get(headers=[("Cache-Control", "only-if-cached")])
    assert answer.status == 504 and site.asked == 0
    site.get()
    assert is_hit(site.get(headers=[("Cache-Control", "only-if-cached")]))


def test_rfc9111_5_2_2_4_no_cache_asks_each_time(site):
    site.says(headers=[["Cache-Control", "no-cache"], ["ETag", '"v1"']])
    site.get()
    site.says("", status=304, headers=[["Cache-Control", "no-cache"], ["ETag", '"v1"']])
    for n in range(3):
        answer = site.get()
        assert answer.body == b"hello" and status_of(answer)["fwd-status"] == "304" and site.asked == n + 2


def test_rfc9111_5_2_2_4_fields_that_no_cache_names(site):
    site.says(headers=[["Cache-Control", 'max-age=60, no-cache="X-User"'], ["X-User", "bob"]])
    assert site.get().header("X-User") == "bob"
    hit = site.get()
    assert is_hit(hit) and hit.header("X-User") is None


def test_rfc9111_5_3_expires(site):
    for n, value in enumerate(("0", "-1", "soon", "Tue, 14 Nov 2000 22:13:20 GMT")):
        assert not stored(site.says(headers=[["Expires", value]]), f"/c/{n}"), value
    assert stored(site.says(headers=[["Expires", "Thu, 31 Dec 2099 00:00:00 GMT"]]), "/c/later")


def test_rfc8246_immutable_is_not_asked_for_again(site):
    site.says(headers="max-age=60, immutable")
    site.get()
    assert is_hit(site.get(headers=[("Cache-Control", "no-cache")]))


def test_rfc9213_targeted_fields(site):
    assert stored(site.says(headers=[["Cache-Control", "no-store"], ["CDN-Cache-Control", "max-age=60"]]))
    site.says(headers=[["Cache-Control", "max-age=60"], ["Gatehouse-Cache-Control", "no-store"]])
    assert not stored(site, "/c/b")
    assert site.get("/c/b").header("Gatehouse-Cache-Control") is None
    assert stored(site.says(headers=[["Cache-Control", "max-age=60"], ["CDN-Cache-Control", "=broken"]]), "/c/d")


def test_rfc9211_cache_status(site):
    site.says(headers=[["Cache-Control", "max-age=60"], ["Cache-Status", "Inner; hit"]])
    assert site.get().header("Cache-Status") == "Inner; hit, gatehouse; fwd=uri-miss; stored"
    hit = site.get().header("Cache-Status")
    assert hit.startswith("Inner; hit, gatehouse; hit; ttl=") or hit.startswith("gatehouse; hit; ttl=")
    site.says(headers="private")
    assert status_of(site.get("/c/p")) == {"fwd": "uri-miss", "detail": "PRIVATE"}
    assert status_of(site.get("/c/p", method="POST", body=b"")) == {"fwd": "method"}


def test_the_log_says_what_the_cache_did(site):
    site.says(headers="max-age=60")
    site.get()
    site.get()
    site.says(headers="private")
    site.get("/c/p")
    site.get("/c/p", method="POST", body=b"x")
    # lines of two children may change places
    assert sorted(line["cache"] for line in site.httpd.access(4)) == ["hit", "miss", "miss", "pass"]


# --- stale-while-revalidate -------------------------------------------------------------------------------------------------


def test_rfc5861_3_stale_while_revalidate_delays_nobody(lab):
    site = Site(lab)
    site.says(b"old", headers=[["Cache-Control", "max-age=60, stale-while-revalidate=600"], ["Age", "100"], ["ETag", '"1"']])
    site.get()
    site.says(b"new", headers=[["Cache-Control", "max-age=60"], ["ETag", '"2"']], delay=1.0)
    with Connection(site.httpd.port) as one:
        for _ in range(3):
            start = time.monotonic()
            answer = one.request("/c/a")
            assert answer.body == b"old" and time.monotonic() - start < 0.7
            assert status_of(answer)["detail"] == "STALE-WHILE-REVALIDATE"
    deadline = time.monotonic() + 10
    while site.get().body != b"new" and time.monotonic() < deadline:
        time.sleep(0.1)
    assert is_hit(site.get()) and site.get().body == b"new"
    assert site.asked == 2, "one fetch in the background, however many asked"


def test_rfc5861_3_the_background_validates(site):
    site.says(b"same", headers=[["Cache-Control", "max-age=60, stale-while-revalidate=600"], ["Age", "100"], ["ETag", '"1"']])
    site.get()
    site.says("", status=304, headers=[["Cache-Control", "max-age=60"], ["ETag", '"1"']])
    assert site.get().body == b"same"
    deadline = time.monotonic() + 10
    while int(status_of(site.get())["ttl"]) <= 0 and time.monotonic() < deadline:
        time.sleep(0.05)
    answer = site.get()
    assert answer.body == b"same" and int(status_of(answer)["ttl"]) > 0 and site.asked == 2


def test_stale_while_revalidate_of_the_configuration(lab):
    site = Site(lab, cache="stale-while-revalidate=10m")
    site.says(b"old", headers=STALE)
    site.get()
    site.says(b"new", headers="max-age=60")
    assert site.get().body == b"old"
    deadline = time.monotonic() + 10
    while site.get().body != b"new" and time.monotonic() < deadline:
        time.sleep(0.05)
    assert site.get().body == b"new"


# --- the other traps -----------------------------------------------------------------------------------------------------------


def test_trap_36_set_cookie_is_never_served_to_another(lab):
    site = Site(lab, more="GateCacheStripCookie tracker")
    site.says(headers=[["Cache-Control", "max-age=60"], ["Set-Cookie", "session=1"]])
    assert not stored(site)
    assert site.get().header("Set-Cookie") == "session=1"
    site.says(headers=[["Cache-Control", "max-age=60"], ["Set-Cookie", "tracker=1; Path=/"]])
    assert site.get("/c/b").header("Set-Cookie") is None
    assert is_hit(site.get("/c/b")) and site.get("/c/b").header("Set-Cookie") is None
    site.says(headers=[["Cache-Control", "max-age=60"], ["Set-Cookie", "tracker=1"], ["Set-Cookie", "session=2"]])
    assert not stored(site, "/c/d")


def test_trap_37_fat_get_is_neither_looked_up_nor_stored(site):
    site.says(headers="max-age=60")
    for _ in range(2):
        answer = site.get(body=b"x=1")
        assert status_of(answer) == {"fwd": "bypass", "detail": "request-body"}
    assert not is_hit(site.get())
    assert site.asked == 3


@pytest.mark.parametrize("name", ["X-Forwarded-Host", "X-Forwarded-Proto", "X-Original-URL", "X-HTTP-Method-Override", "Forwarded"])
def test_trap_37_what_members_read_is_keyed(site, name):
    site.says(b"planted", headers="max-age=60")
    site.get(headers=[(name, "evil")])
    site.says(b"good", headers="max-age=60")
    assert site.get().body == b"good"
    assert site.get(headers=[(name, "evil")]).body == b"planted"


def test_trap_38_no_caching_by_extension(site):
    site.says(b"<html>account", headers=[["Content-Type", "text/html"]])
    assert not stored(site, "/c/account/x.css")


def test_trap_35_cookie_and_default_ttl(lab):
    site = Site(lab, cache="default-ttl=1h")
    cookie = [("Cookie", "session=1")]
    assert not stored(site.says(headers=[["Content-Type", "text/html"]]), "/c/1", headers=cookie)
    assert stored(site.says(headers=[["Content-Type", "text/css"]]), "/c/2", headers=cookie)
    assert stored(site.says(headers=[["Content-Type", "text/html"]]), "/c/3")


def test_trap_43_ranges(site):
    body = bytes(range(256)) * 40
    site.says(body, headers=[["Cache-Control", "max-age=60"], ["ETag", '"v1"'], ["Last-Modified", LM]])
    part = site.get(headers=[("Range", "bytes=0-9")])
    assert status_of(part)["fwd"] == "uri-miss"
    assert not is_hit(site.get()), "a part is never the whole"
    for spec, first, last in (("0-9", 0, 9), ("10230-", 10230, 10239), ("-5", 10235, 10239), ("10000-99999", 10000, 10239)):
        answer = site.get(headers=[("Range", f"bytes={spec}")])
        assert answer.status == 206 and answer.body == body[first:last + 1]
        assert answer.header("Content-Range") == f"bytes {first}-{last}/10240"
    many = site.get(headers=[("Range", "bytes=0-1,100-101")])
    assert many.status == 206 and many.header("Content-Type").startswith("multipart/byteranges")
    assert many.body.count(b"Content-Range") + many.body.count(b"Content-range") == 2
    assert site.get(headers=[("Range", "bytes=99999-")]).status == 416
    assert site.get(headers=[("Range", "bytes=0-1"), ("If-Range", '"v1"')]).status == 206
    assert site.get(headers=[("Range", "bytes=0-1"), ("If-Range", 'W/"v1"')]).status == 200
    assert site.get(headers=[("Range", "bytes=0-1"), ("If-Range", '"v0"')]).status == 200
    assert site.get(headers=[("Range", "bytes=" + ",".join(f"{i * 2}-{i * 2}" for i in range(300)))]).status == 200
    assert site.asked == 2


def test_trap_43_a_206_of_the_member_is_passed_not_stored(site):
    site.says(b"01234", status=206, headers=[["Cache-Control", "max-age=60"], ["Content-Range", "bytes 0-4/10"]])
    assert site.get(headers=[("Range", "bytes=0-4")]).status == 206
    site.says(b"0123456789", headers="max-age=60")
    assert site.get().body == b"0123456789"


def test_trap_45_client_reload_off(lab):
    site = Site(lab, cache="client-reload=off")
    site.says(headers="max-age=60")
    site.get()
    assert is_hit(site.get(headers=[("Cache-Control", "no-cache")])) and is_hit(site.get(headers=[("Cache-Control", "max-age=0")]))


def test_trap_49_our_own_errors_are_not_kept(site):
    site.member.kill9()
    for _ in range(2):
        answer = site.get()
        assert answer.status == 503 and answer.header("Cache-Control") == "no-store"
        assert status_of(answer)["fwd"] == "uri-miss"
    site.httpd.expect("AH00957", "AH01114", "AH00959")
    site.member.start()
    site.says(headers="max-age=60")
    deadline = time.monotonic() + 10
    while site.get().status != 200 and time.monotonic() < deadline:
        time.sleep(0.2)
    assert site.get().status == 200


def test_trap_11_early_hints_do_not_reach_the_cache(site):
    site.says(headers="max-age=60", interim=[[103, [["Link", "</s.css>; rel=preload"]]]])
    assert site.get().status == 200
    hit = site.get()
    assert is_hit(hit) and hit.body == b"hello" and hit.header("Link") is None


def test_trap_4_a_header_with_rubbish_is_not_kept(lab):
    site = Site(lab)
    site.says(raw=["HTTP/1.1 200 OK\r\nCache-Control: max-age=60\r\nX-A: b\x01c\r\nContent-Length: 2\r\n\r\nok"])
    site.get()
    site.says(headers="max-age=60")
    assert site.get().body == b"hello"
    site.httpd.expect("AH0|bad|header|Header")


def test_trap_53_purge_tags_stay_here(site):
    site.says(headers=[["Cache-Control", "max-age=60"], ["Surrogate-Key", "a b"], ["Cache-Tag", "c"]])
    for _ in range(2):
        answer = site.get()
        assert answer.header("Surrogate-Key") is None and answer.header("Cache-Tag") is None
    site.says(headers=[["Cache-Control", "private"], ["Surrogate-Key", "a b"]])
    assert site.get("/c/b").header("Surrogate-Key") is None


def test_other_modules_work_on_hits_as_on_misses(lab):
    site = Site(lab, rest='<Location "/c/">\nHeader set X-Added "%{GATE_CACHE}e"\nAddOutputFilterByType DEFLATE text/plain\n</Location>')
    site.says(b"hello " * 100, headers=[["Cache-Control", "max-age=60"], ["Content-Type", "text/plain"]])
    accept = [("Accept-Encoding", "gzip")]
    first, second, plain = site.get(headers=accept), site.get(headers=accept), site.get()
    for answer in (first, second):
        assert answer.header("Content-Encoding") == "gzip" and gzip.decompress(answer.body) == b"hello " * 100
    assert plain.body == b"hello " * 100 and first.header("X-Added") == "miss" and second.header("X-Added") == "hit"


def test_a_file_in_front_of_the_cache(lab):
    site = Site(lab, rest='<Location "/files/">\nGateCache on default-ttl=1m\n</Location>')
    site.httpd.write_file("htdocs/files/a.txt", "from disk")
    assert site.get("/files/a.txt").body == b"from disk"
    hit = site.get("/files/a.txt")
    assert is_hit(hit) and hit.body == b"from disk" and hit.header("Content-Type") == "text/plain"
    assert len(hit.all("Date")) == 1 and len(hit.all("Server")) == 1


def test_main_scenarios_over_h2_and_tls(lab):
    site = Site(lab, tls=True, h2=True)
    site.says(b"y" * 300000, headers=[["Cache-Control", "max-age=60"], ["ETag", '"v1"']])
    url = f"{site.httpd.tls_url}/c/a"
    for n in range(3):
        answer = curl("--http2", url)[1]
        assert answer.status == 200 and answer.body == b"y" * 300000
        assert ("hit" in answer.header("cache-status")) == (n > 0)
    answer = curl("--http2", "-H", "Range: bytes=5-9", url)[1]
    assert answer.status == 206 and answer.body == b"yyyyy"
    assert curl("--http2", "-H", 'If-None-Match: "v1"', url)[1].status == 304
    assert site.asked == 1
    # another scheme is another object
    assert not is_hit(site.get())
