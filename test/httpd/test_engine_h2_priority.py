"""RFC 9218: which of two answers that are both there a slow reader gets first."""
import struct

import pytest

from groups import group, route
from procs import wait_until
from wire_h2 import DATA, END_STREAM, HEADERS, PRIORITY_UPDATE, RST, WINDOW, Http2, frame

pytestmark = [pytest.mark.needs("gate_upstream", "gate_engine"), pytest.mark.plane("classic")]  # it asks for the engine itself

SIZE = 12_000_000


def serve(lab, member, vhost=""):
    return lab.httpd(group("app", [member]), vhost=vhost + route(), tls=True, plane="express", before="Protocols h2 http/1.1\n", children=1)


def race(httpd, member, first, second, update=None, paths=("/big", "/late"), served=2):
    """
    A client that does not read while both are asked for, the second when the first fills all buffers. @return how many bytes of each had
    come when one of them had all of its own
    """
    with Http2(httpd.tls_port, settings=[(4, 2**31 - 1)], timeout=30) as client:
        client.send(frame(WINDOW, payload=struct.pack(">I", 2**31 - 65536)))
        one = client.ask(paths[0], headers=[("priority", first)] if first else [])
        client.until(lambda kind, flags, of, payload: kind == DATA)
        two = client.ask(paths[1], headers=[("priority", second)] if second else [])
        if update:
            client.send(frame(PRIORITY_UPDATE, payload=struct.pack(">I", two) + update))
        assert wait_until(lambda: len([line for line in member.requests() if line]) >= served, 10, "the member was asked for both")
        got, ended = {one: 0, two: 0}, None
        while ended is None:
            kind, flags, of, payload = client.read()
            assert kind != RST
            if kind == DATA:
                got[of] += len(payload)
            if kind in (DATA, HEADERS) and flags & END_STREAM:
                ended = of
        return ended == two, got[one], got[two]


@pytest.mark.parametrize("case", ["request", "update", "answer", "answer merged", "classic"])
def test_urgent_overtakes(lab, case):
    member = lab.upstream("m1")
    member.behave({"size": SIZE}, path="/big")
    headers = {"answer": [["Priority", "u=0"]], "answer merged": [["Priority", "u=1, x=y"]]}.get(case, [])
    member.behave({"size": 1_000_000, "headers": headers}, path="/late")
    httpd = serve(lab, member, '<Location "/classic/">\nProxyPass "gate://app/"\nForceType text/plain\n</Location>\n')
    words = {"request": (None, "u=0"), "update": ("u=2", "u=7", b"u=0"), "answer": (None, None), "answer merged": ("u=2", "u=6, i"),
             "classic": ("u=5", "u=1")}[case]
    paths = ("/big", "/classic/late") if case == "classic" else ("/big", "/late")
    late_first, big, late = race(httpd, member, *words, paths=paths)
    assert late_first and late == 1_000_000 and big < SIZE
    assert [line["plane"] for line in httpd.access(2) if line["uri"] == paths[1]] == ["classic" if case == "classic" else "express"]


def test_equals_share_where_they_say_so(lab):
    """Incremental ones of one urgency take turns."""
    member = lab.upstream("m1")
    member.behave({"size": SIZE}, path="/big")
    member.behave({"size": SIZE // 8}, path="/late")
    late_first, big, late = race(serve(lab, member), member, "u=3, i", "u=3, i")
    assert late_first and late == SIZE // 8 and big < SIZE


def test_odd_values_are_ignored(lab):
    member = lab.upstream("m1")
    member.behave({"headers": [["Priority", "u=99, i=?7,,"]]}, path="/odd")
    httpd = serve(lab, member)
    with Http2(httpd.tls_port) as client:
        for value in ("u=8", "i=1", "((", "u=1,", ""):
            client.send(frame(PRIORITY_UPDATE, payload=struct.pack(">I", client.next) + value.encode()))
            assert client.answer(client.ask("/odd", headers=[("priority", value)]))[0] == 200
            client.send(frame(PRIORITY_UPDATE, payload=struct.pack(">I", client.next - 2) + value.encode()))
        assert client.answer(client.ask("/odd"))[0] == 200
