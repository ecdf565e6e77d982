"""The upstream servers that tests put behind httpd: scripted ones, nginx, php-fpm, and hosts of their own."""
import json
import os
import socket
import struct
import subprocess

import gatehttpd
import procs

HERE = os.path.dirname(os.path.abspath(__file__))
PHP_FPM = "/usr/sbin/php-fpm8.2"

# What an upstream can be told to do, by name; see member/server.py for the words.
PRESETS = {
    "ok": {},
    "slow": {"delay": 1.0},
    "drip": {"size": 2000, "pieces": 20, "piece_delay": 0.05},
    "garbage": {"raw": ["\x16\x03\x01 this is no answer\r\n\r\n"]},
    "bad-status": {"raw": ["HTTP/1.1 banana OK\r\nContent-Length: 0\r\n\r\n"]},
    "short-body": {"size": 4000, "fail": "close", "at": "answer"},
    "reset-mid-body": {"size": 400000, "fail": "reset", "at": "answer"},
    "dies": {"fail": "exit", "at": "body"},
    "closes": {"fail": "close", "at": "body"},
    "resets": {"fail": "reset", "at": "body"},
    "hangs": {"fail": "hang", "at": "body"},
    "hangs-up": {"fail": "close", "at": "accept"},
    "quiet-close": {"quiet_close": True},
    "close": {"close": True},
    "early-hints": {"interim": [[103, [["Link", "</style.css>; rel=preload"]]]]},
    "trailers": {"body": "with trailers", "chunked": True, "trailers": [["X-Checksum", "abc"]]},
    "redirect": {"redirect": "/there"},
    "cookie": {"cookie": "session=1"},
    "unavailable": {"status": 503, "reason": "Service Unavailable", "body": "later\n"},
    "error": {"status": 500, "reason": "Internal Server Error", "body": "broken\n"},
}


def behaviour(what, **words):
    """A preset by name or a dict, with words added."""
    act = dict(PRESETS[what] if isinstance(what, str) else what)
    act.update({key: value for key, value in words.items()})
    return act


class Member:
    """What every member that is a process of its own has: a name, a folder, a port (or a socket file), and an end."""
    patience = 10

    def __init__(self, name, unix=False, host="127.0.0.1"):
        self.name, self.host = name, host
        self.dir = procs.temp_dir()
        self.port = procs.free_port()
        self.unix = os.path.join(self.dir, "socket") if unix else None
        self.process = None

    @property
    def authority(self):
        return f"{self.host}:{self.port}"

    def _run(self, what, argv, netns=None, **words):
        self.process = procs.Process(what, argv, os.path.join(self.dir, "output"), netns=netns)
        self.process.start(**words)

    def _run_until_it_listens(self, what, argv):
        self._run(what, argv)

        def ready():
            assert self.process.alive(), f"{what} did not start:\n" + self.process.output()
            return answers(self.unix or (self.host, self.port))
        procs.wait_until(ready, self.patience, f"{what} listens")
        return self

    def stop(self):
        if self.process is not None:
            self.process.stop()

    def kill9(self):
        self.process.kill9()

    def pause(self):
        """SIGSTOP: connections are accepted by the kernel and nobody answers."""
        self.process.pause()

    def resume(self):
        self.process.resume()

    def ports(self):
        return [] if self.unix else [self.port]

    def remove(self):
        procs.remove_dir(self.dir)


class Upstream(Member):
    """
    One scripted server process. Counters and the request log stay readable when it was killed.
    proto: http, ajp, scgi, uwsgi; tls: self-signed https; unix: listens on a socket file.
    """

    def __init__(self, name="m1", proto="http", tls=False, unix=False, host="127.0.0.1", netns=None, backlog=1024):
        super().__init__(name, unix, host)
        self.proto, self.tls = proto, tls
        self.behaviour = {"default": {}, "script": [], "paths": {}}
        conf = {"name": name, "proto": proto, "host": host, "port": self.port, "unix": self.unix, "dir": self.dir,
                "backlog": backlog}
        if tls:
            conf["cert"], conf["key"] = gatehttpd.certificate(self.dir)
        self.conf = conf
        self.netns = netns

    @property
    def url(self):
        """The URL as a member is written (GateMember, BalancerMember, ProxyPass)."""
        if self.unix:
            return f"unix:{self.unix}|{self.proto}://localhost"
        scheme = "https" if self.tls else self.proto
        return f"{scheme}://{self.authority}"

    def start(self):
        read_end, write_end = os.pipe()
        conf_path = os.path.join(self.dir, "conf.json")
        with open(conf_path, "w") as file:
            json.dump(dict(self.conf, ready_fd=write_end), file)
        self._write_behaviour()
        self._run(f"upstream {self.name}", ["/usr/bin/python3", "-S", "-E", os.path.join(HERE, "member/server.py"), conf_path],
                  netns=self.netns, pass_fds=(write_end,))
        os.close(write_end)
        ready = os.read(read_end, 1)
        os.close(read_end)
        assert ready, f"upstream {self.name} did not start:\n" + self.process.output()
        return self

    # --- what it shall do ------------------------------------------------------------------

    def _write_behaviour(self):
        path = os.path.join(self.dir, "behave.json")
        with open(path + ".new", "w") as file:
            json.dump(self.behaviour, file)
        os.rename(path + ".new", path)

    def behave(self, what="ok", path=None, **words):
        """From now on, for every request or for one path only."""
        if path is None:
            self.behaviour["default"] = behaviour(what, **words)
        else:
            self.behaviour["paths"][path] = behaviour(what, **words)
        self.behaviour["script"] = []
        self._write_behaviour()
        return self

    def script(self, *acts):
        """For the next requests, one each; then what behave() said."""
        self.behaviour["script"] = [behaviour(act) for act in acts]
        self._write_behaviour()
        return self

    # --- what it saw -----------------------------------------------------------------------

    def _stat(self, slot):
        with open(os.path.join(self.dir, "stats"), "rb") as file:
            return struct.unpack_from("<q", file.read(64), slot * 8)[0]

    @property
    def connections(self):
        return self._stat(0)

    @property
    def count(self):
        """Requests begun, also those that were never answered."""
        return self._stat(1)

    @property
    def inflight(self):
        return self._stat(2)

    @property
    def most_inflight(self):
        return self._stat(3)

    @property
    def open_connections(self):
        return self._stat(4)

    def requests(self):
        """The requests as dicts, oldest first (method, target, headers, raw, body_length, body_sha256, ...)."""
        try:
            with open(os.path.join(self.dir, "requests.jsonl")) as file:
                return [json.loads(line) for line in file]
        except FileNotFoundError:
            return []

    def ports(self):
        return [] if self.netns else super().ports()


class Refusing:
    """A port where nobody listens, for as long as the test runs."""

    def __init__(self, host="127.0.0.1"):
        self.host, self.port = host, procs.free_port()
        self.url = f"http://{host}:{self.port}"

    def ports(self):
        return [self.port]

    def stop(self):
        pass

    remove = stop


class Silent:
    """A listener whose queue is full: the kernel drops every further connection attempt."""

    def __init__(self, host="127.0.0.1"):
        self.host, self.port = host, procs.free_port()
        self.url = f"http://{host}:{self.port}"
        self.listener = socket.socket()
        self.listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self.listener.bind((host, self.port))
        self.listener.listen(0)
        self.fillers = []
        for _ in range(4):
            filler = socket.socket()
            filler.setblocking(False)
            filler.connect_ex((host, self.port))
            self.fillers.append(filler)

    def ports(self):
        return [self.port]

    def stop(self):
        for sock in [*self.fillers, self.listener]:
            sock.close()

    def remove(self):
        pass


class Host:
    """
    A machine of its own: a network namespace with one address, for upstreams that fall silent
    (packets dropped, no reset, no ICMP) while connections are open.
    """
    count = 0

    def __init__(self):
        Host.count += 1
        tag = f"{os.getpid() % 100000}n{Host.count}"
        self.netns = f"gate{tag}"
        self.near, self.far = f"ga{tag}", f"gb{tag}"
        third = (os.getpid() + Host.count * 64) % 64 * 4
        second = (os.getpid() // 64 + Host.count) % 250
        self.near_address = f"10.213.{second}.{third + 1}"
        self.address = f"10.213.{second}.{third + 2}"
        self.ended = False

    @staticmethod
    def possible():
        """Whether this machine lets us make one."""
        name = f"gateprobe{os.getpid()}"
        done = subprocess.run(["ip", "netns", "add", name], capture_output=True, check=False)
        if done.returncode == 0:
            subprocess.run(["ip", "netns", "del", name], check=False)
        return done.returncode == 0

    @staticmethod
    def _ip(*words):
        subprocess.run(["ip", *words], check=True, capture_output=True)

    def _ip_inside(self, *words):
        # not ip -n, which wants to mount /sys as well
        return subprocess.run(["nsenter", f"--net=/run/netns/{self.netns}", "ip", *words], check=True,
                              capture_output=True, text=True).stdout

    def start(self):
        self._ip("netns", "add", self.netns)
        self._ip("link", "add", self.near, "type", "veth", "peer", "name", self.far, "netns", self.netns)
        self._ip("addr", "add", f"{self.near_address}/30", "dev", self.near)
        self._ip("link", "set", self.near, "up")
        self._ip_inside("addr", "add", f"{self.address}/30", "dev", self.far)
        self._ip_inside("link", "set", self.far, "up")
        self._ip_inside("link", "set", "lo", "up")
        mac = json.loads(self._ip_inside("-j", "link", "show", self.far))[0]["address"]
        # so that packets to a silent host still leave, as they would towards a router
        self._ip("neigh", "replace", self.address, "lladdr", mac, "dev", self.near, "nud", "permanent")
        return self

    def silence(self):
        """Every packet to it vanishes from now on."""
        self._ip_inside("addr", "del", f"{self.address}/30", "dev", self.far)

    def speak(self):
        self._ip_inside("addr", "add", f"{self.address}/30", "dev", self.far)

    def stop(self):
        if not self.ended:
            subprocess.run(["ip", "netns", "del", self.netns], check=False, capture_output=True)
            subprocess.run(["ip", "link", "del", self.near], check=False, capture_output=True)
        self.ended = True

    def ports(self):
        return []

    def remove(self):
        pass


class Nginx(Member):
    """
    nginx as an upstream: answers every path with body and an X-Member header.
    tls: https with a self-signed certificate; h2: HTTP/2 (h2c without tls); unix: a socket file;
    server: further lines for its server block; connections: how many a worker can have.
    """

    def __init__(self, name="n1", body="hello\n", tls=False, h2=False, unix=False, server="", workers=1,
                 connections=4096):
        super().__init__(name, unix)
        self.tls, self.h2 = tls, h2
        listen = f"unix:{self.unix}" if unix else f"{self.host}:{self.port}"
        listen += (" ssl" if tls else "") + (" http2" if h2 else "") + f" backlog={min(connections, 4096)}"
        lines = ""
        if tls:
            cert, key = gatehttpd.certificate(self.dir)
            lines = f"ssl_certificate {cert}; ssl_certificate_key {key};"
        self.log = os.path.join(self.dir, "access.log")
        os.makedirs(os.path.join(self.dir, "www"))
        with open(os.path.join(self.dir, "www", "index.html"), "w") as file:
            file.write(body)
        self.conf = f"""
daemon off; user www-data; worker_processes {workers}; pid {self.dir}/pid;
error_log {self.dir}/error.log warn;
events {{ worker_connections {connections}; }}
http {{
    access_log off; keepalive_requests 1000000; keepalive_timeout 60s; default_type text/plain;
    client_body_temp_path {self.dir}/t1; proxy_temp_path {self.dir}/t2; fastcgi_temp_path {self.dir}/t3;
    uwsgi_temp_path {self.dir}/t4; scgi_temp_path {self.dir}/t5;
    log_format members '$connection $request';
    server {{
        listen {listen}; {lines} root {self.dir}/www;
        add_header X-Member {name} always;
        add_header X-Protocol $server_protocol always;
        {server}
        location / {{ try_files /index.html =404; }}
    }}
}}
"""

    @property
    def url(self):
        if self.unix:
            return f"unix:{self.unix}|http://localhost"
        scheme = ("h2" if self.tls else "h2c") if self.h2 else ("https" if self.tls else "http")
        return f"{scheme}://{self.authority}"

    def start(self):
        path = os.path.join(self.dir, "nginx.conf")
        with open(path, "w") as file:
            file.write(self.conf)
        if self.unix and os.path.exists(self.unix):
            os.unlink(self.unix)
        self._run_until_it_listens(f"nginx {self.name}", ["/usr/sbin/nginx", "-p", self.dir, "-c", path, "-e", f"{self.dir}/error.log"])
        if self.unix:
            os.chmod(self.unix, 0o777)
        return self


class PhpFpm(Member):
    """php-fpm with a script that answers with what it was given, as JSON; script is its path."""

    def __init__(self, name="php1", unix=False):
        super().__init__(name, unix)
        self.root = os.path.join(self.dir, "www")
        os.makedirs(self.root)
        self.script = os.path.join(self.root, "index.php")
        with open(self.script, "w") as file:
            file.write("<?php header('Content-Type: application/json'); header('X-Member: " + name + "');\n"
                       "$body = file_get_contents('php://input');\n"
                       "echo json_encode(['member' => '" + name + "', 'server' => $_SERVER,"
                       " 'body_sha256' => hash('sha256', $body), 'body_length' => strlen($body)]);\n")

    @property
    def url(self):
        if self.unix:
            return f"unix:{self.unix}|fcgi://localhost"
        return f"fcgi://{self.host}:{self.port}"

    def start(self):
        path = os.path.join(self.dir, "fpm.conf")
        listen = self.unix or f"{self.host}:{self.port}"
        with open(path, "w") as file:
            file.write(f"[global]\nerror_log={self.dir}/fpm.log\ndaemonize=no\npid={self.dir}/pid\n"
                       f"[www]\nuser=www-data\ngroup=www-data\nlisten={listen}\nlisten.mode=0777\n"
                       "pm=static\npm.max_children=4\n")
        return self._run_until_it_listens(f"php-fpm {self.name}", [PHP_FPM, "-F", "-n", "-y", path])


def answers(address):
    """Whether somebody accepts connections at (host, port) or at a socket file."""
    with socket.socket(socket.AF_UNIX if isinstance(address, str) else socket.AF_INET) as sock:
        sock.settimeout(1)
        try:
            sock.connect(address)
        except OSError:
            return False
        return True
