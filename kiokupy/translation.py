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
    StoreError,
    StoreReadOnly,
    StoreUnreachable,
    StoreUnreadable,
)

# ZEO's client makes no UndoError of what its server tells, but an error that names it.
_UNDO_ERROR = f"{UndoError.__module__}.{UndoError.__qualname__}"


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
        if _is_out_of_memory(error):
            problem = "PostgreSQL has no memory left: too few locks for the changed objects, if these are many"
            fix = "Change fewer objects in a transaction, or raise the server's max_locks_per_transaction"
            raise StoreError(location, problem, fix=fix) from error
        if isinstance(error, ReadOnlyError):
            raise StoreReadOnly(location) from error
        if isinstance(error, TransientError):
            if type(error).__name__ == "ClientDisconnected":  # ZEO is optional, its class may not exist
                raise StoreUnreachable(location, "the server has gone away") from error
            raise ConflictError() from error
        if isinstance(error, StorageError | POSError):
            raise _failure(location, error, self._tid) from error
        if _is_lost(error):
            raise StoreUnreachable(location, f"the server does not answer ({str(error).strip()})") from error


def _is_lost(error: Exception) -> bool:
    """Tell whether PostgreSQL's driver, which is optional as well, says that it has no connection."""
    return not _classes(error).isdisjoint(("psycopg2.OperationalError", "psycopg2.InterfaceError"))


def _is_out_of_memory(error: Exception) -> bool:
    """Tell whether that is what the server said; RelStorage makes a conflict of it where it asks for locks."""
    said = error if error.__cause__ is None else error.__cause__
    return "psycopg2.errors.OutOfMemory" in _classes(said)


def _classes(error: BaseException) -> set[str]:
    return {f"{kind.__module__}.{kind.__name__}" for kind in type(error).__mro__}


def _failure(location: str, error: Exception, tid: bytes | None) -> KiokuError:
    if isinstance(error, UndoError) or _UNDO_ERROR in error.args:
        return CannotUndo("what the transaction wrote was changed since, or packed away")
    if not isinstance(error, POSKeyError):
        return StoreError(location, f"the storage failed ({error})")
    if tid is None:
        return StoreUnreadable(location, f"the record {error} is missing")
    time = moments.time_of(tid)
    return NoHistory(location, f"nothing is kept of {time}: it was packed away, or the store was made later")
