#!/usr/bin/python3
"""
server.py - a scripted upstream server: one process, one thread per connection.

  server.py CONFIG.json

CONFIG: {"name", "proto": http|ajp|scgi|uwsgi, "host", "port" or "unix", "dir", "cert", "key", "ready_fd", "log"}.
In "dir" it reads behave.json (again whenever it changes; see BEHAVIOUR below), appends one line per request to
requests.jsonl, and counts in stats (64-bit integers: connections, requests, in flight, most in flight, open
connections), so that the test can read both even after the server was killed.

BEHAVIOUR: {"default": B, "script": [B, ...], "paths": {"/path": B}}; a script's entries are used up one per request,
before paths and default. B is a dict, all keys optional:
  status, reason, headers [[name, value]], body, size (bytes of filler), chunked, trailers [[name, value]]
  delay        seconds before the head of the answer          read_delay   seconds before the request's body is read
  pieces, piece_delay   the body in so many pieces, with seconds between them
  interim      [[status, [[name, value]]], ...] sent before the answer
  close        announce and close after the answer            quiet_close  close after the answer without a word
  raw          ["text" | seconds, ...] sent instead of an answer (latin-1), then the connection is closed
  fail         close | reset | hang | exit, at: accept | head | body | answer (half of the body sent)
  redirect     path: a redirect to this server's own address  cookie       a cookie for this server's own name
"""
import hashlib
import json
import mmap
import os
import socket
import struct
import sys
import threading
import time

import wire_ajp
import wire_cgi
import wire_http

WIRES = {"http": wire_http.Wire, "ajp": wire_ajp.Wire, "scgi": wire_cgi.Scgi, "uwsgi": wire_cgi.Uwsgi}
CONNECTIONS, REQUESTS, INFLIGHT, MOST, OPEN = range(5)


class Stats:
    """Counters in a file; slots as named above."""

    def __init__(self, path):
        with open(path, "a+b") as file:
            file.truncate(64)
            self.map = mmap.mmap(file.fileno(), 64)
        self.lock = threading.Lock()
        # those of a server killed before us on the same file
        self.map[INFLIGHT * 8:INFLIGHT * 8 + 8] = bytes(8)
        self.map[OPEN * 8:OPEN * 8 + 8] = bytes(8)

    def get(self, slot):
        return struct.unpack_from("<q", self.map, slot * 8)[0]

    def add(self, slot, n=1):
        with self.lock:
            value = self.get(slot) + n
            struct.pack_into("<q", self.map, slot * 8, value)
            if slot == INFLIGHT and value > self.get(MOST):
                struct.pack_into("<q", self.map, MOST * 8, value)
            return value


class Script:
    """The behaviour file, read again when it changes."""

    def __init__(self, path):
        self.path = path
        self.stamp = None
        self.lock = threading.Lock()
        self.default, self.script, self.paths = {}, [], {}

    def _refresh(self):
        try:
            info = os.stat(self.path)
        except FileNotFoundError:
            return
        stamp = (info.st_mtime_ns, info.st_ino)
        if stamp != self.stamp:
            with open(self.path) as file:
                data = json.load(file)
            self.stamp = stamp
            self.default = data.get("default", {})
            self.script = list(data.get("script", []))
            self.paths = data.get("paths", {})

    def on_accept(self):
        with self.lock:
            self._refresh()
            return self.default if self.default.get("at") == "accept" else {}

    def on_request(self, path):
        with self.lock:
            self._refresh()
            if self.script:
                return self.script.pop(0)
            return self.paths.get(path, self.default)


class Gone(Exception):
    """The connection is to end now."""


class Server:
    def __init__(self, conf):
        self.conf = conf
        self.name = conf["name"]
        self.wire = WIRES[conf.get("proto", "http")]
        self.local = threading.local()
        self.stats = Stats(os.path.join(conf["dir"], "stats"))
        self.script = Script(os.path.join(conf["dir"], "behave.json"))
        self.log = os.open(os.path.join(conf["dir"], "requests.jsonl"), os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
        self.tls = None
        if conf.get("cert"):
            import ssl
            self.tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            self.tls.load_cert_chain(conf["cert"], conf["key"])

    def listen(self):
        if self.conf.get("unix"):
            path = self.conf["unix"]
            if os.path.exists(path):
                os.unlink(path)
            sock = socket.socket(socket.AF_UNIX)
            sock.bind(path)
            os.chmod(path, 0o777)
        else:
            sock = socket.socket(socket.AF_INET6 if ":" in self.conf["host"] else socket.AF_INET)
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            sock.bind((self.conf["host"], self.conf["port"]))
        sock.listen(self.conf.get("backlog", 1024))
        return sock

    def serve(self):
        sock = self.listen()
        if self.conf.get("ready_fd") is not None:
            os.write(self.conf["ready_fd"], b"1")
            os.close(self.conf["ready_fd"])
        while True:
            peer, _ = sock.accept()
            threading.Thread(target=self.connection, args=(peer,), daemon=True).start()

    def connection(self, peer):
        number = self.stats.add(CONNECTIONS)
        self.stats.add(OPEN)
        try:
            if peer.family != socket.AF_UNIX:
                peer.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            act = self.script.on_accept()
            if act:
                self.fail(peer, act)
            if self.tls:
                peer = self.tls.wrap_socket(peer, server_side=True)
            wire = self.wire(peer)
            while self.exchange(wire, peer, number):
                pass
        except (Gone, OSError, ValueError):
            pass
        finally:
            peer.close()
            self.stats.add(OPEN, -1)

    def fail(self, peer, act):
        kind = act["fail"]
        if kind == "hang":
            time.sleep(act.get("seconds", 3600))
        elif kind == "reset":
            peer.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        elif kind == "exit":
            os._exit(9)
        raise Gone

    def exchange(self, wire, peer, number):
        """One request and its answer; whether another may follow."""
        request = wire.read_head()
        if request is None:
            return False
        self.stats.add(REQUESTS)
        self.stats.add(INFLIGHT)
        self.local.counted = True
        try:
            act = self.script.on_request(request.target.split("?")[0])
            at = act.get("at", "body") if "fail" in act else None
            if at == "head":
                self.note(request, number)
                self.fail(peer, act)
            time.sleep(act.get("read_delay", 0))
            wire.read_body(request)
            self.note(request, number)
            if at == "body":
                self.fail(peer, act)
            return self.answer(wire, peer, request, act, number)
        finally:
            self.leave()

    def leave(self):
        """The exchange is over: said before its last byte goes out, since the next one may come the moment it arrives."""
        if self.local.counted:
            self.local.counted = False
            self.stats.add(INFLIGHT, -1)

    def note(self, request, number):
        line = {"time": time.time(), "member": self.name, "connection": number, "method": request.method,
                "target": request.target, "headers": request.headers, "raw": request.raw,
                "body_length": len(request.body), "body_sha256": hashlib.sha256(request.body).hexdigest(),
                "trailers": request.trailers, "attributes": request.attributes}
        os.write(self.log, json.dumps(line).encode() + b"\n")

    def answer(self, wire, peer, request, act, number):
        if "raw" in act:
            self.send_raw(peer, act["raw"])
            return False
        if act.get("delay"):
            time.sleep(act["delay"])
        if self.wire is wire_http.Wire and request.header("upgrade").lower() == "websocket":
            wire.websocket(request, self.name)
            return False
        for status, headers in act.get("interim", []):
            wire.send_interim(status, headers)
        status, headers, body = self.content(request, act, number)
        close, length = bool(act.get("close")), len(body)
        if request.method == "HEAD" or status in (204, 304):
            body = b""
        pieces, has_end = self.pieces(body, act), bool(act.get("chunked") or act.get("trailers"))
        if not body and not has_end:
            self.leave()
        wire.send_head(request, status, act.get("reason"), headers, length, bool(act.get("chunked")), close,
                       act.get("trailers"))
        if act.get("at") == "answer":
            wire.send_body(body[:len(body) // 2])
            self.fail(peer, act)
        for n, piece in enumerate(pieces):
            if n and act.get("piece_delay"):
                time.sleep(act["piece_delay"])
            if n == len(pieces) - 1 and not has_end:
                self.leave()
            wire.send_body(piece)
        self.leave()
        wire.end(act.get("trailers"), keep=not close)
        return not (close or act.get("quiet_close") or request.wants_close)

    def content(self, request, act, number):
        status = act.get("status", 200)
        headers = [["X-Member", self.name], ["X-Connection", str(number)]] + list(act.get("headers", []))
        authority = "%s:%s" % (self.conf.get("host"), self.conf.get("port"))
        if "redirect" in act:
            status = act.get("status", 302)
            scheme = "https" if self.tls else "http"
            headers.append(["Location", f"{scheme}://{authority}{act['redirect']}"])
        if "cookie" in act:
            headers.append(["Set-Cookie", f"{act['cookie']}; Domain={self.conf.get('host')}; Path=/"])
        if "body" in act:
            body = act["body"].encode("latin-1")
        elif "size" in act:
            body = (b"0123456789abcde\n" * (act["size"] // 16 + 1))[:act["size"]]
        else:
            body = json.dumps({"member": self.name, "connection": number, "method": request.method,
                               "target": request.target, "headers": request.headers,
                               "attributes": request.attributes, "body_length": len(request.body),
                               "body_sha256": hashlib.sha256(request.body).hexdigest()}).encode() + b"\n"
            headers.append(["Content-Type", "application/json"])
        return status, headers, body

    @staticmethod
    def pieces(body, act):
        n = max(1, int(act.get("pieces", 1)))
        step = max(1, -(-len(body) // n))
        return [body[i:i + step] for i in range(0, len(body), step)]

    @staticmethod
    def send_raw(peer, parts):
        for part in parts:
            if isinstance(part, (int, float)):
                time.sleep(part)
            else:
                peer.sendall(part.encode("latin-1"))


def main():
    with open(sys.argv[1]) as file:
        conf = json.load(file)
    threading.stack_size(256 * 1024)
    Server(conf).serve()


if __name__ == "__main__":
    main()
