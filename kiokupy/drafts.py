"""Drafts: a graph of objects collapsed whole, before any of it is written."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Protocol

from persistent import Persistent

from kiokupy import entry as stored
from kiokupy import ghosts, ids, paths
from kiokupy.broken import Broken
from kiokupy.collapse import CONTAINERS, Collapser
from kiokupy.collections.bulk import Bulk, has_contents
from kiokupy.entry import Record
from kiokupy.errors import DuplicateId, NotStored
from kiokupy.holder import Holder
from kiokupy.parts import Parts, deep_ones
from kiokupy.refusal import Refusal, TooDeep
from kiokupy.typemap import TypeMap


class Known(Protocol):
    """What a draft asks of the scope that it is for."""

    def known_id(self, obj: object) -> str | None:
        """Return the id of an object."""

    def id_of(self, obj: object) -> str | None:
        """Return the id of an object, or the one that a deleted object had."""

    def exists(self, key: str) -> bool:
        """Tell whether the store has an entry of this id."""

    def stored(self, keys: Iterable[str]) -> Iterator[str]:
        """Yield those of many ids that the store has an entry of."""

    def record(self, key: str) -> Record | None:
        """Return what the store said of an object when it was loaded or written."""

    def has_containers(self) -> bool:
        """Tell whether a container is known by an id of its own."""


class Draft:
    """A graph on its way into the store. Nothing it does is seen outside before the scope takes it over.

    :param known: answers what the scope knows already.
    :param deep: whether known objects that are reached are collapsed in their turn.
    :param revive: whether deleted objects that are reached are new ones; otherwise they are referred to as before.
    :param grow: whether unknown first-class objects that are reached get ids; otherwise they are refused.
    """

    def __init__(self, typemap: TypeMap, known: Known, *, deep: bool, grow: bool, revive: bool) -> None:
        self._typemap, self._known, self._deep, self._grow = typemap, known, deep, grow
        self._known_id = known.known_id if revive else known.id_of
        self._collapser = Collapser(typemap, self._id_of)
        self._queue: dict[str, object] = {}
        self._parts = Parts()
        self._unchecked: list[Persistent] = []
        #: Changed Persistent objects that were taken in.
        self.checked: list[Persistent] = []
        #: The ids of new objects that keep themselves alive.
        self.roots: set[str] = set()
        self._new_ids: dict[int, str] = {}
        self._visited: dict[str, object] = {}
        self._entered: dict[int, Bulk] = {}
        #: Collections with members to be written.
        self.bulks: list[Bulk] = []
        #: New objects by id; they stay alive with the draft.
        self.new: dict[str, object] = {}
        #: What was collapsed, by id.
        self.records: dict[str, Record] = {}

    def add(self, key: str, obj: object, *, root: bool = False) -> None:
        """Take in a new object under an id.

        :param root: whether it keeps itself alive.
        """
        self.new[key] = obj
        if root:
            self.roots.add(key)
        if type(obj) in CONTAINERS:
            self._collapser.shared = self._shared_id
        self._new_ids[id(obj)] = key
        self._queue[key] = obj

    def put(self, obj: object, key: str | None, *, root: bool, is_new: bool) -> str:
        """Take in an object that is to have an id, or any if ``key`` is ``None``, and return the id that it has.

        :param root: whether it keeps itself alive, if it is new.
        :param is_new: whether it must be new.
        :raises DuplicateId: another object has the id, or this object has another, or must be new and is not.
        """
        known = self._new_ids.get(id(obj)) or self._known.known_id(obj)
        if known is None:
            known = self.fresh_id(obj) if key is None else key
            if self._known.exists(known):
                raise DuplicateId(known)
            self.add(known, obj, root=root)
        elif is_new:
            raise _stored_already(known)
        elif key is not None and key != known:
            raise DuplicateId(known, problem=f"this object is in the store already, as {known!r}, not as {key!r}")
        else:
            self.revisit(known, obj)
        return known

    def put_new(self, objects: Mapping[str, object], *, root: bool) -> None:
        """Take in objects that must be new, by the ids that they are to have; as :meth:`put`."""
        for key in self._known.stored(objects):
            raise DuplicateId(key)
        for key, obj in objects.items():
            known = self._new_ids.get(id(obj)) or self._known.known_id(obj)
            if known is not None:
                raise _stored_already(known)
            self.add(key, obj, root=root)

    def revisit(self, key: str, obj: object) -> None:
        """Take in an object that the scope knows; an unloaded or a broken one has not changed and is passed over."""
        if key in self.records or ghosts.is_ghost(obj) or isinstance(obj, Broken):
            return
        # To ask for a Bulk alone costs as much as all the rest: it is an abstract class.
        if isinstance(obj, Persistent) and isinstance(obj, Bulk) and obj._p_jar is not None:  # it writes itself
            self._take_members(obj)
        else:
            self._queue[key] = obj

    def reference(self, obj: object) -> str:
        """Return the id of an object, which is taken in if it is unknown."""
        return self._id_of(obj)

    def check(self, obj: Persistent) -> None:
        """Take in the plain objects that a changed Persistent object holds; it writes itself."""
        self._unchecked.append(obj)
        self.checked.append(obj)

    def run(self, root: object, *, name: str = "") -> None:
        """Collapse all that was taken in and all that it reaches.

        :param root: where the path in an error begins, called ``name``.
        :raises NotStorable: something reached cannot be stored.
        :raises NotStored: something reached is unknown, and ``grow`` is off.
        """
        try:
            while self._unchecked:
                self._inspect(self._unchecked.pop())
            while self._queue:
                key, obj = self._queue.popitem()
                if key not in self.records:
                    self._collapse(key, obj)
        except Refusal as refusal:
            raise refusal.error(root, name) from refusal.__cause__
        except _Unknown as unknown:
            culprit = unknown.args[0]
            raise NotStored(culprit, path=paths.find(root, culprit, name=name)) from None

    def _collapse(self, key: str, obj: object) -> None:
        if self._known.has_containers():
            self._collapser.shared = self._shared_id
        before = self._known.record(key)  # of what has not changed there need not be two
        is_root = key in self.roots if before is None else before.flags & stored.ROOT
        try:
            record = self._collapser.collapse(obj, stored.ROOT if is_root else 0)
        except TooDeep:
            deep = deep_ones(obj) if self._grow else []
            if not sum(self._cut_out(container) for container in deep):
                raise
            self._queue[key] = obj
            return
        self._visited[key], self.records[key] = obj, before if before == record else record
        if isinstance(obj, Persistent) and obj._p_jar is None:
            self._inspect(obj)
        elif self._grow and self._collapser.parts:
            self._share(key)

    def _share(self, key: str) -> None:
        """Give containers that two objects hold entries of their own, and take both objects in once more."""
        for container, other in self._parts.claim(key, self._collapser.parts):
            if self._cut_out(container):
                for owner in (key, other):
                    self.records.pop(owner, None)
                    self._queue[owner] = self._visited[owner]

    def _cut_out(self, container: object) -> bool:
        unknown = self._shared_id(container) is None
        if unknown:
            self.add(ids.fresh(), container)
        return unknown

    def _shared_id(self, container: object) -> str | None:
        key = self._new_ids.get(id(container))
        if key is None:
            key = self._known_id(container)
            if key is not None and self._deep:
                self.revisit(key, container)
        return key

    def _inspect(self, obj: Persistent) -> None:
        """Check a Persistent object and the new Persistent objects it reaches; take in the plain ones they hold."""
        queue, seen = [obj], {id(obj)}
        while queue:
            current = queue.pop()
            if isinstance(current, Bulk):  # its trees are its own business
                self.bulks.append(current)
                self._take_members(current)
                continue
            for held in self._collapser.inspect(current):
                if held._p_jar is not None:
                    self._known_id(held)  # raises for one from a scope that has ended
                elif id(held) not in seen:
                    seen.add(id(held))
                    queue.append(held)

    def _take_members(self, bulk: Bulk) -> None:
        """Take in what a collection has that no store knows yet, or that a scope that has ended left it with."""
        if has_contents(bulk) and id(bulk) not in self._entered:
            self._entered[id(bulk)] = bulk
            for obj in bulk.referents(self._refers):
                self._id_of(obj)
        elif bulk._p_jar is None:
            bulk.check_scope(self._known)

    def _refers(self, obj: object) -> bool:
        return self._typemap.refers_to(ghosts.real_class(obj))

    def _id_of(self, obj: object) -> str:
        key = self._new_ids.get(id(obj))
        if key is not None:
            return key
        key = self._known_id(obj)
        if key is None:
            if not self._grow and type(obj) is not Holder:
                raise _Unknown(obj)
            key = self.fresh_id(obj)
            self.add(key, obj)
        elif self._deep or type(obj) is Holder:  # whose value is a part of who refers to it
            self.revisit(key, obj)
        return key

    def fresh_id(self, obj: object) -> str:
        """Return the id of a new object: what its rule says, or a random one.

        :raises InvalidId: what the rule says cannot be one.
        :raises DuplicateId: another object has it.
        """
        rule = self._typemap.rule_for(ghosts.real_class(obj))
        if rule is None or rule.id is None:
            return ids.fresh()
        key = ids.check(rule.id(obj))
        if key in self.new or self._known.exists(key):
            raise DuplicateId(key)
        return key


def _stored_already(key: str) -> DuplicateId:
    return DuplicateId(key, problem=f"this object is in the store already, as {key!r}. Use store()")


class _Unknown(Exception):
    """An object was reached that may not be taken in."""
