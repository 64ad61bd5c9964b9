"""Hash: a store in this process's memory; it ends with the directory."""

from __future__ import annotations

import pickle
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Any

from ZODB.ConflictResolution import ConflictResolvingStorage
from ZODB.MappingStorage import MappingStorage
from ZODB.POSException import ConflictError
from ZODB.serialize import referencesf
from ZODB.utils import u64, z64

from kiokupy.backends.publishing import Publishing
from kiokupy.errors import StoreNotFound

# Old revisions are for transactions that began before them; one older than this may meet a conflict instead.
_KEEP_SECONDS = 60
# To let old revisions go is to visit every record, so that waits until as many were written as there are, and at least
# so many. To look for what nothing reaches is to read every record, so that waits until as many were made as it left.
_FEW_RECORDS = 10_000


class HashStorage(Publishing, ConflictResolvingStorage, MappingStorage):  # type: ignore[misc]  # ZODB has no annotations
    """A MappingStorage that resolves conflicts, as the other storages do.

    Without that two threads that insert different keys into one leaf of a tree would collide on Hash alone.
    """

    def __init__(self) -> None:
        super().__init__("memory")
        self._oid: int
        self._resolved: list[bytes] = []
        # States written since old ones went; records made since what nothing reached went, and how many were left then.
        self._written = self._made = self._kept = 0

    def store(self, oid: bytes, serial: bytes, data: bytes, version: str, transaction: Any) -> None:
        """Keep a record for the transaction, merged with what another one wrote meanwhile if its class can do that."""
        try:
            super().store(oid, serial, data, version, transaction)
        except ConflictError:
            current = self._data[oid].maxKey()
            self._tdata[oid] = self.tryToResolveConflict(oid, current, serial, data)
            self._resolved.append(oid)
        self._oid = max(self._oid, u64(oid))  # a copy brings its oids along
        self._written += 1
        self._made += serial == z64

    def tpc_begin(self, transaction: Any, tid: bytes | None = None) -> None:
        """Begin; nothing is resolved yet."""
        super().tpc_begin(transaction, tid)
        self._resolved = []

    def tpc_finish(self, transaction: Any, func: Callable[[bytes], Any] = lambda tid: None) -> bytes:
        """Publish the transaction; now and then let go of old revisions, and of what nothing reaches."""
        tid: bytes = super().tpc_finish(transaction, func)
        has_garbage = self._made > max(_FEW_RECORDS, self._kept)
        if has_garbage or self._written > max(_FEW_RECORDS, len(self._data)):
            self._written = 0
            self.pack(time.time() - _KEEP_SECONDS, _references, gc=has_garbage)
        if has_garbage:
            self._made, self._kept = 0, len(self._data)
        return tid

    def pack(self, t: float, referencesf: Any, gc: bool = True) -> None:
        """Forget old revisions, and records that nothing reaches."""

        def present(data: bytes) -> list[bytes]:
            # MappingStorage empties itself while it looks, and fails at a record that is missing: all would be gone.
            return [oid for oid in referencesf(data) if oid in self._data]

        with suppress(ValueError):  # it was packed to a later time, or the clock was put back: there is nothing to do
            super().pack(t, present, gc)

    def tpc_vote(self, transaction: Any) -> list[bytes]:
        """Answer which records are not as the connection has them."""
        super().tpc_vote(transaction)
        return self._resolved


def _references(data: bytes) -> list[bytes]:
    """Return the oids that a record refers to; most are entries, which refer to none, and need not be read."""
    return referencesf(data) if pickle.BINPERSID in data else []


class Hash:
    """Opens a new, empty store in memory each time."""

    location = "memory"

    def open(self, *, create: bool, readonly: bool) -> Any:
        """Return a new storage; there is never an old one, so ``create=0`` finds nothing."""
        if readonly or not create:
            raise StoreNotFound(
                self.location,
                problem="a Hash store lives in the memory of the process that made it, and a new one is empty",
                fix="Use File, DBI or ZEO for a store that outlives its process",
            )
        return HashStorage()
