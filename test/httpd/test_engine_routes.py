"""Which requests are express, and because of what they are not: verdicts computed from the configuration, asked at a stand-in for the engine."""
import os
import re
import shutil
import subprocess

import pytest

import gatehttpd
from clients import get
from groups import group
from procs import wait_until
from route_probe import head, load_probe, probe

OTHERS = [name for name in gatehttpd.OURS if name != "gate_engine"]
MEMBER = "http://127.0.0.1:1"

pytestmark = [pytest.mark.needs("gate_upstream"), pytest.mark.plane("classic")]  # it loads a stand-in itself: one plane is enough


def serve(lab, conf, pass_line='ProxyPass "/" "gate://app/"', before="", **words):
    text = load_probe() + before + "GateEngine on\n" + group("app", [MEMBER]) + group("other", [MEMBER]) + conf + "\n" + pass_line + "\n"
    return lab.httpd(text, ours=OTHERS, **words)


def line_of(httpd, text):
    """Where a line stands in the configuration, as reasons say it."""
    lines = httpd.read_file("conf/httpd.conf").splitlines()
    return f"{httpd.path('conf/httpd.conf')}:{1 + next(n for n, line in enumerate(lines) if text in line)}"


# --- directives --------------------------------------------------------------------------------

# where it stands: s server, l <Location "/x">; what the engine has to do for it
EXPRESS = {
    "nothing": ("s", "", set()),
    "document root": ("s", "DocumentRoot /tmp\nDirectoryIndex a.html\nAlias /icons/ /usr/share/", set()),
    "directory": ("s", "<Directory /tmp>\nSetHandler server-status\nHeader set A %t\nRewriteEngine on\n</Directory>", set()),
    "files": ("s", '<FilesMatch "x">\nSSLOptions +StdEnvVars\nRequire all denied\n</FilesMatch>', set()),
    "another location": ("s", '<Location "/y">\nSetHandler server-status\n</Location>', set()),
    "error documents": ("s", "ErrorDocument 404 /404.html\nServerTokens Prod\nServerSignature Off\nServerAdmin a@b", set()),
    "limits": ("s", "LimitRequestLine 4000\nLimitRequestFields 50\nTimeout 10\nKeepAliveTimeout 2", set()),
    "log": ("s", 'CustomLog /dev/null "%h %U"', {"log"}),
    "proxy": ("s", "ProxyPreserveHost On\nProxyAddHeaders Off\nProxyVia On\nProxyTimeout 7\nProxyStatus On\nProxyRequests Off", set()),
    "reverse": ("s", 'ProxyPassReverse "/" "gate://app/"\nProxyPassReverse "/" "http://inner/"\nProxyPassReverseCookiePath "/" "/x"', set()),
    "charset": ("l", "AddDefaultCharset utf-8", {"answer"}),
    "browsers": ("s", 'BrowserMatch "MSIE 4" nokeepalive downgrade-1.0', {"browser"}),
    "a variable by browser": ("s", 'BrowserMatchNoCase bot is_bot', {"env"}),
    "variables": ("s", 'SetEnv A b\nSetEnvIf Request_URI "^/health" quiet\nPassEnv PATH', {"env"}),
    "a variable for deflate": ("s", 'SetEnvIf Request_URI "\\.gif$" no-gzip', {"env"}),
    "header": ("l", "Header set A b\nHeader always append C \"d e\"\nHeader unset X-Powered-By\nRequestHeader set D 100%%", {"headers"}),
    "deflate": ("s", "AddOutputFilterByType DEFLATE text/html text/css", set()),
    "filters": ("l", "SetOutputFilter DEFLATE", {"output"}),
    "granted": ("l", "Require all granted", {"authz"}),
    "addresses": ("l", "<RequireAll>\nRequire ip 127.0.0.1\nRequire not ip 10.0.0.0/8\nRequire local\n</RequireAll>", {"authz"}),
    "no user": ("l", "AuthType None\nRequire all granted", {"authz"}),
    "methods": ("l", "Require method GET", {"authz", "authz-request"}),
    "options": ("l", "Options FollowSymLinks\nAcceptPathInfo On", set()),
    "rewriting": ("s", 'RewriteEngine on\nRewriteCond %{HTTP_HOST} ^www\\.\nRewriteRule ^/(.*) http://host/$1 [R=301,L]\nRewriteMap low int:tolower\n'
                       'RewriteCond expr "%{HTTP:A} -eq 5"\nRewriteRule ^/y - [F]', {"rewrite"}),
    "rewriting with files, off": ("s", 'RewriteEngine off\nRewriteCond %{REQUEST_FILENAME} !-f\nRewriteRule ^/a /b', set()),
    "rules of a section, off": ("l", 'RewriteRule ^/a /b', set()),
    "rewriting is off": ("s", 'RewriteEngine off\nRewriteRule "^/a" "/b"', set()),
    "no handler": ("l", "SetHandler None", set()),
    "redirect of the server": ("s", "Redirect /old /new", set()),
    "canonical names": ("l", "UseCanonicalName On\nUseCanonicalPhysicalPort On", set()),
    "log level": ("l", "LogLevel debug", set()),
    "body limit": ("l", "LimitRequestBody 100", set()),
    "another proxy": ("s", '<Proxy "balancer://b">\nBalancerMember http://127.0.0.1:1\nSetInputFilter DEFLATE\n</Proxy>', set()),
    "group settings": ("l", 'GateSelect other weight=1', {"select"}),
    "remote address": ("s", "RemoteIPHeader X-Real-IP\nRemoteIPInternalProxy 127.0.0.0/8", {"remote"}),
    "unset early": ("s", "RequestHeader unset Proxy early", {"headers"}),
    "cookies made safe": ("s", 'Header always edit Set-Cookie ^(.*)$ "$1; Secure"', {"headers", "answer"}),
    "computed headers": ("s", 'Header set A "%t"\nHeader set B "expr=%{HTTP_HOST}"\nHeader set A b env=c\nHeader edit A b c', {"headers", "answer"}),
    "computed request headers": ("s", 'RequestHeader set X-Forwarded-Proto "expr=%{REQUEST_SCHEME}"', {"headers", "ask"}),
    "expires, switched on": ("l", 'ExpiresActive On\nExpiresDefault "access plus 1 day"', {"answer"}),
    "error override": ("l", "ProxyErrorOverride On", set()),
    "certificate variables": ("l", "SSLOptions +StdEnvVars", set()),
    "expires": ("l", "ExpiresActive Off\nExpiresDefault A1", set()),
}


@pytest.mark.parametrize("kind", EXPRESS)
def test_express(lab, kind):
    scope, text, needs = EXPRESS[kind]
    httpd = serve(lab, f'<Location "/x">\n{text}\n</Location>' if scope == "l" else text)
    found = probe(httpd)
    assert found["why"] is None and found["path"] == "/x" and found["group"] == "app"
    assert found["needs"] - {"log", "env"} == needs - {"log", "env"}  # the harness's own log, and mod_unique_id
    assert re.search(r'GATE1461: localhost: ProxyPass / gate://app/: express', httpd.error_log())


# a line, and what the reason says of it beside its place
CLASSIC = {
    "handler": ("l", "SetHandler server-status", "SetHandler"),
    "type": ("s", "ForceType text/plain", "ForceType"),
    "rewriting in a section": ("l", "RewriteEngine on", "RewriteEngine: in a section"),
    "rewriting by files": ("s", "RewriteEngine on\nRewriteCond %{DOCUMENT_ROOT}%{REQUEST_URI} !-f\nRewriteRule ^/a /b", "RewriteCond: it looks at files"),
    "rewriting by looking ahead": ("s", "RewriteEngine on\nRewriteCond %{LA-U:REMOTE_USER} a\nRewriteRule ^/a /b", "RewriteCond: it looks ahead"),
    "rewriting by expressions of files": ("s", "RewriteEngine on\nRewriteCond expr \"-f '/x'\"\nRewriteRule ^/a /b", "RewriteCond: it looks at files"),
    "rewriting by maps": ("s", "RewriteEngine on\nRewriteMap a txt:/dev/null\nRewriteRule ^/a ${a:b}", "RewriteMap: a map"),
    "if": ("s", "<If \"true\">\nHeader set A b\n</If>", "<If"),
    "if in a location": ("l", "<If \"true\">\nHeader set A b\n</If>", "<If"),
    "limit": ("l", "<Limit POST>\nRequire all denied\n</Limit>", "<Limit"),
    "header that means more": ("s", "RequestHeader unset Host", "RequestHeader: it changes a field"),
    "early": ("s", "RequestHeader set A b early", "RequestHeader: it comes early"),
    "other filter": ("l", "SetOutputFilter RATE_LIMIT", "SetOutputFilter: a filter that the engine does not run"),
    "input filter": ("l", "SetInputFilter DEFLATE", "SetInputFilter"),
    "users": ("l", "AuthType Basic\nAuthName a\nAuthUserFile /dev/null\nRequire valid-user", "AuthType"),
    "names of clients": ("l", "Require host example.org", "Require: a user"),
    "variable of the proxy": ("s", "SetEnv proxy-nokeepalive 1", "SetEnv: a variable that changes"),
    "variable by header": ("s", "SetEnvIf X-A b nokeepalive", "SetEnvIf: a variable that changes"),
    "names looked up": ("s", "HostnameLookups On", "HostnameLookups"),
    "names by address": ("s", "UseCanonicalName DNS", "UseCanonicalName: names"),
    "forward proxy": ("s", 'ProxyRequests On\n<Proxy "*">\nRequire local\n</Proxy>', "ProxyRequests"),
    "redirect of a location": ("l", 'Redirect "/new"', "Redirect"),
    "blocked members": ("s", "ProxyBlock example.org", "ProxyBlock"),
    "sections": ("s", '<Proxy "gate://app/">\nForceType a/b\n</Proxy>', "ForceType"),
    "all proxies": ("s", '<Proxy "*">\nSetInputFilter DEFLATE\n</Proxy>', "SetInputFilter"),
    "language": ("s", "DefaultLanguage en", "DefaultLanguage"),
    "views": ("l", "Options +MultiViews", "Options: MultiViews"),
    "kept bodies": ("l", "KeptBodySize 10", "KeptBodySize: of mod_request.c, unknown"),
}


@pytest.mark.parametrize("kind", CLASSIC)
def test_classic(lab, kind):
    scope, text, reason = CLASSIC[kind]
    httpd = serve(lab, f'<Location "/x">\n{text}\n</Location>' if scope == "l" else text)
    found = probe(httpd)
    words = next(line for line in text.splitlines() if line.startswith(reason.split(":")[0]))
    assert found["why"] and found["why"].startswith(reason)
    assert f"({line_of(httpd, words)})" in found["why"]
    assert "GATE1460" in httpd.error_log() and line_of(httpd, words) in httpd.error_log()
    if scope == "l":
        assert probe(httpd, "/elsewhere")["why"] is None, "one section only"


def test_a_vhosts_reason_is_its_own(lab):
    httpd = serve(lab, "<VirtualHost 127.0.0.1:${PORT}>\nServerName a\nForceType text/plain\n</VirtualHost>\n"
                       "<VirtualHost 127.0.0.1:${PORT}>\nServerName b\nServerAlias *.b\n</VirtualHost>")
    assert probe(httpd, host="a")["why"].startswith("ForceType")
    for host in ("b", "B", "x.b", f"b:{httpd.port}"):
        found = probe(httpd, host=host)
        assert (found["server"], found["why"]) == ("b", None)
    assert probe(httpd, host="unknown")["server"] == "a"


def test_sections_of_server_and_vhost(lab):
    httpd = serve(lab, '<Location "/x">\nHeader set A main\n</Location>\n<Proxy "gate://app/">\nProxyPreserveHost On\n</Proxy>\n'
                       "<VirtualHost 127.0.0.1:${PORT}>\nServerName a\n<Location \"/y\">\nForceType a/b\n</Location>\n"
                       '<LocationMatch "^/x">\nHeader append A vhost\n</LocationMatch>\nProxyPreserveHost Off\n</VirtualHost>')
    answer = "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"
    found = probe(httpd, "/x/1", host="a", answer=answer)
    assert (found["why"], found["preserve_host"]) == (None, 1)
    assert ["A", "main, vhost"] in found["fields"]
    assert probe(httpd, "/y", host="a")["why"].startswith("ForceType")


def test_vhosts_that_differ_by_port(lab):
    httpd = serve(lab, "<VirtualHost 127.0.0.1:8081 127.0.0.2:8082 127.0.0.3:8081>\nServerName a\n</VirtualHost>\n<VirtualHost 127.0.0.1:8083>\n"
                       "ServerName a\nForceType text/plain\n</VirtualHost>")
    log = httpd.error_log()
    assert re.search(r"GATE1461: a:(8081,8082|8082,8081): ProxyPass", log) and "GATE1460: a:8083: ProxyPass" in log
    assert "GATE1461: localhost: ProxyPass" in log


def test_the_engine_is_a_vhosts_choice(lab):
    httpd = serve(lab, "<VirtualHost 127.0.0.1:${PORT}>\nServerName a\nGateEngine off\n</VirtualHost>\n"
                       "<VirtualHost 127.0.0.1:${PORT}>\nServerName b\n</VirtualHost>")
    assert probe(httpd, host="a")["why"] == "GateEngine is off"
    assert probe(httpd, host="b")["why"] is None


def test_module_that_nobody_knows(lab):
    from sample import load_sample
    httpd = serve(lab, "", before=load_sample())
    assert probe(httpd)["why"] is None, "it hooks no phase of requests"


# --- ProxyPass ----------------------------------------------------------------------------------

NO_ROUTE = "no ProxyPass leads it to a gate:// group"
PATHS = [
    # lines; path asked for; path for the member, or why there is none
    ('ProxyPass "/" "gate://app/"', "/", "/"),
    ('ProxyPass "/" "gate://app/"', "/a/b?c=d&e", "/a/b?c=d&e"),
    ('ProxyPass "/" "gate://app/"', "/a?", "/a?"),
    ('ProxyPass "/" "gate://app"', "/a", "its path ends in a slash and its URL does not"),
    ('ProxyPass "/a" "gate://app"', "/a", "/"),
    ('ProxyPass "/a" "gate://app"', "/a?x", "/?x"),
    ('ProxyPass "/a" "gate://app"', "/a/b?x", "/b?x"),
    ('ProxyPass "/a" "gate://app"', "/ab", NO_ROUTE),
    ('ProxyPass "/a/" "gate://app/"', "/a", NO_ROUTE),
    ('ProxyPass "/a/" "gate://app/"', "/a/b", "/b"),
    ('ProxyPass "/a/" "gate://app/y/"', "/a/b?q", "/y/b?q"),
    ('ProxyPass "/a" "gate://app/y"', "/a", "/y"),
    ('ProxyPass "/a" "gate://app/y"', "/a/b", "/y/b"),
    ('ProxyPass "/a" "gate://app/"', "/a/b", "//b"),
    ('ProxyPass "/a//b" "gate://app/y"', "/a/b/c", "/y/c"),
    ('ProxyPass "/a/b" "!"\nProxyPass "/a" "gate://app/y"', "/a/b/c", NO_ROUTE),
    ('ProxyPass "/a/b" "!"\nProxyPass "/a" "gate://app/y"', "/a/c", "/y/c"),
    ('ProxyPassMatch "\\.gif$" "!"\nProxyPass "/" "gate://app/"', "/c.gif", NO_ROUTE),
    ('ProxyPassMatch "\\.gif$" "!"\nProxyPass "/" "gate://app/"', "/c.png", "/c.png"),
    ('ProxyPass "/a" "http://127.0.0.1:1"\nProxyPass "/" "gate://app/"', "/a", NO_ROUTE),
    ('ProxyPassMatch "^/(.*)$" "gate://app/$1"', "/a", "/a"),
    ('ProxyPassMatch "^(/.*)$" "gate://app$1"', "/a?b", "/a?b"),
    ('ProxyPassMatch "\\.gif$" "gate://app"', "/a.gif", "/a.gif"),
    ('ProxyPassMatch "^/(a)/(.*)" "gate://app/$2/$1"', "/a/b%20c?d", "/b%20c/a?d"),
    ('ProxyPassMatch "^/(.*)" "gate://app$1"', "/a", "its ProxyPass makes no path of it"),
    ('ProxyPassMatch "^/(.*)" "gate://$1/x"', "/app", "its ProxyPass makes no path of it"),
    ('ProxyPassMatch "^/(.*)$" "gate://app/$1"\n<Proxy "gate://app/y">\nForceType a/b\n</Proxy>', "/a", "<Proxy"),
    ('ProxyPass "/" "gate://app/"', "/a%20b", "/a%20b"),
    ('ProxyPass "/" "gate://app/"', "/%61//b/./c/../%c3%a4%7E?%61", "/a/b/%C3%A4~?%61"),
    ('ProxyPass "/" "gate://app/"', "/a%2fb", "the path is refused"),
    ('AllowEncodedSlashes NoDecode\nProxyPass "/" "gate://app/"', "/a%2fb", "/a%2fb"),
    ('AllowEncodedSlashes On\nProxyPass "/" "gate://app/"', "/a%2fb", "/a/b"),
    ('MergeSlashes Off\nProxyPass "/" "gate://app/"', "/a//b", "/a//b"),
    ('MergeSlashes Off\nProxyPass "/a/b" "gate://app/y"', "/a//b//c", "/y//c"),
    ('ProxyPass "/" "gate://app/"', "/a%00", "the path is refused"),
    ('ProxyPass "/" "gate://app/"', "/a%zz", "the path is refused"),
    ('ProxyPass "/" "gate://app/"', "/a/../../b", "the path is refused"),
    ('ProxyPass "/" "gate://app/"', "/.well-known/x", "/.well-known/x"),
    ('ProxyPass "/" "gate://app/" nocanon', "/a%41%2d/b", "/a%41%2d/b"),
    ('ProxyPass "/a" "gate://app/" nocanon', "/%61/b", "its ProxyPass makes no path of it"),
    ('<Location "/a b">\nForceType a/b\n</Location>\nProxyPass "/" "gate://app/"', "/a%20b/c", "ForceType"),
    ('ProxyPass "/" "gate://app/" nocanon', "/a?b", "/a?b"),
    ('ProxyPass "/" "gate://app/" noquery', "/a?b", "noquery or mapping="),
    ('<LocationMatch "^/(?<one>a)">\nHeader set A b\n</LocationMatch>\nProxyPass "/" "gate://app/"', "/a", "named groups of <LocationMatch"),
    ('<LocationMatch "^/(a)">\nHeader set A b\n</LocationMatch>\nProxyPass "/" "gate://app/"', "/a", "/a"),
    ('ProxyPass "/" "gate://app/" mapping=encoded', "/a", "a ProxyPass has mapping=encoded"),
    ('ProxyPass "/" "gate://app/%20/"', "/a", "/%2520/a"),
    ('ProxyPass "/x" "gate://app/y.gif"', "/x", "/y.gif"),
    ('<Location "/a">\nProxyPass "gate://other/z"\n</Location>\nProxyPass "/" "gate://app/"', "/a/b", "/z/b"),
    ('<Location "/a">\nProxyPass "!"\n</Location>\nProxyPass "/" "gate://app/"', "/a/b", NO_ROUTE),
    ('<LocationMatch "^/a">\nProxyPass "gate://other/z"\n</LocationMatch>\nProxyPass "/" "gate://app/"', "/a/b", "/a/b"),
    ('<LocationMatch "^/(a|b)/">\nSetHandler x\n</LocationMatch>\nProxyPass "/" "gate://app/"', "/b/", "SetHandler"),
    ('<LocationMatch "^/(a|b)/">\nSetHandler x\n</LocationMatch>\nProxyPass "/" "gate://app/"', "/c/", "/c/"),
    ('<Location "/*/z">\nSetHandler x\n</Location>\nProxyPass "/" "gate://app/"', "/c/z", "SetHandler"),
    ('<Location "/*/z">\nSetHandler x\n</Location>\nProxyPass "/" "gate://app/"', "/c/d/z", "/c/d/z"),
    ('<Proxy "gate://app/y">\nForceType a/b\n</Proxy>\nProxyPass "/" "gate://app/"', "/y", "<Proxy"),
    ('<Proxy "gate://other/">\nForceType a/b\n</Proxy>\nProxyPass "/" "gate://app/"', "/y", "/y"),
    ('ProxyPass "/a" "gate://app/a" timeout=3\nProxyPass "/" "gate://app/"', "/b", "another ProxyPass gives"),
]


@pytest.mark.parametrize("lines, asked, expected", PATHS)
def test_paths(lab, lines, asked, expected):
    httpd = serve(lab, "", lines)
    found = probe(httpd, asked)
    if expected.startswith("/"):
        assert (found["why"], found["path"]) == (None, expected)
    else:
        assert found["why"].startswith(expected)


def test_settings_of_a_route(lab):
    httpd = serve(lab, 'ProxyPreserveHost On\nProxyAddHeaders Off\nProxyVia Full\nProxyTimeout 7\n<Location "/b">\nLimitRequestBody 77\n</Location>',
                  'ProxyPass "/a" "gate://app/" timeout=3\nProxyPass "/b" "gate://other/"')
    a, b = probe(httpd, "/a"), probe(httpd, "/b")
    assert (a["timeout"], a["server_timeout"], a["preserve_host"], a["add_headers"], a["via"]) == (3000000, 7000000, 1, 0, 3)
    assert (b["timeout"], b["body_limit"], a["body_limit"], b["group"]) == (0, 77, 1 << 30, "other")


# --- requests -----------------------------------------------------------------------------------

REQUESTS = [
    (dict(method="TRACE"), "TRACE"),
    (dict(method="CONNECT", path="localhost:1"), "not parsed"),
    (dict(method="PROPFIND"), "the method is not a common one"),
    (dict(path="http://localhost/x"), "not parsed"),
    (dict(host=None, version="1.0"), "no server"),
    (dict(host="a..b"), "not parsed"),
    (dict(host="a/b"), "no"),
    (dict(fields=["Max-Forwards: 0"]), "Max-Forwards"),
    (dict(fields=["Max-Forwards: x"]), "Max-Forwards"),
    (dict(fields=["Max-Forwards: 3", "Max-Forwards: 4"]), "Max-Forwards"),
    (dict(fields=["Connection: upgrade", "Upgrade: h2c"]), "not parsed"),
    (dict(fields=["Connection: upgrade", "Upgrade: websocket"]), None),
    (dict(method="OPTIONS"), None),
    (dict(method="POST", fields=["Content-Length: 0"]), None),
    (dict(version="1.0"), None),
    (dict(path="/a.txt.en"), "mod_mime gives the path a language"),
    (dict(path="/a.b/c"), None),
]


@pytest.fixture(scope="module")
def plain(module_lab):
    return serve(module_lab, "AddLanguage en .en\nAddType application/x-own .own")


@pytest.mark.parametrize("ask, why", REQUESTS)
def test_requests(plain, ask, why):
    found = probe(plain, **ask)
    assert found["why"] is None if why is None else found["why"].startswith(why)


def test_type_by_extension(plain):
    assert probe(plain, "/a.html")["type"] == "text/html"
    assert probe(plain, "/a.x.own")["type"] == "application/x-own"
    assert probe(plain, "/a")["type"] is None and probe(plain, "/a.html/")["type"] is None


def test_browsers(lab):
    httpd = serve(lab, 'BrowserMatch "MSIE 4\\.0b2;" nokeepalive\nBrowserMatchNoCase "^old" force-response-1.0')
    for agent, express in (("Mozilla/5.0", 1), ("MSIE 4.0b2; x", 0), ("Older", 0), ("MSIE 4x0b2;", 1), ("x" * 400, 1), ("x" * 400 + "MSIE 4.0b2;", 0)):
        for _ in range(2):
            assert (probe(httpd, fields=[f"User-Agent: {agent}"])["why"] is None) == bool(express), agent
    assert probe(httpd)["why"] is None
    assert probe(httpd, fields=["User-Agent: a", "User-Agent: MSIE 4.0b2;"])["why"] == "more than one User-Agent"


def test_very_long_paths(lab):
    httpd = serve(lab, 'LimitRequestLine 20000\n<Location "/*/z">\nHeader set A b\n</Location>')
    assert probe(httpd, "/a" + "b" * 3000)["why"] is None
    assert probe(httpd, "/a" + "b" * 7000)["why"] is None


def test_who_may_come_in(lab):
    httpd = serve(lab, '<Location "/a">\nRequire ip 127.0.0.0/8\n</Location>\n<Location "/b">\nRequire ip 10.0.0.0/8\n</Location>\n'
                       '<Location "/c">\nRequire method GET\n</Location>')
    assert probe(httpd, "/a")["why"] is None
    assert probe(httpd, "/b")["why"] == "refused at once"
    assert probe(httpd, "/c")["why"] is None and probe(httpd, "/c", "POST")["why"] == "refused at once"
    httpd = serve(lab, 'SetEnvIf X-Bad . bad\nSetEnv late 1\n<Location "/a">\n<RequireAll>\nRequire all granted\nRequire not env bad\n</RequireAll>\n'
                       '</Location>\n<Location "/b">\nRequire env late\n</Location>\n<Location "/c">\nSetEnvIf X-Bad . worse\nRequire env worse\n</Location>')
    assert probe(httpd, "/a")["why"] is None
    assert probe(httpd, "/a", fields=["X-Bad: 1"])["why"] == "refused at once"
    assert probe(httpd, "/b")["why"] == "refused at once", "SetEnv comes after Require"
    assert probe(httpd, "/c")["why"] and probe(httpd, "/c", fields=["X-Bad: 1"])["why"] is None
    assert "AH01630" not in httpd.error_log(), "a question leaves nothing in the log"


# --- what is made for modules -------------------------------------------------------------------

def test_request_rec(lab):
    httpd = serve(lab, 'SetEnvIf Request_URI "^/a" seen=$0\nSetEnv fixed "x y"', 'ProxyPass "/a" "gate://app/y"')
    show = "filename uri args the_request hostname server_port useragent_ip handler env:seen env:fixed in:Accept env:UNIQUE_ID"
    made = probe(httpd, "/a/b?c", host=f"LocalHost:{httpd.port}", fields=["Accept: a", "accept: b"], show=show)["request"]
    assert made.pop("env:UNIQUE_ID")
    made.pop("end")
    assert made == {"filename": "proxy:gate://app/y/b?c", "uri": "/a/b", "args": "c", "the_request": "GET /a/b?c HTTP/1.1",
                    "hostname": "localhost", "server_port": str(httpd.port), "useragent_ip": "127.0.0.1", "handler": "proxy-server",
                    "env:seen": "/a", "env:fixed": "x y", "in:Accept": "a, b"}


def test_remote_address(lab):
    httpd = serve(lab, "RemoteIPHeader X-Forwarded-For\nRemoteIPTrustedProxy 127.0.0.1 203.0.113.0/24\nRemoteIPProxiesHeader X-By\n"
                       '<Location "/a">\nRequire ip 198.51.100.7\n</Location>')
    show = "useragent_ip note:remoteip-proxy-ip-list"

    def ask(*values, path="/x"):
        found = probe(httpd, path, fields=[f"X-Forwarded-For: {value}" for value in values], show=show)
        return found["why"] or (found["request"]["useragent_ip"], found["request"]["note:remoteip-proxy-ip-list"],
                                [line for line in found["told"] if line[0] != "Host"])
    assert ask() == ("127.0.0.1", None, [])
    assert ask("198.51.100.7") == ("198.51.100.7", "127.0.0.1", [["X-By", "127.0.0.1"]])
    assert ask("8.8.8.8, 198.51.100.7", "203.0.113.9") == ("198.51.100.7", "127.0.0.1, 203.0.113.9", [["X-Forwarded-For", "8.8.8.8"],
                                                                                                     ["X-By", "127.0.0.1, 203.0.113.9"]])
    assert ask("10.0.0.1") == ("127.0.0.1", None, [["X-Forwarded-For", "10.0.0.1"]]), "no private addresses from outside"
    assert ask("name.example") == "RemoteIPHeader's field is no list of addresses"
    assert ask("198.51.100.7", path="/a")[0] == "198.51.100.7"
    assert ask("198.51.100.8", path="/a") == "refused at once"
    assert ask("198.51.100.7", path="/a")[0] == "198.51.100.7"


# --- answers: filters and Header, beside what the classic plane makes of the same ----------------

TEXT = "some text that is worth compressing, for it says the same again and again\n" * 20
DEFLATE = "AddOutputFilterByType DEFLATE text/html text/plain"
BROTLI = "AddOutputFilterByType BROTLI_COMPRESS;DEFLATE text/html"
HEADERS = ('Header set A b\nHeader append Vary Cookie\nHeader unset X-Old\nHeader always set X-Always "1 2"\nHeader add X-More 1\n'
           'Header merge Cache-Control no-transform\nHeader setifempty X-Old new\nHeader always add X-Always 3')
GZIP, BOTH = "Accept-Encoding: gzip, deflate", "Accept-Encoding: gzip, br"
ANSWERS = {
    "gzip": (DEFLATE, [GZIP], "", TEXT, "200 OK"),
    "etag": (DEFLATE, [GZIP], 'ETag: "abc"\r\nX-A: 1\r\n', TEXT, "200 OK"),
    "weak etag, vary": (DEFLATE, [GZIP], 'ETag: W/"abc"\r\nVary: Cookie\r\n', TEXT, "200 OK"),
    "nothing accepted": (DEFLATE, [], "", TEXT, "200 OK"),
    "q=0": (DEFLATE, ["Accept-Encoding: gzip;q=0"], "", TEXT, "200 OK"),
    "small": (DEFLATE, [GZIP], "", "small", "200 OK"),
    "coded already": (DEFLATE, [GZIP], "Content-Encoding: br\r\n", TEXT, "200 OK"),
    "no-transform": (DEFLATE, [GZIP], "Cache-Control: no-transform\r\n", TEXT, "200 OK"),
    "another type": (DEFLATE, [GZIP], "Content-Type: image/png\r\n", TEXT, "200 OK"),
    "another status": (DEFLATE, [GZIP], "", TEXT, "404 Not Found"),
    "no type": (DEFLATE, [GZIP], None, TEXT, "200 OK"),
    "by name": ("SetOutputFilter DEFLATE", [GZIP], "Content-Type: image/png\r\n", TEXT, "200 OK"),
    "not this one": (DEFLATE + '\nSetEnvIf Request_URI "^/a" no-gzip', [GZIP], "", TEXT, "200 OK"),
    "etag as it was": (DEFLATE + "\nDeflateAlterETag NoChange\nDeflateCompressionLevel 1", [GZIP], 'ETag: "abc"\r\n', TEXT, "200 OK"),
    "brotli": (BROTLI, [BOTH], 'ETag: "abc"\r\n', TEXT, "200 OK"),
    "brotli or gzip": (BROTLI, [GZIP], "", TEXT, "200 OK"),
    "headers": (HEADERS, [], "X-Old: 1\r\nVary: Accept\r\nX-More: 0\r\nx-old: 2\r\nCache-Control: private\r\n", TEXT, "200 OK"),
    "headers of an error": (HEADERS, [], "", "gone", "410 Gone"),
    "computed headers": ('Header set X-Uri "expr=%{REQUEST_URI} %{CONTENT_TYPE}"\nHeader edit X-A "b(.)" "c$1"\nHeader edit* X-A "1" "2"\n'
                         'SetEnvIf Request_URI "^/(a)" seen=$1\nHeader always set X-Env "%{seen}e" env=seen\nHeader set X-No a env=!seen\n'
                         'Header echo "^X-Echo"\nHeader set Content-Type text/plain\nHeader append X-B 1 "expr=%{REQUEST_STATUS} == 200"\n'
                         'Header unset X-Old\nHeader merge Vary Cookie',
                         ["X-Echo-It: 1"], "X-A: b1, b2, 1\r\nX-Old: 1\r\n", TEXT, "200 OK"),
    "computed headers and gzip": (DEFLATE + '\nHeader set X-A "expr=%{resp:Vary}"\nHeader always append X-B "%{nothing}e"', [GZIP], "", TEXT, "200 OK"),
    "expires": ('ExpiresActive On\nExpiresByType text/html "access plus 1 hour"\nExpiresDefault A10', [], "", TEXT, "200 OK"),
    "substitute": ('AddOutputFilterByType SUBSTITUTE;DEFLATE text/html\nSubstitute "s/text/TEXT/"', [GZIP], 'ETag: "a"\r\n', TEXT, "200 OK"),
    "inflate": ("SetOutputFilter INFLATE", [], "", TEXT, "200 OK"),
    "headers of nothing": (HEADERS, [], "", "", "200 OK"),
}
# made by the codec and by the exchange
NOT_COMPARED = {"date", "server", "connection", "keep-alive", "transfer-encoding", "content-length", "expires"}


def lines_of(pairs):
    """In their order; Vary is folded by who writes it to the client."""
    lines = [(name.lower(), value) for name, value in pairs if name.lower() not in NOT_COMPARED]
    return [(name, sorted(set(re.split(", *", value))) if name == "vary" else value) for name, value in lines]


@pytest.mark.parametrize("kind", ANSWERS)
def test_answers_as_the_classic_plane_makes_them(lab, kind):
    conf, fields, more, body, status = ANSWERS[kind]
    more = "" if more is None else more if "Content-Type" in more else "Content-Type: text/html; charset=utf-8\r\n" + more
    answer = f"HTTP/1.1 {status}\r\n{more}Content-Length: {len(body)}\r\n\r\n{body}"
    member = lab.upstream().behave({"raw": [answer]})
    text = load_probe() + "GateEngine on\n" + group("app", [member]) + conf + '\nProxyPass "/" "gate://app/"\n'
    httpd = lab.httpd(text, ours=OTHERS, modules=["brotli", "substitute"])
    classic = get(httpd.port, "/a", headers=dict(line.split(": ", 1) for line in fields))
    express = probe(httpd, "/a", fields=fields, answer=answer)
    assert express["why"] is None
    assert lines_of(express.get("always", []) + express["fields"]) == lines_of(classic.headers)
    if "body" in express:
        assert bytes.fromhex(express["body"]) == classic.body
        assert express["sent"] == len(classic.body)


REQUEST_HEADERS = [
    'RequestHeader set X-Forwarded-Proto "expr=%{REQUEST_SCHEME}"\nRequestHeader unset X-Secret\nRequestHeader append X-List "b"',
    'RequestHeader set X-Fixed a\nRequestHeader unset X-Secret\nRequestHeader append X-List c\nRequestHeader add X-List d',
    'RequestHeader edit X-List "^a" "z"\nSetEnvIf X-Secret "(.*)" secret=$1\nRequestHeader set X-Told "%{secret}e" env=secret\n'
    'RequestHeader unset X-Secret env=secret\nRequestHeader unset X-Forwarded-For',
    'RemoteIPHeader X-Real\nRequestHeader set X-Client "expr=%{REMOTE_ADDR}"\nRequestHeader unset Cookie',
]


@pytest.mark.parametrize("lines", REQUEST_HEADERS)
def test_requests_as_the_classic_plane_makes_them(lab, lines):
    member = lab.upstream()
    text = load_probe() + "GateEngine on\n" + group("app", [member]) + lines + '\nProxyAddHeaders Off\nProxyPass "/" "gate://app/"\n'
    httpd = lab.httpd(text, ours=OTHERS)
    fields = ["X-Secret: s", "X-List: a", "Cookie: c", "X-Forwarded-For: 8.8.8.8", "X-Real: 9.9.9.9", "X-List: a2"]
    get(httpd.port, "/a", headers=[line.split(": ", 1) for line in fields])
    found = probe(httpd, "/a", fields=fields, show="useragent_ip")
    assert found["why"] is None
    made = [(name, value) for name, value in found.get("asked") or found["told"] if name != "Host"]
    seen = [(name, value) for name, value in member.requests()[0]["headers"] if name not in ("Host", "Connection")]
    assert joined(made) == joined(seen)


def joined(pairs):
    """Lines of one name are one, as members get them."""
    lines = {}
    for name, value in pairs:
        lines[name.lower()] = f"{lines[name.lower()]}, {value}" if name.lower() in lines else value
    return list(lines.items())


# --- Debian -------------------------------------------------------------------------------------

def debian(httpd, port, more, gate, site_lines=""):
    """Debian's /etc/apache2, with one ProxyPass line in its site and `gate` among its conf-enabled."""
    etc = httpd.path("etc")
    shutil.copytree("/etc/apache2", etc, symlinks=True)
    enabled = os.path.join(etc, "mods-enabled")
    for name in ["proxy", "proxy_http", *more]:
        for end in (".load", ".conf"):
            if os.path.exists(f"{etc}/mods-available/{name}{end}") and not os.path.lexists(f"{enabled}/{name}{end}"):
                os.symlink(f"../mods-available/{name}{end}", f"{enabled}/{name}{end}")
    site = httpd.path("etc/sites-available/000-default.conf")
    with open(site, encoding="utf-8") as file:
        text = file.read()
    with open(site, "w", encoding="utf-8") as file:
        file.write(text.replace("*:80", port).replace("</VirtualHost>", f'{site_lines}ProxyPass "/" "gate://app/"\n</VirtualHost>'))
    with open(httpd.path("etc/ports.conf"), "w", encoding="utf-8") as file:
        file.write(f"Listen {port}\n")
    with open(os.path.join(etc, "conf-enabled", "zz-gate.conf"), "w", encoding="utf-8") as file:
        file.write(gate)
    os.makedirs(httpd.path("run"), exist_ok=True)
    with open(os.path.join(etc, "apache2.conf"), encoding="utf-8") as file:
        text = file.read()
    httpd.raw = (f"Define APACHE_RUN_DIR {httpd.path('run')}\nDefine APACHE_PID_FILE {httpd.path('run/httpd.pid')}\n"
                 f"Define APACHE_RUN_USER www-data\nDefine APACHE_RUN_GROUP www-data\nDefine APACHE_LOG_DIR {httpd.path('logs')}\n"
                 f"ServerRoot {etc}\nServerName localhost\nMutex file:{httpd.path('run')} default\n" + text.replace("/etc/apache2", etc))
    httpd.write_conf()
    httpd.start()


HAS_DEBIAN = pytest.mark.skipif(not os.path.exists("/etc/apache2/mods-available"), reason="Debian's configuration is not here")
BROWSER = "Mozilla/5.0 (X11; Linux x86_64)"


def load_lines(names):
    return "".join(f"LoadModule {name}_module {gatehttpd.modules_dir()}/mod_{name}.so\n" for name in names if gatehttpd.built(name))


@HAS_DEBIAN
@pytest.mark.parametrize("more", [[], ["ssl", "headers", "rewrite", "socache_shmcb", "http2", "remoteip", "expires", "brotli"]])
def test_debians_configuration_is_express(lab, more):
    httpd = lab.httpd(raw="placeholder", start=False)
    debian(httpd, f"127.0.0.1:{httpd.port}", more, f"{load_lines(OTHERS)}{load_probe()}GateEngine on\n{group('app', [MEMBER])}")
    found = probe(httpd, "/a.html", fields=[f"User-Agent: {BROWSER}"])
    assert found["why"] is None, found["why"]
    assert found["output"] and found["logs"] and "browser" in found["needs"] and found["type"] == "text/html"
    assert probe(httpd, "/server-status")["why"].startswith("SetHandler")
    assert probe(httpd, fields=["User-Agent: gvfs/1.2"])["why"] == "BrowserMatch knows this User-Agent"
    assert "GATE1461" in httpd.error_log()


@HAS_DEBIAN
@pytest.mark.needs("gate_engine")
@pytest.mark.parametrize("more", [["headers"], ["headers", "ssl", "socache_shmcb", "http2"]])
def test_debians_requests_are_express(lab, more):
    member = lab.upstream().behave({"body": "<p>hello</p>\n" * 100, "headers": [["Content-Type", "text/html"]]})
    httpd = lab.httpd(raw="placeholder", start=False)
    debian(httpd, f"127.0.0.1:{httpd.port}", more,
           f"{load_lines([*OTHERS, 'gate_engine'])}GateEngine on\n{group('app', [member])}"
           f'LogFormat "%U %{{GATE_PLANE}}e %>s" planes\n', site_lines=f'CustomLog {httpd.path("logs/planes.log")} planes\n')
    answer = get(httpd.port, "/a.html", headers={"User-Agent": BROWSER, "Accept-Encoding": "gzip"})
    assert (answer.status, answer.header("Content-Encoding"), answer.header("Vary")) == (200, "gzip", "Accept-Encoding")
    assert get(httpd.port, "/b", headers={"User-Agent": "gvfs/1.2"}).status == 200
    lines = wait_until(lambda: (seen := httpd.read_file("logs/planes.log").splitlines()) and len(seen) == 2 and seen, 5, "two lines")
    assert sorted(lines) == ["/a.html express 200", "/b classic 200"]
    if "http2" in more and shutil.which("curl"):
        done = subprocess.run(["curl", "-s", "--http2-prior-knowledge", "-w", "%{http_version}", "-o", "/dev/null",
                               f"http://127.0.0.1:{httpd.port}/c"], capture_output=True, text=True, timeout=20, check=True)
        assert done.stdout == "2"


def test_head_text():
    assert head("/", "GET", "a", "1.1", "B: c") == "GET / HTTP/1.1\r\nHost: a\r\nB: c\r\n\r\n"
