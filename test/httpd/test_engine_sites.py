"""
Sites as people have them in front of an application: what is express and what is classic of each, and that both planes answer alike. All are
virtual hosts of one server, by name; the member is the same for all.
"""
import re

import pytest

from clients import request
from groups import group
from procs import wait_until

pytestmark = [pytest.mark.needs("gate_upstream", "gate_engine"), pytest.mark.plane("classic")]  # both planes are made here

HTML = {"body": "<p>a page</p>\n" * 100, "headers": [["Content-Type", "text/html"], ["X-Powered-By", "php"]]}
SECURITY = """
Header always set Strict-Transport-Security "max-age=31536000; includeSubDomains"
Header always set X-Content-Type-Options nosniff
Header setifempty X-Frame-Options SAMEORIGIN
Header always edit Set-Cookie ^(.*)$ "$1; HttpOnly; Secure"
Header append Cache-Control no-transform
Header unset X-Powered-By
Header always unset X-Powered-By
"""

# lines of the vhost but for ProxyPass "/"; requests: (path, further fields, status, plane)
SITES = {
    "plain": ("ServerAlias www.plain *.plain", [("/", {}, 200, "express"), ("/a/b?c", {}, 200, "express")]),
    "wordpress": (SECURITY + "RequestHeader set X-Forwarded-Proto https\nRequestHeader set X-Forwarded-Port 443\nProxyPreserveHost On\nTimeout 30\nProxyTimeout 20\n"
                  "LimitRequestBody 1000000\nSetEnvIf Request_URI \"\\.(gif|png|ico)$\" quiet\nCustomLog ${ROOT}/logs/wp.log combined env=!quiet\n"
                  "<Location \"/wp-admin\">\nRequire ip 192.0.2.0/24\n</Location>\nAddOutputFilterByType DEFLATE text/html\n",
                  [("/", {"Accept-Encoding": "gzip"}, 200, "express"), ("/cookie", {}, 200, "express"), ("/wp-admin/x", {}, 403, "express"), ("/a.gif", {}, 200, "express")]),
    "variables": ("RequestHeader set X-Real-IP \"%{REMOTE_ADDR}s\"\nRequestHeader set X-Proto \"expr=%{REQUEST_SCHEME}\"\nHeader set X-Host \"expr=%{HTTP_HOST}\"\n"
                  "RequestHeader set X-Flag on env=flag\nSetEnvIf X-Old . flag\nHeader set X-Seen \"%{flag}e\" env=flag\nHeader set X-If 1 \"expr=%{REQUEST_URI} =~ m#^/a#\"",
                  [("/", {}, 200, "express"), ("/a", {"X-Old": "1"}, 200, "express")]),
    "httpoxy": ("RequestHeader unset Proxy early\n", [("/", {"Proxy": "evil"}, 200, "express")]),
    "httpoxy, computed": ("RequestHeader unset Proxy early\nRequestHeader set X-Proto \"expr=%{REQUEST_SCHEME}\"\n", [("/", {"Proxy": "evil"}, 200, "express")]),
    "static": ("Alias /static ${ROOT}/htdocs\nProxyPass /static !\nExpiresActive On\nExpiresByType text/html \"access plus 1 hour\"\n<Directory ${ROOT}/htdocs>\nRequire all granted\n"
               "</Directory>", [("/", {}, 200, "express"), ("/static/", {}, 200, "classic"), ("/staticky", {}, 200, "express")]),
    "certbot": ("Alias /.well-known/acme-challenge ${ROOT}/htdocs\nProxyPass /.well-known/acme-challenge !\n<Location /.well-known/acme-challenge>\nRequire all granted\n</Location>",
                [("/", {}, 200, "express"), ("/.well-known/acme-challenge/none", {}, 404, "classic")]),
    "status": ("<Location /server-status>\nSetHandler server-status\nRequire local\n</Location>\nProxyPass /server-status !",
               [("/", {}, 200, "express"), ("/server-status?auto", {}, 200, "classic")]),
    "reverse": ("ProxyPassReverse / http://inner:8080/\nProxyPassReverseCookieDomain inner outer\nProxyPassReverseCookiePath / /app/\nProxyErrorOverride On 404 500\n"
                "ErrorDocument 404 \"nothing here\"\n", [("/cookie", {}, 200, "express"), ("/redirect", {}, 302, "express"), ("/missing", {}, 404, "express")]),
    "www": ("ServerAlias www.www\nRewriteEngine On\nRewriteCond %{HTTP_HOST} ^www\\.(.+)$ [NC]\nRewriteRule ^ https://%1%{REQUEST_URI} [R=301,L,NE]\nRewriteRule ^/old/(.*) /new/$1 [R=302,L]\n"
            "RewriteRule \\.bak$ - [F]", [("/", {}, 200, "express"), ("/old/x?y", {}, 302, "express"), ("/a.bak", {}, 403, "express"), ("www.www/a", {}, 301, "express")]),
    "secure": ("RewriteEngine On\nRewriteCond %{HTTPS} !=on\nRewriteCond %{REQUEST_URI} !^/api\nRewriteRule ^ https://%{HTTP_HOST}%{REQUEST_URI} [R=301,L]\n"
               "RequestHeader set X-Proto \"expr=%{REQUEST_SCHEME}\"\nRequestHeader unset Proxy early\nRemoteIPHeader X-Client\nRemoteIPInternalProxy 127.0.0.1\n" + SECURITY +
               "<Location /api/x>\nRequire ip 192.0.2.1\n</Location>",
               [("/a?b", {"X-Client": "192.0.2.9", "Proxy": "x"}, 301, "express"), ("/api", {"X-Client": "192.0.2.9"}, 200, "express"),
                ("/api/x", {"X-Client": "192.0.2.9", "X-Proto": "own"}, 403, "express"), ("/api/x", {"X-Client": "192.0.2.1"}, 200, "express")]),
    "websockets": ("RewriteEngine On\nRewriteCond %{HTTP:Upgrade} websocket [NC]\nRewriteCond %{HTTP:Connection} upgrade [NC]\nRewriteRule ^/?(.*) gate://app/$1 [P,L]",
                   [("/", {}, 200, "express")]),
    "files": ("<LocationMatch \"\\.(css|js|woff2)$\">\nHeader set Cache-Control \"public, max-age=604800\"\n</LocationMatch>", [("/a.css", {}, 200, "express"), ("/a", {}, 200, "express")]),
    "old": ("<Proxy *>\nOrder deny,allow\nAllow from all\n</Proxy>\n<Location /intern>\nOrder deny,allow\nDeny from all\nAllow from 127.0.0.1\n</Location>",
            [("/", {}, 200, "express"), ("/intern", {}, 200, "express")]),
    "login": ("<Location /admin>\nAuthType Basic\nAuthName x\nAuthUserFile ${ROOT}/conf/none\nRequire valid-user\n</Location>",
              [("/", {}, 200, "express"), ("/admin", {}, 401, "classic")]),
    "if": ("<If \"%{HTTP_USER_AGENT} =~ /bot/\">\nHeader set X-Bot 1\n</If>", [("/", {}, 200, "classic")]),
    "redirect": ("ProxyPass /gone !\nRedirect permanent /gone /there\nRedirectMatch 302 ^/gone-too$ http://elsewhere/\nProxyPass /gone-too !",
                 [("/", {}, 200, "express"), ("/gone/x", {}, 301, "classic"), ("/gone-too", {}, 302, "classic")]),
}
NO_PROXY = {"no proxy": ("Redirect permanent / https://secure/", [("/a?b", {}, 301, "classic")])}
REASONS = {"if": "<If", "login": "AuthType"}
LOG = 'LogFormat "%{Host}i %{Proxy}i %{X-Proto}i %a %{X-Client}i %r %>s %b %{GATE_PLANE}e" sites\nGlobalLog ${ROOT}/logs/sites.log sites\n'


def name_of(site):
    return re.sub(r"\W+", "-", site)


@pytest.fixture(scope="module")
def servers(module_lab):
    member = module_lab.upstream()
    member.behave(HTML)
    member.behave({"cookie": "a=b; Path=/; Domain=inner", "body": "x"}, path="/cookie")
    member.behave({"status": 302, "reason": "Found", "headers": [["Location", "http://inner:8080/z"]], "body": "x"}, path="/redirect")
    member.behave({"status": 404, "reason": "Not Found", "body": "none"}, path="/missing")
    made = {}
    for plane in ("classic", "express"):
        conf = group("app", [member]) + LOG + "DocumentRoot ${ROOT}/htdocs\n"
        for site, (lines, _) in {**SITES, **NO_PROXY}.items():
            proxied = 'ProxyPass "/" "gate://app/"\n' if site in SITES else ""
            conf += f"<VirtualHost *:${{PORT}}>\nServerName {name_of(site)}\nUseCanonicalName On\n{lines}\n{proxied}</VirtualHost>\n"
        made[plane] = module_lab.httpd(conf, plane=plane, modules=["access_compat"])
        made[plane].expect(".*")
    return made, member


def asked(servers, plane, site, path, fields):
    made, member = servers
    httpd, before = made[plane], len(member.requests())

    def lines():
        return httpd.read_file("logs/sites.log").splitlines()

    host, path = path.split("/", 1) if path[0] != "/" else (name_of(site), path[1:])
    logged = len(lines())
    answer = request(httpd.port, "/" + path, "GET", {"Host": host, "User-Agent": "Mozilla/5.0", **fields})
    line = wait_until(lambda: lines()[logged:], 5, "a line")[0]
    told = [[field for field in r["headers"] if field[0] not in ("Connection", "X-Forwarded-Port")] for r in member.requests()[before:]]
    body = "" if "server-status" in path else answer.text
    headers = [(k, v) for k, v in answer.headers if k not in ("Date", "Expires", "Cache-Control", "X-Connection", "Last-Modified", "ETag") and not (k == "Content-Length" and not body)]
    headers = [(k, v.replace(str(httpd.port), "PORT")) for k, v in headers]
    *words, said = line.split()
    seen = (answer.status, headers, body.replace(str(httpd.port), "PORT"), told, words if body else None)
    return seen, said


@pytest.mark.parametrize("site", [*SITES, *NO_PROXY])
def test_site(servers, site):
    made, _ = servers
    for path, fields, status, plane in {**SITES, **NO_PROXY}[site][1]:
        (classic, _), (express, said) = (asked(servers, one, site, path, fields) for one in ("classic", "express"))
        assert express == classic, path
        assert (express[0], "classic" if said == "-" else said) == (status, plane), path
    told = [line for line in made["express"].error_log().splitlines() if f": {name_of(site)}:{made['express'].port}: ProxyPass / gate" in line]
    if site in SITES and site != "if":
        assert told and any("GATE1461" in line for line in told), told
    if site in REASONS:
        assert re.search(rf"GATE1460: {name_of(site)}:\d+: .*{REASONS[site]}.*httpd\.conf:\d+\)", made["express"].error_log())
