"""Translation: what ZODB and its storages raise becomes kiokupy's errors."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

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


@contextmanager
def translated(location: str, tid: bytes | None = None) -> Iterator[None]:
    """Turn what ZODB and its storages raise into kiokupy's errors.

    :param location: what to call the store.
    :param tid: the past transaction that is being looked at.
    """
    try:
        yield
    except KiokuError:
        raise
    except StateLoadError as error:
        cause = error.__cause__
        if isinstance(cause, KiokuError):
            raise cause from cause.__cause__
        raise StoreUnreadable(location, f"a record cannot be read ({cause})") from error
    except ReadOnlyError as error:
        raise StoreReadOnly(location) from error
    except TransientError as error:
        if type(error).__name__ == "ClientDisconnected":  # ZEO is optional, its class may not exist
            raise StoreUnreachable(location, "the server has gone away") from error
        raise ConflictError() from error
    except (StorageError, POSError) as error:
        raise _failure(location, error, tid) from error
    except Exception as error:
        if not _is_lost(error):
            raise
        raise StoreUnreachable(location, f"the server does not answer ({str(error).strip()})") from error


def _is_lost(error: Exception) -> bool:
    """Tell whether PostgreSQL's driver, which is optional as well, says that it has no connection."""
    classes = {f"{kind.__module__}.{kind.__name__}" for kind in type(error).__mro__}
    return not classes.isdisjoint(("psycopg2.OperationalError", "psycopg2.InterfaceError"))


def _failure(location: str, error: Exception, tid: bytes | None) -> KiokuError:
    if isinstance(error, UndoError) or _UNDO_ERROR in error.args:
        return CannotUndo("what the transaction wrote was changed since, or packed away")
    if not isinstance(error, POSKeyError):
        return StoreError(location, f"the storage failed ({error})")
    if tid is None:
        return StoreUnreadable(location, f"the record {error} is missing")
    time = moments.time_of(tid)
    return NoHistory(location, f"nothing is kept of {time}: it was packed away, or the store was made later")
