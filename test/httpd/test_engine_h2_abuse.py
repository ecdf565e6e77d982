"""HTTP/2 that costs a server more than its client: a corpus for each kind, to the end that it has. And how long who does nothing may stay."""
import json
import struct
import time

import pytest

from clients import curl, get
from groups import group, route
from procs import wait_until
from wire_h2 import (ACK, CALM, CANCEL, CONTINUATION, DATA, END_HEADERS, END_STREAM, GOAWAY, HEADERS, PING, PRIORITY, PRIORITY_UPDATE, RST, SETTINGS, WINDOW,
                     Http2, block, frame, literal)

pytestmark = [pytest.mark.needs("gate_upstream", "gate_engine", "gate_status"), pytest.mark.plane("classic")]  # it asks for the engine itself

STATUS = '<Location "/gate-status">\nSetHandler gate-status\n</Location>\n'


def serve(lab, conf="", vhost="", log_level="notice gate_engine:info", **words):
    member = lab.upstream("m1")
    member.behave({"delay": 2.0}, path="/slow")
    member.behave({"size": 3_000_000}, path="/big")
    return lab.httpd(group("app", [member]) + STATUS + conf, vhost=vhost + route(), tls=True, plane="express", before="Protocols h2 http/1.1\n", children=1,
                     log_level=log_level, **words)


def engine(httpd):
    return json.loads(get(httpd.port, "/gate-status/status.json").body)["engine"]


def works(httpd):
    code, answer, _ = curl("--http2", httpd.tls_url + "/still")
    return code == 0 and answer.status == 200


def word(value):
    return struct.pack(">I", value)


# --- what each does, over and over: frames of one round ---------------------------------------------

def resets(client):
    return frame(RST, 0, client.ask("/slow"), word(CANCEL))


def broken(client):
    """A window beyond what there may be breaks the stream: it is ours to reset (CVE-2025-8671)."""
    return frame(WINDOW, 0, client.ask("/slow"), word(2**31 - 1))


def header_lists(client):
    stream, client.next = client.next, client.next + 2
    lines = block("/slow", headers=[(f"x-{n}", "v" * 7000) for n in range(11)], scheme="https")
    parts = [lines[at:at + 16000] for at in range(0, len(lines), 16000)]
    return frame(HEADERS, END_STREAM, stream, parts[0]) + b"".join(frame(CONTINUATION, END_HEADERS if p is parts[-1] else 0, stream, p) for p in parts[1:])


def bombs(client):
    """One large entry of the table, named 8,000 times in a block of 8 KB (CVE-2016-6581)."""
    stream, client.next = client.next, client.next + 2
    entry = b"\x40" + literal("x-bomb", "v" * 4000)[1:]
    return frame(HEADERS, END_HEADERS | END_STREAM, stream, block("/slow") + entry + b"\xbe" * 8000)


def empty(client):
    stream = client.next if client.next > 1 else client.ask("/slow", "POST", end=False)
    return frame(DATA, 0, 1 if stream else 1) * 10


def continuations(client):
    stream, client.next = client.next, client.next + 2
    return frame(HEADERS, END_STREAM, stream, block()[:20]) + frame(CONTINUATION, 0, stream, b"\x00") * 100


CORPUS = {
    "resets": (resets, 400, "resets"),
    "broken_streams": (broken, 400, "broken streams"),
    "header_lists": (header_lists, 40, "header lists"),
    "bombs": (bombs, 40, "header lists"),
    "empty_frames": (empty, 200, "empty frames"),
    "pings": (lambda _: frame(PING, 0, 0, b"12345678") * 10, 200, "control frames"),
    "settings": (lambda _: frame(SETTINGS) * 10, 200, "control frames"),
    "priorities": (lambda _: b"".join(frame(PRIORITY, 0, n, struct.pack(">IB", n + 2, 9)) for n in range(1, 201, 2)), 400, "frames in a row"),
    "unknown": (lambda _: frame(0x99, 0, 0, b"grease") * 100, 400, "frames in a row"),
    "priority_updates": (lambda _: frame(PRIORITY_UPDATE, payload=word(1) + b"u=1") * 10, 200, "control frames"),
    "updates": (lambda _: frame(WINDOW, payload=word(1)) * 20, 200, "windows of a few bytes"),
    "continuations": (continuations, 3, "frames in a row"),
}
KEYS = {"bombs": "header_lists", "pings": "control_frames", "settings": "control_frames", "priorities": "floods", "unknown": "floods",
        "priority_updates": "control_frames", "updates": "windows", "continuations": "floods"}


@pytest.mark.parametrize("kind", CORPUS)
def test_floods(lab, kind):
    """ENHANCE_YOUR_CALM, one line in the log, one in the counters; no member is asked for what nobody waits for, and others are served."""
    frames, times, words = CORPUS[kind]
    httpd = serve(lab)
    with Http2(httpd.tls_port, settings=[(1, 4096)]) as client:
        try:
            for _ in range(times):
                client.send(frames(client))
        except OSError:
            pass
        try:
            last = client.goaway()
        except OSError:
            last = None
        assert last is None or last[1] == CALM
    assert len(httpd.wait_log(f"GATE1700.*too many {words}")) == 1
    closed = engine(httpd)["http2"]["closed_for_abuse"]
    assert closed[KEYS.get(kind, kind)] == 1 and sum(closed.values()) == 1
    assert wait_until(lambda: works(httpd))


def test_windows_of_a_byte(lab):
    """Each byte of an answer is asked for by itself (CVE-2019-9511)."""
    httpd = serve(lab)
    with Http2(httpd.tls_port, settings=[(4, 1)]) as client:
        client.ask("/big")
        ended = None
        while not ended:
            got = client.read()
            ended = got is None or got[0] == GOAWAY
            if not ended and got[0] == DATA:
                client.send(frame(WINDOW, 0, 1, word(1)))
    httpd.wait_log("GATE1700.*windows of a few bytes")
    assert engine(httpd)["http2"]["closed_for_abuse"]["windows"] == 1


def test_who_works_is_not_disturbed(lab):
    """An honest client may do some of each for as long as it likes: its answers earn it."""
    httpd = serve(lab)
    with Http2(httpd.tls_port) as client:
        for n in range(300):
            stream = client.ask("/x")
            client.send(frame(PING, 0, 0, b"12345678") + frame(PRIORITY_UPDATE, payload=word(stream) + b"u=1") + frame(WINDOW, 0, stream, word(1000)))
            assert client.answer(stream)[0] == 200
            if n % 2:
                client.send(frame(RST, 0, client.ask("/x"), word(CANCEL)))
        assert client.answer(client.ask("/big"))[0] == 200
    http2 = engine(httpd)["http2"]
    assert sum(http2["closed_for_abuse"].values()) == 0 and http2["connections"] == 1 and http2["streams"] == 451
    assert http2["left_to_mod_http2_because_of"] is None


# --- who does nothing ------------------------------------------------------------------------------

def test_a_window_held_shut(lab):
    """100 streams whose windows stay at 0: what is kept of each is bounded, and they end after H2StreamTimeout; the connection does not."""
    httpd = serve(lab, "H2StreamTimeout 60\n", "H2StreamTimeout 1\n")
    with Http2(httpd.tls_port, settings=[(4, 0)]) as client:
        client.until(lambda kind, flags, *_: kind == SETTINGS and flags & ACK)
        streams = {client.ask("/big") for _ in range(100)}
        ended = set()
        while ended != streams:
            kind, _, of, payload = client.read()
            assert kind != DATA
            if kind == RST:
                assert int.from_bytes(payload, "big") == CANCEL
                ended.add(of)
        client.send(frame(SETTINGS, payload=struct.pack(">HI", 4, 65535)))
        assert client.answer(client.ask("/x"))[0] == 200


def test_a_head_that_does_not_end(lab):
    httpd = serve(lab, "Timeout 1\n")
    with Http2(httpd.tls_port) as client:
        client.send(frame(HEADERS, END_STREAM, 1, block()[:20]))
        assert client.until(lambda *_: False) is None
    assert works(httpd)


def test_idle(lab):
    """KeepAliveTimeout ends it, in two steps; who sends a request between them is answered."""
    httpd = serve(lab, "KeepAliveTimeout 1\n")
    with Http2(httpd.tls_port) as client:
        assert client.answer(client.ask("/x"))[0] == 200
        begun = time.monotonic()
        assert client.goaway() == (2**31 - 1, 0)
        assert 0.9 < time.monotonic() - begun
        stream = client.ask("/y")
        assert client.answer(stream)[0] == 200
        assert (client.goaway() if client.frames[-1][0] != GOAWAY else True) is not None
        assert client.until(lambda *_: False) is None
        assert [int.from_bytes(f[3][:4], "big") for f in client.frames if f[0] == GOAWAY] == [2**31 - 1, stream]


def test_idle_from_the_beginning(lab):
    """Timeout, as for who sends nothing in HTTP/1.1."""
    httpd = serve(lab, "Timeout 1\nKeepAliveTimeout 60\n")
    with Http2(httpd.tls_port) as client:
        assert client.goaway() == (2**31 - 1, 0)
        assert client.until(lambda *_: False) is None


# --- what is shown ---------------------------------------------------------------------------------

@pytest.mark.parametrize("conf, by", [("", "the engine"), ("H2Padding 3\n", "mod_http2, because of H2Padding (")])
def test_who_speaks(lab, conf, by):
    httpd = serve(lab, conf)
    httpd.expect("GATE1701")
    assert (engine(httpd)["http2"]["left_to_mod_http2_because_of"] or "").startswith("H2Padding (/" if conf else "")
    explained = json.loads(get(httpd.port, f"/gate-status/explain.json?url=https://localhost:{httpd.tls_port}/x").body)
    assert by in json.dumps(explained)
