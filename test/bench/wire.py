#!/usr/bin/python3
"""
wire.py - bytes that go over the wire for real assets: as they are, with mod_deflate's and mod_brotli's defaults, and with the
codings that mod_gate_cache makes once in the background. Fetches four public packages with npm into a temporary folder.
"""
import os
import subprocess
import sys
import time

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(os.path.dirname(HERE), "httpd"))

import clients  # noqa: E402  (after the path is set)
import procs  # noqa: E402
from lab import Lab  # noqa: E402

ASSETS = [("jquery@3.7.1", "package/dist/jquery.min.js"), ("bootstrap@5.3.3", "package/dist/css/bootstrap.min.css"),
          ("bootstrap-icons@1.11.3", "package/bootstrap-icons.svg"), ("mime-db@1.53.0", "package/db.json")]
CONF = """
Alias /deflate ${ROOT}/htdocs
Alias /brotli ${ROOT}/htdocs
Alias /gate ${ROOT}/htdocs
<Location /deflate>
SetOutputFilter DEFLATE
</Location>
<Location /brotli>
SetOutputFilter BROTLI_COMPRESS
</Location>
<Location /gate>
GateCache on default-ttl=1h
GateCacheCompress br gzip
</Location>
AddType text/javascript .js
"""


def fetch(folder, package, path):
    done = subprocess.run(["npm", "pack", "--silent", package], cwd=folder, capture_output=True, text=True, check=True)
    archive = done.stdout.strip().splitlines()[-1]
    return subprocess.run(["tar", "xzOf", archive, path], cwd=folder, capture_output=True, check=True).stdout


def size(httpd, path, coding):
    answer = clients.get(httpd.port, path, headers=[("Accept-Encoding", coding)] if coding else [])
    assert answer.status == 200 and answer.header("Content-Encoding") == (coding or None), answer.headers
    return len(answer.body)


def wait(httpd, path, coding):
    end = time.monotonic() + 120
    while time.monotonic() < end:
        try:
            return size(httpd, path, coding)
        except AssertionError:
            time.sleep(0.1)
    raise AssertionError(f"{path}: no {coding}")


def main():
    lab, folder = Lab(), procs.temp_dir()
    try:
        httpd = lab.httpd(conf=CONF, modules=("brotli",))
        print(f"{'':24}{'as it is':>10}{'mod_deflate':>13}{'mod_brotli':>12}{'gate gzip':>11}{'gate br':>9}")
        for package, path in ASSETS:
            name = os.path.basename(path)
            httpd.write_file(f"htdocs/{name}", fetch(folder, package, path))
            row = [size(httpd, f"/{name}", None), size(httpd, f"/deflate/{name}", "gzip"), size(httpd, f"/brotli/{name}", "br"),
                   wait(httpd, f"/gate/{name}", "gzip"), wait(httpd, f"/gate/{name}", "br")]
            print(f"{name:24}{row[0]:10}{row[1]:13}{row[2]:12}{row[3]:11}{row[4]:9}")
    finally:
        lab.close()
        lab.remove()
        procs.remove_dir(folder)


if __name__ == "__main__":
    main()
