"""Shelf: the trees that sessions stand in. Whoever writes sessions does it through this module.

``sessions``    the key of a session -> its entry
``expiry``      slices of time, and in each the keys of sessions to be looked at when it is over; a set of both in one,
                so that what is created at one time is spread over many leaves
``principals``  the hash of a principal followed by a key, for each of its sessions; and the hash alone with a random
                value, which a transaction changes that must not overlap with another one about the same principal;
                it is there exactly as long as there are sessions, or two that overlap might both find it absent

A session in use has its end put off time and again. ``expiry`` is not changed then: it says when to look at a session,
and what looks at one that lives on files it under its new end. So a request that saves a session writes one record.

Whoever takes a session out empties its entry: so it conflicts with whoever is just saving that, and what was in the
session is gone from a store that keeps no history.
"""

from __future__ import annotations

import hashlib
import math
import pickle
import secrets
from collections.abc import Iterator
from contextlib import suppress
from typing import Any

from BTrees.OOBTree import OOBTree, OOTreeSet
from persistent.mapping import PersistentMapping

from kiokupy import entry as stored
from kiokupy.entry import Entry, EntryTree, Record
from kiokupy.errors import NotLoadable
from kiokupy.sessions.facts import CLASS_NAME, Facts, facts_of

#: Seconds in a slice of time.
SLICE = 60

_SLICE_BYTES = 8
_LONGEST_WAY = 10
_FIRST, _LAST = bytes(32), b"\xff" * 32
_EMPTY = Record(CLASS_NAME, None, pickle.dumps({}, stored.PROTOCOL), (), stored.NEW)


class Shelf:
    """The sessions that one transaction sees.

    :param root: kiokupy's root record in that transaction. Indexes that are not there are made when they are needed.
    """

    def __init__(self, root: PersistentMapping) -> None:
        self._root = root
        self.sessions: EntryTree = root.data["sessions"]

    @property
    def _expiry(self) -> Any:
        return self._indexed("expiry")

    @property
    def _principals(self) -> Any:
        return self._indexed("principals")

    def _indexed(self, name: str) -> Any:
        if name not in self._root:
            self._root["expiry"], self._root["principals"] = OOTreeSet(), OOBTree()
            self.reindex()
        return self._root[name]

    def find(self, key: bytes) -> Entry | None:
        """Return the entry of a session, expired or not."""
        found: Entry | None = self.sessions.get(key)
        return found

    def alive(self, key: bytes, now: float) -> tuple[bytes, Entry, Facts] | None:
        """Return the key, the entry and the facts of a session that has not expired; ``None``: there is none.

        A key that the session had before it moved leads to it for a while.
        """
        for _ in range(_LONGEST_WAY):
            entry = self.find(key)
            if entry is None:
                return None
            facts = facts_of(entry.record)
            if facts.expires <= now:
                return None
            if facts.successor is None:
                return key, entry, facts
            key = facts.successor
        return None

    def readable(self, key: bytes) -> Facts | None:
        """Return what stands under this very key, expired or not; ``None``: nothing, or it is damaged."""
        entry = self.find(key)
        with suppress(NotLoadable):  # fsck() tells of it
            return None if entry is None else facts_of(entry.record)
        return None

    def add(self, key: bytes, entry: Entry, facts: Facts) -> bool:
        """Put an entry in under a key, with what it says of its session; ``False``: another one has that key."""
        if not self.sessions.insert(key, entry):
            return False
        self.file(key, facts)
        return True

    def file(self, key: bytes, facts: Facts) -> None:
        """Let the session of a key be found by its end and by its principal."""
        self.mark(key, facts)
        if facts.principal is not None:
            prefix = _hash(facts.principal)
            self._principals[prefix + key] = None
            if prefix not in self._principals:
                self.claim(facts.principal)

    def mark(self, key: bytes, facts: Facts) -> None:
        """Let the session of a key be found by its end."""
        if facts.expires < math.inf:
            self._expiry.insert(_slice(facts.expires) + key)

    def write(self, key: bytes, entry: Entry, record: Record, before: Facts, after: Facts) -> None:
        """Let an entry have another record."""
        entry.record = record
        if before.principal != after.principal:
            self._leave(key, before.principal)
            self.file(key, after)
        elif _slice(after.expires) < _slice(before.expires):
            self.mark(key, after)

    def remove(self, key: bytes, facts: Facts) -> Entry:
        """Take an entry out, emptied, and return it; its mark in ``expiry`` goes when that slice is over."""
        self._leave(key, facts.principal)
        entry: Entry = self.sessions.pop(key)
        entry.record = _EMPTY
        return entry

    def discard(self, key: bytes) -> Facts | None:
        """Take a session out, damaged or not, and return what it said of itself; ``None``: it was not there."""
        entry = self.find(key)
        if entry is None:
            return None
        try:
            facts = facts_of(entry.record)
        except NotLoadable:
            facts = Facts(0.0, 0.0, 0.0)
            self._leave_everybody(key)
        self.remove(key, facts)
        return facts

    def clear(self) -> None:
        """Take all sessions out."""
        for tree in (self.sessions, self._expiry, self._principals):
            tree.clear()

    def knows(self, principal: str, key: bytes) -> bool:
        """Tell whether a session is found by its principal."""
        return _hash(principal) + key in self._principals

    def claim(self, principal: str) -> None:
        """Let this transaction conflict with all others that claim the same principal at the same time."""
        self._principals[_hash(principal)] = secrets.token_bytes(8)

    def release(self, principal: str) -> None:
        """Take back the claim on a principal that has no sessions."""
        self._release(_hash(principal))

    def of_principal(self, principal: str) -> Iterator[bytes]:
        """Yield the keys of a principal's sessions, expired ones too."""
        prefix = _hash(principal)
        for found in list(self._principals.keys(prefix + _FIRST, prefix + _LAST)):
            yield found[len(prefix) :]

    def due(self, now: float, after: bytes = b"") -> Iterator[tuple[bytes, bytes]]:
        """Yield the marks up to the slice of a time, in order, with the keys that they stand for.

        :param after: the mark to go on after.
        """
        for mark in self._expiry.keys(after, _slice(now) + _LAST, excludemin=bool(after)):
            yield mark, mark[_SLICE_BYTES:]

    def is_filed(self, mark: bytes, facts: Facts) -> bool:
        """Tell whether a mark stands where these facts would have it."""
        return mark.startswith(_slice(facts.expires))

    def unmark(self, mark: bytes) -> None:
        """Take a mark out of ``expiry``."""
        self._expiry.remove(mark)

    def reindex(self) -> None:
        """Make ``expiry`` and ``principals`` anew; records that cannot be read are left out."""
        self._expiry.clear()
        self._principals.clear()
        for key, entry in self.sessions.items():
            with suppress(NotLoadable):
                self.file(key, facts_of(entry.record))

    def _leave_everybody(self, key: bytes) -> None:
        for found in [found for found in self._principals if found.endswith(key)]:
            del self._principals[found]
            self._release(found[: -len(key)])

    def _leave(self, key: bytes, principal: str | None) -> None:
        if principal is not None:
            self.claim(principal)  # of two that take out the last sessions at a time one would leave the claim
            self._principals.pop(_hash(principal) + key, None)
            self.release(principal)

    def _release(self, prefix: bytes) -> None:
        if not any(True for _ in self._principals.keys(prefix + _FIRST, prefix + _LAST)):
            self._principals.pop(prefix, None)


def _hash(principal: str) -> bytes:
    """Return a principal in a fixed number of bytes, so that none is the beginning of another."""
    return hashlib.sha256(principal.encode("utf-8", "surrogatepass")).digest()


def _slice(moment: float) -> bytes:
    last = (1 << 8 * _SLICE_BYTES) - 1
    return int(min(max(moment / SLICE, 0), last)).to_bytes(_SLICE_BYTES)
