"""The first configuration of README, as it stands there, in front of real servers."""
import os
import re

import pytest

import gatehttpd
from clients import Crowd, get

TOP = gatehttpd.TOP


def first_configuration():
    with open(os.path.join(TOP, "README")) as file:
        text, = re.findall(r"^```apache\n(.*?)^```", file.read(), re.M | re.S)
    return text


@pytest.mark.needs("gate", "gate_upstream")
def test_first_configuration(lab):
    text = first_configuration()
    assert len([line for line in text.splitlines() if line.strip()]) <= 10
    members = lab.upstreams(3)
    for port, member in zip((8081, 8082, 8083), members):
        assert f"127.0.0.1:{port}" in text
        text = text.replace(f"127.0.0.1:{port}", member.authority)
    httpd = lab.httpd(text)
    httpd.expect(r"\[proxy|\[gate_upstream:|\[gate_health:")
    with Crowd(httpd.port, clients=16) as crowd:
        crowd.wait(200)
        members[0].kill9()
        crowd.wait(200)
    assert not crowd.failures
    assert set(crowd.members) == {"m1", "m2", "m3"}
    assert get(httpd, "/x?y").json()["target"] == "/x?y"
