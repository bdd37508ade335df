"""A PostgreSQL server of a test's own, which may be stopped and crashed; the test's process uses it while it is open."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import psycopg
from django.db import connection, connections

from tests.faults.harness import await_that
from tests.support.services import database_url, free_port, missing

PLACES = "/usr/lib/postgresql"  # where Debian keeps what is not on the path


class Postgres:
    """One cluster, without passwords, on loopback. fsync is on: a crash must lose nothing."""

    def __init__(self, folder: Path, programs: Path) -> None:
        self.folder, self.programs, self.port = folder, programs, free_port()

    def make(self) -> None:
        # The server refuses to run as root.
        if os.geteuid() == 0:
            shutil.chown(self.folder, "postgres")
        self._run("initdb", "-D", str(self.folder / "data"), "-U", "postgres", "-A", "trust", "--no-sync")
        with (self.folder / "data" / "postgresql.conf").open("a") as file:
            file.write(f"port={self.port}\nlisten_addresses='127.0.0.1'\nunix_socket_directories=''\nmax_connections=200\n")

    def start(self) -> None:
        self._run("pg_ctl", "start", "-w", "-D", str(self.folder / "data"), "-l", str(self.folder / "log"))

    def stop(self, mode: str = "immediate") -> None:
        """``immediate``: as a crash does, with recovery at the next start."""
        self._run("pg_ctl", "stop", "-w", "-m", mode, "-D", str(self.folder / "data"))

    def answers(self) -> bool:
        with suppress(psycopg.OperationalError), psycopg.connect(f"postgres://postgres@127.0.0.1:{self.port}/postgres", connect_timeout=2):
            return True
        return False

    def copy_schema(self) -> None:
        """The tables of the test's database, and what migrations wrote."""
        url = f"postgres://postgres@127.0.0.1:{self.port}/"
        with psycopg.connect(f"{url}postgres", autocommit=True) as server:
            server.execute("CREATE DATABASE tollgate")
        dump = subprocess.run([self.programs / "pg_dump", "--no-owner", database_url()], capture_output=True, check=True)
        subprocess.run(["psql", "-q", "-v", "ON_ERROR_STOP=1", f"{url}tollgate"], input=dump.stdout, capture_output=True, check=True)

    def _run(self, program: str, *arguments: str) -> None:
        command = [str(self.programs / program), *arguments]
        if os.geteuid() == 0:
            command = ["runuser", "-u", "postgres", "--", *command]
        subprocess.run(command, cwd=self.folder, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, check=True)


@contextmanager
def own_postgres() -> Iterator[Postgres]:
    """A server that runs, with the schema of the test's database, used by this process and by the stacks that it starts."""
    found = sorted(Path(PLACES).glob("*/bin/pg_ctl"))
    if not found or shutil.which("psql") is None:
        missing("no PostgreSQL server is installed here")
    folder = Path(tempfile.mkdtemp(prefix="tollgate-postgres-"))  # pytest's folders are closed to other users
    server = Postgres(folder, found[-1].parent)
    before = dict(connection.settings_dict)
    try:
        server.make()
        server.start()
        await_that(server.answers, 30, "a database that answers")
        server.copy_schema()
        connections.close_all()
        connection.settings_dict.update(HOST="127.0.0.1", PORT=server.port, NAME="tollgate", USER="postgres", PASSWORD="")
        yield server
    finally:
        connections.close_all()
        connection.settings_dict.clear()
        connection.settings_dict.update(before)
        with suppress(subprocess.CalledProcessError):
            server.stop()
        shutil.rmtree(folder, ignore_errors=True)
