"""A page with 200 assets over HTTP/2, as a browser gets it: from members, from files (the classic plane) and from the cache, mixed."""
import collections

import pytest

from clients import get
from groups import group, route

pytestmark = [pytest.mark.needs("gate_upstream", "gate_engine", "gate_cache"), pytest.mark.plane("classic")]  # it asks for the engine itself

ASSETS = 200
IMAGE = '<svg xmlns="http://www.w3.org/2000/svg" width="7" height="5"><!-- ' + "x" * 3000 + " --></svg>"
SVG = ["Content-Type", "image/svg+xml"]
WHERE = ["/app/{}.svg", "/files/asset.svg?{}", "/cached/{}.svg"]
LOADED = "[...document.images].filter((i) => i.complete && i.naturalWidth === 7 && i.naturalHeight === 5).length"


def test_a_page_with_many_assets(lab, browser):
    member = lab.upstream("m1").behave({"body": IMAGE, "headers": [SVG, ["Cache-Control", "no-store"]]})
    kept = lab.upstream("m2").behave({"body": IMAGE, "headers": [SVG, ["Cache-Control", "max-age=3600"]]})
    httpd = lab.httpd(group("app", [member]) + group("kept", [kept]) + '<Location "/files/">\nProxyPass !\n</Location>\n'
                      'Alias "/files/" "${ROOT}/htdocs/"\nAddType image/svg+xml .svg\n<Location "/cached/">\nGateCache on\n</Location>\n'
                      + route(path="/app/") + route("kept", path="/cached/"),
                      tls=True, plane="express", before="Protocols h2 http/1.1\n", children=2, threads=32)
    httpd.write_file("htdocs/asset.svg", IMAGE)
    images = "".join(f'<img src="{WHERE[n % 3].format(n)}">' for n in range(ASSETS))
    httpd.write_file("htdocs/page.html", f'<!doctype html><link rel="icon" href="data:,"><title>page</title>{images}')
    for turn in range(4):  # the first fills the cache
        browser.open(url=f"https://localhost:{httpd.tls_port}/files/page.html")
        assert browser.run(script=LOADED) == ASSETS
        assert browser.run(script="[...new Set(performance.getEntries().map((e) => e.nextHopProtocol).filter(Boolean))]") == ["h2"]
        assert browser.trouble() == []
    lines = httpd.access(4 * (ASSETS + 1))
    assert {(line["protocol"], line["status"]) for line in lines} == {("HTTP/2.0", 200)}
    seen = collections.Counter((line["uri"].split("/")[1], line["plane"] == "express", line["cache"]) for line in lines[ASSETS + 1:])
    each = [len(range(n, ASSETS, 3)) * 3 for n in range(3)]
    assert seen["app", True, "-"] == each[0] and seen["files", False, "-"] == each[1] + 3 and seen["cached", True, "hit"] == each[2]
    assert get(httpd, "/app/x.svg", tls=True).text == IMAGE
