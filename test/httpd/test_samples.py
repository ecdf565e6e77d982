"""Every file in conf.d loads as it is, alone and through gatehouse.conf; log.conf and tls.conf do what they say."""
import glob
import json
import os

import pytest

import gatehttpd
from clients import curl, get

CONF_D = os.path.join(gatehttpd.TOP, "conf.d")
FILES = sorted(os.path.basename(p) for p in glob.glob(os.path.join(CONF_D, "*.conf")))
# what a certificate without an authority behind it makes mod_ssl say about stapling
NO_STAPLING = r"AH02217|AH02604"


def defines(httpd):
    cert, key = gatehttpd.certificate(httpd.path("conf"))
    return "\n".join([f"Define GATE_CONF_DIR {CONF_D}", "Define GATE_LOG_DIR ${ROOT}/logs",
                      "Define GATE_TLS_PORT ${TLS_PORT}", "Define GATE_HTTP_PORT ${PORT}",
                      f"Define GATE_TLS_CERT {cert}", f"Define GATE_TLS_KEY {key}", "Listen 127.0.0.1:${TLS_PORT}"])


def sample(lab, name, more=""):
    """A server with one sample, not started."""
    httpd = lab.httpd(start=False)
    httpd.write_conf(f"{defines(httpd)}\nInclude {CONF_D}/{name}\n{more}")
    return httpd


def module_of(name):
    """Our module that a sample needs, or None."""
    word = name[:-len(".conf")]
    return {"core": "gate"}.get(word, f"gate_{word}" if f"gate_{word}" in gatehttpd.OURS else None)


@pytest.mark.parametrize("name", FILES)
def test_sample_loads(lab, name):
    if module_of(name) and not gatehttpd.built(module_of(name)):
        pytest.skip(f"{module_of(name)} is not built")
    httpd = sample(lab, name)
    httpd.expect(NO_STAPLING)
    good, text = httpd.check()
    assert good and "Syntax OK" in text, text
    httpd.start()


def test_all_samples_run_together(lab):
    httpd = sample(lab, "gatehouse.conf")
    httpd.expect(NO_STAPLING)
    httpd.start()
    assert curl(httpd.tls_url + "/")[1].status == 200


def test_log_sample_is_json(lab):
    httpd = sample(lab, "log.conf").start()
    get(httpd, '/a"b?c=\\d', headers={"User-Agent": 'x"\\y'})
    httpd.access(1)
    line = json.loads(httpd.read_file("logs/gatehouse_access.json"))
    assert (line["status"], line["uri"], line["query"], line["group"]) == (404, '/a"b', "?c=\\d", "-")
    assert line["us"] > 0 and line["agent"] == 'x"\\y'


def test_tls_sample(lab):
    httpd = sample(lab, "tls.conf", "ProxyPass /member/ http://${MEMBER}/")
    member = lab.upstream()
    httpd.write_conf(f"Define MEMBER {member.authority}\n" + httpd.conf)
    httpd.expect(NO_STAPLING)
    httpd.start()
    answer = curl(httpd.tls_url + "/")[1]
    assert answer.raw.startswith("HTTP/2 200")
    assert answer.header("strict-transport-security") == "max-age=63072000"
    status, answer, _ = curl(httpd.tls_url + "/member/x", "-H", "X-Forwarded-Proto: gopher")
    assert ["X-Forwarded-Proto", "https"] in [h for h in answer.json()["headers"] if "Proto" in h[0]]
    assert len([h for h in answer.json()["headers"] if h[0] == "X-Forwarded-Proto"]) == 1


def test_tls_sample_redirects_http(lab):
    httpd = sample(lab, "tls.conf")
    httpd.expect(NO_STAPLING)
    httpd.start()
    answer = get(httpd, "/a/b?c=d%20e", host=f"localhost:{httpd.port}")
    assert (answer.status, answer.header("Location")) == (301, "https://localhost/a/b?c=d%20e")
    assert get(httpd, "/.well-known/acme-challenge/x").status == 404


@pytest.mark.parametrize("version,works", [("1.1", False), ("1.2", True), ("1.3", True)])
def test_tls_sample_protocols(lab, version, works):
    httpd = sample(lab, "tls.conf")
    httpd.expect(NO_STAPLING)
    httpd.start()
    status, _, _ = curl(f"--tlsv{version}", "--tls-max", version, "--ciphers", "DEFAULT@SECLEVEL=0", httpd.tls_url + "/")
    assert (status == 0) == works
