"""mod_gate_cache: purges; the PURGE method; traps 50 and 53; access before the cache, trap 34."""
import base64
import threading
import time

import pytest

from cachelib import Site, is_hit, status_of

pytestmark = pytest.mark.needs("gate", "gate_cache")


@pytest.fixture
def site(lab):
    one = Site(lab, more="GateCachePurge on\nGateCacheKey ignore-query=utm_*")
    one.says(headers="max-age=600")
    return one


def purge(site, path="/c/a", **headers):
    answer = site.get(path, method="PURGE", headers=[("Gatehouse-Purge", v) for v in headers.values()])
    assert answer.status == 200, answer
    return answer.json()["purged"]


def test_by_url_with_all_variants(site):
    site.says(headers=[["Cache-Control", "max-age=600"], ["Vary", "X-A"]])
    for n in range(3):
        site.get(headers=[("X-A", str(n))])
    site.get("/c/b")
    assert purge(site) == 3
    assert not is_hit(site.get(headers=[("X-A", "1")])) and is_hit(site.get("/c/b"))
    assert purge(site, "/c/nothing") == 0


def test_by_url_as_the_key_has_it(site):
    site.get("/c/a?x=1&utm_source=news")
    assert is_hit(site.get("/c/a?x=1"))
    assert purge(site, "/c/a?x=1&utm_campaign=z") == 1


def test_by_prefix(site):
    for path in ("/c/img/1", "/c/img/2", "/c/other"):
        site.get(path)
    assert purge(site, "/c/img/", words="prefix") == 2
    assert is_hit(site.get("/c/other")) and not is_hit(site.get("/c/img/1"))


def test_by_tag(site):
    site.says(headers=[["Cache-Control", "max-age=600"], ["Surrogate-Key", "shop page-1"], ["Cache-Tag", "red, blue"]])
    site.get("/c/1")
    site.says(headers=[["Cache-Control", "max-age=600"], ["Surrogate-Key", "shop page-2"]])
    site.get("/c/2")
    assert purge(site, words='tag="blue"') == 1
    assert not is_hit(site.get("/c/1")) and is_hit(site.get("/c/2"))
    assert purge(site, words='tag=shop') == 2
    assert purge(site, words='tag=nothing, tag=page-2') == 0


def test_trap_53_tags_of_a_client_are_nothing(site):
    site.get(headers=[("Surrogate-Key", "mine"), ("Cache-Tag", "mine")])
    assert purge(site, words="tag=mine") == 0


def test_own_tag_header(lab):
    site = Site(lab, more="GateCachePurge on\nGateCacheTags X-Keys")
    site.says(headers=[["Cache-Control", "max-age=600"], ["X-Keys", "k1"], ["Surrogate-Key", "k2"]])
    answer = site.get()
    assert answer.header("X-Keys") is None and answer.header("Surrogate-Key") == "k2"
    assert purge(site, words="tag=k2") == 0 and purge(site, words="tag=k1") == 1


def test_all(site):
    for n in range(10):
        site.get(f"/c/{n}")
    assert purge(site, words="all") == 10
    assert not is_hit(site.get("/c/3"))


def test_soft(site):
    site.says(b"one", headers=[["Cache-Control", "max-age=600"], ["ETag", '"1"']])
    site.get()
    assert purge(site, words="soft") == 1
    site.says("", status=304, headers=[["Cache-Control", "max-age=600"], ["ETag", '"1"']])
    answer = site.get()
    assert answer.body == b"one" and status_of(answer)["fwd-status"] == "304"
    assert is_hit(site.get())


@pytest.mark.parametrize("words", ["", "prefix", "all", "tag=t"])
def test_trap_50_a_fetch_from_before_does_not_land(site, words):
    site.says(b"old", headers=[["Cache-Control", "max-age=600"], ["Surrogate-Key", "t"]], delay=0.8)
    answers = []
    thread = threading.Thread(target=lambda: answers.append(site.get()))
    thread.start()
    time.sleep(0.3)
    purge(site, words=words)
    site.says(b"new", headers="max-age=600")
    assert site.get().body == b"new", "who asks after the purge does not get what was fetched before"
    thread.join()
    assert answers[0].body == b"old"
    assert site.get().body == b"new"


def test_purge_needs_to_be_switched_on(lab):
    site = Site(lab)
    site.says(headers="max-age=600")
    site.get()
    site.get(method="PURGE")
    assert site.member.requests()[-1]["method"] == "PURGE", "it is the member's then"


def test_purge_is_under_require(lab):
    site = Site(lab, more="GateCachePurge on\n<Limit PURGE>\nRequire ip 192.0.2.1\n</Limit>")
    site.says(headers="max-age=600")
    site.get()
    assert site.get(method="PURGE").status == 403
    assert is_hit(site.get())
    site.httpd.expect("AH01630|AH01797")


# --- trap 34: access before the cache ----------------------------------------------------------------------------

AUTH = """
<Location "/c/user">
  AuthType Basic
  AuthName x
  AuthUserFile ${ROOT}/users
  Require user alice
</Location>
<Location "/c/ip">
  Require ip 192.0.2.1
</Location>
<Location "/c/env">
  SetEnvIf X-Pass "^yes$" let_in
  Require env let_in
</Location>
"""


def basic(user):
    return [("Authorization", "Basic " + base64.b64encode(f"{user}:{user}".encode()).decode())]


def test_trap_34_what_require_denies_is_denied_cached_or_not(lab):
    import subprocess
    site = Site(lab, rest=AUTH)
    for user in ("alice", "bob"):
        line = subprocess.run(["openssl", "passwd", "-apr1", user], capture_output=True, text=True, check=True).stdout.strip()
        with open(site.httpd.path("users"), "a", encoding="ascii") as file:
            file.write(f"{user}:{line}\n")
    import os
    os.chmod(site.httpd.path("users"), 0o644)
    os.chmod(site.httpd.root, 0o755)
    site.says(b"secret", headers="public, max-age=600")
    for round_n in range(3):
        assert site.get("/c/user/x", headers=basic("alice")).body == b"secret"
        assert is_hit(site.get("/c/user/x", headers=basic("alice")))
        assert site.get("/c/user/x", headers=basic("bob")).status == 401
        assert site.get("/c/user/x").status == 401
        assert site.get("/c/ip/x").status == 403
        assert site.get("/c/env/x", headers=[("X-Pass", "yes")]).body == b"secret"
        assert site.get("/c/env/x").status == 403
        assert b"secret" not in site.get("/c/env/x", headers=[("X-Pass", "no")]).body
        if round_n < 2:
            site.httpd.graceful(wait=round_n == 0)
            for _ in range(5):
                assert site.get("/c/env/x").status == 403 and site.get("/c/user/x", headers=basic("bob")).status == 401
    site.httpd.expect("AH01617|AH01618|AH01630|AH01797|AH01614|AH01631")


def test_trap_34_subrequests_and_error_pages_are_not_ours(lab):
    site = Site(lab, rest='ErrorDocument 404 /c/error\nProxyErrorOverride On')
    site.says("lost", status=404, headers="max-age=600")
    site.says("page", path="/c/error", headers="max-age=600")
    for _ in range(2):
        answer = site.get("/c/gone")
        assert answer.status == 404 and answer.body == b"page"
    assert not is_hit(site.get("/c/error"))


def test_trap_18_virtual_hosts_do_not_share(lab):
    vhosts = """
<VirtualHost *:{port}>
  ServerName one.example
  ProxyPass "/v/" "{url}/c/one/"
</VirtualHost>
<VirtualHost *:{port}>
  ServerName two.example
  ServerAlias *.two.example
  ProxyPass "/v/" "{url}/c/two/"
</VirtualHost>
"""
    site = Site(lab, rest='<Location "/v/">\nGateCache on\n</Location>')
    site.httpd.write_conf(site.httpd.conf + vhosts.format(port=site.httpd.port, url=site.member.url))
    site.httpd.graceful()
    site.says("one", path="/c/one/a", headers="max-age=600").says("two", path="/c/two/a", headers="max-age=600")
    for _ in range(2):
        assert site.get("/v/a", host="one.example").body == b"one"
        assert site.get("/v/a", host="two.example").body == b"two"
        assert site.get("/v/a", host="x.two.example").body == b"two"
