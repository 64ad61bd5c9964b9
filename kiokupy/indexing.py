"""Indexing: an index as the database keeps it, under ``root["indexes"]``.

The trees are our own and not those of zope.index, hypatia or repoze.catalog, which were looked at first. Theirs know
objects by integers, so that each search and each write would go through one more tree; they count their objects in one
record that every writer changes; a value's objects are a set inside the tree, so a search makes the set of all answers
before it gives the first one; none of them has unique values; and their classes would have to be let through by the
type map. What was left of them would have been the two lines that insert into a tree and remove from it.

``forward`` has a key for each value of each object, and an object's id at each: ``(value, id)``, so that equal values
stream in the order of ids, and two writers of one value write two keys. Where values are unique the key is
``(value,)``: two writers of one value meet at one key, and one of them gets a conflict. ``backward`` has the values of
each object: an object leaves the index without being looked at.

What state an index is in is decided by whoever writes the tree of all indexes itself, and every transaction that writes
objects holds that tree as read (:func:`held`). So no such transaction is under way while a state changes: it fails with
a conflict, and sees the new state when it is tried again.
"""

from __future__ import annotations

import enum
import functools
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from persistent.mapping import PersistentMapping

from kiokupy import ids, orderable
from kiokupy.conditions import ENDLESS, Span
from kiokupy.entry import EntryTree
from kiokupy.errors import NotIndexable, UniqueViolation

#: Greater than every id.
_LAST = "\U0010ffff" * (ids.LONGEST + 1)


class State(enum.StrEnum):
    """How far an index can be trusted."""

    READY = "ready"  #: every object that should be in it is
    UNBUILT = "unbuilt"  #: declared when there were objects already
    BUILDING = "building"  #: its trees belong to a rebuild; who writes objects leaves their ids in its log
    FOLLOWING = "following"  #: it follows what is written, except that the objects of its log are not looked at yet
    STALE = "stale"  #: objects were written without it


#: Whoever writes objects writes the index too.
FOLLOWS = (State.READY, State.FOLLOWING)


class StoredIndex:
    """One index of the database.

    :param record: what ``root["indexes"]`` has of it.
    """

    def __init__(self, name: str, record: PersistentMapping) -> None:
        self.name, self.record = name, record

    @property
    def state(self) -> State:
        """How far it can be trusted."""
        return State(self.record["state"])

    @property
    def definition(self) -> str:
        """As :attr:`kiokupy.indexes.Index.definition`, of who built it."""
        return str(self.record["definition"])

    def values(self, id: str) -> tuple[Any, ...]:
        """Return the values that an object is found by, in order."""
        found: tuple[Any, ...] = self.record["backward"].get(id, ())
        return found

    def ids(self) -> Any:
        """Return the ids of all objects in it, in order."""
        return self.record["backward"].keys()

    def kind(self, without: Iterable[Any] = ()) -> Any:
        """Return the kind of its values; ``None`` while there are none besides those of some keys."""
        left = (key for key in self.record["forward"] if key not in without)
        first = next(left, None)
        return None if first is None else orderable.kind(first[0])

    def key(self, value: Any, id: str) -> tuple[Any, ...]:
        """Return the key of one value of one object."""
        return (value,) if self.record["unique"] else (value, id)

    def holder(self, key: tuple[Any, ...]) -> str | None:
        """Return the id of the object at a key."""
        found: str | None = self.record["forward"].get(key)
        return found

    def write(self, leaving: Mapping[Any, str], entering: Mapping[Any, str], values: Mapping[str, Any]) -> None:
        """Take keys out, put keys in, and note the values of their objects; what is so already is not written."""
        forward, backward = self.record["forward"], self.record["backward"]
        for key, id in leaving.items():
            if key not in entering and forward.get(key) == id:
                del forward[key]
        for key, id in entering.items():
            if forward.get(key) != id:
                forward[key] = id
        for id, found in values.items():
            if found:
                backward[id] = found
            else:
                backward.pop(id, None)

    def drop(self, id: str) -> None:
        """Take an object out."""
        self.write({self.key(value, id): id for value in self.values(id)}, {}, {id: ()})
        self.unlog([id])

    def log(self, written: Iterable[str]) -> None:
        """Leave the ids of objects for the rebuild that is under way."""
        for id in written:
            self.record["log"][id] = id

    def unlog(self, written: Iterable[str]) -> None:
        """Take the ids of objects out of the log, if the index follows them.

        Of two transactions that do that for one object at a time, one gets a conflict.
        """
        if self.state is State.FOLLOWING:
            for id in written:
                self.record["log"].pop(id, None)

    def walk(self, span: Span, *, reverse: bool = False) -> Iterator[tuple[Any, str]]:
        """Yield values and ids in order. The index may change meanwhile: each step begins at the last key."""
        low = None if span.low is ENDLESS else (span.low, _LAST) if span.above else (span.low,)
        high = None if span.high is ENDLESS else (span.high,) if span.below else (span.high, _LAST)
        return self._down(low, high) if reverse else self._up(low, high)

    def _up(self, low: Any, high: Any) -> Iterator[tuple[Any, str]]:
        last, resumed = low, False
        # A key that equals the upper limit is one of unique values, whose limit is left out.
        while found := next(iter(self.record["forward"].items(last, high, resumed, high is not None)), None):
            last, resumed = found[0], True
            yield last[0], found[1]

    def _down(self, low: Any, high: Any) -> Iterator[tuple[Any, str]]:
        forward = self.record["forward"]
        limits = () if high is None else (_below(high),)
        while True:
            try:
                key = forward.maxKey(*limits)
            except ValueError:  # nothing is left
                return
            if low is not None and key < low:
                return
            yield key[0], forward[key]
            limits = (_below(key),)


@functools.total_ordering
class _Below:
    """Just below a value: greater than all lesser ones. Trees go down by it, which have no other way to."""

    __slots__ = ("_value",)

    def __init__(self, value: Any) -> None:
        self._value = value

    def __gt__(self, other: Any) -> bool:
        return bool(other < self._value)


def _below(key: tuple[Any, ...]) -> tuple[Any, ...]:
    return (*key[:-1], _Below(key[-1]))


class Shift:
    """What is to be written to one index: checked whole before any of it is.

    :param values: the values that objects have from now on, by id.
    :raises UniqueViolation: two objects would have one value.
    :raises NotIndexable: a value would not be of the kind that the index has.
    """

    def __init__(self, stored: StoredIndex, values: Mapping[str, tuple[Any, ...]]) -> None:
        self._stored, self._written = stored, list(values)
        old = {id: stored.values(id) for id in values}
        self._values = {id: new for id, new in values.items() if new != old[id]}
        self._leaving = {stored.key(value, id): id for id in self._values for value in old[id]}
        self._entering: dict[Any, str] = {}
        kind = stored.kind(without=self._leaving)
        self._is_emptied = kind is None
        for id, new in self._values.items():
            for value in new:
                kind = self._same_kind(kind, value, id)
                self._enter(stored.key(value, id), id)

    def apply(self) -> None:
        """Write it."""
        self._stored.write(self._leaving, self._entering, self._values)
        self._stored.unlog(self._written)

    def _same_kind(self, kind: Any, value: Any, id: str) -> Any:
        own = orderable.kind(value)
        if kind is not None and kind != own:
            has, comes = orderable.described(kind), orderable.described(own)
            raise NotIndexable(
                self._stored.name,
                value,
                problem=f"it has {has}, and {comes} have no order among them",
                fix="Give the index a key that makes one kind",
                id=id,
            )
        return own

    def _enter(self, key: tuple[Any, ...], id: str) -> None:
        other = self._entering.setdefault(key, id)
        if other == id and key not in self._leaving and not self._is_emptied:
            other = self._stored.holder(key) or id
        if other != id:
            raise UniqueViolation(self._stored.name, key[0], id=id, other=other)


def new_record(definition: str, *, unique: bool, state: State) -> PersistentMapping:
    """Return what ``root["indexes"]`` has of an empty index."""
    trees = {name: EntryTree() for name in ("forward", "backward", "log")}
    return PersistentMapping(definition=definition, unique=unique, state=state.value, **trees)


def stored_indexes(root: Mapping[str, Any]) -> dict[str, StoredIndex]:
    """Return the indexes of a database by name."""
    return {name: StoredIndex(name, record) for name, record in root["indexes"].items()}


def held(root: Mapping[str, Any]) -> dict[str, StoredIndex]:
    """Return the indexes of a database for a transaction that writes objects; see the top of this module."""
    indexes = root["indexes"]
    found = stored_indexes(root)
    indexes._p_jar.readCurrent(indexes)
    return found


def change_state(root: Mapping[str, Any], name: str, state: State) -> None:
    """Let an index be in another state, so that no transaction that writes objects spans the change."""
    root["indexes"][name]["state"] = state.value
    root["indexes"]._p_changed = True


def drop(root: Mapping[str, Any], id: str) -> None:
    """Take an object that is deleted out of every index; its class is not needed."""
    for index in held(root).values():
        if index.state in FOLLOWS:
            index.drop(id)
        elif index.state is State.BUILDING:
            index.log([id])


def mark_stale(root: Mapping[str, Any]) -> None:
    """Let every index be built anew before it is searched: objects are written without it."""
    for name, index in held(root).items():
        if index.state in FOLLOWS or index.state is State.BUILDING:
            change_state(root, name, State.STALE)


def clear(root: Mapping[str, Any]) -> None:
    """Empty every index: all objects are deleted."""
    for name, index in held(root).items():
        unique = bool(index.record["unique"])
        root["indexes"][name] = new_record(index.definition, unique=unique, state=State.READY)
