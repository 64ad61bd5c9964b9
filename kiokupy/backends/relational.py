"""RelStorage, which begins a transaction with one look at what changed.

RelStorage rolls back, begins, asks what changed and sorts the answer for all its connections, also where nothing did.
That takes longer than to read a session that is in memory.
"""

from __future__ import annotations

from contextlib import suppress
from typing import Any

from relstorage.cache.interfaces import CacheConsistencyError
from relstorage.storage import RelStorage
from ZODB.utils import p64, u64


class Storage(RelStorage):  # type: ignore[misc]  # RelStorage has no annotations
    """A RelStorage.

    :param adapter: one of ours, which begins the snapshot of a connection with ``begin_load(cursor)``.
    """

    def __init__(self, adapter: Any, **options: Any) -> None:
        super().__init__(adapter, **options)
        self._looker = adapter.poller = _Looker(adapter.poller)

    def poll_invalidations(self) -> dict[bytes, int] | None:
        """Begin a snapshot; return the oids of what others changed since the last one, ``None`` if that is unknown."""
        load, cache = self._load_connection, self._cache
        # Changes that RelStorage noted in between: private, so that it does all itself where they are not as expected.
        noted = getattr(self, "_RelStorage__queued_changes", None)
        is_plain = noted is not None and not noted and load.connection is not None and not load.active
        if is_plain and cache.object_index is not None and not cache.detached:
            # Else RelStorage rolls back and begins again: it may have to connect again, or to clear its cache.
            with suppress(*load._closed_exceptions, CacheConsistencyError, _SeenMore):
                return self._changes()
        changed: dict[bytes, int] | None = super().poll_invalidations()
        return changed

    def _changes(self) -> dict[bytes, int] | None:
        load, cache = self._load_connection, self._cache
        cursor = load.cursor = load._cursor
        load.active = True  # before anything is begun, so that it is rolled back in any case
        self._adapter.begin_load(cursor)
        if not self._looker.look(cursor, cache.highest_visible_tid):
            return {}
        changed = cache.poll(load.connection, cursor, u64(self._last_tid_i_committed_bytes))
        return None if changed is None else {p64(oid): 1 for oid in changed}


class _SeenMore(Exception):
    """Another thread saw transactions that are not in this snapshot."""


class _Looker:
    """A poller of RelStorage that can look first, and answers then with what it saw."""

    def __init__(self, poller: Any) -> None:
        self._poller, self._seen = poller, ()
        self.get_current_tid = poller.get_current_tid

    def look(self, cursor: Any, since: int) -> bool:
        """Tell whether anything was committed since a transaction."""
        self._seen, _ = self._poller.poll_invalidations(None, cursor, since)
        return bool(self._seen)

    def poll_invalidations(self, connection: Any, cursor: Any, since: int) -> tuple[Any, int]:
        """Return what was committed since a transaction, the newest first, and the newest transaction."""
        seen, self._seen = self._seen, ()
        if not seen:
            found: tuple[Any, int] = self._poller.poll_invalidations(connection, cursor, since)
            return found
        _, newest = seen[0]
        if newest < since:
            raise _SeenMore
        return [(oid, tid) for oid, tid in seen if tid > since], newest
