"""HTTP/1.1 as a server speaks it, without mercy or mending; WebSocket echo."""
import base64
import hashlib
import struct


class Request:
    """What came in: method, target, headers as a list of pairs, body; raw is the head as it stood on the wire."""

    def __init__(self, method, target, version, headers, raw=""):
        self.method, self.target, self.version = method, target, version
        self.headers = headers
        self.raw = raw
        self.body = b""
        self.trailers = []
        self.attributes = {}

    def header(self, name):
        return ", ".join(v for k, v in self.headers if k.lower() == name.lower())

    @property
    def wants_close(self):
        word = self.header("connection").lower()
        return "close" in word or (self.version == "HTTP/1.0" and "keep-alive" not in word)


def parse_headers(lines):
    headers = []
    for line in lines:
        name, _, value = line.partition(":")
        headers.append([name, value.strip()])
    return headers


class Buffered:
    """A socket to read lines and exact lengths from."""

    def __init__(self, sock):
        self.sock = sock
        self.data = b""

    def fill(self):
        more = self.sock.recv(65536)
        self.data += more
        return bool(more)

    def until(self, mark):
        while mark not in self.data:
            if not self.fill():
                return None
        head, self.data = self.data.split(mark, 1)
        return head

    def exact(self, n):
        parts = [self.data[:n]]
        have = len(parts[0])
        self.data = self.data[n:]
        while have < n:
            more = self.sock.recv(min(65536, n - have))
            if not more:
                raise ValueError("connection ended in the middle of a message")
            parts.append(more)
            have += len(more)
        return b"".join(parts)


class Wire:
    def __init__(self, sock):
        self.sock = sock
        self.input = Buffered(sock)
        self.chunked = False

    def read_head(self):
        head = self.input.until(b"\r\n\r\n")
        if head is None:
            return None
        text = head.decode("latin-1")
        lines = text.split("\r\n")
        words = lines[0].split(" ")
        if len(words) != 3:
            raise ValueError(f"not a request line: {lines[0]!r}")
        return Request(words[0], words[1], words[2], parse_headers(lines[1:]), text)

    def read_body(self, request):
        if request.header("expect").lower() == "100-continue":
            self.sock.sendall(b"HTTP/1.1 100 Continue\r\n\r\n")
        if "chunked" in request.header("transfer-encoding").lower():
            self._read_chunks(request)
        elif request.header("content-length"):
            request.body = self.input.exact(int(request.header("content-length")))

    def _read_chunks(self, request):
        parts = []
        while True:
            line = self.input.until(b"\r\n")
            if line is None:
                raise ValueError("connection ended between chunks")
            size = int(line.split(b";")[0], 16)
            if size == 0:
                break
            parts.append(self.input.exact(size))
            self.input.exact(2)
        lines = []
        while True:
            line = self.input.until(b"\r\n")
            if not line:
                break
            lines.append(line.decode("latin-1"))
        request.trailers = parse_headers(lines)
        request.body = b"".join(parts)

    def send_interim(self, status, headers):
        text = f"HTTP/1.1 {status} Interim\r\n" + "".join(f"{k}: {v}\r\n" for k, v in headers) + "\r\n"
        self.sock.sendall(text.encode("latin-1"))

    def send_head(self, request, status, reason, headers, length, chunked, close, trailers):
        self.chunked = (chunked or bool(trailers)) and request.method != "HEAD" and status not in (204, 304)
        lines = [f"HTTP/1.1 {status} {reason or 'OK'}"] + [f"{k}: {v}" for k, v in headers]
        if self.chunked:
            lines.append("Transfer-Encoding: chunked")
            if trailers:
                lines.append("Trailer: " + ", ".join(k for k, _ in trailers))
        elif status not in (204, 304):
            lines.append(f"Content-Length: {length}")
        if close:
            lines.append("Connection: close")
        self.sock.sendall(("\r\n".join(lines) + "\r\n\r\n").encode("latin-1"))

    def send_body(self, piece):
        if piece:
            self.sock.sendall(b"%x\r\n%s\r\n" % (len(piece), piece) if self.chunked else piece)

    def end(self, trailers, keep):
        if self.chunked:
            text = "0\r\n" + "".join(f"{k}: {v}\r\n" for k, v in trailers or []) + "\r\n"
            self.sock.sendall(text.encode("latin-1"))

    # --- WebSocket (RFC 6455): accepts, says who it is, then sends back what comes ----------

    def websocket(self, request, name):
        key = request.header("sec-websocket-key") + "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
        accept = base64.b64encode(hashlib.sha1(key.encode()).digest()).decode()
        self.sock.sendall((f"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
                           f"Sec-WebSocket-Accept: {accept}\r\nX-Member: {name}\r\n\r\n").encode())
        while True:
            opcode, payload = self._read_frame()
            self._send_frame(opcode, payload)
            if opcode == 8:
                return

    def _read_frame(self):
        first, second = self.input.exact(2)
        length = second & 127
        if length == 126:
            length = struct.unpack(">H", self.input.exact(2))[0]
        elif length == 127:
            length = struct.unpack(">Q", self.input.exact(8))[0]
        mask = self.input.exact(4) if second & 128 else bytes(4)
        payload = self.input.exact(length)
        return first & 15, bytes(b ^ mask[i % 4] for i, b in enumerate(payload))

    def _send_frame(self, opcode, payload):
        n = len(payload)
        if n < 126:
            head = bytes([128 | opcode, n])
        elif n < 65536:
            head = bytes([128 | opcode, 126]) + struct.pack(">H", n)
        else:
            head = bytes([128 | opcode, 127]) + struct.pack(">Q", n)
        self.sock.sendall(head + payload)
