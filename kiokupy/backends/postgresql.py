"""PostgreSQL under RelStorage: processes of many hosts share the store."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import closing, contextmanager
from typing import Any

import psycopg2
from psycopg2.extensions import make_dsn
from relstorage.adapters.postgresql.adapter import PostgreSQLAdapter
from relstorage.options import Options
from relstorage.storage import RelStorage

from kiokupy.backends import durability, pgadapter
from kiokupy.backends.relational import Storage
from kiokupy.errors import StoreDenied, StoreError, StoreNotFound, StoreUnreachable, TargetError

_TIMEOUT = 10

# The name of the lock under which tables are made: any number, but the same one in all processes.
_MAKING = 0x6B696F6B757079

# What each of our words is as a setting of a connection. With "off" a crash of the server loses what was committed
# within three times wal_writer_delay before, 0.6 seconds unless it was changed, and leaves the rest consistent.
_SYNCHRONOUS = {"always": "on", "everysec": "off", "never": "off"}

_TABLES = "SELECT to_regclass('object_state') IS NOT NULL, to_regclass('transaction') IS NOT NULL"


class PostgreSQL:
    """A store in the database ``dbname``; the options are the connection parameters of libpq.

    :param fsync: when a commit is on the server's disk: ``"always"`` before it returns; ``"everysec"`` and ``"never"``
        within three times the server's ``wal_writer_delay``. By default the server's own ``synchronous_commit`` counts,
        which is ``"always"`` unless somebody changed it.
    """

    def __init__(self, *, fsync: str | None = None, **parameters: Any) -> None:
        if fsync is not None:
            parameters["options"] = _options(fsync, parameters.get("options", os.environ.get("PGOPTIONS", "")))
        parameters.setdefault("connect_timeout", _TIMEOUT)
        try:
            self._dsn: str = make_dsn(**parameters)
        except psycopg2.ProgrammingError as error:  # its text names the parameter, and no value
            raise TargetError(
                f"PostgreSQL does not take these options: {str(error).strip()}",
                fix="They are RelStorage's options and the connection parameters of libpq",
            ) from error
        host, port = parameters.get("host", ""), parameters.get("port", "")
        place = f"{f'[{host}]' if ':' in host else host}{f':{port}' if port else ''}"
        self.location = f"postgresql://{place}/{parameters.get('dbname', '')}"

    def history(self, *, create: bool) -> bool | None:
        """As the protocol in :mod:`kiokupy.backends.dbi` says."""
        try:
            with closing(psycopg2.connect(self._dsn)) as connection, connection.cursor() as cursor:
                cursor.execute(_TABLES)
                is_store, keeps_history = cursor.fetchone()
        except psycopg2.OperationalError as error:
            raise self._refused(error) from error
        return bool(keeps_history) if is_store else None

    @contextmanager
    def making(self) -> Iterator[None]:
        """As the protocol in :mod:`kiokupy.backends.dbi` says."""
        with closing(psycopg2.connect(self._dsn)) as connection, connection.cursor() as cursor:
            cursor.execute("SELECT pg_advisory_xact_lock(%s)", (_MAKING,))
            yield

    def storage(self, options: Options) -> Any:
        """As the protocol in :mod:`kiokupy.backends.dbi` says."""
        if options.keep_history or options.blob_dir or options.replica_conf or options.ro_replica_conf:
            return RelStorage(PostgreSQLAdapter(self._dsn, options=options), options=options)
        return Storage(pgadapter.Adapter(self._dsn, options=options), options=options)

    def _refused(self, error: psycopg2.OperationalError) -> StoreError:
        # libpq gives no SQLSTATE for a failed connection, only the server's words; without any the server is not there.
        words = str(error).strip()
        if "no password supplied" in words:
            fix = "Give it in the target, in PGPASSWORD or in ~/.pgpass"
            return StoreDenied(self.location, "the server wants a password", fix=fix)
        if "FATAL:" not in words or "too many" in words:
            return StoreUnreachable(self.location, f"the server does not answer ({words})")
        if "database" in words and "does not exist" in words:
            return StoreNotFound(
                self.location,
                problem="the server has no such database",
                fix="Make it: createdb, or CREATE DATABASE in psql",
            )
        return StoreDenied(self.location, f"the server refuses this user ({words.partition('FATAL:')[2].strip()})")


def _options(fsync: str, given: str) -> str:
    word = durability.read(fsync).word
    if word not in _SYNCHRONOUS:
        raise TargetError(
            f"PostgreSQL cannot do fsync={fsync!r} for one connection",
            target="fsync",
            fix="Set commit_delay, in microseconds, in the server's postgresql.conf, and give fsync='always'",
        )
    if "synchronous_commit" in given:
        problem = "the option fsync, and synchronous_commit in the options of libpq, say the same thing"
        raise TargetError(problem, target="fsync", fix="Leave one of them out")
    return f"{given} -c synchronous_commit={_SYNCHRONOUS[word]}".strip()
