#!/usr/bin/python3
"""
demo.py - a private httpd with Gatehouse in front of three member processes, until Ctrl-C.

PORT (8080) and TLS_PORT (PORT + 363, so 8443) say where it listens. A member that is killed is started again after
RESTART seconds, so that one can watch it leave and come back.
"""
import os
import signal
import socket
import sys
import time

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(os.path.dirname(HERE), "httpd"))

import gatehttpd  # noqa: E402  (after the path is set)
import procs  # noqa: E402

RESTART = float(os.environ.get("RESTART", "20"))

CONF = """
<GateUpstream demo>
{members}
    GateTimeout connect=1s
{health}</GateUpstream>
{status}ProxyPass "/" "gate://demo/"
"""
STATUS = """<Location "/gate-status">
    SetHandler gate-status
    Require local
</Location>
ProxyPass "/gate-status" "!"
"""


def say(text=""):
    print(text, flush=True)


class Ended(Exception):
    """A signal asked for the end."""


def on_signal(number, _frame):
    raise Ended(signal.Signals(number).name)


class Member:
    def __init__(self, name, root):
        self.name, self.port = name, procs.free_port()
        self.process = procs.Process(name, ["/usr/bin/python3", os.path.join(HERE, "member.py"), name, str(self.port)],
                                     os.path.join(root, "logs", f"{name}.log"))
        self.back_at = None

    def start(self):
        self.process.start()
        self.back_at = None
        procs.wait_until(self.answers, 10, f"{self.name} listens")

    def answers(self):
        if not self.process.alive():
            raise AssertionError(f"{self.name} did not start:\n{self.process.output()}")
        with socket.socket() as probe:
            return probe.connect_ex(("127.0.0.1", self.port)) == 0

    def look(self):
        """Notices its death and brings it back in time."""
        if self.process.alive():
            return
        if self.back_at is None:
            self.back_at = time.monotonic() + RESTART
            say(f"{self.name} (pid {self.process.pid}) is gone; a new one starts in {RESTART:.0f} s")
        elif time.monotonic() > self.back_at:
            self.start()
            say(f"{self.name} is back: pid {self.process.pid}")


def port_from_env(name, default):
    word = os.environ.get(name) or str(default)
    if not word.isdigit() or not 0 < int(word) < 65536:
        sys.exit(f"{name}: '{word}' is not a port (1 to 65535)")
    return int(word)


def require_free(port, name):
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("", port))
        except OSError as error:
            sys.exit(f"{name} {port} cannot be used ({error.strerror}); another one:  PORT=9090 ./build.sh run")


def configuration(members):
    lines = "\n".join(f"    GateMember http://127.0.0.1:{m.port} id={m.name}" for m in members)
    health = "    GateHealthCheck GET /health interval=1s timeout=1s\n" if gatehttpd.built("gate_health") else ""
    status = STATUS if gatehttpd.built("gate_status") else ""
    return CONF.format(members=lines, health=health, status=status)


def explain(httpd, members):
    url, tls = f"http://localhost:{httpd.port}", f"https://localhost:{httpd.tls_port}"
    say(f"\nGatehouse demo on {url}/ and {tls}/ (self-signed)\n")
    for member in members:
        say(f"  {member.name}   pid {member.process.pid:<8} http://127.0.0.1:{member.port}/")
    tries = [(f"curl -s {url}/whoami", "which member answered; again, and it is the next"),
             (f"curl -sk {tls}/whoami", "the same over TLS, h2 included"),
             (f"kill -9 {members[0].process.pid}", f"one member dies; it is back after {RESTART:.0f} s"),
             (f"for i in $(seq 20); do curl -sf {url}/whoami || echo FAILED; done", ""),
             (f"tail -f {httpd.path('logs/access.log')}", ""), (f"tail -f {httpd.path('logs/error.log')}", "")]
    if gatehttpd.built("gate_status"):
        tries.append((f"{url}/gate-status/", "the status page"))
    say("\nTo try:")
    for command, what in tries:
        say(f"  {command:46} {what}".rstrip())
    say("\nCtrl-C ends it.")


def main():
    port = port_from_env("PORT", 8080)
    tls_port = port_from_env("TLS_PORT", port + 363)
    require_free(port, "port")
    require_free(tls_port, "port")
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, on_signal)
    httpd = gatehttpd.Httpd(tls=True, h2=True, port=port, tls_port=tls_port, address="",
                            vhost='RequestHeader set X-Forwarded-Proto https', log_level="notice gate_upstream:info",
                            plane="express")
    members = [Member(f"m{n}", httpd.root) for n in (1, 2, 3)]
    status = 0
    try:
        for member in members:
            member.start()
        httpd.write_conf(configuration(members))
        httpd.start()
        explain(httpd, members)
        while True:
            time.sleep(0.2)
            if not httpd.process.alive():
                raise AssertionError("httpd ended by itself:\n" + httpd.error_log()[-3000:])
            for member in members:
                member.look()
    except Ended as end:
        say(f"\n{end}: stopping")
    except AssertionError as error:
        say(str(error))
        status = 1
    finally:
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, signal.SIG_IGN)
        httpd.stop()
        for member in members:
            member.process.stop()
        httpd.remove()
    return status


if __name__ == "__main__":
    sys.exit(main())
