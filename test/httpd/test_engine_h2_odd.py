"""HTTP/2 that no client sends on purpose, to the engine: frames out of order, broken, cut short, and header lists nobody thought of. The child stays."""
import random
import struct

import pytest

from clients import curl
from groups import MEMBER_TROUBLE, NO_OUTLIER, group, route
from procs import wait_until
from wire_h2 import (CONTINUATION, DATA, END_HEADERS, END_STREAM, GOAWAY, HEADERS, PING, PREFACE, PRIORITY, PUSH, RST, SETTINGS, WINDOW, Http2,
                     block, frame, literal)

pytestmark = [pytest.mark.needs("gate_upstream", "gate_engine"), pytest.mark.plane("classic")]  # it asks for the engine itself

CONNECTIONS = 500
PADDED, PRIORITIZED = 8, 32


def serve(lab, **words):
    member = lab.upstream("m1")
    member.behave({"delay": 0.3}, path="/slow")
    member.behave({"size": 300000}, path="/big")
    httpd = lab.httpd(group("app", [member], *NO_OUTLIER) + "LimitRequestFields 30\nTimeout 5\nH2WebSockets on\n", vhost=route(), tls=True, plane="express",
                      before="Protocols h2 http/1.1\n", children=1, **words)
    httpd.expect(*MEMBER_TROUBLE, "GATE1700", r"\[core:", r"\[ssl:")
    return httpd


def works(httpd):
    code, answer, _ = curl("--http2", httpd.tls_url + "/still")
    return code == 0 and answer.status == 200


@pytest.mark.parametrize("size", [100, 1000, 20000, 60000])
def test_connect_with_a_long_authority(lab, size):
    """It is the target and Host at once."""
    httpd = serve(lab)
    with Http2(httpd.tls_port) as client:
        lines = literal(":method", "CONNECT") + literal(":authority", "h" * size)
        parts = [lines[at:at + 16000] for at in range(0, len(lines), 16000)]
        client.send(frame(HEADERS, END_STREAM | (END_HEADERS if len(parts) == 1 else 0), 1, parts[0])
                    + b"".join(frame(CONTINUATION, END_HEADERS if part is parts[-1] else 0, 1, part) for part in parts[1:]))
        assert client.answer(1)[0] != 200  # one of several refusals, by size
    assert works(httpd)


def odd_block(rng):
    lines = [(":method", rng.choice(["GET"] * 8 + ["POST", "HEAD", "CONNECT", "CONNECT", "OPTIONS", "get", "", "G T"])), (":scheme", rng.choice(["https"] * 5 + ["http", "x", ""])),
             (":path", rng.choice(["/", "/slow", "/big", "/a?b", "*", "", "a", "//", "/%00", "/" + "p" * rng.choice([10, 9000]), "http://x/", "/\xff", "/a b"])),
             (":authority", rng.choice(["localhost"] * 6 + ["", "a b", "x:99999", "[::1]", "h" * 5000, "a,b"]))]
    more = [("cookie", "a=1"), ("cookie", "b=2"), ("te", "trailers"), ("te", "gzip"), ("connection", "close"), ("transfer-encoding", "chunked"), ("upgrade", "h2c"),
            ("host", "other"), ("content-length", rng.choice(["0", "5", "-1", "x", "99999999999999999999"])), ("expect", "100-continue"), ("X-Big", "1"), ("x-nul", "a\0b"),
            ("x-cr", "a\rb"), ("x-lf", "a\nb"), ("x-long", "v" * rng.choice([10, 8190, 15000])), ("", "empty"), (":path", "/twice"), (":odd", "1"), ("x-sp ", "1"),
            ("range", "bytes=0-0"), ("accept-encoding", "gzip"), ("trailer", "x"), ("priority", "u=1, i"), ("max-forwards", "0")]
    lines += rng.sample(more, rng.choice([0, 0, 1, 2, 5]))
    if rng.random() < (0.7 if lines[0][1] == "CONNECT" else 0.02):
        lines.insert(1, (":protocol", rng.choice(["websocket"] * 4 + ["connect-udp", "", "x y"])))
    if rng.random() < 0.1:
        lines += [(f"x-{n}", "1") for n in range(rng.choice([40, 300]))]
    if rng.random() < 0.15:
        rng.shuffle(lines)
    if rng.random() < 0.1:
        del lines[rng.randrange(len(lines))]
    return b"".join(literal(*line) for line in lines)


def odd_frame(rng):
    stream = rng.choice([0, 1, 1, 1, 3, 3, 5, 7, 9, 2, 2147483647])
    flags = rng.choice([0, END_STREAM, END_HEADERS, END_STREAM | END_HEADERS, PADDED, PRIORITIZED, rng.randrange(256)])
    kind = rng.random()
    if kind < 0.45:
        body = odd_block(rng)
        at = rng.randrange(len(body) + 1)
        if len(body) > 16000 or rng.random() < 0.1:
            return frame(HEADERS, flags & ~END_HEADERS, stream, body[:min(at, 16000)]) + frame(CONTINUATION, rng.choice([END_HEADERS, 0]), stream, body[at:at + 16000])
        return frame(HEADERS, rng.choice([END_STREAM | END_HEADERS, END_HEADERS, flags]), stream | 1, body)
    if kind < 0.65:
        return frame(DATA, flags, stream, rng.randbytes(rng.choice([0, 1, 5, 1000, 16384])))
    return rng.choice([
        frame(RST, 0, stream, struct.pack(">I", rng.randrange(16))), frame(WINDOW, 0, stream, struct.pack(">I", rng.choice([0, 1, 65535, 2**31 - 1]))),
        frame(SETTINGS, 0, 0, struct.pack(">HI", rng.randrange(9), rng.choice([0, 1, 16384, 2**31 - 1, 2**32 - 1]))), frame(SETTINGS, 1, stream, b""),
        frame(PING, rng.choice([0, 1]), 0, rng.randbytes(rng.choice([8, 8, 7]))), frame(GOAWAY, 0, 0, struct.pack(">II", stream, 0) + b"bye"),
        frame(PRIORITY, 0, stream, struct.pack(">IB", rng.choice([0, stream, 1]), 1)), frame(PUSH, 4, stream, struct.pack(">I", 2)), frame(16, 0, 0, b"\0\0\0\1u=0"),
        frame(rng.randrange(256), rng.randrange(256), stream, rng.randbytes(rng.randrange(40))), frame(CONTINUATION, flags, stream, block())])


def converse(httpd, rng):
    """Some frames, perhaps with bytes changed or the end missing, then a look at what comes back."""
    data = b"".join(odd_frame(rng) for _ in range(rng.choice([1, 2, 3, 5, 12])))
    if rng.random() < 0.5:
        data = frame(HEADERS, rng.choice([END_STREAM, 0]) | END_HEADERS, 1, block(rng.choice(["/", "/slow", "/big"]), rng.choice(["GET", "POST"]))) + data
    if rng.random() < 0.2 and data:
        data = bytearray(data)
        for _ in range(rng.choice([1, 3])):
            data[rng.randrange(len(data))] = rng.randrange(256)
        data = bytes(data)
    if rng.random() < 0.1:
        data = data[:rng.randrange(len(data) + 1)]
    with Http2(httpd.tls_port, settings=rng.choice([(), ((4, 0),), ((4, 2**31 - 1),), ((3, 0),), ((1, 0),)])) as client:
        client.sock.settimeout(0.05)
        try:
            client.send(data)
            if rng.random() < 0.1:
                client.send(PREFACE)
            for _ in range(rng.choice([0, 1, 4, 20])):
                if client.read() is None:
                    break
        except (TimeoutError, OSError):
            pass


@pytest.mark.parametrize("part", range(3))
def test_any_frames(lab, part):
    httpd = serve(lab)
    child = httpd.child_pids()
    for number in range(CONNECTIONS // 3):
        converse(httpd, random.Random(part * 100000 + number))
    assert httpd.child_pids() == child
    assert wait_until(lambda: works(httpd), 10, "it serves")
