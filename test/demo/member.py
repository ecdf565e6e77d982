#!/usr/bin/python3
"""
member.py NAME PORT - one upstream server of the demo.

/whoami answers with who it is as JSON, /health with "ok", /slow after two seconds, everything else with the page.
"""
import http.server
import itertools
import json
import os
import sys
import time

NAME, PORT = sys.argv[1], int(sys.argv[2])
PAGE = os.path.join(os.path.dirname(os.path.abspath(__file__)), "page.html")
COUNT = itertools.count(1)


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def answer(self, body, kind):
        data = body.encode()
        self.send_response(200)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(data)))
        self.send_header("Cache-Control", "no-store")
        self.send_header("X-Member", NAME)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(data)

    def do_GET(self):
        path = self.path.split("?")[0]
        if path == "/health":
            self.answer("ok\n", "text/plain")
            return
        if path == "/slow":
            time.sleep(2)
        said = {"member": NAME, "pid": os.getpid(), "port": PORT, "answers": next(COUNT),
                "proto": self.headers.get("X-Forwarded-Proto", "http")}
        if path in ("/whoami", "/slow"):
            self.answer(json.dumps(said) + "\n", "application/json")
            return
        with open(PAGE, encoding="utf-8") as file:
            page = file.read()
        for key, value in said.items():
            page = page.replace("{" + key + "}", str(value))
        self.answer(page, "text/html; charset=utf-8")

    do_HEAD = do_GET

    def log_message(self, *_):
        pass


class Server(http.server.ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 512


if __name__ == "__main__":
    Server(("127.0.0.1", PORT), Handler).serve_forever()
