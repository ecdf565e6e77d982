"""
Fixtures of the httpd suite. lab: servers for one test; module_lab: servers shared by the tests of a file.
GATE_PLANE=express runs everything with GateEngine on, GATE_PLANE=h2 over HTTP/2 besides.
"""
import collections
import os
import sys

import pytest

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

import gatehttpd  # noqa: E402  (after the path is set)
import h2client  # noqa: E402
import procs  # noqa: E402
from lab import Lab  # noqa: E402

OPEN_LABS = []
REQUESTS = collections.Counter()  # by what they came over and the plane that answered, of all labs so far


def pytest_configure(config):
    procs.sweep_dirs()
    if gatehttpd.PLANE not in gatehttpd.PLANES:
        raise pytest.UsageError(f"GATE_PLANE={gatehttpd.PLANE} is none of {', '.join(gatehttpd.PLANES)}, h2")
    config.addinivalue_line("markers", "needs(*names): skipped unless these modules of ours are built")
    config.addinivalue_line("markers", "plane(name): runs on this plane only")
    config.addinivalue_line("markers", "once(why): is about neither plane: runs once, with the classic plane's scenarios")
    config.addinivalue_line("markers", "h1(why): is about what HTTP/2 does not have, and does not run over it")


def pytest_runtest_setup(item):
    if gatehttpd.PLANE == "express" and not gatehttpd.built("gate_engine"):
        pytest.skip("not built: gate_engine")
    for mark in item.iter_markers("plane"):
        if gatehttpd.PLANE not in mark.args:
            pytest.skip("is about the plane " + ", ".join(mark.args))
    if gatehttpd.RUN != "classic":
        for mark in item.iter_markers("once"):
            pytest.skip("runs once: " + mark.args[0])
        if getattr(item, "callspec", None) and item.callspec.params.get("mpm", "event") != "event":
            pytest.skip("runs once: other MPMs have the classic plane only")
    for mark in item.iter_markers("h1"):
        if gatehttpd.H2:
            pytest.skip("not over HTTP/2: " + mark.args[0])
    for mark in item.iter_markers("needs"):
        missing = [name for name in mark.args if not gatehttpd.built(name)]
        if missing:
            pytest.skip("not built: " + ", ".join(missing))


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item, call):
    """A failed test shows the error logs of its servers."""
    report = (yield).get_result()
    if report.failed:
        for lab in OPEN_LABS:
            for httpd in lab.httpds():
                report.sections.append((f"error log of {httpd.root}", httpd.error_log()[-6000:]))
                text = httpd.read_file("logs/stderr.log")[-3000:]
                if text:
                    report.sections.append((f"stderr of {httpd.root}", text))


def pytest_sessionfinish(session):
    """Workers of xdist hand their counts to the run that started them."""
    output = getattr(session.config, "workeroutput", None)
    if output is not None:
        output["gate_requests"] = dict(REQUESTS)


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node, error):
    REQUESTS.update(getattr(node, "workeroutput", {}).get("gate_requests", {}))


def pytest_terminal_summary(terminalreporter):
    """That nothing of a run on the express plane was express would otherwise go unseen."""
    if gatehttpd.PLANE != "classic":
        answered = ", ".join(f"{count} {plane}" for plane, count in sorted(REQUESTS.items(), reverse=True))
        terminalreporter.write_line(f"requests by wire and plane: {answered or 'none'}")


def _ended(lab):
    problems = lab.close()
    for httpd in lab.httpds():
        REQUESTS.update(httpd.wires())
    OPEN_LABS.remove(lab)
    lab.remove()
    if problems:
        pytest.fail("after the test:\n  " + "\n  ".join(problems), pytrace=False)


@pytest.fixture
def lab():
    one = Lab()
    OPEN_LABS.append(one)
    yield one
    _ended(one)


@pytest.fixture(scope="module")
def module_lab():
    one = Lab()
    OPEN_LABS.append(one)
    yield one
    _ended(one)


@pytest.fixture(autouse=True)
def no_surprises():
    """Unexpected lines in the log of a shared server count against the test that caused them."""
    yield
    problems = [line for lab in OPEN_LABS for line in lab.surprises()]
    faults, h2client.FAULTS[:] = h2client.FAULTS[:], []
    if problems:
        pytest.fail("unexpected in the error log:\n  " + "\n  ".join(problems), pytrace=False)
    if faults:
        pytest.fail("what python3-h2 calls an error of the server:\n  " + "\n  ".join(faults), pytrace=False)
