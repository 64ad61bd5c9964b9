"""The servers that tests talk to: a database of PostgreSQL for each test, a ZEO server for each test or process."""

import contextlib
import functools
import os
import socket
import subprocess
import sys
import time
import uuid
from contextlib import closing
from urllib.parse import urlsplit, urlunsplit

import psycopg2
import pytest

POSTGRESQL = os.environ.get("KIOKUPY_TEST_POSTGRESQL", "postgresql://postgres@127.0.0.1:5432/test")
IN_CI = os.environ.get("CI") == "true"

#: Names of the servers that tests asked for and that were not there.
missing: set[str] = set()


@functools.cache
def postgresql_problem():
    """Return why PostgreSQL cannot be used, or ``None``."""
    try:
        psycopg2.connect(POSTGRESQL, connect_timeout=5).close()
    except psycopg2.OperationalError as error:
        return str(error).strip()


def skip_without_postgresql():
    problem = postgresql_problem()
    if problem is not None:
        assert not IN_CI, problem
        missing.add("PostgreSQL (set KIOKUPY_TEST_POSTGRESQL)")
        pytest.skip(f"PostgreSQL does not answer: {problem}")


def administer(statement):
    with closing(psycopg2.connect(POSTGRESQL)) as connection:
        connection.autocommit = True
        with connection.cursor() as cursor:
            cursor.execute(statement)


#: The URLs of databases that this run made and that no test uses.
_spare: list[str] = []


@contextlib.contextmanager
def new_postgresql():
    """Give the URL of an empty database; it is made anew or, which takes a fifth of the time, emptied."""
    skip_without_postgresql()
    url = _spare.pop() if _spare else _create_database()
    try:
        yield url
    finally:
        with closing(psycopg2.connect(url)) as connection, connection.cursor() as cursor:
            cursor.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
                " WHERE datname = current_database() AND pid <> pg_backend_pid()"
            )
            cursor.execute("DROP SCHEMA public CASCADE; CREATE SCHEMA public")
            connection.commit()
        _spare.append(url)


def _create_database():
    name = f"kiokupy_test_{uuid.uuid4().hex}"
    administer(f'CREATE DATABASE "{name}"')
    return urlunsplit(urlsplit(POSTGRESQL)._replace(path=f"/{name}"))


def drop_databases():
    """Drop what was made; to be called when no test uses it any more."""
    while _spare:
        administer(f'DROP DATABASE "{urlsplit(_spare.pop()).path[1:]}" WITH (FORCE)')


def free_port():
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


def wait_for_port(port, process, seconds=30):
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if process.poll() is not None:
            raise AssertionError(f"the server ended with status {process.returncode}")
        with socket.socket() as client:
            if client.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.02)
    raise AssertionError("the server did not come up")


@contextlib.contextmanager
def running(command, port, **environment):
    """Run a server until the block ends; it is killed then if it still runs."""
    process = subprocess.Popen(
        command,
        env={**os.environ, **environment},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    try:
        wait_for_port(port, process)
        yield process
    finally:
        process.kill()
        process.communicate()


@contextlib.contextmanager
def new_zeo(folder):
    """Run a ZEO server on a new FileStorage, and give its URL."""
    port = free_port()
    command = [sys.executable, "-m", "ZEO.runzeo", "-a", f"127.0.0.1:{port}", "-f", str(folder / "zeo.fs")]
    with running(command, port):
        yield f"zeo://127.0.0.1:{port}"


if __name__ == "__main__":  # for scripts/test: without the server its branches cannot be covered
    sys.exit(0 if IN_CI or postgresql_problem() is None else 1)
