"""
What the bench compares: httpd with this or that in it, nginx, HAProxy, Varnish, all in front of the same nginx upstream.

A contender is a function (lab, member ports, **words) that starts one and returns its (url, pid); its docstring names it.
words: tls=True; h2=True with it: h2 is spoken; cached=True makes it keep the answer; path="/1k" what is asked for; log=True writes an access log, through a
buffer wherever there is one. All have two workers (threads, loops), and room for MOST_CLIENTS clients.
"""
import os
import resource

import gatehttpd
import procs
import sample
import upstreams

CACHE_MODULES = "cache socache_shmcb cache_socache cache_disk".split()
MODULES = "authz_core proxy proxy_http slotmem_shm proxy_balancer lbmethod_byrequests".split()
BODY = "0123456789abcde\n" * 64  # 1 KB
SIZES = {"1k": 1, "16k": 16, "1m": 1024}
MOST_CLIENTS = 12000
FILES = 65536  # descriptors we would like a process to have: a client and a member's connection each

# Debian's mpm_event.conf
DEBIAN_MPM = ["StartServers 2", "MinSpareThreads 25", "MaxSpareThreads 75", "ThreadLimit 64", "ThreadsPerChild 25",
              "MaxRequestWorkers 150", "MaxConnectionsPerChild 0"]
BENCH_MPM = ["StartServers 2", "ServerLimit 4", "ThreadsPerChild 64", "ThreadLimit 64", "MaxRequestWorkers 128",
             "MinSpareThreads 1", "MaxSpareThreads 128", f"AsyncRequestWorkerFactor {MOST_CLIENTS // 64}"]


LOG = ["BufferedLogs On", r'LogFormat "%h %l %u %t \"%r\" %>s %O \"%{Referer}i\" \"%{User-Agent}i\"" combined',
       "CustomLog logs/access.log combined"]


def raise_limits():
    """As many descriptors as FILES, if we may; whoever is started later inherits it. Returns how many there are."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, FILES), max(hard, FILES)))
    except (ValueError, PermissionError):
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    return resource.getrlimit(resource.RLIMIT_NOFILE)[0]


def origin(lab, ports=3):
    """nginx that answers from memory on some ports, as if each were a member; returns the ports and its pid."""
    numbers = [procs.free_port() for _ in range(ports)]
    listens = " ".join(f"listen 127.0.0.1:{n} backlog=4096;" for n in numbers)
    text = BODY.replace("\n", "\\n")
    answer = 'add_header Cache-Control "max-age=3600";'
    server = lab.nginx("origin", start=False, connections=2 * MOST_CLIENTS, server=f"""{listens} {answer}
        open_file_cache max=100; sendfile on; keepalive_requests 100000000;
        location = /1k {{ {answer} return 200 "{text}"; }}
        location = /16k {{ {answer} }}  location = /1m {{ {answer} }}""")
    for name in ("16k", "1m"):
        with open(os.path.join(server.dir, "www", name), "w", encoding="ascii") as file:
            file.write(BODY * SIZES[name])
    server.start()
    return numbers, server.process.pid


def slow_origin(lab, ports=3):
    """HAProxy that answers everything 1 KB after one second, for thousands at once."""
    folder = procs.temp_dir()
    numbers = [procs.free_port() for _ in range(ports)]
    with open(f"{folder}/1k", "w", encoding="ascii") as file:
        file.write(BODY)
    with open(f"{folder}/wait.lua", "w", encoding="ascii") as file:
        file.write('core.register_action("wait", {"http-req"}, function() core.msleep(1000) end)\n')
    binds = "\n".join(f"    bind 127.0.0.1:{n}" for n in numbers)
    with open(f"{folder}/haproxy.cfg", "w", encoding="ascii") as file:
        file.write(f"""global
    nbthread 1
    no strict-limits
    maxconn {2 * MOST_CLIENTS}
    lua-load {folder}/wait.lua
defaults
    mode http
    timeout connect 5s
    timeout client 60s
    timeout server 60s
    backlog 4096
listen slow
{binds}
    http-request lua.wait
    http-request return status 200 content-type text/plain file {folder}/1k
""")
    _, pid = peer(lab, "slow", ["/usr/sbin/haproxy", "-db", "-f", f"{folder}/haproxy.cfg"], folder, numbers[0])
    return numbers, pid


def direct(lab, ports, path="/1k"):
    """nobody in between"""
    return f"http://127.0.0.1:{ports[0]}{path}", None


def httpd_conf(ours, more, tls=False, modules=(), log=False, mpm=None, h2=False):
    """A lean httpd: nothing loaded or logged that the contenders do not all need."""
    def whole(httpd):
        loads = [f"LoadModule mpm_event_module {gatehttpd.MODULE_DIR}/mod_mpm_event.so"]
        loads += [f"LoadModule {m}_module {gatehttpd.MODULE_DIR}/mod_{m}.so"
                  for m in dict.fromkeys([*MODULES, *modules, *(["socache_shmcb", "ssl"] if tls else []), *(["http2"] if h2 else [])])]
        loads += [f"LoadModule {m}_module {gatehttpd.modules_dir()}/mod_{m}.so" for m in ours]
        lines = [f"ServerRoot {httpd.root}", "ServerName localhost", f"Listen 127.0.0.1:{httpd.port}",
                 f"DefaultRuntimeDir {httpd.path('run')}", f"PidFile {httpd.path('run/httpd.pid')}",
                 f"ErrorLog {httpd.path('logs/error.log')}", *loads, "LogLevel warn mpm_event:notice", "User www-data",
                 "Group www-data", *(mpm or BENCH_MPM), "ListenBacklog 4096", "KeepAlive On", "KeepAliveTimeout 60",
                 "MaxKeepAliveRequests 0", *(LOG if log else []), *(["Protocols h2 http/1.1"] if h2 else []), more]
        if tls:
            cert, key = gatehttpd.certificate(httpd.path("conf"))
            lines += [f"Listen 127.0.0.1:{httpd.tls_port}",
                      f"SSLSessionCache shmcb:{httpd.path('run/tls(512000)')}", f"<VirtualHost *:{httpd.tls_port}>",
                      "ServerName localhost", "SSLEngine on", f"SSLCertificateFile {cert}",
                      f"SSLCertificateKeyFile {key}", "</VirtualHost>"]
        return "\n".join(lines) + "\n"
    return whole


def httpd(lab, ours, more, path="/1k", tls=False, modules=(), log=False, mpm=None, h2=False):
    server = lab.httpd(start=False)
    server.raw = httpd_conf(ours, more, tls, modules, log, mpm, h2)(server)
    server.write_conf()
    # with Debian's settings it is the point that all its threads are busy
    server.expect("AH00484|AH10159|AH00161")
    server.start()
    return (server.tls_url if tls else server.url) + path, server.pid()


def balancer(lab, ports, **words):
    """mod_proxy_balancer"""
    members = "\n".join(f"BalancerMember http://127.0.0.1:{p}" for p in ports)
    return httpd(lab, [], f'<Proxy balancer://app>\n{members}\n</Proxy>\nProxyPass / balancer://app/', **words)


def cache_stock(lab, ports, path="/1k", **words):
    """mod_cache in the quick handler, where it is fastest: in shared memory up to 16 KB, on disk with sendfile above"""
    if SIZES[path[1:]] <= 16:
        more = "CacheEnable socache /\nCacheSocache shmcb:cache(16777216)\nCacheSocacheMaxSize 102400\n"
    else:
        folder = procs.temp_dir()
        os.chmod(folder, 0o777)
        lab.keep(Folder(folder))
        more = f"CacheEnable disk /\nCacheRoot {folder}\nCacheMaxFileSize 4000000\nEnableSendfile on\n"
    return httpd(lab, [], f"{more}ProxyPass / http://127.0.0.1:{ports[0]}/", path, modules=CACHE_MODULES, **words)


def constant(lab, ports, path="/filters"):
    """no cache at all: the same 1 KB for every request, from a quick handler (constant_module.c); what no module can do better"""
    return httpd(lab, [], sample.load_built(os.path.join(os.path.dirname(__file__), "constant_module.c"), "constant"), path)


def stock(lab, ports, cached=False, **words):
    """httpd without us"""
    return (cache_stock if cached else balancer)(lab, ports, **words)


def gate(lab, ports, express=False, cached=False, **words):
    """Gatehouse, on one plane or the other"""
    members = "\n".join(f"GateMember http://127.0.0.1:{p}" for p in ports)
    more = f"<GateUpstream app>\n{members}\n</GateUpstream>\nProxyPass / gate://app/"
    ours = ["gate", "gate_upstream"]
    if cached:
        more += '\n<Location "/">\nGateCache on\n</Location>'
        ours.append("gate_cache")
    if express:
        more = "GateEngine on\n" + more
        ours.append("gate_engine")
    return httpd(lab, ours, more, **words)


def gate_classic(lab, ports, **words):
    """Gatehouse, classic plane"""
    return gate(lab, ports, **words)


def gate_express(lab, ports, **words):
    """Gatehouse, express plane"""
    return gate(lab, ports, express=True, **words)


def static_file(lab, ports, tls=False, cached=False):
    """httpd's own static file of 1 MB, sendfile off; cached: the same file out of Gatehouse's store"""
    more = ("<Directory />\nRequire all granted\n</Directory>\nEnableSendfile off\n"
            "<Location />\nForceType text/plain\n" + ("GateCache on default-ttl=1h\n" if cached else "") + "</Location>")
    server = lab.httpd(start=False)
    server.write_file("htdocs/1m", BODY * 1024)
    more += f"\nDocumentRoot {server.path('htdocs')}"
    server.raw = httpd_conf(["gate", "gate_cache"] if cached else [], more, tls)(server)
    server.write_conf()
    server.start()
    return (server.tls_url if tls else server.url) + "/1m", server.pid()


def nginx(lab, ports, tls=False, cached=False, path="/1k", log=False, h2=False):
    """nginx as a proxy"""
    folder = procs.temp_dir()
    port = procs.free_port()
    cert, key = gatehttpd.certificate(folder)
    lines = f"ssl_certificate {cert}; ssl_certificate_key {key};" if tls else ""
    cache = ""
    # larger answers pass without a detour through files
    use = "" if path == "/1k" else "proxy_buffers 16 32k; proxy_buffer_size 32k; proxy_max_temp_file_size 0;"
    if cached:
        cache = f"proxy_cache_path {folder}/cache keys_zone=c:10m; open_file_cache max=1000;"
        # one write is cheaper than a write and a sendfile while the object is small
        use = f"proxy_cache c; proxy_cache_valid 200 1h; sendfile {'off' if path == '/1k' else 'on'}; tcp_nopush on;"
    logs = f"log_format c '$remote_addr - $remote_user [$time_local] \"$request\" $status $body_bytes_sent \"$http_referer\" \"$http_user_agent\"'; " \
           f"access_log {folder}/access.log c buffer=64k flush=1s;" if log else "access_log off;"
    conf = os.path.join(folder, "nginx.conf")
    temps = " ".join(f"{what}_temp_path {folder}/{what};" for what in
                     ("client_body", "proxy", "fastcgi", "uwsgi", "scgi"))
    with open(conf, "w") as file:
        file.write(f"""daemon off; user www-data; worker_processes 2; pid {folder}/pid; error_log {folder}/error.log;
worker_rlimit_nofile {resource.getrlimit(resource.RLIMIT_NOFILE)[0]}; events {{ worker_connections {2 * MOST_CLIENTS}; }}
http {{ {logs} keepalive_requests 100000000; {temps} {cache}
upstream app {{ {" ".join(f"server 127.0.0.1:{p};" for p in ports)} keepalive 128; keepalive_requests 100000000; }}
server {{ listen 127.0.0.1:{port}{" ssl" if tls else ""}{" http2" if h2 else ""} reuseport backlog=4096; {lines}
location / {{ proxy_pass http://app; proxy_http_version 1.1; proxy_set_header Connection ""; {use} }} }} }}
""")
    return peer(lab, "nginx", ["/usr/sbin/nginx", "-p", folder, "-c", conf, "-e", f"{folder}/error.log"], folder, port,
                tls, path)


def haproxy(lab, ports, tls=False, cached=False, path="/1k", log=False, h2=False):
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
        bind += f" ssl crt {both}" + (" alpn h2,http/1.1" if h2 else "")
    cache = use = ""
    if cached:
        cache = "cache c\n    total-max-size 64\n    max-object-size 4000000\n    max-age 3600"
        use = "    http-request cache-use c\n    http-response cache-store c\n"
    servers = "\n".join(f"    server s{n} 127.0.0.1:{p}" for n, p in enumerate(ports))
    conf = os.path.join(folder, "haproxy.cfg")
    with open(conf, "w") as file:
        file.write(f"""global
    nbthread 2
    no strict-limits
    maxconn {MOST_CLIENTS}
    {"log stdout format raw local0" if log else ""}
defaults
    mode http
    http-reuse always
    {"option splice-auto" if path == "/1m" else ""}
    timeout connect 5s
    timeout client 60s
    timeout server 60s
    backlog 4096
    {"log global" if log else ""}
    {"option httplog" if log else ""}
{cache}
listen app
    bind {bind}
    balance roundrobin
{use}{servers}
""")
    return peer(lab, "haproxy", ["/usr/sbin/haproxy", "-db", "-f", conf], folder, port, tls, path)


def varnish(lab, ports, cached=True, path="/1k"):
    """Varnish, which speaks cleartext alone and leaves its access log to another program"""
    folder = procs.temp_dir()
    port = procs.free_port()
    conf = os.path.join(folder, "default.vcl")
    names = [f"s{n}" for n in range(len(ports))]
    backends = "\n".join(f'backend {name} {{ .host = "127.0.0.1"; .port = "{p}"; }}' for name, p in zip(names, ports))
    members = " ".join(f"app.add_backend({name});" for name in names)
    with open(conf, "w") as file:
        file.write(f"""vcl 4.1;
import directors;
{backends}
sub vcl_init {{ new app = directors.round_robin(); {members} }}
sub vcl_recv {{ set req.backend_hint = app.backend(); {"" if cached else "return (pass);"} }}
""")
    return peer(lab, "varnish", ["/usr/sbin/varnishd", "-F", "-n", f"{folder}/work", "-a", f"127.0.0.1:{port}",
                                 "-f", conf, "-s", "malloc,64m", "-p", "thread_pool_max=5000"], folder, port, path=path)


class Folder:
    """A folder that goes with the lab."""
    port = tls_port = None

    def __init__(self, path):
        self.path = path

    def stop(self):
        pass

    def remove(self):
        procs.remove_dir(self.path)


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


def peer(lab, name, args, folder, port, tls=False, path="/1k"):
    process = procs.Process(name, args, os.path.join(folder, "output")).start()
    lab.keep(Peer(process, folder, port))

    def ready():
        assert process.alive(), f"{name} did not start:\n{process.output()}"
        return upstreams.answers(("127.0.0.1", port))
    procs.wait_until(ready, 10, f"{name} listens")
    return f"http{'s' if tls else ''}://127.0.0.1:{port}{path}", process.pid
