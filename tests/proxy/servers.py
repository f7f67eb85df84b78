"""nginx, with the configuration that the documentation gives, in front of what a test says."""

from __future__ import annotations

import shutil
import socket
import ssl
from collections.abc import Mapping
from pathlib import Path

import pytest

from ops.process import LOOPBACK, PROBE_TIMEOUT_S, Process
from ops.settings import CHECKOUT

CONFIG = CHECKOUT / "ops" / "nginx" / "imagemill.conf"
PREFIX = "/images"
PROGRAM = shutil.which("nginx", path="/usr/sbin:/usr/local/sbin:/usr/bin:/usr/local/bin:/opt/homebrew/bin")

needs_nginx = pytest.mark.skipif(PROGRAM is None, reason="no nginx here (.ci/prepare installs Debian's nginx-light)")

_AROUND = """
daemon off;
master_process off;
pid {folder}/nginx.pid;
error_log stderr;
events {{}}
http {{
    access_log off;
    client_body_temp_path {folder}/body;
    proxy_temp_path {folder}/proxy;
    fastcgi_temp_path {folder}/fastcgi;
    uwsgi_temp_path {folder}/uwsgi;
    scgi_temp_path {folder}/scgi;
{servers}
}}
"""


class Nginx(Process):
    """One nginx, which says what goes wrong; `servers`: of its `http` block."""

    def __init__(self, folder: Path, port: int, servers: str) -> None:
        super().__init__("nginx", port=port)
        folder.mkdir(parents=True, exist_ok=True)
        self._folder = folder
        (folder / "nginx.conf").write_text(_AROUND.format(folder=folder, servers=servers))

    def command(self) -> list[str]:
        return [PROGRAM or "nginx", "-p", str(self._folder), "-e", "stderr", "-c", str(self._folder / "nginx.conf")]

    def is_ready(self) -> bool:
        try:
            with socket.create_connection((LOOPBACK, self.port or 0), PROBE_TIMEOUT_S):
                return True
        except OSError:
            return False


def as_documented(port: int, replicas: list[int], certificate: Path) -> str:
    """The documented file, with the addresses of a test instead of its own; each of them is in it."""
    names: Mapping[str, str] = {
        "server 127.0.0.1:8000;": f"server {LOOPBACK}:{replicas[0]};",
        "server 127.0.0.1:8001;": f"server {LOOPBACK}:{replicas[1]};",
        "listen 443 ssl;": f"listen {LOOPBACK}:{port} ssl;",
        "/etc/nginx/example.org.pem": str(certificate),
        "/etc/nginx/example.org.key": str(certificate),
    }
    text = CONFIG.read_text()
    for name, own in names.items():
        assert text.count(name) == 1, name
        text = text.replace(name, own)
    return text


def plain(port: int, replica: int) -> str:
    """As short as it can be, with all of nginx' defaults."""
    return f"server {{ listen {LOOPBACK}:{port}; location / {{ proxy_pass http://{LOOPBACK}:{replica}; }} }}"


def trusting(ca: Path) -> ssl.SSLContext:
    """For a client that knows this CA alone."""
    return ssl.create_default_context(cafile=str(ca))
