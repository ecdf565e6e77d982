"""./build.sh install: into Debian's layout, into another httpd's, and what it wrote loads. What is changed stays."""
import os
import stat
import subprocess

import pytest

import gatehttpd

BUILD = os.path.join(gatehttpd.TOP, "build.sh")
pytestmark = pytest.mark.needs("gate")


def install(dest, **env):
    done = subprocess.run([BUILD, "install"], env=dict(os.environ, DESTDIR=str(dest), **env), capture_output=True,
                          text=True, timeout=300, check=False, stdin=subprocess.DEVNULL)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def fake_apxs(folder, **answers):
    """An apxs that names another layout, and otherwise asks the real one."""
    cases = "\n".join(f'"-q {key}") echo "{value}" ;;' for key, value in answers.items())
    path = folder / "apxs"
    path.write_text(f'#!/bin/sh\ncase "$*" in\n{cases}\n*) exec apxs "$@" ;;\nesac\n')
    path.chmod(path.stat().st_mode | stat.S_IXUSR)
    return str(path)


def test_debian_layout(tmp_path, lab):
    mods = tmp_path / "etc/apache2/mods-available"
    os.makedirs(mods)
    said = install(tmp_path)
    assert "a2enmod gate\n" in said
    assert (mods / "gate.load").read_text() == "LoadModule gate_module /usr/lib/apache2/modules/mod_gate.so\n"
    assert os.path.exists(tmp_path / "etc/apache2/gatehouse/gatehouse.conf")
    for path in mods.glob("gate_*.load"):
        assert path.read_text().startswith("# Depends: gate")
    # all of it enabled beside mod_proxy, in the order in which Debian's apache2.conf reads the files
    for path in mods.iterdir():
        path.write_text(path.read_text().replace(" /usr/lib/", f" {tmp_path}/usr/lib/"))
    for name in ("proxy.load", "proxy_http.load"):
        (mods / name).write_text(open(f"/etc/apache2/mods-available/{name}").read())
    httpd = lab.httpd(start=False, raw=f"""
        LoadModule mpm_event_module {gatehttpd.MODULE_DIR}/mod_mpm_event.so
        LoadModule authz_core_module {gatehttpd.MODULE_DIR}/mod_authz_core.so
        ServerName localhost
        Listen 127.0.0.1:1
        IncludeOptional {mods}/*.load
        IncludeOptional {mods}/*.conf
        <IfModule !gate_module>
            NoGateHere
        </IfModule>
        """)
    good, text = httpd.check()
    assert good, text


def test_other_layout(tmp_path):
    apxs = fake_apxs(tmp_path, LIBEXECDIR="/opt/httpd/modules", SYSCONFDIR="/opt/httpd/conf")
    said = install(tmp_path, APXS=apxs)
    assert "LoadModule gate_module /opt/httpd/modules/mod_gate.so" in said
    assert said.index("gate_module") == said.index("LoadModule ") + len("LoadModule ")
    assert os.path.exists(tmp_path / "opt/httpd/modules/mod_gate.so")
    assert os.path.exists(tmp_path / "opt/httpd/conf/gatehouse/tls.conf")


def test_second_install_keeps_what_was_changed(tmp_path):
    install(tmp_path)
    mine = tmp_path / "etc/apache2/gatehouse/core.conf"
    mine.write_text("# mine\n")
    install(tmp_path)
    assert mine.read_text() == "# mine\n"


def test_unknown_verb_is_refused():
    done = subprocess.run([BUILD, "bild"], capture_output=True, text=True, timeout=20, check=False)
    assert done.returncode == 2 and "usage" in done.stdout
