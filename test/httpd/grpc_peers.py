"""gRPC that nobody here wrote: servers and clients of python3-grpcio. A message is bytes."""
import os
import sys

import grpc

import procs
from upstreams import HERE, answers


class GrpcMember:
    """A server process of member/grpc_member.py."""

    def __init__(self, name="g1"):
        self.name = name
        self.dir = procs.temp_dir()
        self.port = procs.free_port()
        self.url = f"h2c://127.0.0.1:{self.port}"
        self.process = None

    def start(self):
        self.process = procs.Process(f"gRPC {self.name}", [sys.executable, os.path.join(HERE, "member", "grpc_member.py"), str(self.port),
                                                           self.name], os.path.join(self.dir, "output")).start()

        def ready():
            assert self.process.alive(), "the gRPC server did not start:\n" + self.process.output()
            return answers(("127.0.0.1", self.port))
        procs.wait_until(ready, 20, f"gRPC {self.name} listens")
        return self

    def stop(self):
        if self.process is not None:
            self.process.stop()

    def kill9(self):
        self.process.kill9()

    def ports(self):
        return [self.port]

    def remove(self):
        procs.remove_dir(self.dir)


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
