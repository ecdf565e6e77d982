"""A server that speaks just enough HTTP/2 (RFC 9113, cleartext) to answer one gRPC call on each connection, as scripted."""
import socket
import threading

import procs

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
DATA, HEADERS, SETTINGS, PING = 0, 1, 4, 6
END_STREAM, ACK, END_HEADERS = 1, 1, 4


def framed(message):
    """A gRPC message with its prefix."""
    return b"\0" + len(message).to_bytes(4, "big") + message


def frame(kind, flags, stream, payload=b""):
    return len(payload).to_bytes(3, "big") + bytes([kind, flags]) + stream.to_bytes(4, "big") + payload


def fields(*pairs):
    """A field block without compression: each a literal without indexing."""
    return b"".join(b"\0" + bytes([len(n)]) + n.encode() + bytes([len(v)]) + v.encode() for n, v in pairs)


class GrpcServer:
    """answer: bytes of the DATA frame, None for a trailers-only answer; status: grpc-status, None leaves it out. asked: what came."""

    def __init__(self, answer=framed(b"\x08\x01"), status="0", http_status="200"):
        self.answer, self.status, self.http_status = answer, status, http_status
        self.port = procs.free_port()
        self.asked = []
        self.socket = socket.create_server(("127.0.0.1", self.port), backlog=128)
        self.thread = threading.Thread(target=self._serve, daemon=True)
        self.thread.start()

    @property
    def url(self):
        return f"h2c://127.0.0.1:{self.port}"

    def stop(self):
        self.socket.shutdown(socket.SHUT_RDWR)
        self.socket.close()
        self.thread.join(5)

    def _serve(self):
        while True:
            try:
                client, _ = self.socket.accept()
            except OSError:
                return
            with client:
                client.settimeout(5)
                try:
                    self._talk(client, client.makefile("rb"))
                except (OSError, ValueError):
                    pass

    def _talk(self, client, reader):
        if reader.read(len(PREFACE)) != PREFACE:
            return
        client.sendall(frame(SETTINGS, 0, 0))
        body = b""
        while True:
            head = reader.read(9)
            if len(head) < 9:
                return
            payload = reader.read(int.from_bytes(head[:3], "big"))
            kind, flags, stream = head[3], head[4], int.from_bytes(head[5:], "big")
            if kind == SETTINGS and not flags & ACK:
                client.sendall(frame(SETTINGS, ACK, 0))
            elif kind == PING and not flags & ACK:
                client.sendall(frame(PING, ACK, 0, payload))
            elif kind in (HEADERS, DATA):
                body += payload if kind == DATA else b""
                if flags & END_STREAM:
                    self.asked.append(body)
                    self._answer(client, stream)
                    body = b""

    def _answer(self, client, stream):
        head = [(":status", self.http_status), ("content-type", "application/grpc")]
        end = [("grpc-status", self.status)] if self.status is not None else [("x-end", "1")]
        if self.answer is None:
            client.sendall(frame(HEADERS, END_HEADERS | END_STREAM, stream, fields(*head, *end)))
            return
        client.sendall(frame(HEADERS, END_HEADERS, stream, fields(*head)) + frame(DATA, 0, stream, self.answer)
                       + frame(HEADERS, END_HEADERS | END_STREAM, stream, fields(*end)))
