"""
HTTP/2 as clients nobody here wrote speak it: python3-h2, curl, h2load and nghttp (chromium: test/browser), thousands of requests, express,
classic and from the cache on the same connections. None of them may find an error, and none of the answers be wrong.
"""
import re
import subprocess

import pytest

import h2client
from clients import Connection, get, h2load
from groups import group, route

pytestmark = [pytest.mark.needs("gate_upstream", "gate_engine", "gate_cache"), pytest.mark.plane("classic")]  # it asks for the engine itself

FILE = "file " * 3000
PATHS = ["/app/{}", "/files/page.txt?{}", "/cached/a?n={}", "/app/long?{}"]


@pytest.fixture(scope="module")
def site(module_lab):
    member = module_lab.upstream("m1")
    member.behave({"body": "short"}).behave({"size": 150_000}, path="/long")
    member.behave({"size": 20_000, "headers": [["Cache-Control", "max-age=3600"]]}, path="/cached/a")
    httpd = module_lab.httpd(
        group("app", [member]) + '<Location "/files/">\nProxyPass !\n</Location>\nAlias "/files/" "${ROOT}/htdocs/"\n'
        '<Location "/cached/">\nGateCache on\nGateCacheKey ignore-query=n\n</Location>\n' + route(path="/app/") + route(path="/cached/", target="/cached/"),
        tls=True, plane="express", before="Protocols h2 http/1.1\n", children=2, threads=32)
    httpd.write_file("htdocs/page.txt", FILE)
    for host in ("localhost", f"127.0.0.1:{httpd.tls_port}"):  # a loop's from now on
        assert get(httpd, "/cached/a", tls=True, host=host).status == 200
    httpd.access(2)
    return httpd


def urls(site, count):
    return [site.tls_url + PATHS[n % len(PATHS)].format(n) for n in range(count)]


class Counted:
    """Requests of one test, by plane and status, from the access log."""

    def __init__(self, site):
        self.site, self.before = site, len(site.access())

    def require(self, count):
        lines = self.site.access(self.before + count, timeout=20)[self.before:]
        assert len(lines) == count
        assert {(line["protocol"], line["status"]) for line in lines} == {("HTTP/2.0", 200)}
        other = [line for line in lines if line["plane"] != "express" and not line["uri"].startswith("/files/")]
        assert other == [] and sum(line["plane"] == "express" for line in lines) == count - count // 4


def size_of(url):
    return len(FILE) if "/files/" in url else 20_000 if "/cached/" in url else 150_000 if "long" in url else 5


def test_python_h2(site):
    """A hundred streams at once on one connection, again and again."""
    counted = Counted(site)
    connection = Connection(site.tls_port, tls=True, alpn=["h2"])
    client = h2client.H2Client(connection.sock)
    for _ in range(10):
        asked = urls(site, 100)
        answers = client.ask_all([url[len(site.tls_url):] for url in asked], "localhost")
        assert [(a.status, len(a.body)) for a in answers] == [(200, size_of(url)) for url in asked]
    connection.close()
    counted.require(1000)


def test_curl(site):
    counted = Counted(site)
    lines = "".join(f'url = "{url}"\noutput = "/dev/null"\n' for url in urls(site, 1000))
    config = site.write_file("curl.conf", lines)
    done = subprocess.run(["curl", "-sSk", "--no-progress-meter", "--http2", "--parallel", "--parallel-max", "50", "-w", "%{http_version} %{http_code} %{size_download} %{exitcode}\n",
                           "-K", config], capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    assert sorted(done.stdout.splitlines()) == sorted(f"2 200 {size_of(url)} 0" for url in urls(site, 1000))
    counted.require(1000)


@pytest.mark.parametrize("connections,streams", [(1, 100), (50, 10)])
def test_h2load(site, connections, streams):
    counted = Counted(site)
    paths = site.write_file("paths", "\n".join(urls(site, 4)) + "\n")
    load = h2load("-i", 4000, connections, streams, more=[paths])
    assert (load.requests, load.errors, load.bad) == (4000, 0, 0), load.text
    # each of its connections goes through the list by itself
    lines = site.access(counted.before + 4000, timeout=20)[counted.before:]
    assert {(line["protocol"], line["status"]) for line in lines} == {("HTTP/2.0", 200)}
    assert 900 <= sum(line["plane"] != "express" for line in lines) <= 1100


def test_nghttp(site):
    counted = Counted(site)
    for _ in range(4):
        asked = urls(site, 200)
        done = subprocess.run(["nghttp", "-ns", "--no-verify-peer", "--max-concurrent-streams=100", *asked], capture_output=True, text=True, timeout=60, check=False)
        assert done.returncode == 0 and "INTERNAL" not in done.stderr + done.stdout and "error" not in done.stderr, done.stderr
        codes = re.findall(r"^ *\d+ +\+\S+ +\+?\S+ +\S+ +(\d+) +\S+ +/", done.stdout, re.M)
        assert codes == ["200"] * 200, done.stdout[:2000]
    counted.require(800)
