"""Processes and ports of the tests: everything started here is known, and is stopped by its pid."""
import glob
import os
import random
import shutil
import signal
import socket
import subprocess
import tempfile
import time

# Outside the kernel's range for outgoing connections, so that nobody takes a port between two starts.
PORTS = (10000, 32000)
WORKER = os.environ.get("PYTEST_XDIST_WORKER", "gw0")
if "PYTEST_XDIST_WORKER_COUNT" in os.environ:
    # workers at the same time: each has a range of ports of its own
    _share = (PORTS[1] - PORTS[0]) // int(os.environ["PYTEST_XDIST_WORKER_COUNT"])
    PORTS = (PORTS[0] + _share * int(WORKER[2:]), PORTS[0] + _share * (int(WORKER[2:]) + 1))
RESERVED = set()
SESSIONS = {}


def free_port(host="127.0.0.1"):
    """A TCP port nobody listens on; never handed out twice."""
    for _ in range(1000):
        port = random.randrange(*PORTS)
        if port in RESERVED:
            continue
        with socket.socket() as probe:
            try:
                probe.bind((host, port))
            except OSError:
                continue
        RESERVED.add(port)
        return port
    raise RuntimeError("no free port found")


def temp_dir():
    """A folder that www-data may enter, with a path short enough for unix sockets."""
    path = tempfile.mkdtemp(prefix=f"gatehouse-{os.getpid()}-")
    os.chmod(path, 0o755)
    return path


def remove_dir(path):
    if not os.environ.get("GATE_KEEP"):
        shutil.rmtree(path, ignore_errors=True)


def sweep_dirs():
    """Removes what runs that were killed could not: folders whose maker is no longer there."""
    for path in glob.glob(os.path.join(tempfile.gettempdir(), "gatehouse-*-*")):
        maker = os.path.basename(path).split("-")[1]
        if maker.isdigit() and not os.path.exists(f"/proc/{maker}"):
            remove_dir(path)


def wait_until(check, timeout=10.0, what="", interval=0.01):
    """Polls until check() is true and returns its value; AssertionError after timeout seconds."""
    end = time.monotonic() + timeout
    while True:
        value = check()
        if value:
            return value
        if time.monotonic() > end:
            raise AssertionError(f"not within {timeout} s: {what or check}")
        time.sleep(interval)


def stat_of(pid):
    """The fields of /proc/PID/stat behind the name: [state, ppid, pgrp, session, ...], or None."""
    try:
        with open(f"/proc/{pid}/stat", "rb") as file:
            text = file.read()
    except OSError:
        return None
    return text[text.rindex(b")") + 2:].decode().split()


def all_pids():
    return [int(name) for name in os.listdir("/proc") if name.isdigit()]


def children_of(pid):
    """Direct children of a process, zombies not counted."""
    found = []
    for other in all_pids():
        fields = stat_of(other)
        if fields and int(fields[1]) == pid and fields[0] != "Z":
            found.append(other)
    return found


def tree_of(pid):
    """A process and all that descend from it."""
    parents = {}
    for other in all_pids():
        fields = stat_of(other)
        if fields:
            parents.setdefault(int(fields[1]), []).append(other)
    found, todo = [], [pid]
    while todo:
        one = todo.pop()
        found.append(one)
        todo += parents.get(one, [])
    return found


def ticks_now():
    """Clock ticks since the machine started, as /proc/PID/stat counts them."""
    return int(time.clock_gettime(time.CLOCK_BOOTTIME) * os.sysconf("SC_CLK_TCK"))


def leaked_processes():
    """
    Processes of sessions that should have ended. A session's number is a pid and may belong to somebody else by now,
    so only what started before our process ended counts. Sessions without a leak are forgotten.
    """
    ended = {pid: process for pid, process in SESSIONS.items() if process.ended}
    leaked = []
    for pid in all_pids():
        fields = stat_of(pid)
        if fields and fields[0] != "Z" and int(fields[3]) in ended:
            process = ended[int(fields[3])]
            if process.started_ticks <= int(fields[19]) <= process.ended_ticks:
                leaked.append((pid, process.name))
    for pid in ended:
        del SESSIONS[pid]
    return leaked


def listening_ports():
    """All TCP ports in LISTEN state on this machine."""
    ports = set()
    for table in ("/proc/net/tcp", "/proc/net/tcp6"):
        try:
            with open(table) as file:
                lines = file.readlines()[1:]
        except OSError:
            continue
        for line in lines:
            fields = line.split()
            if fields[3] == "0A":
                ports.add(int(fields[1].rsplit(":", 1)[1], 16))
    return ports


def listens(port):
    """Whether somebody listens on a port of this machine. The tables above are long after thousands of connections: they are only read in doubt."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return port in listening_ports()
    return False


def accepted(port, from_port):
    """Whether the connection from from_port to port (over IPv4) has been accepted: until then it has no inode."""
    with open("/proc/net/tcp", encoding="ascii") as file:
        for fields in map(str.split, file.readlines()[1:]):
            ends = [int(f.rsplit(":", 1)[1], 16) for f in fields[1:3]]
            if ends == [port, from_port] and fields[9] != "0":
                return True
    return False


class Process:
    """A server process in a session of its own, with its output in a file."""

    def __init__(self, name, args, log, env=None, cwd="/", netns=None):
        self.name = name
        # should the test run be killed, its servers end too
        self.args = (["nsenter", f"--net=/run/netns/{netns}"] if netns else []) + ["setpriv", "--pdeathsig", "TERM", *args]
        self.log = log
        self.env = env
        self.cwd = cwd
        self.popen = None
        self.ended = True
        self.started_ticks = self.ended_ticks = 0

    def start(self, pass_fds=()):
        env = {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "LANG": "C", "TZ": "UTC"}
        env.update(self.env or {})
        self.started_ticks = ticks_now() - 1
        with open(self.log, "ab") as log:
            self.popen = subprocess.Popen(self.args, stdin=subprocess.DEVNULL, stdout=log, stderr=log, cwd=self.cwd,
                                          env=env, start_new_session=True, pass_fds=pass_fds)
        SESSIONS[self.popen.pid] = self
        self.ended = False
        return self

    @property
    def pid(self):
        return self.popen.pid

    def alive(self):
        return self.popen is not None and self.popen.poll() is None

    def output(self):
        try:
            with open(self.log, errors="replace") as file:
                return file.read()
        except OSError:
            return ""

    def send(self, number):
        if self.alive():
            os.kill(self.pid, number)

    def pause(self):
        """SIGSTOP for it and all below it."""
        for pid in tree_of(self.pid):
            os.kill(pid, signal.SIGSTOP)

    def resume(self):
        for pid in tree_of(self.pid):
            os.kill(pid, signal.SIGCONT)

    def kill9(self):
        """Dies at once, with all its children."""
        for pid in tree_of(self.pid) if self.alive() else []:
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                pass
        self._reap()

    def stop(self, number=signal.SIGTERM, timeout=10.0):
        """Ends it in an orderly way, and with SIGKILL if it does not go; returns the exit status."""
        if self.popen is None:
            return None
        if self.alive():
            os.kill(self.pid, signal.SIGCONT)
            os.kill(self.pid, number)
            try:
                self.popen.wait(timeout)
            except subprocess.TimeoutExpired:
                self.kill9()
                raise AssertionError(f"{self.name} (pid {self.pid}) did not end within {timeout} s of signal {number}")
        self._reap()
        return self.popen.returncode

    def _reap(self):
        if self.popen is not None:
            self.popen.wait(10)
        if not self.ended:
            self.ended_ticks = ticks_now()
        self.ended = True
