"""A member of h2c that does what it is told, request by request: what no decent server does."""
import socket
import struct
import threading
import time

import hpack  # of python3-h2

from wire_h2 import ACK, DATA, END_HEADERS, END_STREAM, GOAWAY, HEADERS, INTERNAL_ERROR, PING, PREFACE, RST, SETTINGS, WINDOW, frame, literal

REFUSED = 7
OK = b"\x88"


class H2Member:
    """
    script: words for requests in the order they come, the last one for all that follow. settings: of its SETTINGS frame; None: it comes with the first answer.
    connections, requests, bodies (bytes by request), reset: codes of RST_STREAM that came; heads: of the requests, name: value.
    The word "websocket" agrees to a WebSocket (RFC 8441) and sends back what comes; "closes-websocket" ends it after the first bytes.
    """

    def __init__(self, *script, name="m1", settings=()):
        self.script, self.name, self.settings = list(script) or ["ok"], name, settings
        self.listener = socket.create_server(("127.0.0.1", 0), backlog=256)
        self.port = self.listener.getsockname()[1]
        self.url = f"h2c://127.0.0.1:{self.port}"
        self.connections, self.requests, self.bodies, self.reset = 0, 0, [], []
        self.heads, self.open, self.settled = [], set(), set()
        self.lock = threading.Lock()
        self.go_on = threading.Event()
        threading.Thread(target=self._serve, daemon=True).start()

    def stop(self):
        self.go_on.set()
        try:
            self.listener.shutdown(socket.SHUT_RDWR)
        except OSError:
            pass
        self.listener.close()
        with self.lock:
            for client in self.open:
                try:
                    client.shutdown(socket.SHUT_RDWR)
                except OSError:
                    pass

    def ports(self):
        return []

    def remove(self):
        pass

    def _serve(self):
        while True:
            try:
                client, _ = self.listener.accept()
            except OSError:
                return
            with self.lock:
                self.connections += 1
                self.open.add(client)
            threading.Thread(target=self._talk, args=(client,), daemon=True).start()

    def _talk(self, client):
        try:
            client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self._frames(client, client.makefile("rb"))
        except (OSError, ValueError):
            pass
        with self.lock:
            self.open.discard(client)
        client.close()

    def _next(self):
        with self.lock:
            self.requests += 1
            self.bodies.append(0)
            return (self.script.pop(0) if len(self.script) > 1 else self.script[0]), self.requests - 1

    def _frames(self, client, data):
        if data.read(len(PREFACE)) != PREFACE:
            return
        if self.settings is not None:
            client.sendall(frame(SETTINGS, payload=b"".join(struct.pack(">HI", *one) for one in self.settings)))
        streams, echoes, decoder = {}, {}, hpack.Decoder()
        while len(head := data.read(9)) == 9:
            kind, flags, stream = head[3], head[4], int.from_bytes(head[5:9], "big")
            payload = data.read(int.from_bytes(head[:3], "big"))
            if kind == SETTINGS and not flags & ACK and self.settings is not None:
                client.sendall(frame(SETTINGS, ACK))
            elif kind == PING and not flags & ACK and self.script[0] != "hang":
                client.sendall(frame(PING, ACK, 0, payload))
            elif kind == RST:
                self.reset.append(int.from_bytes(payload, "big"))
            elif kind == HEADERS and stream not in streams:
                self.heads.append({name: value for name, value in decoder.decode(payload)})
                streams[stream] = self._next()
                if "websocket" in streams[stream][0]:
                    echoes[stream] = Echo(client, stream, streams[stream][0] == "closes-websocket")
                if (streams[stream][0] in EARLY or ":protocol" in self.heads[-1]) and stream not in echoes and not self._answer(client, stream, streams[stream][0]):
                    return
            elif kind == DATA and payload:
                self.bodies[streams[stream][1]] += len(payload)
                client.sendall(frame(WINDOW, 0, 0, struct.pack(">I", len(payload))) + frame(WINDOW, 0, stream, struct.pack(">I", len(payload))))
            elif kind == WINDOW and stream in echoes:
                echoes[stream].pump(window=int.from_bytes(payload, "big"))
            if stream in echoes:
                if kind == DATA:
                    echoes[stream].pump(payload, ended=flags & END_STREAM)
                continue
            if kind in (HEADERS, DATA) and flags & END_STREAM and streams[stream][0] not in EARLY:
                if not self._answer(client, stream, streams[stream][0]):
                    return

    def _whole(self, stream, body=b"whole", fields=()):
        lines = b"".join(literal(*one) for one in (("x-member", self.name), *fields))
        return frame(HEADERS, END_HEADERS, stream, OK + lines) + frame(DATA, END_STREAM, stream, body)

    def _answer(self, client, stream, what):
        """@return whether the connection goes on"""
        if what == "waits":
            self.go_on.wait(20)
        if self.settings is None and client not in self.settled:
            self.settled.add(client)
            client.sendall(frame(SETTINGS) + frame(SETTINGS, ACK))
        begun = frame(HEADERS, END_HEADERS, stream, OK + literal("x-member", self.name))
        if what in ("ok", "waits"):
            client.sendall(self._whole(stream))
        elif what in ("refuse", "early-refuse"):
            client.sendall(frame(RST, 0, stream, struct.pack(">I", REFUSED)))
        elif what == "reset":
            client.sendall(frame(RST, 0, stream, struct.pack(">I", INTERNAL_ERROR)))
        elif what == "reset-mid-body":
            client.sendall(begun + frame(DATA, 0, stream, b"part") + frame(RST, 0, stream, struct.pack(">I", INTERNAL_ERROR)))
        elif what == "goaway":
            client.sendall(frame(GOAWAY, 0, 0, struct.pack(">II", stream - 2 if stream > 1 else 0, 0)))
        elif what == "last":
            client.sendall(frame(GOAWAY, 0, 0, struct.pack(">II", stream, 0)))
            client.sendall(self._whole(stream))
        elif what == "garbage":
            client.sendall(b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n")
        elif what == "close":
            return False
        elif what == "close-mid-body":
            client.sendall(begun + frame(DATA, 0, stream, b"part"))
            return False
        elif what == "bad-field":
            client.sendall(frame(HEADERS, END_HEADERS, stream, OK + literal("X-Capital", "x")) + frame(DATA, END_STREAM, stream, b"x"))
        elif what == "bad-length":
            client.sendall(self._whole(stream, b"short", [("content-length", "10")]))
        elif what == "no-content":
            client.sendall(frame(HEADERS, END_HEADERS | END_STREAM, stream, b"\x8d" + literal("x-member", self.name)))
        elif what == "no-status":
            client.sendall(frame(HEADERS, END_HEADERS | END_STREAM, stream, literal("x-member", "x")))
        elif what == "hints":
            client.sendall(frame(HEADERS, END_HEADERS, stream, b"\x48\x03103" + literal("link", "</s.css>")) + self._whole(stream))
        elif what == "trailers":
            client.sendall(begun + frame(DATA, 0, stream, b"whole")
                           + frame(HEADERS, END_HEADERS | END_STREAM, stream, literal("x-sum", "1")))
        elif what == "empty":
            client.sendall(frame(HEADERS, END_HEADERS | END_STREAM, stream, OK + literal("x-member", self.name) + literal("alt-svc", "h3")))
        elif what == "early":
            client.sendall(self._whole(stream) + frame(RST, 0, stream, struct.pack(">I", 0)))
        elif what == "floods":
            client.sendall(frame(SETTINGS) * 3000)
            time.sleep(0.01)
        return True


class Echo:
    """A WebSocket's stream: what came goes back, within the stream's window (the connection's is large)."""

    def __init__(self, client, stream, closes):
        self.client, self.stream, self.closes = client, stream, closes
        self.window, self.waiting, self.ended = 262144, b"", False
        client.sendall(frame(HEADERS, END_HEADERS, stream, OK + literal("sec-websocket-protocol", "chat")))

    def pump(self, more=b"", window=0, ended=False):
        self.waiting, self.window = self.waiting + more, self.window + window
        self.ended |= bool(ended) or (self.closes and bool(self.waiting))
        while self.waiting and self.window > 0:
            piece = self.waiting[:min(16384, self.window)]
            self.client.sendall(frame(DATA, 0, self.stream, piece))
            self.waiting, self.window = self.waiting[len(piece):], self.window - len(piece)
        if self.ended and not self.waiting:
            self.client.sendall(frame(DATA, END_STREAM, self.stream))


EARLY = {"early", "early-refuse"}
