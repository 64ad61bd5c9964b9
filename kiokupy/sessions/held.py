"""Held: what a manager knows of a session that somebody has in hand."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any

from kiokupy.entry import Record
from kiokupy.sessions import ids
from kiokupy.sessions.content import Content, DirectoryObjects
from kiokupy.sessions.facts import Facts
from kiokupy.sessions.ids import key_of
from kiokupy.sessions.merging import Data, Merge


@dataclass(repr=False)  # a repr ends up in logs
class Held:
    """What is known of a session, and what its next save changes."""

    id: str
    key: bytes
    facts: Facts
    #: What the store said when the session was read or written last; ``None``: it is not stored.
    record: Record | None
    #: The session's data; ``None``: still to be unpickled from the record.
    data: Data | None
    #: The id that the next save moves it to.
    next_id: str | None = None
    #: Whether a key was given another value, so that it need not be computed whether the data changed.
    is_touched: bool = False
    #: Facts that are to be other ones.
    changes: dict[str, Any] = field(default_factory=dict)
    #: How keys are merged that were changed by increments and the like.
    merges: dict[str, Merge] = field(default_factory=dict)
    #: Whether the data take the place of what is stored, unmerged.
    replaces: bool = False
    #: Whether it is to be stored although it is empty.
    wanted: bool = False
    #: The objects that it refers to, as it met them outside of a scope.
    objects: DirectoryObjects | None = None
    #: Whether it got its id since it was opened.
    rotated: bool = False

    @classmethod
    def fresh(cls, now: float) -> Held:
        """Return what is known of a new session."""
        id = ids.new_id()
        return cls(id, _key(id), Facts(now, now, now), None, {}, rotated=True)

    def copy(self) -> Held:
        """Return the same, which does not change with this one; the data are shared."""
        return replace(self, changes=dict(self.changes), merges=dict(self.merges))

    @property
    def stored_id(self) -> str | None:
        """The id that it is stored under."""
        return None if self.record is None else self.id

    @property
    def expected(self) -> Facts:
        """The facts as they will be."""
        return self.facts._replace(**self.changes) if self.changes else self.facts

    @property
    def is_changed(self) -> bool:
        """Whether the next save changes a fact."""
        return bool(self.changes) and self.expected != self.facts

    @property
    def is_pending(self) -> bool:
        """Whether the next save changes more than data and time of use."""
        return self.next_id is not None or self.replaces or self.is_changed

    def is_stored(self, content: Content) -> bool:
        """Tell whether this is what is stored."""
        return self.record is not None and content.is_in(self.record)

    @property
    def was_moved(self) -> bool:
        """Whether another request moved the session: the client has its new id, and this one dies with the overlap."""
        return _key(self.id) != self.key

    def rotate(self) -> str:
        """Let the session have another id from the next save on, and return it."""
        if self.record is None:
            self.rename(ids.new_id())
            return self.id
        self.next_id = ids.new_id()
        return self.next_id

    def rename(self, id: str) -> None:
        """Let the session have another id."""
        self.id, self.key = id, _key(id)

    def settle(self, id: str, key: bytes, facts: Facts, record: Record, data: Data | None) -> None:
        """Know that this was saved."""
        self.rotated = self.rotated or self.next_id is not None
        self.id, self.key, self.facts, self.record, self.data = id, key, facts, record, data
        self.next_id, self.replaces, self.is_touched = None, False, False
        self.changes, self.merges = {}, {}


def _key(id: str) -> bytes:
    key = key_of(id)
    assert key is not None  # a new id has the form of one
    return key
