"""SCGI and uwsgi as an application server speaks them; both answer like CGI and close."""
import struct

from wire_http import Buffered, Request


class CgiAnswer:
    """What the two have in common: variables to a request, and the answer."""

    def __init__(self, sock):
        self.sock = sock
        self.input = Buffered(sock)

    @staticmethod
    def request_of(variables):
        headers = [[key[5:].replace("_", "-").lower(), value] for key, value in variables.items()
                   if key.startswith("HTTP_")]
        for key in ("CONTENT_TYPE", "CONTENT_LENGTH"):
            if variables.get(key):
                headers.append([key.replace("_", "-").lower(), variables[key]])
        target = variables.get("REQUEST_URI") or variables.get("PATH_INFO", "/")
        request = Request(variables.get("REQUEST_METHOD", ""), target, variables.get("SERVER_PROTOCOL", ""), headers)
        request.attributes = dict(variables)
        return request

    def read_body(self, request):
        request.body = self.input.exact(int(request.header("content-length") or 0))

    def send_interim(self, status, headers):
        pass

    def send_head(self, request, status, reason, headers, length, chunked, close, trailers):
        first = self.first_line(status, reason or "OK")
        lines = [first] + [f"{k}: {v}" for k, v in headers]
        if status not in (204, 304):
            lines.append(f"Content-Length: {length}")
        self.sock.sendall(("\r\n".join(lines) + "\r\n\r\n").encode("latin-1"))

    def send_body(self, piece):
        self.sock.sendall(piece)

    def end(self, trailers, keep):
        raise ValueError("one request per connection")


class Scgi(CgiAnswer):
    def read_head(self):
        length = self.input.until(b":")
        if length is None:
            return None
        words = self.input.exact(int(length)).decode("latin-1").split("\0")
        self.input.exact(1)
        return self.request_of(dict(zip(words[0::2], words[1::2])))

    @staticmethod
    def first_line(status, reason):
        return f"Status: {status} {reason}"


class Uwsgi(CgiAnswer):
    def read_head(self):
        if not self.input.data and not self.input.fill():
            return None
        _, length, _ = struct.unpack("<BHB", self.input.exact(4))
        data = self.input.exact(length)
        words, at = [], 0
        while at < len(data):
            size = struct.unpack_from("<H", data, at)[0]
            words.append(data[at + 2:at + 2 + size].decode("latin-1"))
            at += 2 + size
        return self.request_of(dict(zip(words[0::2], words[1::2])))

    @staticmethod
    def first_line(status, reason):
        return f"HTTP/1.1 {status} {reason}"
