"""Clients: exact bytes, keep-alive crowds that count every failure, and wrk, h2load, curl."""
import re
import socket
import ssl
import struct
import subprocess
import threading
import time

import h2client


class Response:
    """status, reason, headers (list of pairs, as sent), body, trailers, interim (statuses before it), raw head."""

    def __init__(self, status, reason, headers, body, trailers, interim, raw):
        self.status, self.reason, self.headers = status, reason, headers
        self.body, self.trailers, self.interim, self.raw = body, trailers, interim, raw

    def header(self, name, default=None):
        """All values of that name joined by a comma, or default."""
        values = [v for k, v in self.headers if k.lower() == name.lower()]
        return ", ".join(values) if values else default

    def all(self, name):
        return [v for k, v in self.headers if k.lower() == name.lower()]

    @property
    def text(self):
        return self.body.decode("utf-8", "replace")

    def json(self):
        import json
        return json.loads(self.body)

    @property
    def member(self):
        """Which scripted upstream answered."""
        return self.header("X-Member")

    def __repr__(self):
        return f"<Response {self.status} {self.reason} {len(self.body)} bytes member={self.member}>"


class BadAnswer(Exception):
    """The server's bytes are no complete answer."""


def _tls(sock, sni, alpn, tls_max=None):
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    if tls_max:
        context.maximum_version = tls_max
    if alpn:
        context.set_alpn_protocols(alpn)
    try:
        return context.wrap_socket(sock, server_hostname=sni)
    except (ssl.SSLEOFError, ssl.SSLZeroReturnError) as error:
        raise ConnectionResetError("closed in the handshake") from error


class Connection:
    """
    One client connection, TCP or TLS, on which bytes go out exactly as given. To a server that is asked over HTTP/2 (h2client.PORTS)
    it is TLS in any case, and what is done first with it says what is spoken: request() HTTP/2 where that can say it, all else HTTP/1.1.
    """

    def __init__(self, port, host="127.0.0.1", tls=False, timeout=15.0, source=None, sni="localhost", alpn=None, tls_max=None):
        self.tcp = socket.create_connection((host, port), timeout, (source, 0) if source else None)
        self.tcp.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.buffer = b""
        self.h2 = None
        self.undecided = port in h2client.PORTS and alpn is None
        if not self.undecided:
            self.sock = _tls(self.tcp, sni, alpn, tls_max) if tls or port in h2client.PORTS else self.tcp

    def __getattr__(self, name):
        """sock is there as soon as somebody wants it."""
        if name != "sock" or not self.undecided:
            raise AttributeError(name)
        # TLS 1.3 sends tickets after the handshake: closed with those unread, a connection would be reset where a test wants to say FIN
        self._shake_hands(None, ["http/1.1"], ssl.TLSVersion.TLSv1_2)
        return self.sock

    def _shake_hands(self, sni, alpn, tls_max=None):
        self.undecided, self.sock = False, self.tcp
        self.sock = _tls(self.tcp, sni, alpn, tls_max)

    def ready(self):
        """Shakes hands, if there is to be TLS, for bytes that go out later."""
        return self.sock is not None

    def _speak_h2(self, sni):
        self._shake_hands(sni, ["h2", "http/1.1"])
        if self.sock.selected_alpn_protocol() == "h2":
            self.h2 = h2client.H2Client(self.sock)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def _outermost(self):
        return self.tcp if self.undecided else self.sock

    def close(self):
        self._outermost().close()

    def reset(self):
        """Ends with RST instead of FIN."""
        self._outermost().setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self._outermost().close()

    def send(self, data):
        self.sock.sendall(data if isinstance(data, bytes) else data.encode("latin-1"))

    def recv_all(self):
        """Everything until the server closes."""
        parts = [self.buffer]
        self.buffer = b""
        while True:
            more = self.sock.recv(65536)
            if not more:
                return b"".join(parts)
            parts.append(more)

    def closed(self, timeout=5.0):
        """Whether the server closes (or resets) within timeout, having sent nothing more."""
        self.sock.settimeout(timeout)
        try:
            return self.sock.recv(1) == b""
        except ConnectionError:
            return True
        except TimeoutError:
            return False

    def _more(self):
        data = self.sock.recv(65536)
        if not data:
            raise BadAnswer(f"connection closed; read so far: {self.buffer[:300]!r}")
        self.buffer += data

    def _until(self, mark):
        while mark not in self.buffer:
            self._more()
        part, self.buffer = self.buffer.split(mark, 1)
        return part

    def _exact(self, n):
        while len(self.buffer) < n:
            self._more()
        part, self.buffer = self.buffer[:n], self.buffer[n:]
        return part

    def read_head(self):
        """(status, reason, headers, raw)"""
        raw = self._until(b"\r\n\r\n").decode("latin-1")
        lines = raw.split("\r\n")
        match = re.match(r"HTTP/1\.[01] (\d{3})(?: (.*))?$", lines[0])
        if not match:
            raise BadAnswer(f"no status line: {lines[0]!r}")
        headers = [(n, v.strip()) for n, _, v in (line.partition(":") for line in lines[1:])]
        return int(match.group(1)), match.group(2) or "", headers, raw

    def read(self, method="GET"):
        """One whole answer."""
        interim = []
        while True:
            status, reason, headers, raw = self.read_head()
            if status == 101 or status >= 200:
                break
            interim.append(status)
        answer = Response(status, reason, headers, b"", [], interim, raw)
        if method == "HEAD" or status in (101, 204, 304):
            return answer
        if "chunked" in (answer.header("Transfer-Encoding") or "").lower():
            self._read_chunks(answer)
        elif answer.header("Content-Length") is not None:
            answer.body = self._exact(int(answer.header("Content-Length")))
        else:
            answer.body = self.recv_all()
        return answer

    def _read_chunks(self, answer):
        parts = []
        while True:
            size = int(self._until(b"\r\n").split(b";")[0], 16)
            if size == 0:
                break
            parts.append(self._exact(size))
            self._exact(2)
        while True:
            line = self._until(b"\r\n").decode("latin-1")
            if not line:
                break
            name, _, value = line.partition(":")
            answer.trailers.append((name, value.strip()))
        answer.body = b"".join(parts)

    def request(self, path="/", method="GET", headers=(), body=None, host="localhost", version="HTTP/1.1"):
        """Sends one request and reads its answer; headers as pairs or dict."""
        pairs = list(headers.items() if isinstance(headers, dict) else headers)
        if (self.h2 or self.undecided) and h2client.possible(path, method, pairs, host, version):
            if self.undecided:
                self._speak_h2(sni_of(dict((name.lower(), value) for name, value in pairs).get("host", host)))
            if self.h2:
                return self._request_h2(path, method, pairs, body, host)
        assert not self.h2, f"{method} {path} cannot be asked over HTTP/2, which this connection speaks already"
        self.send(request_bytes(path, method, headers, body, host, version))
        return self.read(method)


    def _request_h2(self, path, method, pairs, body, host):
        try:
            got = self.h2.ask(path, method, pairs, body, host)
        except h2client.BrokenOff as broken:
            raise BadAnswer(str(broken)) from broken
        raw = "\r\n".join([f"HTTP/2 {got.status}"] + [f"{name}: {value}" for name, value in got.headers])
        return Response(got.status, "", got.headers, got.body, got.trailers, got.interim, raw)

    def kept(self, answer):
        """Whether another request may follow that answer on this connection."""
        return self.h2.going if self.h2 else (answer.header("Connection") or "").lower() != "close"


def sni_of(host):
    """The name that a client asks for in its handshake: none for addresses and for what is no name."""
    name = re.sub(r":\d*$", "", host)
    return name if re.fullmatch(r"[A-Za-z0-9-]+(\.[A-Za-z0-9-]+)*", name) and not re.fullmatch(r"[\d.]+", name) else None


def request_bytes(path="/", method="GET", headers=(), body=None, host="localhost", version="HTTP/1.1"):
    pairs = list(headers.items() if isinstance(headers, dict) else headers)
    names = {name.lower() for name, _ in pairs}
    lines = [f"{method} {path} {version}"]
    if "host" not in names and host is not None:
        lines.append(f"Host: {host}")
    lines += [f"{name}: {value}" for name, value in pairs]
    data = body.encode() if isinstance(body, str) else (body or b"")
    if body is not None and not names & {"content-length", "transfer-encoding"}:
        lines.append(f"Content-Length: {len(data)}")
    return ("\r\n".join(lines) + "\r\n\r\n").encode("latin-1") + data


def request(port, path="/", method="GET", headers=(), body=None, tls=False, timeout=15.0, **words):
    """One request on a connection of its own; port may be a port or a server with .port/.tls_port."""
    number = port if isinstance(port, int) else (port.tls_port if tls else port.port)
    for _ in range(3):
        try:
            with Connection(number, tls=tls, timeout=timeout) as connection:
                return connection.request(path, method, headers, body, **words)
        except h2client.Refused as refused:  # by a child that ends: a client comes again
            last = refused
    raise last


def get(port, path="/", **words):
    return request(port, path, "GET", **words)


def post(port, path="/", body=b"", **words):
    return request(port, path, "POST", body=body, **words)


class Crowd:
    """
    N keep-alive clients that ask without pause until stop(); every failure is kept.
    check(response) may return a text that says what is wrong with an answer.
    """

    def __init__(self, port, clients=16, path="/", method="GET", tls=False, body=None, headers=(), pause=0.0,
                 check=None, timeout=15.0):
        self.args = (path, method, headers, body)
        self.port, self.tls, self.pause, self.check, self.timeout = port, tls, pause, check, timeout
        self.ok = 0
        self.failures = []
        self.members = {}
        self.slowest = 0.0
        self.reconnects = 0
        self.lock = threading.Lock()
        self.ending = threading.Event()
        self.threads = [threading.Thread(target=self._client, daemon=True) for _ in range(clients)]

    def __enter__(self):
        return self.start()

    def __exit__(self, *_):
        self.stop()

    def start(self):
        for thread in self.threads:
            thread.start()
        return self

    def stop(self):
        """Lets every client finish its request; returns self."""
        self.ending.set()
        for thread in self.threads:
            thread.join(self.timeout + 5)
        return self

    def wait(self, count, timeout=30.0):
        """Until so many more requests have been answered."""
        goal, end = self.ok + count, time.monotonic() + timeout
        while self.ok < goal:
            assert time.monotonic() < end, f"only {self.ok} of {goal} after {timeout} s; failures: {self.failures[:5]}"
            time.sleep(0.005)

    def _note(self, answer, seconds):
        wrong = self.check(answer) if self.check else (None if answer.status == 200 else f"status {answer.status}")
        with self.lock:
            self.slowest = max(self.slowest, seconds)
            if wrong:
                self.failures.append(wrong)
            else:
                self.ok += 1
                self.members[answer.member] = self.members.get(answer.member, 0) + 1

    def _client(self):
        connection = None
        while not self.ending.is_set():
            start, fresh = time.monotonic(), connection is None
            try:
                if fresh:
                    connection = Connection(self.port, tls=self.tls, timeout=self.timeout)
                answer = connection.request(*self.args)
                self._note(answer, time.monotonic() - start)
                if not connection.kept(answer):
                    connection.close()
                    connection = None
            except h2client.Refused:  # a client asks again, as it is told to
                with self.lock:
                    self.reconnects += 1
                connection.close()
                connection = None
            except (OSError, BadAnswer, ValueError) as error:
                with self.lock:
                    if self._idle_close(error, fresh):
                        self.reconnects += 1
                    else:
                        self.failures.append(f"{type(error).__name__}: {error}")
                if connection is not None:
                    connection.close()
                connection = None
            if self.pause:
                time.sleep(self.pause)
        if connection is not None:
            connection.close()

    @staticmethod
    def _idle_close(error, fresh):
        """
        A server may close a kept-alive connection between two requests (a graceful restart does), and a
        client then asks again on a new one, as RFC 9112, section 9.3.1, has it; that is no failure.
        """
        if fresh:
            return False
        return isinstance(error, (ConnectionResetError, BrokenPipeError)) or "read so far: b''" in str(error)


# --- tools ---------------------------------------------------------------------------------

class Load:
    """
    What wrk or h2load reported: requests, seconds, rps, errors (not answered), bad (answered, not 2xx/3xx), and by wrk
    latency: {50: seconds, 75: .., 90: .., 99: ..}.
    """

    def __init__(self, text, requests, seconds, errors, bad, latency=None):
        self.text, self.requests, self.seconds, self.errors, self.bad = text, requests, seconds, errors, bad
        self.latency = latency or {}
        self.rps = requests / seconds if seconds else 0.0


def wrk(url, seconds=2, connections=16, threads=1, headers=(), script=None):
    args = ["wrk", "-t", str(threads), "-c", str(connections), "-d", f"{seconds}s", "--timeout", "10s", "--latency"]
    for name, value in headers:
        args += ["-H", f"{name}: {value}"]
    if script:
        args += ["-s", script]
    text = subprocess.run([*args, url], capture_output=True, text=True, timeout=seconds + 30, check=True).stdout
    unit = {"us": 1e-6, "ms": 1e-3, "s": 1.0, "m": 60.0}
    requests, took, of = re.search(r"(\d+) requests in ([\d.]+)(ms|s|m)", text).group(1, 2, 3)
    latency = {int(share): float(number) * unit[u] for share, number, u in re.findall(r"^ +(\d+)% +([\d.]+)(us|ms|s|m) *$", text, re.M)}
    socket_errors = re.search(r"Socket errors: connect (\d+), read (\d+), write (\d+), timeout (\d+)", text)
    bad = re.search(r"Non-2xx or 3xx responses: (\d+)", text)
    return Load(text, int(requests), float(took) * unit[of], sum(map(int, socket_errors.groups())) if socket_errors else 0,
                int(bad.group(1)) if bad else 0, latency)


def h2load(url, requests=1000, connections=4, streams=8, threads=1, headers=(), more=()):
    """url may be an option ("-i") whose words are in more."""
    args = ["h2load", "-n", str(requests), "-c", str(connections), "-m", str(streams), "-t", str(threads)]
    for name, value in headers:
        args += ["-H", f"{name}: {value}"]
    text = subprocess.run([*args, url, *more], capture_output=True, text=True, timeout=120, check=True).stdout
    took = re.search(r"finished in ([\d.]+)(ms|s|us|m)", text)
    unit = {"us": 1e-6, "ms": 1e-3, "s": 1.0, "m": 60.0}[took.group(2)]
    done, ok, failed, errored, timeout = map(int, re.search(
        r"(\d+) done, (\d+) succeeded, (\d+) failed, (\d+) errored, (\d+) timeout", text).groups())
    codes = re.search(r"(\d+) 2xx, (\d+) 3xx, (\d+) 4xx, (\d+) 5xx", text)
    return Load(text, done, float(took.group(1)) * unit, requests - done + errored + timeout,
                int(codes.group(3)) + int(codes.group(4)))


def over_h2(args):
    """curl's words, so that a server of h2client.PORTS is asked over HTTP/2; but for those that say what is to be spoken."""
    def there(match):
        return f"https://{match[1]}:{match[2]}" if int(match[2]) in h2client.PORTS else match[0]

    words = [re.sub(r"^http://(127\.0\.0\.1|localhost):(\d+)", there, word) for word in args]
    said = any(word.startswith("--http") or word in ("-0", "-1") for word in args)
    return words if said or words == list(args) else ["--http2", *words]


def curl(*args, timeout=20):
    """curl -sk with these words; (exit status, Response or None, what it wrote on stderr)."""
    done = subprocess.run(["curl", "-sSki", "--max-time", str(timeout), *over_h2(args)], capture_output=True,
                          timeout=timeout + 10, check=False)
    data, interim = done.stdout, []
    while True:
        head, mark, rest = data.partition(b"\r\n\r\n")
        match = re.match(rb"HTTP/[\d.]+ (\d{3}) ?(.*)", head)
        if not mark or not match:
            return done.returncode, None, done.stderr.decode(errors="replace")
        if int(match.group(1)) >= 200 or int(match.group(1)) == 101:
            break
        interim.append(int(match.group(1)))
        data = rest
    lines = head.decode("latin-1").split("\r\n")[1:]
    headers = [(n, v.strip()) for n, _, v in (line.partition(":") for line in lines)]
    answer = Response(int(match.group(1)), match.group(2).decode("latin-1"), headers, rest, [], interim,
                      head.decode("latin-1"))
    return done.returncode, answer, done.stderr.decode(errors="replace")


# --- WebSocket -----------------------------------------------------------------------------

class WebSocket:
    """A client that shakes hands (RFC 6455) and exchanges text frames."""

    def __init__(self, port, path="/", tls=False, headers=()):
        self.connection = Connection(port, tls=tls)
        self.answer = self.connection.request(path, headers=[
            ("Upgrade", "websocket"), ("Connection", "Upgrade"), ("Sec-WebSocket-Version", "13"),
            ("Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZQ=="), *headers])

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.connection.close()

    def accepted(self):
        return self.answer.status == 101 and \
            self.answer.header("Sec-WebSocket-Accept") == "s3pPLMBiTxaQ9kYGzzhZRbK+xOo="

    def send(self, text, opcode=1):
        data = text.encode()
        head = bytes([128 | opcode])
        head += bytes([128 | len(data)]) if len(data) < 126 else bytes([254]) + struct.pack(">H", len(data))
        mask = b"\x11\x22\x33\x44"
        self.connection.send(head + mask + bytes(b ^ mask[i % 4] for i, b in enumerate(data)))

    def receive(self):
        """(opcode, text) of the next frame."""
        first, second = self.connection._exact(2)
        length = second & 127
        if length == 126:
            length = struct.unpack(">H", self.connection._exact(2))[0]
        elif length == 127:
            length = struct.unpack(">Q", self.connection._exact(8))[0]
        return first & 15, self.connection._exact(length).decode()
