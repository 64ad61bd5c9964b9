"""RelStorage's adapter for SQLite: made right, and, for stores without history and blobs, made quick."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from typing import Any

from relstorage.adapters.sqlite.adapter import Sqlite3Adapter
from relstorage.adapters.sqlite.batch import Sqlite3RowBatcher
from relstorage.adapters.sqlite.connmanager import Sqlite3ConnectionManager
from relstorage.adapters.sqlite.locker import Sqlite3Locker
from relstorage.adapters.sqlite.mover import Sqlite3ObjectMover
from relstorage.options import Options
from relstorage.storage.interfaces import VoteReadConflictError
from ZODB.utils import p64

MAIN = "main.sqlite3"  #: RelStorage's name for the database

_TID = "SELECT tid FROM object_state WHERE zoid = ?"
_STATE = "SELECT state FROM object_state WHERE zoid = ?"
_WRITE = (
    "INSERT INTO object_state (zoid, tid, state_size, state) VALUES (?, ?, ?, ?)"
    " ON CONFLICT (zoid) DO UPDATE SET tid = excluded.tid, state_size = excluded.state_size, state = excluded.state"
)


def adapter(folder: str, pragmas: dict[str, Any], options: Options) -> Any:
    """Return the adapter for a store in a folder."""
    kind = _TabledAdapter if options.keep_history or options.blob_dir else _QuickAdapter
    return kind(folder, pragmas, options=options)


class _Sound(Sqlite3ConnectionManager):  # type: ignore[misc]  # RelStorage has no annotations
    """Always rolls back.

    RelStorage gathers a transaction's rows in temporary tables, and a rollback empties them. It skips that where
    SQLite says it is in no transaction, which is so after a conflict found at vote: the next commit of the connection
    would then write the failed transaction's rows as well. A rollback too many costs some microseconds.
    """

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self._may_need_rollback = lambda connection: True


class _Quick(Sqlite3ConnectionManager):  # type: ignore[misc]  # RelStorage has no annotations
    """Ends a transaction in few words: each one that reads ends so."""

    def rollback_quietly(self, conn: Any, cursor: Any) -> bool:
        """Roll back if there is a transaction; tell whether the connection can be used still."""
        try:
            if conn.in_transaction:
                cursor.fetchall()  # what is left there would keep the snapshot
                conn.rollback()
        except self._ignored_exceptions:
            self.close(conn, cursor)
            return False
        return True

    rollback_store_quietly = rollback_quietly


class _SoundLocker(Sqlite3Locker):  # type: ignore[misc]  # RelStorage has no annotations
    """Takes the lock on the database before it looks whether what a transaction holds as read is current.

    RelStorage looks first, and another process or thread may commit before the lock is there: a transaction then misses
    a change that it must not miss, as of a node of a tree, and objects or their places in an index get lost.
    """

    def _lock_readCurrent_oids_for_share(self, cursor: Any, oids: Any, blocks: bool) -> None:  # noqa: N802  # its name
        self._lock_rows_being_modified(cursor)


class _QuickLocker(Sqlite3Locker):  # type: ignore[misc]  # RelStorage has no annotations
    """Takes the lock on the database once: what is in a transaction on a connection that writes has it."""

    def hold_commit_lock(self, cursor: Any, ensure_current: Any = False, nowait: bool = False) -> None:
        """Take the lock, if the vote has not."""
        if not cursor.connection.in_transaction:
            super().hold_commit_lock(cursor, ensure_current, nowait)


class _Rows(Sqlite3ObjectMover):  # type: ignore[misc]  # RelStorage has no annotations
    """Moves rows from where RelStorage gathers them, in memory or a file, to their table; none goes between.

    RelStorage writes them to a temporary table when it votes, joins that with the table of objects, moves them when it
    finishes, and empties it, twice: a dozen statements more, and a commit. Each adapter has one of its own.
    """

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        # State, oid and the transaction that it was made from. RelStorage empties it when a transaction is over.
        self._rows: Iterable[tuple[bytes, int, int]] = ()

    def on_store_opened(self, cursor: Any, restart: bool = False) -> None:
        """Make no temporary tables."""

    def store_temps(self, cursor: Any, state_oid_tid_iter: Iterable[tuple[bytes, int, int]]) -> None:
        """Know the rows of the transaction that is voted for."""
        self._rows = state_oid_tid_iter

    def replace_temps(self, cursor: Any, state_oid_tid_iter: Any) -> None:
        """Leave what was merged where it is: among the rows."""

    def detect_conflict(self, cursor: Any) -> list[tuple[int, int, int, bytes]]:
        """Return oid, transaction, the one seen, and state of what was written meanwhile."""
        found = []
        for _, oid, seen in self._rows or ():
            tid = tid_of(cursor, oid)
            if tid not in (0, seen):
                [state] = cursor.execute(_STATE, (oid,)).fetchone()
                found.append((oid, tid, seen, state))
        return found

    def move_from_temp(self, cursor: Any, tid: int, txn_has_blobs: bool) -> None:
        """Write the rows."""
        cursor.executemany(_WRITE, ((oid, tid, len(state), state) for state, oid, _ in self._rows or ()))


def tid_of(cursor: Any, oid: int) -> int:
    """Return the transaction that wrote an object; 0: it is not there."""
    found: tuple[int] | None = cursor.execute(_TID, (oid,)).fetchone()
    return 0 if found is None else found[0]


class _Begins(Sqlite3Adapter):  # type: ignore[misc]  # RelStorage has no annotations
    _managers: Any
    _lockers: Any

    def _create(self) -> None:
        if self.connmanager is None:
            self.connmanager: Any = self._managers(
                self.driver,
                path=os.path.join(self.data_dir, MAIN),
                pragmas=self.pragmas,
                options=self.options,
            )
        if self.locker is None:
            self.locker: Any = self._lockers(self.options, self.driver, batcher_factory=Sqlite3RowBatcher)
        super()._create()

    def begin_load(self, cursor: Any) -> None:
        """Begin a snapshot; it is taken when something is read first."""
        cursor.execute("BEGIN DEFERRED TRANSACTION")


class _TabledAdapter(_Begins):
    _managers, _lockers = _Sound, _SoundLocker


class _QuickAdapter(_Begins):
    _managers, _lockers = _Quick, _QuickLocker

    def _create(self) -> None:
        self.mover = _Rows(self.driver, options=self.options)
        super()._create()

    def _best_lock_objects_and_detect_conflicts(self, cursor: Any, read_current_oids: Mapping[int, int]) -> Any:
        if not cursor.connection.in_transaction:
            cursor.execute("BEGIN IMMEDIATE TRANSACTION")  # the lock, before anything is looked at
        for oid, seen in read_current_oids.items():
            tid = tid_of(cursor, oid)
            if tid != seen:
                raise VoteReadConflictError(oid=p64(oid), serials=(p64(tid), p64(seen)))
        return self.mover.detect_conflict(cursor)
