"""The harness proves itself: each kind of upstream, each client, the log fixture, the leak check."""
import os
import subprocess
import sys
import textwrap

import pytest

import gatehttpd
import procs
import upstreams
from clients import BadAnswer, Connection, Crowd, WebSocket, curl, get, h2load, post, request, wrk


# --- scripted upstreams, asked directly ------------------------------------------------------

def test_upstream_says_who_it_is_and_what_it_got(lab):
    member = lab.upstream("m7")
    answer = post(member.port, "/a?b=c", body=b"x" * 100000, headers={"X-Test": "yes"})
    said = answer.json()
    assert (answer.status, answer.member, said["member"]) == (200, "m7", "m7")
    assert (said["method"], said["target"], said["body_length"]) == ("POST", "/a?b=c", 100000)
    assert ["X-Test", "yes"] in said["headers"]
    assert member.count == 1 and member.requests()[0]["raw"].startswith("POST /a?b=c HTTP/1.1\r\n")


def test_upstream_keeps_connections(lab):
    member = lab.upstream()
    with Connection(member.port) as connection:
        assert [connection.request("/").status for _ in range(3)] == [200] * 3
    assert (member.connections, member.count) == (1, 3)


def test_upstream_reads_chunked_bodies_and_trailers(lab):
    member = lab.upstream()
    with Connection(member.port) as connection:
        connection.send("POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"
                        "5\r\nhello\r\n6;x=y\r\n world\r\n0\r\nX-End: 1\r\n\r\n")
        assert connection.read().json()["body_length"] == 11
    assert member.requests()[0]["trailers"] == [["X-End", "1"]]


def test_upstream_slow_and_dripping(lab):
    member = lab.upstream().behave("slow", delay=0.2)
    assert get(member.port).status == 200
    member.behave("drip")
    assert len(get(member.port).body) == 2000


@pytest.mark.parametrize("what", ["garbage", "bad-status", "short-body", "reset-mid-body", "closes", "resets",
                                  "hangs-up", "dies"])
def test_upstream_wrong(lab, what):
    member = lab.upstream().behave(what)
    with pytest.raises((BadAnswer, ConnectionError)):
        get(member.port)
    procs.wait_until(lambda: member.process.alive() == (what != "dies"), 5, "the process ended, or lives")


def test_upstream_hangs(lab):
    member = lab.upstream().behave("hangs")
    with pytest.raises(TimeoutError):
        get(member.port, timeout=0.2)
    assert member.inflight == 1


def test_upstream_script_is_used_up(lab):
    member = lab.upstream().behave("ok").script("unavailable", {"status": 404}, "ok")
    assert [get(member.port).status for _ in range(4)] == [503, 404, 200, 200]


def test_upstream_paths(lab):
    member = lab.upstream().behave("error", path="/bad")
    assert (get(member.port, "/bad?x").status, get(member.port, "/good").status) == (500, 200)


def test_upstream_interim_and_trailers(lab):
    member = lab.upstream().behave("early-hints")
    assert get(member.port).interim == [103]
    member.behave("trailers")
    answer = get(member.port)
    assert (answer.text, answer.trailers) == ("with trailers", [("X-Checksum", "abc")])


def test_upstream_names_itself(lab):
    member = lab.upstream().behave("redirect")
    assert get(member.port).header("Location") == f"http://{member.authority}/there"
    member.behave("cookie")
    assert "Domain=127.0.0.1" in get(member.port).header("Set-Cookie")


def test_upstream_quiet_close(lab):
    member = lab.upstream().behave("quiet-close")
    with Connection(member.port) as connection:
        assert connection.request("/").header("Connection") is None
        assert connection.closed()


def test_upstream_pause_kill_restart(lab):
    member = lab.upstream()
    member.pause()
    with pytest.raises(TimeoutError):
        get(member.port, timeout=0.2)
    member.resume()
    assert get(member.port).status == 200
    member.kill9()
    with pytest.raises(ConnectionError):
        get(member.port)
    before = member.count
    member.start()
    assert get(member.port).status == 200 and member.count == before + 1


def test_upstream_counts_in_flight(lab):
    member = lab.upstream().behave("slow", delay=0.1)
    with Crowd(member.port, clients=5) as crowd:
        crowd.wait(10)
    procs.wait_until(lambda: member.inflight == 0, 2, "nothing in flight")
    assert member.most_inflight == 5 and not crowd.failures


def test_upstream_tls(lab):
    member = lab.upstream(tls=True)
    assert get(member.port, tls=True).status == 200
    assert member.url == f"https://{member.authority}"


def test_refusing_and_silent(lab):
    with pytest.raises(ConnectionRefusedError):
        get(lab.refusing().port)
    with pytest.raises(TimeoutError):
        get(lab.silent().port, timeout=0.3)


def test_host_falls_silent_and_speaks_again(lab):
    if not upstreams.Host.possible():
        pytest.skip("network namespaces are not allowed here")
    host = lab.host()
    member = lab.on_host(host)
    with Connection(member.port, host=host.address, timeout=0.3) as connection:
        assert connection.request("/").status == 200
        host.silence()
        with pytest.raises(TimeoutError):
            connection.request("/")
        with pytest.raises(TimeoutError):
            Connection(member.port, host=host.address, timeout=0.3)
    host.speak()
    with Connection(member.port, host=host.address, timeout=3) as connection:
        assert connection.request("/").status == 200


# --- upstreams of every kind behind httpd's own mod_proxy ---------------------------------------

@pytest.mark.parametrize("proto", ["http", "ajp", "scgi", "uwsgi"])
def test_scripted_protocols_behind_httpd(lab, proto):
    member = lab.upstream(proto=proto)
    httpd = lab.httpd(f"ProxyPass / {member.url}/")
    said = post(httpd, "/path?q=1", body=b"y" * 30000, headers={"X-Test": "yes"}).json()
    assert (said["method"], said["body_length"]) == ("POST", 30000)
    assert "/path?q=1" in said["target"]
    assert ["x-test", "yes"] in [[k.lower(), v] for k, v in said["headers"]]
    # the kept connection serves a second request
    assert get(httpd, "/again").status == 200
    assert get(httpd, "/again", headers={"Connection": "close"}).member == "m1"


def test_unix_socket_behind_httpd(lab):
    member = lab.upstream(unix=True)
    httpd = lab.httpd(f"ProxyPass / {member.url}/")
    assert get(httpd).member == "m1"


def test_websocket_behind_httpd(lab):
    member = lab.upstream()
    httpd = lab.httpd(f"ProxyPass / {member.url}/ upgrade=websocket")
    for port in (member.port, httpd.port):
        with WebSocket(port, "/ws") as ws:
            assert ws.accepted()
            ws.send("hello " * 30)
            assert ws.receive() == (1, "hello " * 30)


@pytest.mark.parametrize("words", [{}, {"tls": True}, {"h2": True}, {"unix": True}])
def test_nginx_behind_httpd(lab, words):
    member = lab.nginx(**words)
    httpd = lab.httpd(f"SSLProxyEngine on\nSSLProxyCheckPeerName off\nProxyPass / {member.url}/")
    httpd.expect("AH10290")
    answer = get(httpd)
    assert (answer.status, answer.text, answer.member) == (200, "hello\n", "n1")
    assert ("HTTP/2.0" if words.get("h2") else "HTTP/1") in answer.header("X-Protocol")


@pytest.mark.parametrize("unix", [False, True])
def test_php_fpm_behind_httpd(lab, unix):
    php = lab.php(unix=unix)
    url = php.url + ("" if unix else "/")
    httpd = lab.httpd(f'<Location "/">\nSetHandler "proxy:{url}"\n</Location>\nDocumentRoot {php.root}\n'
                      f"<Directory {php.root}>\nRequire all granted\n</Directory>")
    said = post(httpd, "/index.php?a=b", body=b"z" * 5000).json()
    assert (said["member"], said["body_length"], said["server"]["QUERY_STRING"]) == ("php1", 5000, "a=b")


# --- httpd itself ---------------------------------------------------------------------------------

@pytest.mark.parametrize("mpm", ["event", "worker", "prefork"])
def test_httpd_starts_with_every_mpm(lab, mpm):
    httpd = lab.httpd(mpm=mpm, threads=4, tls=True, h2=mpm != "prefork")
    assert get(httpd).text == "It works\n"
    assert get(httpd, tls=True).text == "It works\n"
    assert len(httpd.child_pids()) >= 2


def test_httpd_speaks_h2(lab):
    httpd = lab.httpd(tls=True, h2=True)
    status, answer, _ = curl("--http2", httpd.tls_url + "/")
    assert status == 0 and answer.raw.startswith("HTTP/2 200") and answer.text == "It works\n"
    load = h2load(httpd.tls_url + "/", requests=200)
    assert (load.requests, load.errors, load.bad) == (200, 0, 0)


def test_httpd_check_says_what_is_wrong(lab):
    httpd = lab.httpd("NoSuchDirective 1", start=False)
    good, text = httpd.check()
    assert not good and "NoSuchDirective" in text
    httpd.write_conf("KeepAlive on")
    assert httpd.check() == (True, "Syntax OK")


def test_httpd_graceful_keeps_clients(lab):
    httpd = lab.httpd()
    old = set(httpd.child_pids())
    with Crowd(httpd.port, clients=4) as crowd:
        crowd.wait(50)
        httpd.graceful()
        crowd.wait(50)
    assert not crowd.failures
    procs.wait_until(lambda: not old & set(httpd.child_pids()), 15, "old children are gone")


def test_httpd_survives_a_killed_child(lab):
    httpd = lab.httpd()
    pid = httpd.kill_child()
    procs.wait_until(lambda: len(set(httpd.child_pids()) - {pid}) == 2, 10, "a new child")
    assert get(httpd).status == 200


def test_access_log_is_json(lab):
    httpd = lab.httpd()
    request(httpd, "/index.html?x=1", headers={"User-Agent": 'quote " backslash \\'})
    line = httpd.access(1)[0]
    assert (line["status"], line["uri"], line["query"]) == (200, "/index.html", "?x=1")


def test_wrk_counts(lab):
    httpd = lab.httpd(threads=64)  # with none to spare httpd closes idle connections, which wrk counts
    load = wrk(httpd.url + "/", seconds=1, connections=4)
    assert load.requests > 10 and (load.errors, load.bad) == (0, 0)
    assert wrk(httpd.url + "/nothing", seconds=1, connections=4).bad > 10


def test_crowd_sees_failures(lab):
    member = lab.upstream().behave("error")
    with Crowd(member.port, clients=2) as crowd:
        procs.wait_until(lambda: len(crowd.failures) > 3, 5, "failures")
    assert crowd.failures[0] == "status 500" and crowd.ok == 0


# --- the fixtures, from outside ---------------------------------------------------------------------

def outcome(tmp_path, body):
    """Runs a test file with this body in a pytest of its own; (exit status, output)."""
    here = os.path.dirname(os.path.abspath(__file__))
    (tmp_path / "conftest.py").write_text(f"import sys\nsys.path.insert(0, {here!r})\nfrom conftest_of_suite import *\n")
    with open(os.path.join(here, "conftest.py")) as source:
        text = source.read().replace("os.path.dirname(os.path.abspath(__file__))", repr(here))
    (tmp_path / "conftest_of_suite.py").write_text(text)
    (tmp_path / "test_inner.py").write_text("import os, signal, subprocess, time\nfrom clients import *\n" +
                                            textwrap.dedent(body))
    done = subprocess.run([sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", str(tmp_path)],
                          capture_output=True, text=True, timeout=60, check=False, stdin=subprocess.DEVNULL)
    return done.returncode, done.stdout + done.stderr


def test_fixture_fails_on_an_unexpected_line(tmp_path):
    status, text = outcome(tmp_path, """
        def test_one(lab):
            httpd = lab.httpd("ProxyPass / http://127.0.0.1:1/")
            assert get(httpd).status == 503
        """)
    assert status == 1 and "AH01114" in text


def test_fixture_passes_on_an_expected_line(tmp_path):
    status, text = outcome(tmp_path, """
        def test_one(lab):
            httpd = lab.httpd("ProxyPass / http://127.0.0.1:1/")
            httpd.expect("AH01114", "AH00957")
            assert get(httpd).status == 503
        """)
    assert status == 0, text


def test_fixture_fails_on_a_crashed_child(tmp_path):
    status, text = outcome(tmp_path, """
        def test_one(lab):
            httpd = lab.httpd()
            os.kill(httpd.child_pids()[0], signal.SIGSEGV)
            httpd.wait_log("exit of child|resuming", 1)
            time.sleep(1.2)
        """)
    assert status == 1 and "exit signal Segmentation fault" in text


def test_fixture_fails_on_what_is_left_behind(tmp_path):
    status, text = outcome(tmp_path, """
        import procs
        def test_one(lab):
            one = procs.Process("sleeper", ["/bin/sh", "-c", "sleep 5 & exec sleep 5"], "/dev/null").start()
            procs.wait_until(lambda: procs.children_of(one.pid))
            one.stop()
        """)
    assert status == 1 and "of sleeper is still there" in text


def test_fixture_checks_shared_servers_after_each_test(tmp_path):
    status, text = outcome(tmp_path, """
        import pytest
        @pytest.fixture(scope="module")
        def httpd(module_lab):
            return module_lab.httpd("ProxyPass /bad http://127.0.0.1:1/")
        def test_first(httpd):
            get(httpd, "/bad")
        def test_second(httpd):
            assert get(httpd, "/").status == 200
        """)
    assert status == 1 and "2 passed, 1 error" in text, text


def test_sanitized_modules_are_looked_for_in_their_own_folder():
    assert gatehttpd.modules_dir().endswith("/modules")
