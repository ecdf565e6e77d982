"""
Requests over HTTP/2 by python3-h2, which is strict about what it reads: whatever of ours it calls an error ends the test that asked.
One request at a time on a connection; for many at once: h2load, nghttp, test_engine_h2_others.py.
"""
import ssl

import h2.config
import h2.connection
import h2.errors
import h2.events
import h2.exceptions
import h2.settings

# Ports whose server speaks HTTP/2 in the run GATE_PLANE=h2: what asks there does so over TLS, and over HTTP/2 where it can.
PORTS = set()

# What python3-h2 called an error of the server, in words, over all tests; looked at after each.
FAULTS = []

GOAWAY = 7

# Fields of HTTP/1.1's wire, which no request over HTTP/2 has.
OF_THE_WIRE = {"connection", "transfer-encoding", "upgrade", "keep-alive", "proxy-connection", "te", "http2-settings"}


class Refused(Exception):
    """The server took no notice of the request (GOAWAY, REFUSED_STREAM): RFC 9113, section 8.7, has it sent again elsewhere."""


class BrokenOff(Exception):
    """No whole answer: the stream was reset, or the connection ended."""


def possible(path, method, headers, host, version):
    """Whether such a request can be put over HTTP/2 unchanged."""
    names = [name.lower() for name, _ in headers]
    return (version == "HTTP/1.1" and path.startswith(("/", "*")) and method != "CONNECT" and not OF_THE_WIRE & set(names)
            and (names.count("host") == 1 or (host is not None and "host" not in names)) and path.isascii() and " " not in path
            and method.isascii() and all(name and name == name.strip() and value == value.strip() for name, value in headers))


class Answer:
    """What has come of one answer so far."""

    def __init__(self):
        self.status, self.headers, self.trailers, self.interim, self.parts = None, [], [], [], []
        self.ended = False

    def size(self):
        return sum(map(len, self.parts))


class H2Client:
    """One connection; sock is the TLS socket on which "h2" has been agreed."""

    def __init__(self, sock):
        self.sock = sock
        self.h2 = h2.connection.H2Connection(h2.config.H2Configuration(client_side=True, header_encoding=None))
        self.buffer = b""
        self.last_taken = None  # as GOAWAY has it
        self.h2.initiate_connection()
        self.h2.update_settings({h2.settings.SettingCodes.ENABLE_PUSH: 0})
        self._flush()

    @property
    def going(self):
        """Whether another request may be sent on this connection."""
        return self.last_taken is None

    def ask(self, path, method, headers, body, host):
        """@return an Answer that has come whole"""
        given = {name.lower(): value for name, value in headers}
        lines = [(":method", method), (":scheme", "https"), (":path", path), (":authority", given.get("host", host))]
        lines += [(name.lower(), value) for name, value in headers if name.lower() != "host"]
        data = body.encode() if isinstance(body, str) else (body or b"")
        if body is not None and "content-length" not in given:
            lines.append(("content-length", str(len(data))))
        answer = Answer()
        try:
            self._drain()
            if not self.going:
                raise Refused("the connection had been given up")
            stream = self.h2.get_next_available_stream_id()
            self.h2.send_headers(stream, lines, end_stream=body is None)
            self._flush()
            if body is not None:
                self._send_body(stream, data, answer)
            while not answer.ended:
                self._read(stream, answer)
        except h2.exceptions.ProtocolError as error:
            FAULTS.append(f"{method} {path}: {type(error).__name__}: {error}")
            raise
        answer.body = b"".join(answer.parts)
        return answer

    def ask_all(self, paths, host):
        """GET for all of them at once. @return their Answers, all whole"""
        asked = {}
        try:
            for path in paths:
                stream = self.h2.get_next_available_stream_id()
                self.h2.send_headers(stream, [(":method", "GET"), (":scheme", "https"), (":path", path), (":authority", host)], end_stream=True)
                asked[stream] = Answer()
            self._flush()
            while not all(answer.ended for answer in asked.values()):
                self._take(self.sock.recv(65536), asked)
        except h2.exceptions.ProtocolError as error:
            FAULTS.append(f"{type(error).__name__}: {error}")
            raise
        for answer in asked.values():
            answer.body = b"".join(answer.parts)
        return list(asked.values())

    def _send_body(self, stream, data, answer):
        at = 0
        while not answer.ended:
            room = min(self.h2.local_flow_control_window(stream), self.h2.max_outbound_frame_size)
            part = data[at:at + room]
            if part or not data:
                at += len(part)
                self.h2.send_data(stream, part, end_stream=at == len(data))
                self._flush()
                if at == len(data):
                    return
            else:
                self._read(stream, answer)

    def _drain(self):
        """What came while nobody looked: that the server gives the connection up, for one."""
        timeout = self.sock.gettimeout()
        self.sock.settimeout(0)
        try:
            while self.going:
                self._take(self.sock.recv(65536), {})
        except (BlockingIOError, ssl.SSLWantReadError):
            pass
        except OSError:
            self.last_taken = 0
        finally:
            self.sock.settimeout(timeout)

    def _read(self, stream, answer):
        self._take(self.sock.recv(65536), {stream: answer})

    def _take(self, data, asked):
        """Bytes that came; asked: the Answers that are waited for, by stream."""
        if not data:
            self._closed(asked)
            return
        self.buffer += data
        while len(self.buffer) >= 9 and len(self.buffer) >= 9 + int.from_bytes(self.buffer[:3], "big"):
            size = 9 + int.from_bytes(self.buffer[:3], "big")
            frame, self.buffer = self.buffer[:size], self.buffer[size:]
            if frame[3] == GOAWAY:  # python3-h2 would hear of no stream any more
                self._given_up(int.from_bytes(frame[9:13], "big"), int.from_bytes(frame[13:17], "big"), frame[17:], asked)
            else:
                for event in self.h2.receive_data(frame):
                    self._event(event, asked)
        self._flush()

    def _closed(self, asked):
        taken, self.last_taken = self.last_taken, 0
        if not asked:
            return
        stream, answer = next(iter(asked.items()))
        if taken is not None and stream > taken:
            raise Refused("the connection ended before the request was taken")
        raise BrokenOff(f"connection closed on stream {stream}, status {answer.status}, {answer.size()} bytes of body; last taken {taken}")

    def _given_up(self, last, code, words, asked):
        self.last_taken = last
        if code != 0:
            FAULTS.append(f"GOAWAY {code} {words!r}")
        if any(stream > last for stream in asked):
            raise Refused(f"GOAWAY {code}, streams {list(asked)[:3]} of {last}")

    def _event(self, event, asked):
        stream = getattr(event, "stream_id", None)
        answer = asked.get(stream)
        if isinstance(event, h2.events.DataReceived):
            self.h2.acknowledge_received_data(event.flow_controlled_length, stream)
        if answer is None:
            return
        if isinstance(event, h2.events.InformationalResponseReceived):
            answer.interim.append(int(dict(event.headers)[b":status"]))
        elif isinstance(event, h2.events.ResponseReceived):
            answer.status = int(dict(event.headers)[b":status"])
            answer.headers = _pairs(event.headers)
        elif isinstance(event, h2.events.TrailersReceived):
            answer.trailers = _pairs(event.headers)
        elif isinstance(event, h2.events.DataReceived):
            answer.parts.append(event.data)
        elif isinstance(event, h2.events.StreamEnded):
            answer.ended = True
        elif isinstance(event, h2.events.StreamReset) and not answer.ended:
            if event.error_code == h2.errors.ErrorCodes.REFUSED_STREAM:
                raise Refused("REFUSED_STREAM")
            raise BrokenOff(f"stream reset with {event.error_code!r}, status {answer.status}, {answer.size()} bytes of body")

    def _flush(self):
        data = self.h2.data_to_send()
        if data:
            try:
                self.sock.sendall(data)
            except (BrokenPipeError, ConnectionResetError, TimeoutError):
                # what the server had to say before it closed is read first
                pass


def _pairs(headers):
    return [(name.decode("latin-1"), value.decode("latin-1")) for name, value in headers if not name.startswith(b":")]
