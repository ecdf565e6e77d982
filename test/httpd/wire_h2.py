"""HTTP/2 frame by frame, for what no decent client does. Header blocks are literals without Huffman and without a table."""
import struct

from clients import Connection

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
DATA, HEADERS, PRIORITY, RST, SETTINGS, PUSH, PING, GOAWAY, WINDOW, CONTINUATION = range(10)
PRIORITY_UPDATE = 16
END_STREAM, END_HEADERS, ACK = 1, 4, 1
STATUS = {0x88: 200, 0x89: 204, 0x8A: 206, 0x8B: 304, 0x8C: 400, 0x8D: 404, 0x8E: 500}
PROTOCOL_ERROR, INTERNAL_ERROR, FLOW_ERROR, CANCEL, CALM = 1, 2, 3, 8, 11


def frame(kind, flags=0, stream=0, payload=b""):
    return struct.pack(">I", len(payload))[1:] + bytes([kind, flags]) + struct.pack(">I", stream) + payload


def literal(name, value):
    parts = b"\x00"
    for word in (name.encode(), value.encode("latin-1")):
        size = len(word)
        if size < 127:
            parts += bytes([size])
        else:
            size -= 127
            parts += b"\x7f"
            while size > 127:
                parts += bytes([size & 127 | 128])
                size >>= 7
            parts += bytes([size])
        parts += word
    return parts


def status_of(head):
    """Of a header block without a dynamic table: the status stands first, as a number of the static table or as digits."""
    while 0x20 <= head[0] < 0x40:  # the table's size
        head = head[1:]
    if head[0] & 0x80:
        return STATUS.get(head[0])
    assert head[0] & 0x0F == 8, "no :status"
    size, text = head[1] & 0x7F, head[2:2 + (head[1] & 0x7F)]
    if not head[1] & 0x80:
        return int(text)
    bits, digits = int.from_bytes(text, "big"), ""
    left = size * 8
    while len(digits) < 3:  # Huffman: 0 to 2 have five bits, 3 to 9 have six
        short = bits >> (left - 5) & 31
        taken = 5 if short < 3 else 6
        digits += str(short if short < 3 else (bits >> (left - 6) & 63) - 22)
        left -= taken
    return int(digits)


def block(path="/", method="GET", headers=(), authority="localhost", scheme="https"):
    lines = [(":method", method), (":scheme", scheme), (":path", path), (":authority", authority), *headers]
    return b"".join(literal(*line) for line in lines)


class Http2:
    def __init__(self, port, settings=(), timeout=10.0, tls=True, preface=True):
        self.connection = Connection(port, tls=tls, alpn=["h2"] if tls else None, timeout=timeout)
        self.scheme = "https" if tls else "http"
        self.sock = self.connection.sock
        self.buffer = b""
        self.next = 1
        self.frames = []
        if preface:
            if 1 not in dict(settings):
                settings = [*settings, (1, 0)]  # no table, for status_of()
            self.send(PREFACE + frame(SETTINGS, payload=b"".join(struct.pack(">HI", *one) for one in settings)))

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.connection.close()

    def send(self, data):
        self.sock.sendall(data)

    def ask(self, path="/", method="GET", headers=(), end=True):
        stream, self.next = self.next, self.next + 2
        self.send(frame(HEADERS, END_HEADERS | (END_STREAM if end else 0), stream, block(path, method, headers, scheme=self.scheme)))
        return stream

    def data(self, stream, payload, end=False):
        self.send(frame(DATA, END_STREAM if end else 0, stream, payload))

    def read(self):
        """The next frame: (kind, flags, stream, payload); None at the end of the connection."""
        while len(self.buffer) < 9 or len(self.buffer) < 9 + int.from_bytes(self.buffer[:3], "big"):
            try:
                more = self.sock.recv(65536)
            except ConnectionResetError:
                more = b""
            if not more:
                return None
            self.buffer += more
        size = int.from_bytes(self.buffer[:3], "big")
        kind, flags, stream = self.buffer[3], self.buffer[4], int.from_bytes(self.buffer[5:9], "big") & 0x7FFFFFFF
        payload, self.buffer = self.buffer[9:9 + size], self.buffer[9 + size:]
        if kind == SETTINGS and not flags & ACK:
            self.send(frame(SETTINGS, ACK))
        self.frames.append((kind, flags, stream, payload))
        return self.frames[-1]

    def until(self, wanted):
        """Reads on to the first frame for which wanted(kind, flags, stream, payload); it, or None."""
        while True:
            got = self.read()
            if got is None or wanted(*got):
                return got

    def answer(self, stream):
        """(status or None, body, RST code or None) of a stream, window updates sent as bytes come."""
        status, body = None, b""
        while True:
            got = self.read()
            if got is None:
                return status, body, "closed"
            kind, flags, of, payload = got
            if kind == GOAWAY:
                continue
            if of != stream:
                continue
            if kind == HEADERS and (status is None or status < 200):
                status = status_of(payload)
            if kind == RST:
                return status, body, int.from_bytes(payload, "big")
            if kind == DATA:
                body += payload
                if payload:
                    self.send(frame(WINDOW, stream=0, payload=struct.pack(">I", len(payload))))
                    if not flags & END_STREAM:
                        self.send(frame(WINDOW, stream=stream, payload=struct.pack(">I", len(payload))))
            if kind in (DATA, HEADERS) and flags & END_STREAM:
                return status, body, None

    def goaway(self):
        """(last stream, code) of the GOAWAY that comes, or None."""
        got = self.until(lambda kind, *_: kind == GOAWAY)
        return got and (int.from_bytes(got[3][:4], "big"), int.from_bytes(got[3][4:8], "big"))
