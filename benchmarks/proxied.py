"""The service behind nginx, set up as ``docs/operations.md`` says, and slow clients in front of it.

Without nginx on the machine there is nothing to measure, and the row says so.
"""

from __future__ import annotations

import re
import selectors
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from benchmarks.processes import HOST, ROOT, free_port
from cds_service.hooks.discovery import SERVICE_ID

SLOW_CLIENTS = 900
_DOCUMENTED = re.compile(r"```nginx\n(.*?)```", re.DOTALL)
_NOT_HERE = ("ssl_", "server_name ")
"""Certificates; TLS is not measured here."""
_PATH = f"/cds-services/{SERVICE_ID}"
_SLOW_HEAD = f"POST {_PATH} HTTP/1.1\r\nHost: x\r\nX-Slow: ".encode()
_SLOW_BODY = (
    f"POST {_PATH} HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
    "Authorization: Bearer a.b.c\r\nContent-Length: 100000\r\n\r\n{"
).encode()
_EVERY_SECONDS = 1.0


@contextmanager
def nginx_before(port: int, folder: Path) -> Iterator[int | None]:
    """Run nginx in front of the service at *port*; yield its port, or None where it is missing."""
    program = shutil.which("nginx", path="/usr/sbin:/usr/bin")
    if program is None:
        yield None
        return
    own_port = free_port()
    (folder / "nginx.conf").write_text(_configuration(port, own_port, folder), encoding="utf-8")
    process = subprocess.Popen(  # noqa: S603 - Debian's own program
        [program, "-p", str(folder), "-c", "nginx.conf", "-e", str(folder / "nginx.log")],
        stderr=subprocess.DEVNULL,
    )
    try:
        _wait_for(own_port)
        yield own_port
    finally:
        process.terminate()
        process.wait(timeout=20)


def _configuration(port: int, own_port: int, folder: Path) -> str:
    documented = _DOCUMENTED.search((ROOT / "docs" / "operations.md").read_text(encoding="utf-8"))
    if documented is None:
        raise SystemExit("docs/operations.md shows no nginx configuration.")
    lines = [line for line in documented[1].splitlines() if not line.strip().startswith(_NOT_HERE)]
    site = "\n".join(lines)
    site = site.replace("listen 443 ssl;", f"listen {HOST}:{own_port};")
    site = site.replace("server 127.0.0.1:8080;", f"server {HOST}:{port};")
    # All calls come from one address here, which the documented rate would not let through.
    site = re.sub(r"^ *limit_req.*$", "", site, flags=re.MULTILINE)
    kinds = ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    folders = "\n".join(f"{kind}_temp_path {folder}/{kind};" for kind in kinds)
    return (
        f"daemon off; pid {folder}/nginx.pid; worker_rlimit_nofile 8192;\n"
        "events { worker_connections 4096; }\n"
        f"http {{ access_log off;\n{folders}\n{site}\n}}\n"
    )


def _wait_for(port: int) -> None:
    ends_at = time.monotonic() + 10
    while time.monotonic() < ends_at:
        with socket.socket() as probe:
            if probe.connect_ex((HOST, port)) == 0:
                return
        time.sleep(0.02)
    raise SystemExit("nginx did not start to listen; its log is in the folder of this run.")


@contextmanager
def slow_clients(port: int) -> Iterator[None]:
    """Keep ``SLOW_CLIENTS`` connections busy with a byte a second, from a process of their own."""
    process = subprocess.Popen(  # noqa: S603 - this module
        [sys.executable, "-m", "benchmarks.proxied", str(port)], cwd=ROOT
    )
    try:
        yield
    finally:
        process.terminate()
        process.wait(timeout=20)


def _drip(port: int) -> None:
    """Send slowly for ever.

    Half of the clients never finish a head, half never a body; whoever is hung up on comes back.
    """
    with selectors.DefaultSelector() as selector:
        held: list[socket.socket] = []
        while True:
            for key, _ in selector.select(0):
                _let_go(key.fileobj, selector, held)  # type: ignore[arg-type] # sockets only
            for connection in tuple(held):
                try:
                    connection.send(b"a")
                except OSError:
                    _let_go(connection, selector, held)
            while len(held) < SLOW_CLIENTS:
                connection = socket.create_connection((HOST, port))
                connection.settimeout(0)
                connection.send(_SLOW_HEAD if len(held) % 2 else _SLOW_BODY)
                selector.register(connection, selectors.EVENT_READ)
                held.append(connection)
            time.sleep(_EVERY_SECONDS)


def _let_go(
    connection: socket.socket, selector: selectors.BaseSelector, held: list[socket.socket]
) -> None:
    if connection in held:
        held.remove(connection)
        selector.unregister(connection)
        connection.close()


if __name__ == "__main__":
    _drip(int(sys.argv[1]))
