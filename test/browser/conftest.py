"""The fixtures of the httpd suite, and browser: a chromium (browser.mjs) with methods named as its commands."""
import importlib.util
import json
import os
import shutil
import subprocess
import sys

import pytest

HERE = os.path.dirname(os.path.abspath(__file__))
TOP = os.path.dirname(os.path.dirname(HERE))
HTTPD = os.path.join(TOP, "test", "httpd")
sys.path.insert(0, HTTPD)

spec = importlib.util.spec_from_file_location("httpd_conftest", os.path.join(HTTPD, "conftest.py"))
httpd_conftest = importlib.util.module_from_spec(spec)
spec.loader.exec_module(httpd_conftest)
globals().update({name: one for name, one in vars(httpd_conftest).items() if not name.startswith("__")})

PLAYWRIGHT = "playwright-core@1.49.1"


def node_modules():
    """Where playwright-core is; fetched once with npm into build/."""
    folder = os.path.join(TOP, "build", "browser")
    if not os.path.exists(os.path.join(folder, "node_modules", "playwright-core")):
        os.makedirs(folder, exist_ok=True)
        subprocess.run(["npm", "install", "--no-audit", "--no-fund", "--prefix", folder, PLAYWRIGHT], check=True, timeout=300,
                       stdin=subprocess.DEVNULL)
    return os.path.join(folder, "node_modules")


class Browser:
    def __init__(self):
        self.process = subprocess.Popen(["node", os.path.join(HERE, "browser.mjs")], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                                        text=True, env=dict(os.environ, GATE_NODE_MODULES=node_modules()))

    def __getattr__(self, name):
        def command(**words):
            self.process.stdin.write(json.dumps({"do": name, **words}) + "\n")
            self.process.stdin.flush()
            line = self.process.stdout.readline()
            if not line:
                raise AssertionError("the browser ended")
            said = json.loads(line)
            if "error" in said:
                raise AssertionError(f"{name} {words}: {said['error']}")
            return said["ok"]
        return command

    def close(self):
        self.process.stdin.close()
        try:
            self.process.wait(20)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()


@pytest.fixture(scope="session")
def chromium():
    if not shutil.which("node") or not os.path.exists("/usr/bin/chromium"):
        pytest.skip("no node or no chromium")
    one = Browser()
    yield one
    one.close()


@pytest.fixture
def browser(chromium):
    """Fails the test when the page said anything on its console, threw, asked another server, or broke its policy."""
    yield chromium
    assert chromium.trouble() == []
