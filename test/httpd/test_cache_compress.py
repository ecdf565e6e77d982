"""mod_gate_cache: codings made once in the background; entity tags, ranges, Vary; traps 54 to 61."""
import gzip
import random
import time

import pytest

from cachelib import Site, is_hit
from clients import curl

pytestmark = pytest.mark.needs("gate", "gate_cache")

TEXT = b"".join(b".class-%d { color: red; margin: %dpx }\n" % (i, i % 7) for i in range(400))
CSS = [["Cache-Control", "max-age=600"], ["Content-Type", "text/css"], ["ETag", '"v1"']]


def accept(value):
    return [("Accept-Encoding", value)]


def unbrotli(data):
    import ctypes
    lib = ctypes.CDLL("libbrotlidec.so.1")
    out, size = ctypes.create_string_buffer(1 << 22), ctypes.c_size_t(1 << 22)
    assert lib.BrotliDecoderDecompress(ctypes.c_size_t(len(data)), data, ctypes.byref(size), out) == 1
    return out.raw[:size.value]


def wait_for(site, coding, path="/c/a", timeout=20.0):
    end = time.monotonic() + timeout
    while time.monotonic() < end:
        answer = site.get(path, headers=accept(coding))
        if answer.header("Content-Encoding") == coding:
            return answer
        time.sleep(0.05)
    raise AssertionError(f"no {coding} after {timeout} s: {answer.headers}")


@pytest.fixture
def site(lab):
    one = Site(lab, more="GateCacheCompress br gzip")
    one.says(TEXT, headers=CSS)
    return one


def test_made_once_in_the_background_and_served(site):
    first = site.get(headers=accept("br, gzip"))
    assert first.header("Content-Encoding") is None and first.body == TEXT
    asked = dict((k.lower(), v) for k, v in site.member.requests()[-1]["headers"])
    assert asked["accept-encoding"] == "identity"
    br, gz = wait_for(site, "br"), wait_for(site, "gzip")
    assert unbrotli(br.body) == TEXT and gzip.decompress(gz.body) == TEXT
    assert len(br.body) < len(gz.body) < len(TEXT)
    assert site.get().body == TEXT
    assert site.asked == 1


def test_trap_54_vary_on_every_answer(site):
    site.get()
    wait_for(site, "br")
    for headers in ([], accept("br"), accept("gzip"), accept("br") + [("If-None-Match", '"v1--br"')]):
        assert "Accept-Encoding" in site.get(headers=headers).header("Vary"), headers
    assert site.get("/c/a", method="HEAD", headers=accept("br")).header("Vary")
    site.says("no", status=404, headers=[["Vary", "X-A"]])
    assert site.get("/c/missing").header("Vary").replace(" ", "") == "X-A,Accept-Encoding"
    assert wait_for(site, "br").header("Content-Type") == "text/css"


def test_trap_55_entity_tags(site):
    site.get()
    tags = {"br": wait_for(site, "br").header("ETag"), "gzip": wait_for(site, "gzip").header("ETag"),
            None: site.get().header("ETag")}
    assert tags == {"br": '"v1--br"', "gzip": '"v1--gzip"', None: '"v1"'}
    for tag in tags.values():
        again = site.get(headers=accept("br, gzip") + [("If-None-Match", tag)])
        assert again.status == 304 and again.header("ETag") == tag, tag
    assert site.get(headers=accept("gzip") + [("If-None-Match", '"v1--br"')]).status == 200
    site.says("done")
    site.get(method="PUT", body=b"x", headers=[("If-Match", '"v1--br"')])
    assert dict((k.lower(), v) for k, v in site.member.requests()[-1]["headers"])["if-match"] == '"v1"'


def test_pain_7_what_a_browser_keeps_validates_after_it_went_stale(site):
    site.says(TEXT, headers=[["Cache-Control", "max-age=60"], ["Age", "59"], ["Content-Type", "text/css"], ["ETag", '"v1"']])
    site.get()
    br = None
    end = time.monotonic() + 0.8
    while time.monotonic() < end and br is None:
        answer = site.get(headers=accept("br"))
        br = answer if answer.header("Content-Encoding") == "br" else None
    time.sleep(1.2)
    site.says("", status=304, headers=[["Cache-Control", "max-age=60"], ["ETag", '"v1"']])
    answer = site.get(headers=accept("br") + [("If-None-Match", '"v1--br", "v1"')])
    assert answer.status == 304
    # the codings belong to the bytes: they outlive the validation
    assert wait_for(site, "br").header("ETag") == '"v1--br"'


def test_trap_56_a_range_is_of_the_coding(site):
    site.get()
    br = wait_for(site, "br")
    part = site.get(headers=accept("br") + [("Range", "bytes=10-19")])
    assert part.status == 206 and part.body == br.body[10:20] and part.header("Content-Encoding") == "br"
    assert part.header("Content-Range") == f"bytes 10-19/{len(br.body)}"
    plain = site.get(headers=[("Range", "bytes=10-19")])
    assert plain.status == 206 and plain.body == TEXT[10:20]
    same = site.get(headers=accept("br, gzip") + [("Range", "bytes=10-19"), ("If-Range", '"v1--gzip"')])
    assert same.status == 206 and same.header("Content-Encoding") == "gzip"
    other = site.get(headers=accept("br") + [("Range", "bytes=10-19"), ("If-Range", '"v1--gzip"')])
    assert other.status == 200 and other.body == br.body


@pytest.mark.parametrize("headers, size", [
    ([["Cache-Control", "max-age=600, no-transform"], ["Content-Type", "text/css"]], 4000),
    ([["Cache-Control", "max-age=600"], ["Content-Type", "text/event-stream"]], 4000),
    ([["Cache-Control", "max-age=600"], ["Content-Type", "image/png"]], 4000),
    ([["Cache-Control", "max-age=600"], ["Content-Type", "text/css"], ["Content-MD5", "x"]], 4000),
    ([["Cache-Control", "max-age=600"], ["Content-Type", "text/css"], ["Repr-Digest", "sha-256=:x:"]], 4000),
    ([["Cache-Control", "max-age=600"], ["Content-Type", "text/css"]], 200),
])
def test_trap_57_left_alone(site, headers, size):
    site.says(TEXT[:size], headers=headers)
    site.get()
    time.sleep(0.5)
    for _ in range(3):
        answer = site.get(headers=accept("br, gzip"))
        assert is_hit(answer) and answer.header("Content-Encoding") is None
        time.sleep(0.1)


def test_trap_57_no_double_encoding(lab):
    site = Site(lab, more="GateCacheCompress br gzip", rest='<Location "/c/">\nSetOutputFilter DEFLATE\n</Location>')
    site.says(TEXT, headers=CSS)
    assert site.get(headers=accept("gzip")).header("Content-Encoding") is None
    for coding in ("gzip", "br"):
        answer = wait_for(site, coding)
        assert (gzip.decompress if coding == "gzip" else unbrotli)(answer.body) == TEXT
    # what the cache does not compress is mod_deflate's as ever
    site.says(TEXT, headers=[["Cache-Control", "private"], ["Content-Type", "text/css"]])
    assert gzip.decompress(site.get("/c/p", headers=accept("gzip")).body) == TEXT


def test_trap_58_no_name_with_a_suffix_leads_to_a_coding(site):
    site.get()
    wait_for(site, "br")
    site.says("nothing", status=404)
    assert site.get("/c/a.br").status == 404


def test_trap_59_br_missing_falls_back_to_gzip(lab):
    site = Site(lab, more="GateCacheCompress gzip")
    site.says(TEXT, headers=CSS)
    site.get()
    wait_for(site, "gzip")
    assert site.get(headers=accept("br, gzip")).header("Content-Encoding") == "gzip"
    assert site.get(headers=accept("br, gzip;q=0")).header("Content-Encoding") is None


def test_trap_60_hardly_smaller_is_not_kept(site):
    random.seed(1)
    noise = bytes(random.randrange(256) for _ in range(20000))
    site.says(noise, headers=CSS)
    site.get("/c/noise")
    time.sleep(1)
    for _ in range(3):
        assert site.get("/c/noise", headers=accept("br, gzip")).body == noise


def test_trap_60_single_flight_over_all_children(lab):
    site = Site(lab, more="GateCacheCompress br", children=4,
                rest='<Location "/status">\nSetHandler gate-status\n</Location>')
    site.says(TEXT * 20, headers=CSS)
    for _ in range(30):
        site.get(headers=accept("br"))
    wait_for(site, "br")
    for _ in range(30):
        site.get(headers=accept("br"))
    status = site.get("/status/status.json")
    if status.status == 200:
        assert status.json()["cache"]["codings_made"] == 1


def test_trap_61_gzip_of_the_member_is_unpacked_for_who_cannot(site):
    packed = gzip.compress(TEXT)
    site.says(packed, headers=CSS + [["Content-Encoding", "gzip"]])
    site.get(headers=accept("gzip"))
    taken = site.get(headers=accept("gzip"))
    assert is_hit(taken) and taken.body == packed and taken.header("ETag") == '"v1"'
    plain = site.get()
    assert is_hit(plain) and plain.body == TEXT and plain.header("Content-Encoding") is None
    assert plain.header("ETag") == 'W/"v1"'
    assert site.asked == 1


def test_trap_61_a_bomb_is_not_unpacked(site):
    site.says(gzip.compress(bytes(40 << 20)), headers=CSS + [["Content-Encoding", "gzip"]])
    site.get("/c/bomb", headers=accept("gzip"))
    answer = site.get("/c/bomb")
    assert answer.header("Content-Encoding") == "gzip" and len(answer.body) < 100000


def test_trap_61_private_answers_are_never_compressed_here(site):
    site.says(TEXT, headers=[["Cache-Control", "private"], ["Content-Type", "text/html"]])
    for _ in range(3):
        assert site.get("/c/p", headers=accept("br, gzip")).header("Content-Encoding") is None


def test_quality_and_types_of_the_configuration(lab):
    site = Site(lab, more="GateCacheCompress br=1 types=application/x-own min=1K")
    site.says(TEXT, headers=[["Cache-Control", "max-age=600"], ["Content-Type", "application/x-own; charset=utf-8"]])
    site.get()
    quick = wait_for(site, "br")
    assert unbrotli(quick.body) == TEXT
    site.says(TEXT, headers=CSS)
    site.get("/c/css")
    time.sleep(0.5)
    assert site.get("/c/css", headers=accept("br")).header("Content-Encoding") is None


def test_codings_over_h2(lab):
    site = Site(lab, more="GateCacheCompress br gzip", tls=True, h2=True)
    site.says(TEXT, headers=CSS)
    url = site.httpd.tls_url + "/c/a"
    end = time.monotonic() + 20
    while time.monotonic() < end:
        answer = curl("--http2", "-H", "Accept-Encoding: br", url)[1]
        if answer.header("content-encoding") == "br":
            break
        time.sleep(0.05)
    assert unbrotli(answer.body) == TEXT and answer.header("etag") == '"v1--br"'
