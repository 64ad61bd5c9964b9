"""Translation: what ZODB and its storages raise becomes kiokupy's errors."""

from __future__ import annotations

from transaction.interfaces import TransientError
from ZODB.POSException import POSError, POSKeyError, ReadOnlyError, StateLoadError, StorageError, UndoError

from kiokupy import moments
from kiokupy.errors import (
    CannotUndo,
    ConflictError,
    KiokuError,
    NoHistory,
    StoreBusy,
    StoreError,
    StoreReadOnly,
    StoreUnreachable,
    StoreUnreadable,
)

# ZEO's client makes no UndoError of what its server tells, but an error that names it.
_UNDO_ERROR = f"{UndoError.__module__}.{UndoError.__qualname__}"

#: The errors of the databases' drivers, which are optional.
_DATABASES = frozenset({"psycopg2.Error", "sqlite3.Error"})

# RelStorage's, where the database did not give it the locks to write within commit_lock_timeout. One of them is a
# conflict to RelStorage; but to wait as long again, many times over, is to hang.
_UNLOCKED = frozenset({"UnableToLockRowsToModifyError", "UnableToAcquireCommitLockError"})

# PostgreSQL's codes: https://www.postgresql.org/docs/current/errcodes-appendix.html. SQLite's have names.
_UNSAID = "08"
_LOST = (_UNSAID, "57P")
_BUSY = ("55P03", "SQLITE_BUSY")
_DAMAGED = ("XX001", "XX002", "SQLITE_CORRUPT", "SQLITE_NOTADB")
_ROOM = "Make room on the disk, and try again"
_FIXES = {
    "53100": _ROOM,
    "SQLITE_FULL": _ROOM,
    "53200": "If it has too few locks for so many changed objects, change fewer in a transaction, or raise the "
    "server's max_locks_per_transaction",
}


class translated:  # noqa: N801  # used as a function is, like contextlib's own
    """Turn what ZODB and its storages raise in a ``with`` block into kiokupy's errors.

    :param location: what to call the store.
    :param tid: the past transaction that is being looked at.
    """

    # A class, since every touch of an unloaded object comes by here: a generator would cost it five times as much.
    __slots__ = ("_location", "_tid")

    def __init__(self, location: str, tid: bytes | None = None) -> None:
        self._location, self._tid = location, tid

    def __enter__(self) -> None:
        pass

    def __exit__(self, kind: object, error: BaseException | None, traceback: object) -> None:
        if isinstance(error, Exception) and not isinstance(error, KiokuError):
            self._raise(error)

    def _raise(self, error: Exception) -> None:
        location = self._location
        if isinstance(error, StateLoadError):
            cause = error.__cause__
            if isinstance(cause, KiokuError):
                raise cause from cause.__cause__
            raise StoreUnreadable(location, f"a record cannot be read ({cause})") from error
        if isinstance(error, ReadOnlyError):
            raise StoreReadOnly(location) from error
        if type(error).__name__ in _UNLOCKED:
            raise _refusal(location, error.__cause__ or error) from error
        if isinstance(error, TransientError):
            if type(error).__name__ == "ClientDisconnected":  # ZEO is optional, its class may not exist
                raise StoreUnreachable(location, "the server has gone away") from error
            raise ConflictError() from error
        if isinstance(error, StorageError | POSError):
            raise _failure(location, error, self._tid) from error
        if not _DATABASES.isdisjoint(f"{kind.__module__}.{kind.__name__}" for kind in type(error).__mro__):
            raise _refusal(location, error) from error


def _code(error: BaseException) -> str:
    """Return what a database calls an error; without a connection PostgreSQL says nothing."""
    return getattr(error, "pgcode", getattr(error, "sqlite_errorname", "unnamed")) or _UNSAID


def _refusal(location: str, error: BaseException) -> StoreError:
    code, words = _code(error), str(error).strip().partition("\n")[0]
    if code.startswith(_LOST):
        return StoreUnreachable(location, f"the server does not answer ({words})")
    if code in _BUSY:
        return StoreBusy(location, words=words)
    if code in _DAMAGED:
        return StoreUnreadable(location, f"the database is damaged ({words})")
    return StoreError(location, f"the database refuses ({words})", fix=_FIXES.get(code, ""))


def _failure(location: str, error: Exception, tid: bytes | None) -> KiokuError:
    if isinstance(error, UndoError) or _UNDO_ERROR in error.args:
        return CannotUndo("what the transaction wrote was changed since, or packed away")
    if not isinstance(error, POSKeyError):
        return StoreError(location, f"the storage failed ({error})")
    if tid is None:
        return StoreUnreadable(location, f"the record {error} is missing")
    time = moments.time_of(tid)
    return NoHistory(location, f"nothing is kept of {time}: it was packed away, or the store was made later")
