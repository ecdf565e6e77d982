"""
One member of three fails in its own way under load: what clients of the group see, as the table in modules/health/README says.
Everything is by default but the times, which are short so that the tests are.
"""
import threading
import time

import pytest

from clients import BadAnswer, request
from groups import MEMBER_TROUBLE
from test_health import conf

pytestmark = pytest.mark.needs("gate_upstream", "gate_health")

CLIENTS = 6
ERRORS = 5              # GateOutlier's default
FIRST_BYTE = 0.5
TIMES = "GateTimeout connect=500ms first-byte=500ms idle=500ms"
SLACK = 1.0             # a busy machine is late with everything


class Load:
    """Clients that ask without pause for a while; seen: (status or None when the answer was cut off, member, seconds), in order."""

    def __init__(self, port, seconds, method="GET", clients=CLIENTS):
        self.port, self.method, self.seen = port, method, []
        self.end = time.monotonic() + seconds
        threads = [threading.Thread(target=self._client) for _ in range(clients)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

    def _client(self):
        while time.monotonic() < self.end:
            begun = time.monotonic()
            try:
                answer = request(self.port, "/", self.method, body=b"x" * 100 if self.method == "POST" else None)
                status, member = answer.status, answer.member
            except (OSError, BadAnswer):
                status, member = None, None
            self.seen.append((status, member, time.monotonic() - begun))
            time.sleep(0.005)

    def failed(self, of=None):
        return [one for one in (self.seen if of is None else of) if one[0] != 200]

    def percentile(self, share):
        times = sorted(seconds for _, _, seconds in self.seen)
        return times[min(len(times) - 1, int(share * len(times)))]


def group_of_three(lab, what, *lines):
    members = lab.upstreams(3)
    httpd = lab.httpd(conf(members, TIMES, *lines), threads=32)
    httpd.expect(*MEMBER_TROUBLE)
    members[0].behave(what)
    return httpd, members


def tail_is_good(load):
    """When the member has been ejected, nobody sees anything of it."""
    late = load.seen[len(load.seen) // 2:]
    assert len(late) > 20 and not load.failed(late)
    assert "m1" not in {member for _, member, _ in late}


def test_accepts_and_never_answers(lab):
    """GETs go on to another member when the time for the first byte is over; the member is ejected after five of them."""
    httpd, _ = group_of_three(lab, "hangs")
    load = Load(httpd.port, 4)
    assert not load.failed()
    assert load.percentile(0.99) < FIRST_BYTE + SLACK and load.percentile(1.0) < 2 * FIRST_BYTE + SLACK
    httpd.wait_log("GATE0510: group app: member m1: ejected", timeout=1)
    tail_is_good(load)


def test_accepts_and_never_answers_a_post(lab):
    """What may have been done is not done again: 504 in time, for as many as it takes to eject the member."""
    httpd, _ = group_of_three(lab, "hangs")
    load = Load(httpd.port, 4, method="POST")
    assert 1 <= len(load.failed()) <= ERRORS + CLIENTS and {s for s, _, _ in load.failed()} <= {502, 503, 504}
    assert load.percentile(1.0) < FIRST_BYTE + SLACK
    tail_is_good(load)


def test_resets_in_the_body(lab):
    """Bytes have been passed on: the client's connection is cut, never ended as if the answer were whole; at most until the ejection."""
    httpd, _ = group_of_three(lab, "reset-mid-body")
    load = Load(httpd.port, 4)
    assert 1 <= len(load.failed()) <= ERRORS + CLIENTS
    assert {status for status, _, _ in load.failed()} == {None}
    assert load.percentile(1.0) < FIRST_BYTE + SLACK
    tail_is_good(load)


@pytest.mark.parametrize("method", ["GET", "POST"])
def test_answers_garbage(lab, method):
    """GETs go on to another member; POSTs get 502, and nothing of what it said, at most until the ejection."""
    httpd, _ = group_of_three(lab, "garbage")
    load = Load(httpd.port, 2, method=method)
    if method == "GET":
        assert not load.failed()
    else:
        assert 1 <= len(load.failed()) <= ERRORS + CLIENTS and {s for s, _, _ in load.failed()} == {502}
    tail_is_good(load)


def test_fifty_times_slower(lab):
    """Slow is not down (pain 9): no error, no ejection; a strategy that learns gives it little, so most clients do not wait."""
    members = lab.upstreams(3)
    for member, delay in zip(members, (1.0, 0.02, 0.02)):
        member.behave({"delay": delay})
    httpd = lab.httpd(conf(members, "GateBalance least-time", "GateTimeout first-byte=5s", "GateHealthCheck GET / interval=1s timeout=3s"),
                      threads=32)
    load = Load(httpd.port, 4)
    assert not load.failed()
    assert "GATE0510" not in httpd.error_log() and "GATE0501" not in httpd.error_log()
    assert load.percentile(0.90) < 0.5 and load.percentile(1.0) < 5
    share = len([1 for _, member, _ in load.seen if member == "m1"]) / len(load.seen)
    assert share < 0.15, share
