#!/usr/bin/python3
"""
slow.py PORT COUNT SECONDS PATH - so many clients at once, each with a byte a second: every second one asks so slowly (one request after
the other on its connection), the others read the answer so slowly. Prints what became of them as JSON:
alive, rounds (how often everybody had its turn: at most one a second), answers (whole ones), bytes (sent slowly), read,
failures (the first few, in words), lost (how many failed).
"""
import json
import selectors
import socket
import sys
import time

STEP = 1.0


class Client:
    def __init__(self, port, path, is_reader):
        self.is_reader = is_reader
        self.request = f"GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode()
        self.sent, self.got = 0, b""
        self.sock = socket.socket()
        if is_reader:
            self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 2048)
        self.sock.connect(("127.0.0.1", port))
        self.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.sock.setblocking(False)


class Slow:
    def __init__(self, port, count, path):
        self.chooser = selectors.DefaultSelector()
        self.rounds = self.answers = self.bytes = self.read = self.lost = 0
        self.failures = []
        self.clients = []
        for number in range(count):
            client = Client(port, path, number % 2 == 1)
            if client.is_reader:
                client.sock.send(client.request)
            else:
                # they are not all at the same byte, so their requests do not end all at once
                client.sent = number // 2 % len(client.request)
                client.sock.send(client.request[:client.sent])
                self.chooser.register(client.sock, selectors.EVENT_READ, client)
            self.clients.append(client)

    def fail(self, client, why):
        self.lost += 1
        self.failures = (self.failures + [why])[:5]
        if not client.is_reader:
            self.chooser.unregister(client.sock)
        client.sock.close()
        self.clients.remove(client)

    def step(self, client):
        """Its byte of this second."""
        try:
            if client.is_reader:
                got = client.sock.recv(1)
                if not got:
                    self.fail(client, "a reader was cut off")
                self.read += len(got)
                client.got += got if len(client.got) < 12 else b""
                if len(client.got) == 12 and not client.got.endswith(b" 200"):
                    self.fail(client, f"reader: {client.got!r}")
            elif client.sent < len(client.request):
                client.sock.send(client.request[client.sent:client.sent + 1])
                client.sent += 1
                self.bytes += 1
        except BlockingIOError:
            pass
        except OSError as error:
            self.fail(client, f"{'reader' if client.is_reader else 'writer'}: {error}")

    def hear(self, client):
        """A writer's answer, which it takes as it comes."""
        try:
            got = client.sock.recv(1 << 16)
        except OSError as error:
            self.fail(client, f"writer: {error}")
            return
        if not got:
            self.fail(client, f"a writer was cut off after {client.sent} bytes and {client.got[:100]!r}")
            return
        client.got += got
        head, mark, body = client.got.partition(b"\r\n\r\n")
        if not mark:
            return
        if not head.startswith(b"HTTP/1.1 200 "):
            self.fail(client, f"answer {head[:100]!r}")
            return
        length = next(int(line.split(b":")[1]) for line in head.split(b"\r\n") if line.lower().startswith(b"content-length:"))
        if len(body) >= length:
            self.answers += 1
            client.sent, client.got = 0, b""

    def run(self, seconds):
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            begun = time.monotonic()
            todo = list(self.clients)
            # a hundredth of them at a time, as if they did not know of one another
            for part in range(100):
                for client in todo[part::100]:
                    if client.sock.fileno() >= 0:
                        self.step(client)
                pause = begun + (part + 1) * STEP / 100 - time.monotonic()
                for key, _ in self.chooser.select(max(0.0, pause)):
                    self.hear(key.data)
                rest = begun + (part + 1) * STEP / 100 - time.monotonic()
                if rest > 0:
                    time.sleep(rest)
            self.rounds += 1
        return {"alive": len(self.clients), "rounds": self.rounds, "answers": self.answers, "bytes": self.bytes, "read": self.read,
                "failures": self.failures, "lost": self.lost}


def main():
    port, count, seconds, path = int(sys.argv[1]), int(sys.argv[2]), float(sys.argv[3]), sys.argv[4]
    print("connecting", flush=True)
    slow = Slow(port, count, path)
    print("connected", flush=True)
    print(json.dumps(slow.run(seconds)))


if __name__ == "__main__":
    main()
