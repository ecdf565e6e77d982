"""The first configuration of README, as it stands there, in front of real servers; the examples of every manual load."""
import os
import re
import glob

import pytest

import gatehttpd
from clients import Crowd, get

TOP = gatehttpd.TOP


def blocks(path):
    """The configurations in a manual: (number, text of each ```apache block)."""
    with open(os.path.join(TOP, path)) as file:
        return list(enumerate(re.findall(r"^```apache\n(.*?)^```", file.read(), re.M | re.S), 1))


def manuals():
    found = []
    for path in sorted(glob.glob(os.path.join(TOP, "modules", "*", "README"))):
        name = os.path.relpath(path, TOP)
        module = os.path.basename(os.path.dirname(path))
        found += [pytest.param(module, text, id=f"{module}-{n}") for n, text in blocks(name)]
    return found


@pytest.mark.needs("gate", "gate_upstream")
def test_first_configuration(lab):
    (_, text), = blocks("README")
    assert len([line for line in text.splitlines() if line.strip()]) <= 10
    members = lab.upstreams(3)
    for port, member in zip((8081, 8082, 8083), members):
        assert f"127.0.0.1:{port}" in text
        text = text.replace(f"127.0.0.1:{port}", member.authority)
    httpd = lab.httpd(text)
    httpd.expect(r"\[proxy|\[gate_upstream:")
    with Crowd(httpd.port, clients=8) as crowd:
        crowd.wait(200)
        members[0].kill9()
        crowd.wait(200)
    assert not crowd.failures
    assert set(crowd.members) == {"m1", "m2", "m3"}
    assert get(httpd, "/x?y").json()["target"] == "/x?y"


@pytest.mark.parametrize("module,text", manuals())
def test_example_of_a_manual_loads(lab, module, text):
    """Each ```apache block of modules/NAME/README is a configuration that httpd -t accepts by itself."""
    name = "gate" if module == "core" else f"gate_{module}"
    if not gatehttpd.built(name):
        pytest.skip(f"{name} is not built")
    good, said = lab.httpd(text, start=False).check()
    assert good, f"{text}\n{said}"
