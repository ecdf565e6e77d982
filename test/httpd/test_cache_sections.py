"""mod_gate_cache against the sections of RFC 9111 that test_cache_rules.py has no test of their own for; memory that is not to be had."""
import email.utils
import subprocess
import time

import gatehttpd
import procs
import pytest

from cachelib import Site, is_hit, status_of

pytestmark = pytest.mark.needs("gate", "gate_cache")

CSS = (b"body { margin: 0; padding: 0 } " * 400)


@pytest.fixture
def site(lab):
    return Site(lab)


def date(seconds_ago):
    return email.utils.formatdate(time.time() - seconds_ago, usegmt=True)


# --- storing ------------------------------------------------------------------------------------------------


def test_rfc9111_3_4_parts_are_neither_stored_nor_combined(site):
    for part in ("0-4", "5-9"):
        first, last = part.split("-")
        site.says(b"01234", status=206, headers=[["Cache-Control", "max-age=60"], ["ETag", '"1"'], ["Content-Range", f"bytes {part}/10"]])
        answer = site.get(headers=[("Range", f"bytes={part}")])
        assert answer.status == 206 and answer.header("Content-Range") == f"bytes {first}-{last}/10"
    site.says(b"0123456789", headers="max-age=60")
    asked = site.asked
    assert site.get().body == b"0123456789" and site.asked == asked + 1


# --- reuse --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("later", ["any", "en"])
def test_rfc9111_4_of_several_that_suit_the_latest_date_is_chosen(site, later):
    """One without Vary suits everybody, one with Vary only its own."""
    ages = {"any": 5, "en": 40} if later == "any" else {"any": 40, "en": 5}
    site.says(b"any", headers=[["Cache-Control", "max-age=600"], ["Date", date(ages["any"])]])
    site.get()
    site.says(b"en", headers=[["Cache-Control", "max-age=600"], ["Date", date(ages["en"])], ["Vary", "X-Lang"]])
    assert site.get(headers=[("X-Lang", "en"), ("Cache-Control", "no-cache")]).body == b"en"
    hit = site.get(headers=[("X-Lang", "en")])
    assert is_hit(hit) and hit.body == later.encode()
    assert site.get(headers=[("X-Lang", "de")]).body == b"any" and site.asked == 2


# --- what a request may say ---------------------------------------------------------------------------------


def test_rfc9111_5_2_1_5_no_store(site):
    site.says(headers="max-age=60")
    site.get(headers=[("Cache-Control", "no-store")])
    assert not is_hit(site.get()) and site.asked == 2
    assert is_hit(site.get())


def test_rfc9111_5_2_1_6_no_transform(lab):
    """A coding that we made is a transformation."""
    site = Site(lab, more="GateCacheCompress gzip types=text/css")
    site.says(CSS, headers=[["Cache-Control", "max-age=60"], ["Content-Type", "text/css"]])
    accept = ("Accept-Encoding", "gzip")
    procs.wait_until(lambda: site.get(headers=[accept]).header("Content-Encoding") == "gzip", 10, "the coding")
    for _ in range(2):
        plain = site.get(headers=[accept, ("Cache-Control", "no-transform")])
        assert is_hit(plain) and plain.header("Content-Encoding") is None and plain.body == CSS
        assert site.get(headers=[accept]).header("Content-Encoding") == "gzip"
    assert site.asked == 1


# --- what an answer may say -----------------------------------------------------------------------------------


def test_rfc9111_5_2_2_1_max_age(site):
    site.says(headers=[["Cache-Control", "max-age=100"], ["Age", "99"], ["ETag", '"1"']])
    site.get()
    assert is_hit(site.get())
    procs.wait_until(lambda: not is_hit(site.get()), 5, "its end")


@pytest.mark.parametrize("word", ["must-revalidate", "proxy-revalidate"])
def test_rfc9111_5_2_2_2_and_5_2_2_8_revalidate(lab, word):
    """Neither max-stale, nor stale-while-revalidate, nor stale-if-error of the configuration give out what is stale."""
    site = Site(lab, cache="stale-while-revalidate=10m stale-if-error=10m")
    site.says(b"old", headers=[["Cache-Control", f"max-age=60, {word}"], ["Age", "100"], ["ETag", '"1"']])
    site.get()
    site.says(b"new", headers=[["Cache-Control", f"max-age=60, {word}"], ["Age", "100"], ["ETag", '"2"']])
    assert site.get().body == b"new"
    assert site.get(headers=[("Cache-Control", "max-stale")]).body == b"new" and site.asked == 3
    site.says(b"oh", status=503)
    assert site.get().status == 503


def test_rfc9111_5_2_2_3_must_understand(site):
    site.says(status=200, headers="must-understand, no-store, max-age=60")
    site.get()
    assert is_hit(site.get()), "we know what 200 means: no-store is for who does not"
    site.says(status=299, headers="must-understand, max-age=60", path="/c/b")
    site.get("/c/b")
    assert not is_hit(site.get("/c/b"))


def test_rfc9111_5_2_2_5_and_5_2_2_7_no_store_and_private(site):
    for word, detail in (("no-store", "NO-STORE"), ("private", "PRIVATE")):
        site.says(headers=f"{word}, max-age=60", path=f"/c/{word}")
        assert status_of(site.get(f"/c/{word}"))["detail"] == detail
        assert not is_hit(site.get(f"/c/{word}"))


def test_rfc9111_5_2_2_6_no_transform(lab):
    site = Site(lab, more="GateCacheCompress gzip types=text/css")
    site.says(CSS, headers=[["Cache-Control", "max-age=60"], ["Content-Type", "text/css"]], path="/c/made")
    site.says(CSS, headers=[["Cache-Control", "max-age=60, no-transform"], ["Content-Type", "text/css"]], path="/c/left")
    accept = [("Accept-Encoding", "gzip")]
    site.get("/c/left", headers=accept)
    procs.wait_until(lambda: site.get("/c/made", headers=accept).header("Content-Encoding") == "gzip", 10, "the other's coding")
    left = site.get("/c/left", headers=accept)
    assert is_hit(left) and left.header("Content-Encoding") is None and left.body == CSS


# --- memory ---------------------------------------------------------------------------------------------------


@pytest.mark.skipif(bool(gatehttpd.SANITIZER), reason="a sanitizer needs more address space than that by itself")
def test_memory_that_is_not_to_be_had(lab):
    """No /dev/shm is needed; what the host refuses is named with its size, and httpd does not start half."""
    httpd = lab.httpd(start=False, conf='GateCacheSize 32G\n<Location "/c/">\nGateCache on\n</Location>\n')
    httpd.check()  # writes the configuration
    words = ["prlimit", "--as=4000000000", gatehttpd.BINARY, "-d", httpd.root, "-f", httpd.path("conf/httpd.conf"), "-DFOREGROUND"]
    run = subprocess.run(words, capture_output=True, text=True, timeout=30, check=False)
    said = run.stderr + httpd.error_log()
    assert run.returncode != 0
    assert "GATE0002" in said and "no shared memory for zone cache (33554432K)" in said and "memory limits" in said, said
    httpd.expect("GATE0002", "AH00016", "AH000")
