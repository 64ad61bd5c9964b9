"""Reach: what roots and sessions keep alive, found in one snapshot and brought up to date with later ones.

Records are noted by oid, as 64-bit numbers in trees: some 16 bytes for each, whatever their ids and contents are.
"""

from __future__ import annotations

from array import array
from contextlib import suppress

from BTrees.OOBTree import OOTreeSet
from BTrees.QQBTree import QQBTree, QQTreeSet
from ZODB.POSException import POSKeyError
from ZODB.utils import p64, u64

from kiokupy import entry as stored
from kiokupy import links, raw
from kiokupy.database import Unit
from kiokupy.errors import ConflictError, KiokuError, StoreError, StoreUnreadable
from kiokupy.maintenance.progress import Progress, Step
from kiokupy.raw import Pointer

# Records asked for at once, where a storage can do that.
_BLOCK = 200


class Reach:
    """Marks what the roots and the sessions reach; the transaction of the unit it reads in belongs to it.

    :raises StoreUnreadable: a record cannot be read, so nobody knows what it refers to.
    """

    def __init__(self, unit: Unit, progress: Progress) -> None:
        self._unit, self._connection, self._progress = unit, unit.connection, progress
        self._entries = unit.root["entries"]
        # What is alive; of that, what is still to be followed; and what others changed since it was.
        self._reached, self._pending, self._changed = QQTreeSet(), array("Q"), array("Q")
        # Which record of a collection a part of it belongs to.
        self._owners = QQBTree()
        # The entry of each Persistent object that no root reached through its id; others may hold the object itself.
        self._entry_of = QQBTree()
        self._done = 0
        #: The ids that something alive refers to, and that are not there.
        self.dangling = OOTreeSet()
        #: How many entries there were.
        self.total = 0
        for id in unit.root["roots"]:
            self._add(id)
        for session in unit.root["sessions"].values():
            self._mark(u64(session._p_oid))
        self._follow_all()
        self._look_at_the_rest()

    def has(self, oid: bytes) -> bool:
        """Tell whether the entry of an oid is alive."""
        return u64(oid) in self._reached

    def catch_up(self) -> None:
        """See what was committed until now, and mark what that may have brought back to life.

        Entries that were written are taken for alive, wanted or not, and so is all they reach.

        :raises StoreError: the storage does not know what was.
        """
        changed = self._connection.advance()
        if changed is None:
            problem = "the storage does not know what others changed meanwhile"
            raise StoreError(self._unit.database.location, problem, fix="What is garbage cannot be told: begin again")
        self._changed.extend(map(u64, changed))
        while self._changed:  # one is off the list when it is done: after a conflict it must come again
            self._look_again(self._changed[-1])
            self._changed.pop()
        self._follow_all()

    def _look_again(self, number: int) -> None:
        if number in self._reached:
            self._pending.append(number)
            self._pending.extend(self._owners.values(number, number))
        elif self._is_entry(p64(number)):
            self._mark(number)

    def _is_entry(self, oid: bytes) -> bool:
        with suppress(POSKeyError):  # its making was undone
            return raw.class_name(self._connection.raw(oid)) == raw.ENTRY
        return False

    def _add(self, id: str) -> None:
        entry = self._entries.get(id)
        if entry is None:
            self.dangling.insert(id)
        else:
            self._mark(u64(entry._p_oid))

    def _mark(self, number: int) -> None:
        if self._reached.insert(number):
            self._pending.append(number)
            for entry in self._entry_of.values(number, number):
                self._mark(entry)

    def _follow_all(self) -> None:
        while self._pending:
            start = max(0, len(self._pending) - _BLOCK)
            block = self._pending[start:]
            self._connection.prefetch([p64(number) for number in block])
            for number in block:
                self._follow(number)
            del self._pending[start : start + len(block)]  # when it is done, as above
            self._connection.cacheGC()
            self._done += len(block)
            self._progress(Step("mark", self._done, None))

    def _follow(self, number: int) -> None:
        try:
            found = links.of_record(self._connection, p64(number))
            owner = number if found.from_parts else self._owners.get(number)
            for link in found.links:
                if not link.weak:
                    self._add(link.target)
        except ConflictError:  # a record is gone that was there, as the store is being packed
            raise
        except (ValueError, KiokuError) as error:
            raise self._unreadable(error) from error
        for part in found.parts:
            if owner is not None:
                self._owners[u64(part)] = owner
            self._mark(u64(part))

    def _look_at_the_rest(self) -> None:
        """Mark the entries that have the root flag without being in the tree of roots, and find Persistent objects."""
        for entry in self._entries.values():
            self.total += 1
            if self.total % _BLOCK == 0:
                self._connection.cacheGC()
                self._progress(Step("look at the rest", self.total, None))
            if not self.has(entry._p_oid):
                self._look_at(entry._p_oid)

    def _look_at(self, oid: bytes) -> None:
        try:
            with self._unit.database.translated():
                record = raw.entry(self._connection.raw(oid))
        except ConflictError:  # as in _follow()
            raise
        except (ValueError, KiokuError) as error:
            raise self._unreadable(error) from error
        state = record.state
        if isinstance(state, Pointer):
            self._entry_of[u64(state.oid)] = u64(oid)
        if record.flags & stored.ROOT or (isinstance(state, Pointer) and self.has(state.oid)):
            self._mark(u64(oid))
            self._follow_all()

    def _unreadable(self, error: Exception) -> StoreUnreadable:
        fix = "What it keeps alive is unknown. If the store was packed meanwhile, begin again; else fsck() tells more"
        return StoreUnreadable(self._unit.database.location, str(error), fix=fix)
