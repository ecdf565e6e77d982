"""
What the engine honours of other modules' directives: the same answer, the same log line, the same request at the member as from the classic
plane, and express all the same. Two servers with one configuration, each case in a <Location> of its own.
"""
import gzip
import json
import re
import shutil
import ssl
import subprocess

import pytest

from clients import Connection, get, request
from groups import group
from procs import wait_until

pytestmark = [pytest.mark.needs("gate_upstream", "gate_engine"), pytest.mark.plane("classic")]  # both planes are made here

TEXT = "some text that is worth compressing, for it says the same again and again\n" * 40
HTML = {"body": TEXT, "headers": [["Content-Type", "text/html; charset=utf-8"], ["ETag", '"abc"'], ["X-Old", "1"]]}
PLAIN = {"body": "plain\n", "headers": [["Content-Type", "text/plain"], ["Vary", "Cookie"]]}
LARGE = {"body": TEXT * 300, "chunked": True, "pieces": 7, "headers": [["Content-Type", "text/html"]]}
GZIP = {"Accept-Encoding": "gzip"}

# lines of the section, headers of the request, what the member does
CASES = {
    "nothing": ("", {}, PLAIN),
    "deflate": ("AddOutputFilterByType DEFLATE text/html", GZIP, HTML),
    "deflate, large": ("AddOutputFilterByType DEFLATE text/html", GZIP, LARGE),
    "deflate, plain client": ("AddOutputFilterByType DEFLATE text/html", {}, HTML),
    "deflate, other type": ("AddOutputFilterByType DEFLATE text/html", GZIP, PLAIN),
    "deflate, error": ("AddOutputFilterByType DEFLATE text/html", GZIP, dict(HTML, status=404, reason="Not Found")),
    "deflate, nothing to do": ("AddOutputFilterByType DEFLATE text/html", GZIP, {"status": 204, "reason": "No Content"}),
    "deflate, same": ("SetOutputFilter DEFLATE", GZIP, {"status": 304, "reason": "Not Modified", "headers": [["ETag", '"abc"']]}),
    "brotli": ("AddOutputFilterByType BROTLI_COMPRESS;DEFLATE text/html", {"Accept-Encoding": "gzip, br"}, HTML),
    "brotli, large": ("SetOutputFilter BROTLI_COMPRESS", {"Accept-Encoding": "br"}, LARGE),
    "substitute": ('AddOutputFilterByType SUBSTITUTE text/html\nSubstitute "s/text/TEXT/n"', {}, HTML),
    "header": ('Header set X-A "b c"\nHeader append Vary Accept\nHeader always set X-Always 1\nHeader unset X-Old', {}, HTML),
    "header of an error": ('Header set X-A "b c"\nHeader always set X-Always 1', {}, dict(PLAIN, status=503, reason="Busy")),
    "header and deflate": ("Header append Vary X-Thing\nHeader set X-More 1\nSetOutputFilter DEFLATE", GZIP, HTML),
    "header and small deflate": ("Header set X-More 1\nSetOutputFilter DEFLATE", GZIP, PLAIN),
    "server": ("Header unset Server\nHeader always unset X-Powered-By", {}, dict(PLAIN, headers=[["Server", "own"], ["X-Powered-By", "php"]])),
    "computed": ('Header set X-Uri "expr=%{REQUEST_URI}"\nHeader edit X-Old "(.)" "<$1>"\nHeader set X-Env "%{x}e" env=x\nSetEnvIf X-C "(.*)" x=$1\n'
                 'Header echo "^X-C"\nHeader set Content-Type text/css', {"X-C": "see"}, HTML),
    "cookies": ('Header edit Set-Cookie "^(.*)$" "$1; Secure"', {}, {"cookie": "a=b", "body": "x"}),
    "request headers": ("RequestHeader set X-P https\nRequestHeader unset X-Secret\nRequestHeader append X-L b", {"X-Secret": "1", "X-L": "a"}, PLAIN),
    "computed request headers": ('RequestHeader set X-P "expr=%{REQUEST_SCHEME}"\nRequestHeader edit X-L a z', {"X-L": "a"}, PLAIN),
    "forwarded": ("RequestHeader unset X-Forwarded-For", {"X-Forwarded-For": "8.8.8.8"}, PLAIN),
    "no forwarded": ("ProxyAddHeaders Off\nProxyPreserveHost On", {}, PLAIN),
    "expires": ('ExpiresActive On\nExpiresDefault "access plus 1 hour"', {}, PLAIN),
    "granted": ("Require all granted", {}, PLAIN),
    "address": ("<RequireAll>\nRequire ip 127.0.0.1\nRequire not ip 10.0.0.1\n</RequireAll>", {}, PLAIN),
    "old access": ("Order deny,allow\nDeny from 10.0.0.0/8\nAllow from all", {}, PLAIN),
    "method": ("Require method GET HEAD", {}, PLAIN),
    "environment": ('SetEnvIf X-C "a(.)" x=$1\nSetEnv y "z z"', {"X-C": "ab"}, PLAIN),
    "error page": ("ProxyErrorOverride On\nErrorDocument 404 \"our own words\"", {}, dict(PLAIN, status=404, reason="Not Found")),
    "error page by code": ("ProxyErrorOverride On 500", {}, dict(PLAIN, status=404, reason="Not Found")),
    "charset": ("AddDefaultCharset utf-8", {}, PLAIN),
    "charset, said": ("AddDefaultCharset utf-8", {}, dict(HTML, headers=[["Content-Type", "text/html; charset=latin1"]])),
    "reverse": ('ProxyPassReverse "http://inner/a/"', {}, {"status": 302, "reason": "Found", "headers": [["Location", "http://inner/a/b"]], "body": "x"}),
    "reverse, another": ('ProxyPassReverse "http://inner/a/"', {}, {"status": 302, "reason": "Found", "headers": [["Location", "http://inner/c"]], "body": "x"}),
    "reverse, cookie": ('ProxyPassReverseCookiePath "/in" "/out"\nProxyPassReverseCookieDomain inner outer', {},
                        {"cookie": "a=b; Path=/in/x; Domain=inner", "body": "x"}),
    "encoded": ("AddOutputFilterByType DEFLATE text/html", GZIP, dict(HTML, headers=HTML["headers"] + [["Content-Encoding", "br"]])),
}
REFUSED = {  # these go classic, each time, and must be refused there
    "denied": ("Require all denied", {}, PLAIN),
    "wrong address": ("Require ip 10.0.0.1", {}, PLAIN),
    "bad variable": ("SetEnvIf User-Agent test bad\n<RequireAll>\nRequire all granted\nRequire not env bad\n</RequireAll>", {}, PLAIN),
    "variable too late": ("SetEnv late 1\nRequire env late", {}, PLAIN),
    "wrong method": ("Require method POST", {}, PLAIN),
}
LOG = ('{ "at": "%U", "line": "%r", "status": "%>s", "bytes": "%b", "sent": "%B", "file": "%f", "handler": "%R", "addr": "%a", "conn": "%{c}a", '
       '"host": "%V", "name": "%v", "port": "%{local}p", "user": "%u", "type": "%{Content-Type}o", "vary": "%{Vary}o", "agent": "%{User-Agent}i", '
       '"x": "%{x}e", "y": "%{y}e", "kept": "%k", "state": "%X", "proto": "%H", "method": "%m", "query": "%q", "group": "%{GATE_GROUP}e", '
       '"plane": "%{GATE_PLANE}e", "ratio": "%{ratio}n", "in": "%I", "out": "%O" }')


def path_of(name):
    return "/" + re.sub(r"\W+", "-", name)


@pytest.fixture(scope="module")
def pair(module_lab):
    """Two servers and a member for each."""
    made = {}
    sections = "".join(f'<Location "{path_of(name)}">\n{lines}\n</Location>\n' for name, (lines, _, _) in {**CASES, **REFUSED}.items())
    for plane in ("classic", "express"):
        member = module_lab.upstream()
        for name, (_, _, act) in CASES.items():
            member.behave(act, path=path_of(name))
        conf = (group("app", [member]) + "LogFormat " + json.dumps(LOG) + " full\n"
                "CustomLog ${ROOT}/logs/full.log full\nDeflateFilterNote ratio\nLimitRequestBody 1000\n" + sections +
                'ProxyPass "/" "gate://app/"\n')
        httpd = module_lab.httpd(conf, plane=plane, modules=["brotli", "substitute", "access_compat"])
        httpd.expect("AH01630", "AH01797")
        made[plane] = (httpd, member)
    return made


def full_log(httpd, path, method):
    def lines():
        all_lines = map(json.loads, httpd.read_file("logs/full.log").splitlines())
        return [line for line in all_lines if line["at"] == path and line["method"] == method]
    return wait_until(lines, 5, f"a log line for {path}")[-1]


def seen_of(plane, pair, name, headers, method="GET"):
    httpd, member = pair[plane]
    answer = request(httpd.port, path_of(name), method, {"User-Agent": "test", **headers})
    line = full_log(httpd, path_of(name), method)
    asked = [r for r in member.requests() if r["target"] == path_of(name)]
    told = [(k, v) for k, v in asked[-1]["headers"] if k not in ("Host", "Connection")] if asked else None
    headers = [(k, v) for k, v in answer.headers if k not in ("Date", "Expires", "X-Connection")]
    return {"status": answer.status, "reason": answer.reason, "headers": headers, "body": answer.body, "told": told,
            "log": {k: v for k, v in line.items() if k not in ("plane", "port", "in", "out")}, "plane": line["plane"]}


def text_of(seen, port):
    """Ports differ."""
    return json.loads(json.dumps(seen, default=lambda b: b.hex()).replace(str(port), "PORT"))


def unpack(seen):
    coding = dict(seen["headers"]).get("Content-Encoding")
    if not seen["body"] or not coding:
        return seen["body"]
    if coding == "gzip":
        return gzip.decompress(seen["body"])
    done = subprocess.run(["brotli", "-dc"], input=seen["body"], capture_output=True, check=True) if shutil.which("brotli") else None
    return done.stdout if done else b""


def compare(pair, name, headers, method="GET", express=True):
    classic, ours = (seen_of(plane, pair, name, headers, method) for plane in ("classic", "express"))
    assert ours.pop("plane") == ("express" if express else classic["plane"])
    classic.pop("plane")
    if name.endswith("large"):  # where the member's pieces end is a matter of time, and what is compressed follows that
        for seen in (classic, ours):
            seen["body"] = unpack(seen)
            seen["headers"] = [line for line in seen["headers"] if line[0] not in ("Content-Length", "Transfer-Encoding")]
            seen["log"] = {k: v for k, v in seen["log"].items() if k not in ("bytes", "sent", "ratio")}
    ours, classic = text_of(ours, pair["express"][0].port), text_of(classic, pair["classic"][0].port)
    different = {key: (ours[key], classic[key]) for key in ours if ours[key] != classic[key]}
    if "log" in different:
        different["log"] = {key: (ours["log"][key], classic["log"][key]) for key in ours["log"] if ours["log"][key] != classic["log"][key]}
    assert not different, "express, classic"


@pytest.mark.parametrize("name", CASES)
def test_same(pair, name):
    compare(pair, name, CASES[name][1])


@pytest.mark.parametrize("name", [n for n in CASES if "deflate" in n or n in ("nothing", "computed", "brotli", "header")])
def test_same_for_head(pair, name):
    compare(pair, name, CASES[name][1], "HEAD")


@pytest.mark.parametrize("name", REFUSED)
def test_refused_alike(pair, name):
    compare(pair, name, {})


def test_explained(pair):
    httpd = pair["express"][0]
    assert len(re.findall(r"GATE1461: localhost: ProxyPass / gate://app/: express", httpd.error_log())) == 1
    assert "GATE1460" not in httpd.error_log()


def test_status_and_explain(lab):
    member = lab.upstream()
    httpd = lab.httpd(group("app", [member]) + '<Location "/a">\nForceType a/b\n</Location>\n<Location "/gate-status">\nSetHandler gate-status\n</Location>\n'
                      'ProxyPass "/gate-status" "!"\nProxyPass "/" "gate://app/"\n', plane="express")
    routes = get(httpd.port, "/gate-status/status.json").json()["engine"]["routes"]
    assert {"server": "localhost", "route": "ProxyPass / gate://app/", "plane": "express", "why": None} in routes
    assert any(one["plane"] == "classic" and one["why"].startswith("ForceType") and "httpd.conf:" in one["why"] for one in routes)

    def explained(path):
        return get(httpd.port, f"/gate-status/explain.json?url=http://localhost:{httpd.port}{path}").json()["engine"]
    assert explained("/b")["verdict"] == "express"
    assert explained("/a/b")["verdict"] == "classic" and "ForceType" in explained("/a/b")["why"]
    assert explained("/gate-status/")["verdict"] == "classic"


def test_over_tls(lab):
    member = lab.upstream()
    httpd = lab.httpd(group("app", [member]), tls=True, plane="express",
                      vhost='<Location "/safe">\nSSLRequireSSL\n</Location>\nRequestHeader set X-Protocol "%{SSL_PROTOCOL}s"\n'
                            'SSLOptions +StdEnvVars\nProxyPass "/" "gate://app/"\n')
    for path in ("/safe", "/b"):
        assert get(httpd, path, tls=True).status == 200
    assert [dict(r["headers"])["X-Protocol"][:5] for r in member.requests()] == ["TLSv1", "TLSv1"]
    assert httpd.planes(2) == {"express": 2}


TLS_HOST = ("</VirtualHost>\n<VirtualHost *:${{TLS_PORT}}>\nServerName {name}\nSSLEngine on\nSSLCertificateFile ${{ROOT}}/conf/cert.pem\n"
            "SSLCertificateKeyFile ${{ROOT}}/conf/key.pem\nGateEngine {engine}\n{lines}\n" 'ProxyPass "/" "gate://app/"\n')
TLS_HOSTS = [("same", ""), ("other-ciphers", "SSLCipherSuite AES128-SHA256"), ("strict", "SSLStrictSNIVHostCheck on")]


def test_hosts_of_one_connection(lab):
    """A browser asks for all hosts of a certificate on one connection: as mod_ssl allows it, express."""
    member, said, planes = lab.upstream(), {}, {}
    for plane in ("classic", "express"):
        httpd = lab.httpd(group("app", [member]), tls=True, plane=plane,
                          vhost='ProxyPass "/" "gate://app/"\n' + "".join(TLS_HOST.format(name=name, lines=lines, engine="on" if plane == "express" else "off")
                                                                         for name, lines in TLS_HOSTS))
        httpd.expect("AH0203[23]", "AH01909")
        said[plane] = []
        for version in (ssl.TLSVersion.TLSv1_3, ssl.TLSVersion.TLSv1_2):
            for sni in ("localhost", "same", None):
                for host in ("localhost", "same", "other-ciphers", "strict", "localhost"):
                    with Connection(httpd.tls_port, tls=True, sni=sni, tls_max=version) as client:
                        answers = [client.request("/a", host=host).status]
                        if answers == [200]:
                            answers.append(client.request("/a").status)
                    said[plane].append((version, sni, host, answers))
            httpd.access(sum(len(answers) for *_, answers in said[plane]))  # in order: 1.3 before 1.2
        lines = httpd.access(sum(len(answers) for *_, answers in said[plane]))
        planes[plane] = [(line["host"], line["status"], line["plane"]) for line in lines]
    assert said["express"] == said["classic"]
    assert any(403 in answers or 421 in answers for *_, answers in said["classic"]), "mod_ssl objects to some"
    assert ("same", 200, "express") in planes["express"] and ("same", 200, "classic") in planes["express"], "the latter before TLS 1.3"
    first = sum(len(answers) for version, *_, answers in said["express"] if version == ssl.TLSVersion.TLSv1_3)
    assert {plane for _, status, plane in planes["express"][:first] if status == 200} == {"express"}, "with TLS 1.3 nothing is left to be asked"
