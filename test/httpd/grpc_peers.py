"""gRPC that nobody here wrote: servers and clients of python3-grpcio. A message is bytes."""
import os
import sys

import grpc

from upstreams import HERE, Member


class GrpcMember(Member):
    """A server process of member/grpc_member.py."""
    patience = 20

    def __init__(self, name="g1"):
        super().__init__(name)
        self.url = f"h2c://{self.authority}"

    def start(self):
        return self._run_until_it_listens(f"gRPC {self.name}", [sys.executable, os.path.join(HERE, "member", "grpc_member.py"),
                                                                str(self.port), self.name])


class Calls:
    """A client of one server; port: in the clear; ca: over TLS, with this certificate for its CA."""

    def __init__(self, port, ca=None):
        where = f"localhost:{port}" if ca else f"127.0.0.1:{port}"
        options = [("grpc.enable_http_proxy", 0), ("grpc.use_local_subchannel_pool", 1)]
        self.channel = (grpc.secure_channel(where, grpc.ssl_channel_credentials(ca), options) if ca
                        else grpc.insecure_channel(where, options))

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.channel.close()

    def unary(self, name, message=b"", **words):
        return self.channel.unary_unary(f"/t.Echo/{name}")(message, timeout=words.pop("timeout", 20), **words)

    def unary_call(self, name, message=b"", **words):
        """(answer, call), for its metadata."""
        return self.channel.unary_unary(f"/t.Echo/{name}").with_call(message, timeout=20, **words)

    def stream(self, name, message=b""):
        return self.channel.unary_stream(f"/t.Echo/{name}")(message, timeout=20)

    def collect(self, messages):
        return self.channel.stream_unary("/t.Echo/Collect")(messages, timeout=20)

    def chat(self, messages):
        return self.channel.stream_stream("/t.Echo/Chat")(messages, timeout=20)
