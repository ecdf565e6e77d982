"""Fixtures of the httpd suite. lab: servers for one test; module_lab: servers shared by the tests of a file."""
import os
import sys

import pytest

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

import gatehttpd  # noqa: E402  (after the path is set)
import procs  # noqa: E402
from lab import Lab  # noqa: E402

OPEN_LABS = []


def pytest_configure(config):
    procs.sweep_dirs()
    config.addinivalue_line("markers", "needs(*names): skipped unless these modules of ours are built")


def pytest_runtest_setup(item):
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


def _ended(lab):
    problems = lab.close()
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
    if problems:
        pytest.fail("unexpected in the error log:\n  " + "\n  ".join(problems), pytrace=False)
