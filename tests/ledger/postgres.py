"""A PostgreSQL server for tests: in a folder of its own, on a port of its own, with a password."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

from tests.ports import free_port

PASSWORD = "of a test only"
USER = "cds"
_FOLDERS = sorted(Path("/usr/lib/postgresql").glob("*/bin"), reverse=True)
_START_SECONDS = 30
_NOBODY = 65_534


def why_not() -> str | None:
    """Return why no server can be started here; None if one can."""
    if _binary("initdb") is None or _binary("postgres") is None:
        return "PostgreSQL is not installed (Debian: apt-get install postgresql)"
    if os.getuid() == 0 and shutil.which("setpriv") is None:
        return "PostgreSQL does not run as root, and there is no setpriv to be somebody else"
    return None


def _binary(name: str) -> str | None:
    found = next((folder / name for folder in _FOLDERS if (folder / name).exists()), None)
    return str(found) if found else shutil.which(name)


def _as_nobody() -> list[str]:
    """Return the words that run a command as a user who is not root."""
    if os.getuid() != 0:
        return []
    return ["setpriv", f"--reuid={_NOBODY}", f"--regid={_NOBODY}", "--clear-groups"]


@dataclass
class Postgres:
    """A server that tests stop, kill and start again."""

    folder: Path
    port: int
    process: subprocess.Popen[bytes] | None = None
    databases: int = 0

    def start(self) -> None:
        """Start it and wait until it listens; right after a stop it may need a second attempt."""
        ends_at = time.monotonic() + _START_SECONDS
        while not self._answers():
            assert time.monotonic() < ends_at, self.log.read_text()[-2_000:]
            if self.process is None or self.process.poll() is not None:
                self._launch()
            time.sleep(0.2)

    @property
    def log(self) -> Path:
        """Return what the server says."""
        return self.folder.parent / "postgres.log"

    def _launch(self) -> None:
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(  # noqa: S603 - a test's own server
                [
                    *_as_nobody(),
                    str(_binary("postgres")),
                    *("-D", str(self.folder), "-p", str(self.port)),
                    *("-c", "listen_addresses=127.0.0.1", "-c", "unix_socket_directories="),
                    *("-c", "fsync=off", "-c", "max_connections=60"),
                ],
                stdout=log,
                stderr=log,
            )

    def stop(self) -> None:
        """Stop it at once: open connections are cut."""
        if self.process is not None:
            self.process.send_signal(3)  # SIGQUIT: immediate shutdown
            self.process.wait(timeout=30)
            self.process = None

    def speak_tls(self, certificate: Path | None, key: Path | None) -> None:
        """Speak TLS to new connections, or no longer."""
        for source, name in ((certificate, "server.crt"), (key, "server.key")):
            if source is not None:
                target = self.folder / name
                shutil.copy(source, target)
                target.chmod(0o600)
                if os.getuid() == 0:
                    os.chown(target, _NOBODY, _NOBODY)
        is_on = "on" if certificate else "off"
        connection = self._connection()
        connection.autocommit = True
        connection.cursor().execute(f"ALTER SYSTEM SET ssl = {is_on}")
        connection.cursor().execute("SELECT pg_reload_conf()")
        connection.close()
        ends_at = time.monotonic() + _START_SECONDS
        while self._shows("ssl") != is_on:
            assert time.monotonic() < ends_at, self.log.read_text()[-2_000:]
            time.sleep(0.05)

    def _shows(self, setting: str) -> str:
        """Return a setting as a new connection finds it."""
        connection = self._connection()
        cursor = connection.cursor()
        cursor.execute(f"SHOW {setting}")
        found = str(cursor.fetchone()[0])
        connection.close()
        return found

    @contextmanager
    def hanging(self) -> Iterator[None]:
        """While the block runs connections stand, and nothing answers on them."""
        assert self.process is not None
        family = [self.process.pid, *_children(self.process.pid)]
        for pid in family:
            os.kill(pid, signal.SIGSTOP)
        try:
            yield
        finally:
            for pid in family:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGCONT)

    def new_database(self) -> str:
        """Make a database and return its URL, without the password."""
        self.databases += 1
        name = f"ledger_{self.databases}"
        connection = self._connection()
        connection.autocommit = True
        connection.cursor().execute(f"CREATE DATABASE {name}")
        connection.close()
        return f"postgresql+pg8000://{USER}@127.0.0.1:{self.port}/{name}"

    def _connection(self):  # type: ignore[no-untyped-def]  # noqa: ANN202 - the driver has no types
        import pg8000.dbapi  # noqa: PLC0415 - only where the server is

        return pg8000.dbapi.connect(
            USER, password=PASSWORD, host="127.0.0.1", port=self.port, database="postgres"
        )

    def _answers(self) -> bool:
        try:
            self._connection().close()
        except Exception:  # noqa: BLE001 - whatever it is, it is not ready
            return False
        return True


def _children(pid: int) -> list[int]:
    found = Path(f"/proc/{pid}/task/{pid}/children").read_text(encoding="ascii").split()
    return [int(each) for each in found]


@contextmanager
def running_postgres() -> Iterator[Postgres]:
    """Run a server in a folder of its own, away from the folders that only this user may enter."""
    with TemporaryDirectory(prefix="postgres-") as name:
        folder = Path(name)
        data = folder / "data"
        data.mkdir(mode=0o700)
        password = folder / "password"
        password.write_text(PASSWORD)
        if os.getuid() == 0:
            for path in (folder, data, password):
                os.chown(path, _NOBODY, _NOBODY)
        subprocess.run(  # noqa: S603 - a test's own server
            [
                *_as_nobody(),
                str(_binary("initdb")),
                *("-D", str(data), "-U", USER, "-A", "scram-sha-256", "--pwfile", str(password)),
                *("-E", "UTF8", "--no-locale", "--no-sync"),
            ],
            check=True,
            stdout=subprocess.DEVNULL,
        )
        server = Postgres(data, free_port())
        server.start()
        try:
            yield server
        finally:
            server.stop()
