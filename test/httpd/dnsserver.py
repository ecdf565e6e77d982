"""A scripted DNS server on UDP and TCP of one loopback port."""
import socket
import struct
import threading

import procs

TYPES = {"A": 1, "CNAME": 5, "AAAA": 28, "SRV": 33}


def wire_name(name):
    return b"".join(bytes([len(part)]) + part.encode() for part in name.rstrip(".").split(".")) + b"\0"


def rdata(kind, value):
    if kind == "A":
        return socket.inet_aton(value)
    if kind == "AAAA":
        return socket.inet_pton(socket.AF_INET6, value)
    if kind == "CNAME":
        return wire_name(value)
    priority, weight, port, target = value
    return struct.pack(">HHH", priority, weight, port) + wire_name(target)


class Dns:
    """
    .set(name, "A", "127.0.0.2", "127.0.0.3", ttl=1)   answers from now on; no values: the name without such records
    .remove(name)                                      NXDOMAIN
    .mode = None | "silent" | "refuse" | "garbage" | "truncate" (UDP only: the answer is to be fetched over TCP)
    .asked: (name, type) of every question
    """

    def __init__(self):
        self.port = procs.free_port()
        self.records, self.mode, self.asked = {}, None, []
        self.modes = {}  # (name, type): mode, before .mode
        self.udp = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.udp.bind(("127.0.0.1", self.port))
        self.tcp = socket.socket()
        self.tcp.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self.tcp.bind(("127.0.0.1", self.port))
        self.tcp.listen(8)
        self.ending = False
        for target in (self._serve_udp, self._serve_tcp):
            threading.Thread(target=target, daemon=True).start()

    @property
    def address(self):
        return f"127.0.0.1:{self.port}"

    def set(self, name, kind, *values, ttl=1):
        self.records[(name, TYPES[kind])] = [(TYPES[kind], rdata(kind, v), ttl) for v in values]

    def remove(self, name):
        self.records = {key: value for key, value in self.records.items() if key[0] != name}

    def stop(self):
        self.ending = True
        self.udp.close()
        self.tcp.close()

    def answer(self, question, tcp):
        at, labels = 12, []
        while question[at]:
            labels.append(question[at + 1:at + 1 + question[at]].decode())
            at += 1 + question[at]
        name, kind = ".".join(labels).lower(), struct.unpack(">H", question[at + 1:at + 3])[0]
        asked = question[12:at + 5]
        self.asked.append((name, kind))
        mode = self.modes.get((name, kind), self.mode)
        if mode == "silent":
            return None
        if mode == "garbage":
            return question[:2] + b"\xff" * 20
        known = any(key[0] == name for key in self.records)
        flags = 0x8180 | (5 if mode == "refuse" else 0 if known else 3)
        records = [] if mode == "refuse" else self.records.get((name, kind), [])
        if mode == "truncate" and not tcp:
            return question[:2] + struct.pack(">HHHHH", flags | 0x0200, 1, 0, 0, 0) + asked
        body = b""
        for kind_of, data, ttl in records:
            body += b"\xc0\x0c" + struct.pack(">HHIH", kind_of, 1, ttl, len(data)) + data
        return question[:2] + struct.pack(">HHHHH", flags, 1, len(records), 0, 0) + asked + body

    def _serve_udp(self):
        while not self.ending:
            try:
                question, peer = self.udp.recvfrom(4096)
                answer = self.answer(question, tcp=False)
                if answer:
                    self.udp.sendto(answer, peer)
            except OSError:
                if self.ending:
                    return

    def _serve_tcp(self):
        while not self.ending:
            try:
                peer, _ = self.tcp.accept()
                with peer:
                    size = struct.unpack(">H", peer.recv(2, socket.MSG_WAITALL))[0]
                    answer = self.answer(peer.recv(size, socket.MSG_WAITALL), tcp=True)
                    if answer:
                        peer.sendall(struct.pack(">H", len(answer)) + answer)
            except (OSError, struct.error):
                if self.ending:
                    return
