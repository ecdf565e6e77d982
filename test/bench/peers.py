"""
What the bench compares: httpd with this or that in it, nginx, HAProxy, Varnish, all in front of the same nginx upstream.

A contender is a function (lab, member ports, tls=False) that starts one and returns its (url, pid); its docstring names it.
cached=True makes it keep the answer.
"""
import os

import gatehttpd
import procs
import upstreams

CACHE_MODULES = "cache socache_shmcb cache_socache".split()
MODULES = "authz_core proxy proxy_http slotmem_shm proxy_balancer lbmethod_byrequests".split()
BODY = "0123456789abcde\n" * 64  # 1 KB


def origin(lab, ports=3):
    """nginx that answers 1 KB from memory on some ports, as if each were a member; returns the ports and its pid."""
    numbers = [procs.free_port() for _ in range(ports)]
    listens = " ".join(f"listen 127.0.0.1:{n};" for n in numbers)
    text = BODY.replace("\n", "\\n")
    answer = f'add_header Cache-Control "max-age=3600"; return 200 "{text}";'
    server = lab.nginx("origin", server=f"{listens} location /1k {{ {answer} }}")
    return numbers, server.process.pid


def httpd_conf(ours, more, tls=False, modules=()):
    """A lean httpd: nothing loaded or logged that the contenders do not all need."""
    def whole(httpd):
        loads = [f"LoadModule mpm_event_module {gatehttpd.MODULE_DIR}/mod_mpm_event.so"]
        loads += [f"LoadModule {m}_module {gatehttpd.MODULE_DIR}/mod_{m}.so"
                  for m in dict.fromkeys([*MODULES, *modules, *(["socache_shmcb", "ssl"] if tls else [])])]
        loads += [f"LoadModule {m}_module {gatehttpd.modules_dir()}/mod_{m}.so" for m in ours]
        lines = [f"ServerRoot {httpd.root}", "ServerName localhost", f"Listen 127.0.0.1:{httpd.port}",
                 f"DefaultRuntimeDir {httpd.path('run')}", f"PidFile {httpd.path('run/httpd.pid')}",
                 f"ErrorLog {httpd.path('logs/error.log')}", *loads, "LogLevel warn mpm_event:notice", "User www-data",
                 "Group www-data", "StartServers 2", "ServerLimit 4", "ThreadsPerChild 64", "ThreadLimit 64",
                 "MaxRequestWorkers 128", "MinSpareThreads 1", "MaxSpareThreads 128", "KeepAlive On",
                 "MaxKeepAliveRequests 0", more]
        if tls:
            cert, key = gatehttpd.certificate(httpd.path("conf"))
            lines += [f"Listen 127.0.0.1:{httpd.tls_port}",
                      f"SSLSessionCache shmcb:{httpd.path('run/tls(512000)')}", f"<VirtualHost *:{httpd.tls_port}>",
                      "ServerName localhost", "SSLEngine on", f"SSLCertificateFile {cert}",
                      f"SSLCertificateKeyFile {key}", "</VirtualHost>"]
        return "\n".join(lines) + "\n"
    return whole


def httpd(lab, ours, more, tls, modules=()):
    server = lab.httpd(start=False)
    server.raw = httpd_conf(ours, more, tls, modules)(server)
    server.write_conf()
    server.start()
    return (server.tls_url if tls else server.url) + "/1k", server.pid()


def balancer(lab, ports, tls=False):
    """mod_proxy_balancer"""
    members = "\n".join(f"BalancerMember http://127.0.0.1:{p}" for p in ports)
    return httpd(lab, [], f'<Proxy balancer://app>\n{members}\n</Proxy>\nProxyPass / balancer://app/', tls)


def cache_socache(lab, ports, tls=False):
    """mod_cache_socache in shared memory, in the quick handler, where it is fastest"""
    more = (f"CacheEnable socache /\nCacheSocache shmcb:cache(16777216)\nCacheSocacheMaxSize 102400\n"
            f"ProxyPass / http://127.0.0.1:{ports[0]}/")
    return httpd(lab, [], more, tls, CACHE_MODULES)


def gate_classic(lab, ports, tls=False, cached=False):
    """Gatehouse, classic plane"""
    members = "\n".join(f"GateMember http://127.0.0.1:{p}" for p in ports)
    more = f"<GateUpstream app>\n{members}\n</GateUpstream>\nProxyPass / gate://app/"
    ours = ["gate", "gate_upstream"]
    if cached:
        more += '\n<Location "/">\nGateCache on\n</Location>'
        ours.append("gate_cache")
    return httpd(lab, ours, more, tls)


def static_file(lab, ports, tls=False, cached=False):
    """httpd's own static file of 1 MB, sendfile off; cached: the same file out of Gatehouse's store"""
    more = (f"<Directory />\nRequire all granted\n</Directory>\nEnableSendfile off\n"
            "<Location />\nForceType text/plain\n" + ("GateCache on default-ttl=1h\n" if cached else "") + "</Location>")
    server = lab.httpd(start=False)
    server.write_file("htdocs/1m", BODY * 1024)
    more += f"\nDocumentRoot {server.path('htdocs')}"
    server.raw = httpd_conf(["gate", "gate_cache"] if cached else [], more, tls)(server)
    server.write_conf()
    server.start()
    return (server.tls_url if tls else server.url) + "/1m", server.pid()


def nginx(lab, ports, tls=False, cached=False):
    """nginx as a proxy"""
    folder = procs.temp_dir()
    port = procs.free_port()
    cert, key = gatehttpd.certificate(folder)
    lines = f"ssl_certificate {cert}; ssl_certificate_key {key};" if tls else ""
    cache = use = ""
    if cached:
        cache = f"proxy_cache_path {folder}/cache keys_zone=c:10m; open_file_cache max=1000;"
        use = "proxy_cache c; proxy_cache_valid 200 1h;"
    path = os.path.join(folder, "nginx.conf")
    temps = " ".join(f"{what}_temp_path {folder}/{what};" for what in
                     ("client_body", "proxy", "fastcgi", "uwsgi", "scgi"))
    with open(path, "w") as file:
        file.write(f"""daemon off; user www-data; worker_processes 2; pid {folder}/pid; error_log {folder}/error.log;
events {{ worker_connections 4096; }}
http {{ access_log off; keepalive_requests 100000000; {temps} {cache}
upstream app {{ {" ".join(f"server 127.0.0.1:{p};" for p in ports)} keepalive 128; keepalive_requests 100000000; }}
server {{ listen 127.0.0.1:{port}{" ssl" if tls else ""} reuseport; {lines}
location / {{ proxy_pass http://app; proxy_http_version 1.1; proxy_set_header Connection ""; {use} }} }} }}
""")
    return peer(lab, "nginx", ["/usr/sbin/nginx", "-p", folder, "-c", path, "-e", f"{folder}/error.log"], folder, port,
                tls)


def haproxy(lab, ports, tls=False, cached=False):
    """HAProxy"""
    folder = procs.temp_dir()
    port = procs.free_port()
    bind = f"127.0.0.1:{port}"
    if tls:
        cert, key = gatehttpd.certificate(folder)
        both = os.path.join(folder, "both.pem")
        with open(both, "w") as out:
            for one in (cert, key):
                with open(one) as file:
                    out.write(file.read())
        bind += f" ssl crt {both}"
    cache = use = ""
    if cached:
        cache = "cache c\n    total-max-size 64\n    max-object-size 100000\n    max-age 3600"
        use = "    http-request cache-use c\n    http-response cache-store c\n"
    servers = "\n".join(f"    server s{n} 127.0.0.1:{p}" for n, p in enumerate(ports))
    path = os.path.join(folder, "haproxy.cfg")
    with open(path, "w") as file:
        file.write(f"""global
    nbthread 2
    maxconn 8000
defaults
    mode http
    http-reuse always
    timeout connect 5s
    timeout client 60s
    timeout server 60s
{cache}
listen app
    bind {bind}
    balance roundrobin
{use}{servers}
""")
    return peer(lab, "haproxy", ["/usr/sbin/haproxy", "-db", "-f", path], folder, port, tls)


def varnish(lab, ports):
    """Varnish, which only speaks cleartext"""
    folder = procs.temp_dir()
    port = procs.free_port()
    path = os.path.join(folder, "default.vcl")
    with open(path, "w") as file:
        file.write(f'vcl 4.1;\nbackend app {{ .host = "127.0.0.1"; .port = "{ports[0]}"; }}\n')
    return peer(lab, "varnish", ["/usr/sbin/varnishd", "-F", "-n", f"{folder}/work", "-a", f"127.0.0.1:{port}",
                                 "-f", path, "-s", "malloc,64m"], folder, port, False)


class Peer:
    """A proxy of somebody else's, ended with the lab."""

    def __init__(self, process, folder, port):
        self.process, self.folder, self.port = process, folder, port

    def stop(self):
        self.process.stop()

    def remove(self):
        procs.remove_dir(self.folder)

    def ports(self):
        return [self.port]


def peer(lab, name, args, folder, port, tls):
    process = procs.Process(name, args, os.path.join(folder, "output")).start()
    lab.keep(Peer(process, folder, port))

    def ready():
        assert process.alive(), f"{name} did not start:\n{process.output()}"
        return upstreams.answers(("127.0.0.1", port))
    procs.wait_until(ready, 10, f"{name} listens")
    return f"http{'s' if tls else ''}://127.0.0.1:{port}/1k", process.pid
