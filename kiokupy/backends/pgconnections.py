"""Connections to PostgreSQL that begin a transaction with its first statement: one round trip; psycopg2 makes it two.

psycopg2 takes each statement for a transaction of its own then, and says nothing itself.
"""

from __future__ import annotations

import functools
from typing import Any

from psycopg2 import extensions

_LEVELS = {
    extensions.ISOLATION_LEVEL_READ_COMMITTED: "READ COMMITTED",
    extensions.ISOLATION_LEVEL_REPEATABLE_READ: "REPEATABLE READ",
    extensions.ISOLATION_LEVEL_SERIALIZABLE: "SERIALIZABLE",
}


class _Cursor(extensions.cursor):  # type: ignore[misc]  # psycopg2 has no annotations
    def execute(self, query: str, parameters: Any = None) -> None:
        super().execute(self.connection.begin + query, parameters)

    def copy_expert(self, *args: Any) -> None:
        self.connection.ensure_begun()
        super().copy_expert(*args)


class _Connection(extensions.connection):  # type: ignore[misc]  # psycopg2 has no annotations
    def set_session(self, *, isolation_level: int, readonly: bool, deferrable: bool) -> None:
        """Know what its transactions are to be like; RelStorage says that of each connection that it makes."""
        mode = "READ ONLY" if readonly else "READ WRITE"
        self._begin = f"BEGIN ISOLATION LEVEL {_LEVELS[isolation_level]}, {mode};"
        self.autocommit, self.cursor_factory = True, _Cursor

    @property
    def begin(self) -> str:
        """What comes before a statement: that a transaction begins; empty if it has."""
        return self._begin if self.get_transaction_status() == extensions.TRANSACTION_STATUS_IDLE else ""

    def ensure_begun(self) -> None:
        if self.begin:
            self.cursor().execute("")

    def cursor(self, name: str | None = None) -> Any:
        if name is None:
            return super().cursor()
        self.ensure_begun()
        return super().cursor(name, withhold=True)  # the server's; without that psycopg2 insists on its own begin

    def commit(self) -> None:
        self._end("COMMIT")
        super().commit()

    def rollback(self) -> None:
        self._end("ROLLBACK")
        super().rollback()

    def _end(self, word: str) -> None:
        if not self.begin:
            self.cursor().execute(word)


@functools.cache
def beginning_late(base: Any) -> Any:
    """Return the class of connections that a driver of RelStorage is to make instead of its own."""
    return type("Connection", (_Connection, base), {})
