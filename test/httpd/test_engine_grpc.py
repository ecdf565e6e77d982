"""gRPC through the engine: clients and servers of python3-grpcio, in the clear and over TLS, to h2c:// members on event loops."""
import queue
import threading

import grpc
import pytest

from grpc_peers import Calls, GrpcMember
from groups import MEMBER_TROUBLE, NO_OUTLIER, group, route
from procs import wait_until
from clients import get

pytestmark = pytest.mark.needs("gate_upstream", "gate_engine")

STATUS = '<Location "/gate-status">\nSetHandler gate-status\n</Location>\nProxyPass "/gate-status" "!"\n'


def serve(lab, members, *lines, plane="express", **words):
    words.setdefault("children", 1)
    return lab.httpd(STATUS + group("app", members, *(lines or NO_OUTLIER)) + route(), plane=plane, h2=True, **words)


def member(lab, name="g1"):
    return lab.keep(GrpcMember(name)).start()


def inflight(httpd):
    return sum(m["inflight"] for m in get(httpd.port, "/gate-status/status.json").json()["groups"][0]["members"])


@pytest.fixture(scope="module")
def one(module_lab):
    httpd = serve(module_lab, [member(module_lab)])
    with Calls(httpd.port) as calls:
        yield httpd, calls


def test_unary(one):
    httpd, calls = one
    answer, call = calls.unary_call("Unary", b"hello", metadata=(("x-ask", "this"),))
    assert answer == b"hello"
    assert dict(call.initial_metadata())["x-member"] == "g1"
    trailing = dict(call.trailing_metadata())
    assert (trailing["x-count"], trailing["x-bin"]) == ("5", b"\0\xff")
    assert call.code() == grpc.StatusCode.OK
    line = httpd.access(1)[-1]
    assert (line["plane"], line["member"], line["tries"], line["status"]) == ("express", "g1", "1", 200)
    assert int(line["first_byte_us"]) > 0


@pytest.mark.parametrize("size", [0, 1, 16_000, 100_000, 3_000_000])
def test_messages_of_every_size(one, size):
    assert one[1].unary("Unary", b"x" * size) == b"x" * size


def test_server_streaming(one):
    assert list(one[1].stream("Repeat", b"500:" + b"y" * 1000)) == [b"y" * 1000] * 500


def test_client_streaming(one):
    assert one[1].collect(iter([b"z" * 1000] * 500)) == b"500:500000"
    assert one[1].collect(iter([])) == b"0:0"


def test_bidi_streaming(one):
    """Each message is sent when the answer to the one before has come: nothing waits for an end."""
    ask = queue.Queue()
    answers = one[1].chat(iter(ask.get, None))
    for n in range(20):
        ask.put(b"%d" % n)
        assert next(answers) == b"%d" % n
    ask.put(None)
    assert list(answers) == []


def test_bidi_of_much_both_ways(one):
    assert sum(len(m) for m in one[1].chat(iter([b"m" * 50_000] * 100))) == 5_000_000


def test_error_statuses(one):
    with pytest.raises(grpc.RpcError) as refused: # an answer of trailers alone
        one[1].unary("Refuse")
    assert (refused.value.code(), refused.value.details()) == (grpc.StatusCode.NOT_FOUND, "no such thing: ümlaut")
    with pytest.raises(grpc.RpcError) as unknown:
        one[1].unary("Nonsense")
    assert unknown.value.code() == grpc.StatusCode.UNIMPLEMENTED
    got = []
    with pytest.raises(grpc.RpcError) as broken:
        for message in one[1].stream("Break"):
            got.append(message)
    assert (got, broken.value.code()) == ([b"one", b"two"], grpc.StatusCode.DATA_LOSS)


def test_deadline_and_cancel(one):
    httpd, calls = one
    with pytest.raises(grpc.RpcError) as late:
        calls.unary("Wait", b"3", timeout=0.3)
    assert late.value.code() == grpc.StatusCode.DEADLINE_EXCEEDED
    ask = queue.Queue()
    answers = calls.chat(iter(ask.get, None))
    ask.put(b"1")
    assert next(answers) == b"1"
    answers.cancel()
    ask.put(None)
    wait_until(lambda: inflight(httpd) == 0, 10, "nothing in flight")


def test_many_at_once_share_a_connection(one):
    httpd, calls = one
    failed = []

    def work():
        for n in range(30):
            text = b"%d" % n
            try:
                if calls.unary("Unary", text) != text:
                    failed.append("another's answer")
            except grpc.RpcError as error:
                failed.append(error.details())
    threads = [threading.Thread(target=work) for _ in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failed
    assert inflight(httpd) == 0
    assert httpd.planes().get("classic", 0) <= sum("gate-status" in line["uri"] for line in httpd.access())


def test_over_tls(lab):
    httpd = lab.httpd(group("app", [member(lab)]), vhost=route(), plane="express", tls=True, h2=True, children=1)
    with Calls(httpd.tls_port, ca=httpd.read_file("conf/cert.pem").encode()) as calls:
        assert calls.unary("Unary", b"hello") == b"hello"
        assert sum(len(m) for m in calls.chat(iter([b"m" * 5000] * 20))) == 100_000
    assert httpd.planes(2) == {"express": 2}


def test_no_member_is_an_error_that_grpc_knows(lab):
    httpd = serve(lab, [lab.refusing().url.replace("http:", "h2c:")])
    httpd.expect(*MEMBER_TROUBLE)
    with Calls(httpd.port) as calls, pytest.raises(grpc.RpcError) as nobody:
        calls.unary("Unary", b"x")
    assert nobody.value.code() == grpc.StatusCode.UNAVAILABLE


def test_killed_under_load(lab):
    """What had not been answered may fail, as gRPC's POST must not be sent twice; all else goes to the other, and nothing stays counted."""
    members = [member(lab, "g1"), member(lab, "g2")]
    httpd = serve(lab, members)
    httpd.expect(*MEMBER_TROUBLE)
    stop, done, failures = threading.Event(), [0], []

    def work(calls):
        while not stop.is_set():
            try:
                assert calls.unary("Unary", b"x") == b"x"
                done[0] += 1
            except grpc.RpcError as error:
                failures.append(error.code())
    with Calls(httpd.port) as calls:
        threads = [threading.Thread(target=work, args=(calls,)) for _ in range(8)]
        for thread in threads:
            thread.start()
        wait_until(lambda: done[0] > 100, 20, "calls")
        members[0].kill9()
        before = done[0]
        wait_until(lambda: done[0] > before + 200, 20, "more calls")
        stop.set()
        for thread in threads:
            thread.join()
        assert len(failures) <= 8 and set(failures) <= {grpc.StatusCode.UNAVAILABLE}, failures
        wait_until(lambda: inflight(httpd) == 0, 10, "nothing in flight")
