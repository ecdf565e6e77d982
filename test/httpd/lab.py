"""What one test has running; ends all of it, and looks for what should not be."""
import os
import signal

import gatehttpd
import procs
import upstreams


class Lab:
    """Makes servers and remembers them. Everything it returns has been started, unless start=False."""

    def __init__(self):
        self.servers = []

    def _keep(self, server, start):
        self.servers.append(server)
        if start and hasattr(server, "start"):
            server.start()
        return server

    def httpd(self, conf="", start=True, **words):
        """gatehttpd.Httpd; stopped before the upstreams are."""
        return self._keep(gatehttpd.Httpd(conf, **words), start)

    def upstream(self, name="m1", start=True, **words):
        """A scripted server (upstreams.Upstream)."""
        return self._keep(upstreams.Upstream(name, **words), start)

    def upstreams(self, count, **words):
        """Scripted servers named m1, m2, ..."""
        return [self.upstream(f"m{n + 1}", **words) for n in range(count)]

    def nginx(self, name="n1", start=True, **words):
        return self._keep(upstreams.Nginx(name, **words), start)

    def php(self, name="php1", start=True, **words):
        return self._keep(upstreams.PhpFpm(name, **words), start)

    def refusing(self):
        return self._keep(upstreams.Refusing(), False)

    def silent(self):
        return self._keep(upstreams.Silent(), False)

    def host(self):
        """A machine of its own, which can fall silent; put upstreams on it with on_host()."""
        return self._keep(upstreams.Host(), True)

    def on_host(self, host, name="m1", **words):
        return self.upstream(name, host=host.address, netns=host.netns, **words)

    def keep(self, server):
        """Anything else with stop(), remove() and ports(): started by the caller, ended here."""
        return self._keep(server, False)

    def httpds(self):
        return [s for s in self.servers if isinstance(s, gatehttpd.Httpd)]

    def surprises(self):
        """Unexpected log lines and crashes of every httpd, since the last look."""
        return [f"{h.root}: {line}" for h in self.httpds() for line in h.surprises()]

    def close(self):
        """Stops all; returns what went wrong, in words."""
        problems = []
        order = self.httpds() + [s for s in reversed(self.servers) if not isinstance(s, gatehttpd.Httpd)]
        for server in order:
            try:
                server.stop()
            except Exception as error:  # the others are to be stopped all the same
                problems.append(f"{type(error).__name__}: {error}")
        problems += self.surprises()
        problems += self._left_behind()
        return problems

    def _left_behind(self):
        left = []
        for pid, name in procs.leaked_processes():
            left.append(f"process {pid} of {name} is still there")
            os.kill(pid, signal.SIGKILL)
        for server in self.servers:
            ports = server.ports() if hasattr(server, "ports") else [server.port, server.tls_port]
            left += [f"port {port} is still open" for port in ports if procs.listens(port)]
        return left

    def remove(self):
        for server in self.servers:
            server.remove()
