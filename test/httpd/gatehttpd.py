"""A private Apache httpd: its own ServerRoot, ports, certificate and logs."""
import collections
import glob
import json
import os
import re
import signal
import subprocess
import time

import h2client
import procs

TOP = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
BINARY = "/usr/sbin/apache2"
MODULE_DIR = "/usr/lib/apache2/modules"
SUPPRESSIONS = os.path.join(os.path.dirname(os.path.abspath(__file__)), "tsan.supp")
SANITIZER = os.environ.get("GATE_SAN", "")
PLANES = ("classic", "express")
RUN = os.environ.get("GATE_PLANE", "classic")
# the run over HTTP/2 is one on the express plane, as far as a log line's "plane" goes
H2 = RUN == "h2"
PLANE = "express" if H2 else RUN

# Debian's modules that every test server loads, in an order that works.
MODULES = """authn_core authz_core authz_host authz_user auth_basic authn_file mime dir env setenvif headers alias
    rewrite filter deflate remoteip status info proxy proxy_http proxy_http2 proxy_fcgi proxy_scgi proxy_uwsgi proxy_ajp
    proxy_wstunnel slotmem_shm proxy_balancer lbmethod_byrequests socache_shmcb ssl http2 reqtimeout unique_id
    expires request""".split()

# Ours, in the order in which they load; the ones that are not built are left out.
OURS = ["gate", "gate_upstream", "gate_health", "gate_cache", "gate_access", "gate_status", "gate_engine"]

ACCESS_FORMAT = ('{ "status": %>s, "method": "%m", "uri": "%U", "query": "%q", "host": "%V", "bytes": %B, "us": %D, '
                 '"protocol": "%H", "addr": "%a", "child": %P, "keepalive": %k, "group": "%{GATE_GROUP}e", '
                 '"member": "%{GATE_MEMBER}e", "tries": "%{GATE_TRIES}e", "cache": "%{GATE_CACHE}e", '
                 '"access": "%{GATE_ACCESS}e", "plane": "%{GATE_PLANE}e", "connect_us": "%{GATE_CONNECT_US}e", '
                 '"first_byte_us": "%{GATE_FIRST_BYTE_US}e", "total_us": "%{GATE_TOTAL_US}e" }')

ALWAYS_EXPECTED = [
    # said because tests run a fixed number of children: idle threads are as many as there may be
    r"AH10159: server is within MinSpareThreads",
    r"AH00161: server reached MaxRequestWorkers",
    # said by the event MPM when a child ends between two requests of a kept-alive connection
    r"\(9\)Bad file descriptor: AH03093: process_socket: apr_pollset_add failure for keep alive",
    # said where httpd was upgraded and OpenSSL was not: Debian builds one against the latest of the other
    r"AH01882: Init: this version of mod_ssl was compiled against a newer library",
]

# Seconds without a request before SIGTERM. A child of the event MPM that is told to end while a worker closes a
# connection may look at the socket just freed (seen with 2.4.71 without any module of ours, once in 100 stops).
SETTLE = 0.04

# [time] [module:level] [pid 1:tid 2] [client ..] text
LOG_LINE = re.compile(r"^\[[^\]]+\] \[(?P<module>[^:\]]*):(?P<level>\w+)\] (?P<text>.*)$")
BAD_LEVELS = {"warn", "error", "crit", "alert", "emerg"}
CRASH = re.compile(r"exit signal (?!Killed|Terminated|Hangup)|AddressSanitizer|LeakSanitizer|ThreadSanitizer|"
                   r"runtime error:|seg fault|AH00051|double free|free\(\): |corrupted|stack smashing")


def modules_dir():
    """Where our modules lie: GATE_MODULES, or the build that GATE_SAN names."""
    default = "build/asan/modules" if "address" in SANITIZER else "build/tsan/modules" if SANITIZER else "build/modules"
    return os.path.abspath(os.environ.get("GATE_MODULES", os.path.join(TOP, default)))


def built(name):
    """Whether one of our modules (gate, gate_upstream, ...) has been built."""
    return os.path.exists(os.path.join(modules_dir(), f"mod_{name}.so"))


def certificate(folder, names="DNS:localhost,IP:127.0.0.1"):
    """A self-signed certificate and key in folder; returns both paths."""
    cert, key = os.path.join(folder, "cert.pem"), os.path.join(folder, "key.pem")
    if not os.path.exists(cert):
        subprocess.run(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1",
                        "-nodes", "-days", "30", "-subj", "/CN=localhost", "-addext", f"subjectAltName={names}",
                        "-addext", "basicConstraints=critical,CA:FALSE", "-keyout", key, "-out", cert],
                       check=True, stdin=subprocess.DEVNULL, capture_output=True)
        os.chmod(key, 0o644)
    return cert, key


def log_time(line):
    """When a line of the error log was written, as time.time()."""
    stamp = re.match(r"\[(\w+ \w+ \d+ [\d:]+)(\.\d+) (\d+)\]", line)
    return time.mktime(time.strptime(f"{stamp[1]} {stamp[3]}", "%a %b %d %H:%M:%S %Y")) + float(stamp[2])


class Httpd:
    """
    conf      goes into the main server, after our modules are loaded; ${PORT}, ${TLS_PORT} and ${ROOT} are defined
    vhost     goes into the TLS vhost (what main servers do not hand down: RewriteRule and the like)
    mpm       event, worker or prefork
    children, threads   fixed number of child processes, and threads in each
    tls, h2   TLS vhost on tls_port; h2 and h2c among the protocols
    log_level e.g. "notice gate_upstream:debug"
    modules   further Debian modules by name
    ours      which of our modules, default all that are built
    raw       the whole configuration file, used as it is (with LoadModule lines and all)
    plane     "express": GateEngine on in the main server and the TLS vhost; "classic": off; default: what GATE_PLANE says
    With GATE_PLANE=h2 the main server speaks TLS with h2 on its port, and the TLS vhost h2 too (self.over_h2).
    port, tls_port   free ones if not given; address: where it listens
    """

    def __init__(self, conf="", vhost="", mpm="event", children=2, threads=16, tls=False, h2=False,
                 log_level="notice", modules=(), ours=None, raw=None, env=None, before="",
                 port=None, tls_port=None, address="127.0.0.1:", plane=None):
        self.root = procs.temp_dir()
        self.port = port or procs.free_port()
        self.tls_port = tls_port or procs.free_port()
        self.address = address
        self.mpm, self.children, self.threads = mpm, children, threads
        self.tls, self.h2 = tls, h2
        self.conf, self.vhost, self.raw, self.before = conf, vhost, raw, before
        self.log_level, self.modules, self.ours = log_level, modules, ours
        self.plane = plane or PLANE
        self.env = dict(env or {})
        self.preloaded = []     # libraries, behind a sanitizer's own
        self.process = None
        self.expected = [re.compile(p) for p in ALWAYS_EXPECTED]
        self.checked = {}
        self.over_h2 = H2 and self.plane == "express" and raw is None and mpm == "event" and "gate_engine" in self.our_modules()
        if self.over_h2:
            h2client.PORTS.update([self.port, self.tls_port])
            self.expect("AH01909")  # one certificate for all names that tests think of
        self.scheme = "https" if self.over_h2 else "http"
        self.url = f"{self.scheme}://127.0.0.1:{self.port}"
        self.tls_url = f"https://127.0.0.1:{self.tls_port}"
        for folder in ("logs", "htdocs", "run", "conf"):
            os.makedirs(self.path(folder))
        # children that write core files or sanitizer reports do so as www-data
        os.chmod(self.path("logs"), 0o777)
        os.chmod(self.path("run"), 0o777)
        self.write_file("htdocs/index.html", "It works\n")
        self.write_conf()

    # --- files -----------------------------------------------------------------------------

    def path(self, *parts):
        return os.path.join(self.root, *parts)

    def write_file(self, name, text):
        """A file below the ServerRoot; returns its path."""
        path = self.path(name)
        os.makedirs(os.path.dirname(path), exist_ok=True)
        with open(path, "wb" if isinstance(text, bytes) else "w") as file:
            file.write(text)
        return path

    def read_file(self, name):
        try:
            with open(self.path(name), errors="replace") as file:
                return file.read()
        except FileNotFoundError:
            return ""

    def write_conf(self, conf=None, vhost=None):
        """Writes httpd.conf anew, with another conf if given; takes effect at the next (re)start."""
        self.conf = self.conf if conf is None else conf
        self.vhost = self.vhost if vhost is None else vhost
        return self.write_file("conf/httpd.conf", self.raw if self.raw is not None else self._whole_conf())

    def our_modules(self):
        """Which of our modules this server loads."""
        return [name for name in (OURS if self.ours is None else self.ours) if built(name)]

    def _load_lines(self):
        lines = [f"LoadModule mpm_{self.mpm}_module {MODULE_DIR}/mod_mpm_{self.mpm}.so"]
        for name in [*MODULES, *self.modules]:
            if self.mpm == "prefork" and name in ("http2", "proxy_http2"):
                continue
            if os.path.exists(f"{MODULE_DIR}/mod_{name}.so"):
                lines.append(f"LoadModule {name}_module {MODULE_DIR}/mod_{name}.so")
        lines += [f"LoadModule {name}_module {modules_dir()}/mod_{name}.so" for name in self.our_modules()]
        return lines

    def _engine_lines(self):
        return ["GateEngine on"] if self.plane == "express" and "gate_engine" in self.our_modules() else []

    def _mpm_lines(self):
        workers = self.children * self.threads
        if self.mpm == "prefork":
            return [f"StartServers {workers}", f"MinSpareServers {workers}", f"MaxSpareServers {workers + 1}",
                    f"ServerLimit {workers}", f"MaxRequestWorkers {workers}"]
        # room for old children that finish their work after a graceful restart
        return [f"StartServers {self.children}", f"ServerLimit {self.children * 2 + 2}",
                f"ThreadsPerChild {self.threads}", f"ThreadLimit {self.threads}", f"MaxRequestWorkers {workers}",
                f"MinSpareThreads {workers}", f"MaxSpareThreads {workers * 2}"]

    def _whole_conf(self):
        lines = [f"Define PORT {self.port}", f"Define TLS_PORT {self.tls_port}", f"Define ROOT {self.root}",
                 f"ServerRoot {self.root}", "ServerName localhost", f"Listen {self.address}{self.port}",
                 f"DefaultRuntimeDir {self.path('run')}", f"PidFile {self.path('run/httpd.pid')}",
                 f"ErrorLog {self.path('logs/error.log')}", f"CoreDumpDirectory {self.path('logs')}",
                 *self._load_lines(), f"LogLevel {self.log_level} mpm_{self.mpm}:notice", "User www-data", "Group www-data",
                 *self._mpm_lines(), "Timeout 20", "KeepAlive On", "MaxKeepAliveRequests 0", "KeepAliveTimeout 10",
                 "GracefulShutdownTimeout 10", "TypesConfig /etc/mime.types", "AddDefaultCharset off",
                 "LogFormat " + json.dumps(ACCESS_FORMAT) + " gate",
                 f"CustomLog {self.path('logs/access.log')} gate", f"DocumentRoot {self.path('htdocs')}",
                 f"<Directory {self.path('htdocs')}>", "Require all granted", "</Directory>"]
        lines.append("SSLSessionCache shmcb:" + self.path("run/tls_cache(512000)"))
        if self.h2:
            lines.append("Protocols h2 h2c http/1.1")
        cert, key = certificate(self.path("conf")) if self.tls or self.over_h2 else (None, None)
        if self.over_h2:
            lines += ["Protocols h2 http/1.1", "SSLEngine on", f"SSLCertificateFile {cert}", f"SSLCertificateKeyFile {key}"]
        lines += [*self._engine_lines(), self.before, self.conf]
        if self.tls:
            lines += [f"Listen {self.address}{self.tls_port}", f"<VirtualHost *:{self.tls_port}>", "ServerName localhost",
                      "SSLEngine on", f"SSLCertificateFile {cert}", f"SSLCertificateKeyFile {key}", *self._engine_lines(), self.vhost,
                      "</VirtualHost>"]
        return "\n".join(lines) + "\n"

    # --- running it ------------------------------------------------------------------------

    def _environment(self):
        env = dict(self.env)
        if SANITIZER == "thread":
            lib = subprocess.run(["gcc", "-print-file-name=libtsan.so"], capture_output=True, text=True, check=True).stdout.strip()
            env["LD_PRELOAD"] = " ".join([lib, *self.preloaded])
            env["TSAN_OPTIONS"] = f"log_path={self.path('logs/tsan')} exitcode=0 report_thread_leaks=0 report_signal_unsafe=0 history_size=5" \
                                  f" suppressions={SUPPRESSIONS}"
        elif SANITIZER:
            libs = [subprocess.run(["gcc", f"-print-file-name={name}"], capture_output=True, text=True,
                                   check=True).stdout.strip() for name in ("libasan.so", "libubsan.so")]
            env["LD_PRELOAD"] = " ".join([*libs, *self.preloaded])
            env["ASAN_OPTIONS"] = f"detect_leaks=0:abort_on_error=1:log_path={self.path('logs/asan')}"
            env["UBSAN_OPTIONS"] = "print_stacktrace=1"
        elif self.preloaded:
            env["LD_PRELOAD"] = " ".join(self.preloaded)
        return env

    def _args(self):
        return [BINARY, "-d", self.root, "-f", self.path("conf/httpd.conf")]

    def check(self):
        """httpd -t: (whether the configuration is good, what it says)."""
        env = {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "LANG": "C"}
        env.update(self._environment())
        done = subprocess.run(self._args() + ["-t"], capture_output=True, text=True, env=env, timeout=30,
                              stdin=subprocess.DEVNULL, errors="replace")
        return done.returncode == 0, (done.stdout + done.stderr).strip()

    def start(self):
        """Starts it and waits until it serves; AssertionError with its own words if it does not."""
        self.process = procs.Process("httpd", self._args() + ["-DFOREGROUND", "-k", "start"],
                                     self.path("logs/stderr.log"), env=self._environment())
        before = self.generations()
        self.process.start()

        def ready():
            if not self.process.alive():
                raise AssertionError(f"httpd did not start (status {self.process.popen.returncode}):\n" +
                                     self.read_file("logs/stderr.log") + self.error_log())
            return self.generations() > before
        procs.wait_until(ready, 20, "httpd starts", 0.005)
        return self

    def generations(self):
        """How often it (re)started, from its own log line."""
        return len(re.findall(r"resuming normal operations", self.error_log()))

    def graceful(self, wait=True):
        """SIGUSR1; waits until the new generation is up."""
        before = self.generations()
        self.process.send(signal.SIGUSR1)
        if wait:
            procs.wait_until(lambda: self.generations() > before or not self.process.alive(), 20, "graceful restart")
            assert self.process.alive(), "httpd ended in a graceful restart:\n" + self.error_log()

    def renew(self):
        """graceful(), and the old children have gone: whoever asks from now on is answered by the new generation."""
        old = set(self.child_pids())
        self.graceful()
        procs.wait_until(lambda: not old & set(self.child_pids()), 15, "the old children have ended")

    def restart(self):
        """SIGHUP: a restart that does not wait for requests."""
        before = self.generations()
        self.process.send(signal.SIGHUP)
        procs.wait_until(lambda: self.generations() > before or not self.process.alive(), 20, "restart")
        assert self.process.alive(), "httpd ended in a restart:\n" + self.error_log()

    def stop(self):
        """SIGTERM; a little later than the last request, see SETTLE."""
        if self.process is not None:
            if self.process.alive():
                time.sleep(SETTLE)
            self.process.stop(signal.SIGTERM, 20)

    def pid(self):
        return self.process.pid

    def child_pids(self):
        """Pids of the processes below the parent."""
        return procs.children_of(self.process.pid)

    def kill_child(self, pid=None):
        """kill -9 for one child (the first if none is named); returns its pid."""
        pid = pid or self.child_pids()[0]
        os.kill(pid, signal.SIGKILL)
        return pid

    # --- logs ------------------------------------------------------------------------------

    def error_log(self):
        return self.read_file("logs/error.log")

    def expect(self, *patterns):
        """Lines at warn or above that match one of these are no surprise."""
        self.expected += [re.compile(p) for p in patterns]

    def wait_log(self, pattern, count=1, timeout=10.0):
        """Waits for lines in the error log that match, which are then expected; returns the matches."""
        self.expect(pattern)
        compiled = re.compile(pattern)
        found = procs.wait_until(
            lambda: [m for m in map(compiled.search, self.error_log().splitlines()) if m][count - 1:] and
            [m for m in map(compiled.search, self.error_log().splitlines()) if m],
            timeout, f"{count} x {pattern!r} in the error log")
        return found

    def access(self, count=0, timeout=5.0):
        """The access log as dicts; waits until it has at least count lines."""
        def lines():
            return self.read_file("logs/access.log").splitlines()
        if count:
            procs.wait_until(lambda: len(lines()) >= count, timeout, f"{count} lines in the access log")
        # httpd writes bytes that are no text as \xhh
        return [json.loads(re.sub(r"\\x([0-9a-f]{2})", r"\\u00\1", line)) for line in lines()]

    def planes(self, count=0):
        """How many requests each plane answered, from the access log (of at least count lines): {"classic": 3, "express": 5}."""
        if count:
            self.access(count)
        return collections.Counter(re.findall(r'"plane": "(\w+)"', self.read_file("logs/access.log")))

    def wires(self):
        """How many requests came over what, by plane, from the access log: {"h2 express": 3, "h1 classic": 1}."""
        found = re.findall(r'"protocol": "HTTP/(\d).*?"plane": "(\w+)"', self.read_file("logs/access.log"))
        return collections.Counter(f"h{major} {plane}" for major, plane in found)

    def surprises(self):
        """Lines written since the last call that nobody expected, and everything that looks like a crash."""
        found = []
        names = ["logs/error.log", "logs/stderr.log"]
        names += [os.path.relpath(p, self.root) for what in ("asan*", "tsan*") for p in glob.glob(self.path("logs", what))]
        for name in names:
            text = self.read_file(name)
            fresh = text[self.checked.get(name, 0):]
            self.checked[name] = len(text)
            found += [line for line in fresh.splitlines() if self._is_surprise(line)]
        found += [f"core file {p}" for p in glob.glob(self.path("logs/core*"))]
        return found

    def _is_surprise(self, line):
        if CRASH.search(line):
            return not any(p.search(line) and "signal" in p.pattern for p in self.expected)
        match = LOG_LINE.match(line)
        if not match or match.group("level") not in BAD_LEVELS:
            return False
        return not any(p.search(line) for p in self.expected)

    def remove(self):
        procs.remove_dir(self.root)
