"""Sets of objects that stay unloaded."""

from __future__ import annotations

from collections.abc import Callable, Container, Iterable, Iterator, MutableSet
from collections.abc import Set as AbstractSet
from itertools import chain, islice
from typing import Any

from BTrees.Length import Length
from BTrees.OOBTree import OOBTree

from kiokupy.collections import values
from kiokupy.collections.bulk import BLOCK, Bulk


class ObjectSet(Bulk, MutableSet[Any]):
    """A set of objects, told apart by identity. Stored, it knows their ids, and loads none of them by itself.

    ``in``, :meth:`discard` and :meth:`remove` then also take an id. ``len()`` costs next to nothing, membership and
    changes the logarithm of the size. Two transactions that add or remove different members do not conflict, as a rule.

    A member that was deleted from the store stays a member until it is discarded. It is met as any reference to it is:
    :class:`~kiokupy.errors.BrokenReference` is raised when it is touched, or at once if its class allows no ghosts.

    :param members: objects; no plain values.
    :param weak: do not keep members alive when garbage is collected. Those that are gone are passed over in iteration
        and counted until :meth:`prune`.
    """

    def __init__(self, members: Iterable[Any] = (), weak: bool = False) -> None:
        self._v_contents = {}
        self._tree, self._size, self.weak = OOBTree(), Length(), weak
        self.update(members)

    def __len__(self) -> int:
        return int(self._size()) if self._v_contents is None else len(self._v_contents)

    def __contains__(self, object_or_id: object) -> bool:
        if self._v_contents is not None:
            return self._place(object_or_id) in self._v_contents
        return self._key(object_or_id) in self._tree

    def __iter__(self) -> Iterator[Any]:
        if self._v_contents is not None:
            return iter(list(self._v_contents.values()))
        graph = self.graph()
        return graph.walk(self._blocks(), lambda pair: graph.member(self, *pair))

    def ids(self) -> Iterator[str]:
        """Yield the ids of all members; no member is loaded. Members that are not stored yet have none."""
        if self._v_contents is None:
            yield from self._tree
        elif self._p_jar is not None:
            keys = map(self.graph().key_of, list(self._v_contents.values()))
            yield from (key for key in keys if key is not None)

    def add(self, value: Any) -> None:
        """Add an object. If the set is stored and the object is not, that is stored at once, in this transaction.

        :raises NotStorable: it is a plain value, or the type map refuses it or something it reaches.
        """
        self.update((value,))

    def discard(self, value: object) -> None:
        """Take out an object, or the object of an id, if it is a member."""
        if self._to_change():
            self._v_contents.pop(self._place(value), None)
        elif self._tree.pop(self._key(value), None) is not None:
            self._size.change(-1)

    def clear(self) -> None:
        """Take out every member."""
        if self._to_change():
            self._v_contents.clear()
        else:
            self._tree.clear()
            self._size.set(0)

    def prune(self) -> int:
        """Take out the members that are not in the store any more; return how many there were. Each one is checked."""
        if self._to_change():
            return 0
        exists = self.graph().exists
        gone = [key for key in self._tree if not exists(key)]
        for key in gone:
            self.discard(key)
        return len(gone)

    def update(self, *others: Iterable[Any]) -> None:
        """Add the members of other sets or iterables; raises as :meth:`add`."""
        for other in others:
            if self._has_ids() and isinstance(other, ObjectSet) and other._has_ids():
                self.graph()
                self._insert(other._tree.items())
                continue
            members = iter(other)
            while block := list(islice(members, BLOCK)):
                self._add_all(block)

    def union(self, *others: Iterable[Any]) -> ObjectSet:
        """Return a new set, of ids if all are sets of ids: nothing is loaded then."""
        if self._has_ids() and all(isinstance(other, ObjectSet) and other._has_ids() for other in others):
            result = self._of_ids(self._tree.items())
            result.update(*others)
            return result
        return ObjectSet(chain(self, *others), self.weak)

    def intersection(self, other: Iterable[Any]) -> ObjectSet:
        """Return a new set of the members that are in another one too; of ids if this is one, and nothing is loaded."""
        return self._where(other, lambda there: there)

    def difference(self, other: Iterable[Any]) -> ObjectSet:
        """Return a new set of the members that are not in another one; of ids if this is one, and nothing is loaded."""
        return self._where(other, lambda there: not there)

    def __or__(self, other: AbstractSet[Any]) -> ObjectSet:
        return self.union(other) if isinstance(other, Iterable) else NotImplemented

    def __and__(self, other: AbstractSet[Any]) -> ObjectSet:
        return self.intersection(other) if isinstance(other, Iterable) else NotImplemented

    def __sub__(self, other: AbstractSet[Any]) -> ObjectSet:
        return self.difference(other) if isinstance(other, Iterable) else NotImplemented

    def __ior__(self, other: AbstractSet[Any]) -> ObjectSet:
        self.update(other)
        return self

    def __iand__(self, other: AbstractSet[Any]) -> ObjectSet:
        return self._without(self.difference(other))

    def __isub__(self, other: AbstractSet[Any]) -> ObjectSet:
        return self._without(self.intersection(other))

    def __reduce__(self) -> Any:
        """Copy and pickle it as a set of its own, of the same objects."""
        return type(self), (list(self), self.weak)

    def member_ids(self) -> Iterable[str]:
        """Return the ids of all members, as they were stored; no object is loaded."""
        ids: Iterable[str] = self._tree.keys()
        return ids

    def referents(self, refers: Callable[[object], bool]) -> Iterator[object]:
        """Yield the members; see :meth:`Bulk.referents`."""
        for obj, _ in list(self.steps()):
            if not refers(obj):
                raise values.no_member(obj, self)
            yield obj

    def steps(self) -> Iterator[tuple[object, str]]:
        """Yield the members; see :meth:`Bulk.steps`."""
        for obj in self._v_contents.values():
            yield obj, ".<member>"

    def build(self, reference: Callable[[object], tuple[str, str]]) -> None:
        """Let the tree have the ids of the members; see :meth:`Bulk.build`."""
        self._tree.clear()
        self._tree.update(list(map(reference, self._v_contents.values())))
        self._size.set(len(self._v_contents))

    def unbuild(self) -> None:
        """Let the tree be a new one; see :meth:`Bulk.unbuild`."""
        self._tree, self._size = OOBTree(), Length()

    def _has_ids(self) -> bool:
        return self._v_contents is None

    def _place(self, object_or_id: object) -> int:
        """Return the number of a member of the contents."""
        if isinstance(object_or_id, str) and self._p_jar is not None:
            return id(self.graph().peek(object_or_id))
        return id(object_or_id)

    def _key(self, object_or_id: object) -> str:
        """Return an object's id, or what is no id of any."""
        return object_or_id if isinstance(object_or_id, str) else self.graph().key_of(object_or_id) or ""

    def _add_all(self, members: list[Any]) -> None:
        for obj in members:
            values.check_member(obj, self)
        if self._to_change():
            self._v_contents.update((id(obj), obj) for obj in members)
            return
        graph = self.graph()
        for obj in members:
            if not graph.refers(obj):
                raise values.no_member(obj, self)
        self._insert(graph.take_in(self, members))

    def _insert(self, pairs: Iterable[tuple[str, str]]) -> None:
        added = sum(self._tree.insert(key, class_name) for key, class_name in pairs)
        if added:
            self._size.change(added)

    def _of_ids(self, pairs: Iterable[tuple[str, str]]) -> ObjectSet:
        """Return a set of ids that belongs to the scope of this one."""
        result = ObjectSet(weak=self.weak)
        result._v_graph, result._v_contents = self.graph(), None
        result._insert(pairs)
        return result

    def _where(self, other: Iterable[Any], wanted: Callable[[bool], bool]) -> ObjectSet:
        others = other if isinstance(other, ObjectSet) else ObjectSet(other)
        if self._v_contents is not None:
            return ObjectSet((obj for obj in self if wanted(obj in others)), self.weak)
        there: Container[str] = others._tree
        if others._v_contents is not None:
            there = {self._key(obj) for obj in others}
        return self._of_ids((key, name) for key, name in self._tree.items() if wanted(key in there))

    def _without(self, others: ObjectSet) -> ObjectSet:
        for item in others._tree if others._has_ids() else others:
            self.discard(item)
        return self

    def _blocks(self) -> Iterator[list[tuple[str, str]]]:
        last = None
        while block := list(islice(self._tree.items(last, None, last is not None), BLOCK)):
            last = block[-1][0]
            graph = self.graph()
            yield [pair for pair in block if not self.weak or graph.exists(pair[0])]
