"""The servers that tests talk to: each test has an empty database of PostgreSQL, or an empty store of a ZEO server."""

import contextlib
import functools
import os
import socket
import subprocess
import sys
import tempfile
import time
import uuid
from contextlib import closing
from pathlib import Path
from urllib.parse import urlsplit, urlunsplit

import psycopg2
import pytest

POSTGRESQL = os.environ.get("KIOKUPY_TEST_POSTGRESQL", "postgresql://postgres@127.0.0.1:5432/test")
IN_CI = os.environ.get("CI") == "true"

#: Why tests are skipped where a server is not there, and what to say at the end.
PROBLEMS = {
    "PostgreSQL does not answer": "PostgreSQL (set KIOKUPY_TEST_POSTGRESQL)",
    "Django's source distribution cannot be fetched": "Django's own suite (pip must reach an index that has it)",
}


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
        pytest.skip(f"{next(iter(PROBLEMS))}: {problem}")


def administer(statement):
    with closing(psycopg2.connect(POSTGRESQL)) as connection:
        connection.autocommit = True
        with connection.cursor() as cursor:
            cursor.execute(statement)


#: What ends with this run of the tests.
_session = contextlib.ExitStack()

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
        _empty(url)
        _spare.append(url)


def _empty(url, attempts=10):
    with closing(psycopg2.connect(url)) as connection, connection.cursor() as cursor:
        cursor.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
            " WHERE datname = current_database() AND pid <> pg_backend_pid()"
        )
        try:
            cursor.execute("DROP SCHEMA public CASCADE; CREATE SCHEMA public")
            connection.commit()
            return
        except psycopg2.errors.DeadlockDetected:  # a backend takes its time to end, and drops its temporary tables
            if attempts == 0:
                raise
    _empty(url, attempts - 1)


def _create_database():
    name = f"kiokupy_test_{uuid.uuid4().hex}"
    administer(f'CREATE DATABASE "{name}"')
    administer(f'ALTER DATABASE "{name}" SET synchronous_commit = off')  # no test takes the power from the server
    return urlunsplit(urlsplit(POSTGRESQL)._replace(path=f"/{name}"))


def stop():
    """Stop and drop what this run started and made."""
    _session.close()
    while _spare:
        administer(f'DROP DATABASE "{urlsplit(_spare.pop()).path[1:]}" WITH (FORCE)')


def unmeasured():
    """Return the environment of a process whose branches are not to be measured, as those of a test marked no_cover."""
    return {name: value for name, value in os.environ.items() if not name.startswith("COVERAGE_")}


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
def running(command, port, output=subprocess.PIPE, **environment):
    """Run a server until the block ends; it is killed then if it still runs.

    :param output: where its output goes. One that writes much waits for ever once a pipe is full that nobody reads.
    """
    process = subprocess.Popen(
        command,
        env={**os.environ, **environment},
        stdout=output,
        stderr=subprocess.STDOUT,
        text=True,
    )
    try:
        wait_for_port(port, process)
        yield process
    finally:
        process.kill()
        process.communicate()


_ZEO_STORES = 100
#: The URLs of empty stores of running ZEO servers that no test has used.
_fresh: list[str] = []


@contextlib.contextmanager
def new_zeo():
    """Give the URL of an empty store of a ZEO server; a server is started for every hundred."""
    if not _fresh:
        folder, port = _session.enter_context(tempfile.TemporaryDirectory()), free_port()
        stores = [f"<filestorage {name}>\npath {folder}/{name}.fs\n</filestorage>" for name in range(_ZEO_STORES)]
        config = Path(folder, "zeo.conf")
        config.write_text("\n".join([f"<zeo>\naddress 127.0.0.1:{port}\n</zeo>", *stores]))
        command = [sys.executable, "-m", "ZEO.runzeo", "-C", str(config)]
        _session.enter_context(running(command, port, subprocess.DEVNULL))
        _fresh.extend(f"zeo://127.0.0.1:{port}/{name}" for name in range(_ZEO_STORES))
    yield _fresh.pop()


if __name__ == "__main__":  # for scripts/test: without the server its branches cannot be covered
    sys.exit(0 if IN_CI or postgresql_problem() is None else 1)
