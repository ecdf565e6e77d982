"""mod_gate_cache together with the rest of the suite: gate:// members, the status page, the admin API, explain."""
import json
import time

import pytest

from cachelib import Site, is_hit
from clients import request

pytestmark = pytest.mark.needs("gate", "gate_cache", "gate_upstream")

GROUP = """
<GateUpstream app>
  GateMember {url}
</GateUpstream>
<Location "/g/">
  GateCache on stale-while-revalidate=1h stale-if-error=1h
  GateCacheCompress gzip
</Location>
ProxyPass "/g/" "gate://app/c/"
<Location "/status">
  SetHandler gate-status
  GateAdmin on
</Location>
"""


@pytest.fixture
def site(lab):
    one = Site(lab, start=False)
    one.httpd.write_conf(one.httpd.conf + GROUP.format(url=one.member.url))
    if "Invalid command 'GateAdmin'" in one.httpd.check()[1]:
        one.httpd.write_conf(one.httpd.conf.replace("GateAdmin on", ""))
    one.httpd.start()
    return one


def test_in_front_of_a_group(site):
    site.says(b"from a member " * 50, headers=[["Cache-Control", "max-age=60"], ["Content-Type", "text/css"]])
    assert not is_hit(site.get("/g/a"))
    site.httpd.access(1)  # the line is written after the answer
    hit = site.get("/g/a")
    assert is_hit(hit) and hit.body == b"from a member " * 50 and site.asked == 1
    assert [line["cache"] for line in site.httpd.access(2)] == ["miss", "hit"]


def test_a_group_in_the_background(site):
    site.says(b"old", headers=[["Cache-Control", "max-age=60"], ["Age", "100"]])
    site.get("/g/a")
    site.says(b"new", headers="max-age=60")
    assert site.get("/g/a").body == b"old"
    end = time.monotonic() + 10
    while site.get("/g/a").body != b"new" and time.monotonic() < end:
        time.sleep(0.05)
    assert site.get("/g/a").body == b"new" and site.asked == 2


def test_a_dead_group_and_stale_if_error(site):
    site.says(b"old", headers=[["Cache-Control", "max-age=60, stale-while-revalidate=0"], ["Age", "100"]])
    site.get("/g/a")
    site.member.kill9()
    answer = site.get("/g/a")
    assert (answer.status, answer.body) == (200, b"old")
    lost = site.get("/g/other")
    assert lost.status >= 500 and lost.header("Cache-Control") == "no-store"
    assert lost.header("Proxy-Status") is not None
    site.httpd.expect("GATE0710", "GATE0[234]", "AH0")


def status(site):
    answer = site.get("/status/status.json")
    if answer.status != 200 or "cache" not in answer.json():
        pytest.skip("mod_gate_status is not built")
    return answer.json()["cache"]


def test_status_counts(site):
    before = status(site)
    site.says(headers="max-age=60")
    for _ in range(5):
        site.get("/g/a")
    site.says(headers="private")
    site.get("/g/p")
    after = status(site)
    assert after["hits"] - before["hits"] == 4 and after["misses"] - before["misses"] == 2
    assert after["objects"] == before["objects"] + 1 and after["used"] > before["used"]
    assert after["size"] < 16 << 20 and after["not_stored"]["total"] == before["not_stored"]["total"] + 1
    for _ in range(3):
        site.httpd.graceful()
    assert status(site)["hits"] == after["hits"], "counters go on over graceful restarts"


def test_metrics(site):
    site.says(headers="max-age=60")
    site.get("/g/a")
    site.get("/g/a")
    answer = site.get("/status/metrics")
    if answer.status != 200:
        pytest.skip("mod_gate_status is not built")
    assert 'gatehouse_cache_requests_total{result="hit"} 1' in answer.text
    assert "gatehouse_cache_bytes " in answer.text


def test_explain(site):
    site.says(headers="max-age=60")
    site.get("/g/a")
    url = f"http://localhost:{site.httpd.port}/g/"
    first = site.get(f"/status/explain.json?url={url}a")
    if first.status != 200:
        pytest.skip("mod_gate_status is not built")
    text = json.dumps(first.json())
    assert '"hit"' in text and "ttl_s" in text
    assert '"miss"' in json.dumps(site.get(f"/status/explain.json?url={url}other").json())


def test_purge_of_the_admin_api(site):
    status(site)
    site.says(headers="max-age=60")
    site.get("/g/a")
    answer = request(site.httpd, "/status/api/v1/cache/purge", "POST", headers=[("Content-Type", "application/json")],
                     body=json.dumps({"url": f"{site.httpd.scheme}://localhost/g/a"}))
    if answer.status in (403, 404):
        pytest.skip("no admin API here: " + answer.text[:200])
    assert answer.status == 200 and '"purged":1' in answer.text.replace(" ", ""), answer.text
    assert not is_hit(site.get("/g/a"))
