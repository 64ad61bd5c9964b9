"""Services: the servers that contestants talk to. Redis and ZEO are started for each, PostgreSQL for the run."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import uuid
from contextlib import ExitStack
from pathlib import Path
from shutil import chown, which
from tempfile import TemporaryDirectory
from urllib.parse import urlsplit, urlunsplit

from benchmarks.stores.contract import Missing

sys.path.append(str(Path(__file__).parent.parent / "tests"))
import servers  # the tests' own way to start servers and to find the one of PostgreSQL

_NAME = "database-name"
#: The setting of the tests: a server to be used instead of a new one. It needs as many connections.
_SETTING, _CONNECTIONS = "KIOKUPY_TEST_POSTGRESQL", 400
#: PostgreSQL does not run as root.
_USER = "postgres"


def start_postgresql(stack: ExitStack) -> None:
    """Start a PostgreSQL server with its own settings, save the number of connections, until a stack is closed.

    The workers that are started later use it. Nothing happens if the setting names one, or PostgreSQL is not installed.
    """
    find = which("pg_config")
    if _SETTING in os.environ or find is None:
        return
    programs = subprocess.run([find, "--bindir"], check=True, capture_output=True, text=True).stdout.strip()
    folder = stack.enter_context(TemporaryDirectory())
    user = _USER if os.getuid() == 0 else None
    if user is not None:
        chown(folder, user)
    initialize = [f"{programs}/initdb", "-D", f"{folder}/data", "-U", _USER, "-A", "trust", "--no-sync"]
    if subprocess.run(initialize, check=False, capture_output=True, user=user).returncode == 0:
        port = servers.free_port()
        command = [f"{programs}/postgres", "-D", f"{folder}/data", "-p", str(port), "-k", folder]
        command += ["-c", f"max_connections={_CONNECTIONS}"]
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, user=user)
        stack.callback(process.wait)
        stack.callback(process.send_signal, signal.SIGINT)  # its fast shutdown: it ends its processes, and then itself
        servers.wait_for_port(port, process)
        servers.POSTGRESQL = os.environ[_SETTING] = f"postgresql://{_USER}@127.0.0.1:{port}/postgres"


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
        raise Missing(f"PostgreSQL does not answer (install it, or set {_SETTING}): {problem.splitlines()[0]}")
    note = folder / _NAME
    if not note.exists():
        name = f"kiokupy_bench_{uuid.uuid4().hex}"
        servers.administer(f'CREATE DATABASE "{name}"')
        note.write_text(name)
    url: str = servers.POSTGRESQL
    return urlunsplit(urlsplit(url)._replace(path=f"/{note.read_text()}"))


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
