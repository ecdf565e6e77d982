"""nghttpd as a member over HTTP/2: libnghttp2's own server (Debian: nghttp2-server)."""
import os

import gatehttpd
import procs
import upstreams


class Nghttpd:
    """Serves files; what is sent to it by POST or PUT it sends back; every answer with a body ends in the trailer x-sum: 7."""

    def __init__(self, files, tls=False):
        self.dir, self.port, self.tls_port = procs.temp_dir(), procs.free_port(), None
        for name, text in files.items():
            with open(os.path.join(self.dir, name), "w", encoding="ascii") as file:
                file.write(text)
        words = ["--echo-upload", "--trailer=x-sum: 7", "-a", "127.0.0.1", "-d", self.dir]
        words += [str(self.port), *reversed(gatehttpd.certificate(self.dir))] if tls else ["--no-tls", str(self.port)]
        self.url = f"h2{'' if tls else 'c'}://127.0.0.1:{self.port}"
        self.process = procs.Process("nghttpd", ["/usr/sbin/nghttpd", *words], os.path.join(self.dir, "output")).start()
        procs.wait_until(lambda: upstreams.answers(("127.0.0.1", self.port)), 10, "nghttpd listens")

    def stop(self):
        self.process.stop()

    def remove(self):
        procs.remove_dir(self.dir)

    def ports(self):
        return [self.port]
