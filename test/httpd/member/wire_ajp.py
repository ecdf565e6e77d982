"""
AJP13 as a servlet container speaks it (Apache Tomcat Connectors, "AJP Protocol Reference v1.3"):
forward request, body packets, CPing; send headers, body chunk, end response, get body chunk.
"""
import struct

from wire_http import Buffered, Request

METHODS = {1: "OPTIONS", 2: "GET", 3: "HEAD", 4: "POST", 5: "PUT", 6: "DELETE", 7: "TRACE", 8: "PROPFIND",
           9: "PROPPATCH", 10: "MKCOL", 11: "COPY", 12: "MOVE", 13: "LOCK", 14: "UNLOCK", 15: "ACL", 16: "REPORT",
           17: "VERSION-CONTROL", 18: "CHECKIN", 19: "CHECKOUT", 20: "UNCHECKOUT", 21: "SEARCH"}
HEADERS = ["accept", "accept-charset", "accept-encoding", "accept-language", "authorization", "connection",
           "content-type", "content-length", "cookie", "cookie2", "host", "pragma", "referer", "user-agent"]
ATTRIBUTES = {1: "context", 2: "servlet_path", 3: "remote_user", 4: "auth_type", 5: "query_string", 6: "jvm_route",
              7: "ssl_cert", 8: "ssl_cipher", 9: "ssl_session", 11: "ssl_key_size", 12: "secret", 13: "stored_method"}
FORWARD_REQUEST, SEND_BODY, SEND_HEADERS, END_RESPONSE, GET_BODY, CPONG, CPING = 2, 3, 4, 5, 6, 9, 10


class Packet:
    """A cursor over the payload of one packet."""

    def __init__(self, data):
        self.data = data
        self.at = 0

    def byte(self):
        self.at += 1
        return self.data[self.at - 1]

    def short(self):
        self.at += 2
        return struct.unpack_from(">H", self.data, self.at - 2)[0]

    def string(self):
        length = self.short()
        return self.string_of(length)

    def string_of(self, length):
        if length == 0xFFFF:
            return ""
        text = self.data[self.at:self.at + length].decode("latin-1")
        self.at += length + 1
        return text


def string(text):
    raw = text.encode("latin-1")
    return struct.pack(">H", len(raw)) + raw + b"\0"


class Wire:
    def __init__(self, sock):
        self.sock = sock
        self.input = Buffered(sock)

    def _read_packet(self):
        head = self.input.data or self.input.fill()
        if not head:
            return None
        magic, length = struct.unpack(">HH", self.input.exact(4))
        if magic != 0x1234:
            raise ValueError("not an AJP packet")
        return self.input.exact(length)

    def _send(self, code, payload=b""):
        self.sock.sendall(b"AB" + struct.pack(">HB", len(payload) + 1, code) + payload)

    def read_head(self):
        while True:
            data = self._read_packet()
            if data is None:
                return None
            if data[0] == CPING:
                self._send(CPONG)
                continue
            if data[0] != FORWARD_REQUEST:
                raise ValueError(f"unexpected AJP packet {data[0]}")
            return self._forward_request(Packet(data))

    @staticmethod
    def _forward_request(packet):
        packet.byte()
        method = METHODS.get(packet.byte(), "")
        version, uri, address = packet.string(), packet.string(), packet.string()
        packet.string()
        name, port, tls = packet.string(), packet.short(), packet.byte()
        headers = []
        for _ in range(packet.short()):
            word = packet.short()
            key = HEADERS[(word & 0xFF) - 1] if word >> 8 == 0xA0 else packet.string_of(word)
            headers.append([key, packet.string()])
        attributes = {"remote_addr": address, "server_name": name, "server_port": port, "is_ssl": bool(tls)}
        while True:
            code = packet.byte()
            if code == 0xFF:
                break
            if code == 10:
                key = packet.string()
                attributes[key] = packet.string()
            elif code == 11:
                attributes["ssl_key_size"] = packet.short()
            else:
                attributes[ATTRIBUTES.get(code, str(code))] = packet.string()
        query = attributes.get("query_string")
        request = Request(attributes.get("stored_method", method), uri + ("?" + query if query else ""), version, headers)
        request.attributes = attributes
        return request

    def read_body(self, request):
        length = request.header("content-length")
        chunked = "chunked" in request.header("transfer-encoding").lower()
        if not chunked and not int(length or 0):
            return
        parts, have = [], 0
        # the first packet comes by itself, all others are asked for
        while chunked or have < int(length):
            if parts:
                self._send(GET_BODY, struct.pack(">H", 8186))
            data = self._read_packet()
            if data is None:
                raise ValueError("connection ended in the body")
            size = struct.unpack(">H", data[:2])[0] if len(data) >= 2 else 0
            if size == 0:
                break
            parts.append(data[2:2 + size])
            have += size
        request.body = b"".join(parts)

    def send_interim(self, status, headers):
        pass

    def send_head(self, request, status, reason, headers, length, chunked, close, trailers):
        pairs = list(headers) + ([] if chunked or status in (204, 304) else [["Content-Length", str(length)]])
        payload = struct.pack(">H", status) + string(reason or "OK") + struct.pack(">H", len(pairs))
        for key, value in pairs:
            payload += string(key) + string(value)
        self._send(SEND_HEADERS, payload)

    def send_body(self, piece):
        for at in range(0, len(piece), 8000):
            part = piece[at:at + 8000]
            self._send(SEND_BODY, struct.pack(">H", len(part)) + part + b"\0")

    def end(self, trailers, keep):
        self._send(END_RESPONSE, bytes([1 if keep else 0]))
