"""Lanes: connections that stay open for short transactions, one after the other.

To open a pooled connection, begin a transaction of package ``transaction`` and give both back takes some 60 µs, more
than a session in the connection's cache takes to be read. A lane is begun in a tenth of that: the storage is asked what
changed since. The lane used last is taken first, so there are as many as threads work at one moment, with warm caches.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from typing import Any, TypeVar

from kiokupy.connection import GraphConnection
from kiokupy.database import Database, Unit

T = TypeVar("T")

_log = logging.getLogger("kiokupy.lanes")


class Lanes:
    """The lanes of a database. Thread-safe."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._idle: list[Unit] = []

    def read(self, work: Callable[[Unit], T]) -> T:
        """Return what ``work`` returns of what is committed now; it must not write.

        :raises StoreError: the directory was closed, or it was opened in the process that this one was forked from.
        """
        lane = self.take()
        try:
            lane.begin()
            with self._database.translated():
                return work(lane)
        finally:
            self.put_back(lane)

    def take(self) -> Unit:
        """Return a lane that nobody uses; its transaction is to be begun."""
        self._database.check_usable()
        try:
            lane = self._idle.pop()
        except IndexError:
            return Unit(self._database, manager=_Sole())
        lane.connection.opened = time.time()
        return lane

    def put_back(self, lane: Unit) -> None:
        """Take a lane back, without what was not committed."""
        try:
            lane.abort()
        except BaseException:
            lane.close()
            raise
        lane.connection.opened = None  # nobody has it: who counts open connections does not count it
        self._idle.append(lane)


class _Sole:
    """A transaction manager for one connection, which alone has part in its transactions, without hooks or savepoints.

    It does what ``transaction.Transaction`` does with one data manager: both phases of the commit, or the undoing.
    """

    explicit = True
    user = description = ""
    extension: Any = None

    def __init__(self) -> None:
        self._connection: Any = None
        self._joined = False
        self._data: Any = None
        # Whether the storage is told when a transaction is over. It lets go of what it saw then, so that it need not be
        # told to do that when the next one begins.
        self._lets_go = False

    def registerSynch(self, connection: GraphConnection) -> None:  # noqa: N802  # a transaction manager's method, as are the rest
        self._connection = connection
        self._lets_go = hasattr(connection.records, "afterCompletion")

    def unregisterSynch(self, connection: GraphConnection) -> None:  # noqa: N802
        self._connection = None

    def begin(self) -> None:
        self._connection.newTransaction(self, sync=not self._lets_go)

    def get(self) -> _Sole:
        return self

    def join(self, connection: GraphConnection) -> None:
        self._joined = True

    def data(self, connection: GraphConnection) -> Any:
        return self._data

    def set_data(self, connection: GraphConnection, data: Any) -> None:
        self._data = data

    def commit(self) -> None:
        """Write what changed, in two phases; if that fails nothing is written."""
        connection, has_voted = self._connection, False
        try:
            if self._joined:
                connection.tpc_begin(self)
                connection.commit(self)
                connection.tpc_vote(self)
                has_voted = True
                connection.tpc_finish(self)
        except BaseException:
            if not has_voted:
                _insist(connection.abort, self)
            _insist(connection.tpc_abort, self)
            raise
        finally:
            self._end()

    def abort(self) -> None:
        """Drop what changed."""
        if self._joined:
            self._connection.abort(self)
        self._end()

    def _end(self) -> None:
        self._joined, self._data = False, None
        if self._lets_go:
            self._connection.afterCompletion(self)
        else:
            self._connection.cacheGC()


def _insist(undo: Callable[[_Sole], None], transaction: _Sole) -> None:
    """Undo a part of a commit; what made it fail is what the caller is told, and not that this fails too."""
    try:
        undo(transaction)
    except Exception:
        _log.exception("a transaction that failed could not be undone")
