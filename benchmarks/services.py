"""Services: the servers that contestants talk to. Redis and ZEO are started for each; PostgreSQL has to be there."""

from __future__ import annotations

import subprocess
import sys
import uuid
from contextlib import ExitStack
from pathlib import Path
from shutil import which
from urllib.parse import urlsplit, urlunsplit

from benchmarks.stores.contract import Missing

sys.path.append(str(Path(__file__).parent.parent / "tests"))
import servers  # noqa: E402  # the tests' own way to start servers and to find the one of PostgreSQL

_NAME = "database-name"


def redis(stack: ExitStack, folder: Path, appendfsync: str) -> tuple[int, int]:
    """Start a Redis server that keeps its data in a folder, until a stack is closed, and return its port and pid.

    :param appendfsync: when its log is on the disk: ``always``, ``everysec`` or ``no``.
    :raises Missing: Redis is not installed.
    """
    program = which("redis-server")
    if program is None:
        raise Missing("redis-server is not installed")
    port = servers.free_port()
    command = [program, "--port", str(port), "--bind", "127.0.0.1", "--dir", str(folder), "--save", ""]
    command += ["--appendonly", "yes", "--appendfsync", appendfsync]
    process = stack.enter_context(servers.running(command, port, subprocess.DEVNULL))
    return port, process.pid


def zeo(stack: ExitStack, folder: Path) -> tuple[str, int]:
    """Start a ZEO server on a FileStorage in a folder, until a stack is closed, and return its URL and pid."""
    port = servers.free_port()
    config = folder / "zeo.conf"
    storage = f"<filestorage 1>\npath {folder}/store.fs\n</filestorage>\n"
    config.write_text(f"<zeo>\naddress 127.0.0.1:{port}\n</zeo>\n{storage}")
    command = [sys.executable, "-m", "ZEO.runzeo", "-C", str(config)]
    process = stack.enter_context(servers.running(command, port, subprocess.DEVNULL))
    return f"zeo://127.0.0.1:{port}/1", process.pid


def postgresql(folder: Path) -> str:
    """Return the URL of the database that belongs to a folder; it is made the first time.

    :raises Missing: no server answers.
    """
    problem = servers.postgresql_problem()
    if problem is not None:
        raise Missing(f"PostgreSQL does not answer (set KIOKUPY_TEST_POSTGRESQL): {problem.splitlines()[0]}")
    note = folder / _NAME
    if not note.exists():
        name = f"kiokupy_bench_{uuid.uuid4().hex}"
        servers.administer(f'CREATE DATABASE "{name}"')
        note.write_text(name)
    return urlunsplit(urlsplit(servers.POSTGRESQL)._replace(path=f"/{note.read_text()}"))


def backends_of(url: str) -> list[int]:
    """Return the pids of PostgreSQL's processes for a database."""
    import psycopg2  # noqa: PLC0415  # only where there is PostgreSQL

    connection = psycopg2.connect(url)
    try:
        with connection.cursor() as cursor:
            query = "SELECT pid FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()"
            cursor.execute(query)
            return [pid for (pid,) in cursor.fetchall()]
    finally:
        connection.close()


def database_bytes(folder: Path) -> int | None:
    """Return how large the database of a folder is; ``None``: it has none."""
    import psycopg2  # noqa: PLC0415  # only where there is PostgreSQL

    if not (folder / _NAME).exists():
        return None
    connection = psycopg2.connect(postgresql(folder))
    try:
        with connection.cursor() as cursor:
            cursor.execute("SELECT pg_database_size(current_database())")
            return int(cursor.fetchone()[0])
    finally:
        connection.close()


def drop(folder: Path) -> None:
    """Drop the database of a folder, if it has one."""
    note = folder / _NAME
    if note.exists():
        servers.administer(f'DROP DATABASE "{note.read_text()}" WITH (FORCE)')
        note.unlink()
