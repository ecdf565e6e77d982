"""What the cache's tests share: one httpd with a cached location in front of a scripted member."""
import re

import gatehttpd
from clients import request
from groups import MEMBER_TROUBLE, NO_OUTLIER, group

CONF = """
GateCacheSize 16M
GateCacheMaxObject 1M
<Location "/c/">
  GateCache on {cache}
  {more}
</Location>
{route}
{rest}
"""


def route_to(member):
    """Classic: past mod_gate_upstream, which the cache does not need. Express is what leads to a group; it is to be as plain as that."""
    if gatehttpd.PLANE == "classic":
        return f'ProxyPass "/c/" "{member.url}/c/"'
    return group("cached", [member], "GateRetry attempts=1", *NO_OUTLIER) + 'ProxyPass "/c/" "gate://cached/c/"'

CC = "Cache-Control"
ANY = (("X-Probe", "1"),)


class Site:
    def __init__(self, lab, cache="", more="", rest="", **words):
        self.lab = lab
        self.member = lab.upstream()
        words.setdefault("children", 2)
        self.httpd = lab.httpd(conf=CONF.format(cache=cache, more=more, rest=rest, route=route_to(self.member)), **words)
        if gatehttpd.PLANE != "classic":
            self.httpd.expect(*MEMBER_TROUBLE)

    def says(self, body=b"hello", path=None, status=200, headers=(), **words):
        """What the member answers from now on; headers as pairs or a Cache-Control text."""
        pairs = [[CC, headers]] if isinstance(headers, str) else [list(pair) for pair in headers]
        if not any(k in words for k in ("size", "raw")):
            words["body"] = body if isinstance(body, str) else body.decode("latin-1")
        self.member.behave({}, path=path, status=status, headers=pairs, **words)
        return self

    def get(self, path="/c/a", method="GET", headers=(), **words):
        return request(self.httpd, path, method, headers, **words)

    @property
    def asked(self):
        """How many requests the member has had."""
        return self.member.count


def status_of(answer):
    """The last member of Cache-Status as a dict: {"hit": True} or {"fwd": "uri-miss", "stored": True, ..}."""
    last = (answer.header("Cache-Status") or "").split(",")[-1].strip()
    parts = [p.strip() for p in last.split(";")]
    assert parts[0] == "gatehouse", answer.headers
    return {k: (v if eq else True) for k, eq, v in (p.partition("=") for p in parts[1:])}


def is_hit(answer):
    return "hit" in status_of(answer)


def age_of(answer):
    return int(re.fullmatch(r"\d+", answer.header("Age")).group())
