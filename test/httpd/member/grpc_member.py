"""
A gRPC server (python3-grpcio) with bytes for messages: grpc_member.py PORT NAME.
/t.Echo/Unary    the message, with initial metadata x-member and trailing metadata x-count
/t.Echo/Repeat   the message "TIMES:TEXT" answered with TEXT so many times
/t.Echo/Collect  how many messages and bytes came
/t.Echo/Chat     each message at once, until the client ends
/t.Echo/Refuse   NOT_FOUND before any message; /t.Echo/Break  DATA_LOSS after two; /t.Echo/Wait  answers after a while
"""
import sys
import time
from concurrent import futures

import grpc

PORT, NAME = int(sys.argv[1]), sys.argv[2]


def unary(message, context):
    asked = dict(context.invocation_metadata())
    context.send_initial_metadata((("x-member", NAME), ("x-asked", asked.get("x-ask", "-"))))
    context.set_trailing_metadata((("x-count", str(len(message))), ("x-bin", b"\0\xff")))
    return message


def repeat(message, context):
    times, text = message.split(b":", 1)
    for _ in range(int(times)):
        yield text


def collect(messages, context):
    count = size = 0
    for message in messages:
        count, size = count + 1, size + len(message)
    return b"%d:%d" % (count, size)


def chat(messages, context):
    for message in messages:
        yield message


def refuse(message, context):
    context.abort(grpc.StatusCode.NOT_FOUND, "no such thing: ümlaut")


def broken(message, context):
    yield b"one"
    yield b"two"
    context.abort(grpc.StatusCode.DATA_LOSS, "gone")


def wait(message, context):
    time.sleep(float(message))
    return b"late"


CALLS = {
    "Unary": grpc.unary_unary_rpc_method_handler(unary), "Repeat": grpc.unary_stream_rpc_method_handler(repeat),
    "Collect": grpc.stream_unary_rpc_method_handler(collect), "Chat": grpc.stream_stream_rpc_method_handler(chat),
    "Refuse": grpc.unary_unary_rpc_method_handler(refuse), "Break": grpc.unary_stream_rpc_method_handler(broken),
    "Wait": grpc.unary_unary_rpc_method_handler(wait),
}

server = grpc.server(futures.ThreadPoolExecutor(max_workers=32), options=[("grpc.so_reuseport", 0)])
server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler("t.Echo", CALLS),))
if not server.add_insecure_port(f"127.0.0.1:{PORT}"):
    sys.exit("the port is taken")
server.start()
server.wait_for_termination()
