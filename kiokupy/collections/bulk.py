"""Bulk: what the big collections have in common.

A collection is a record of its own, with trees that hold ids and plain values, so that ZODB loads, merges and undoes
what happens in them. Until it is first committed it has *contents* instead: the objects themselves, many without ids.
They count until the commit has succeeded, when the trees are what counts; an abort loses nothing that way.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator
from typing import Any, Protocol, TypeVar

from persistent import Persistent

from kiokupy.collections import values
from kiokupy.errors import ScopeClosed
from kiokupy.holder import Holder
from kiokupy.rules import name_of

T = TypeVar("T")

#: Members that are looked at together.
BLOCK = 500


class Home(Protocol):
    """What a collection asks of the scope that it lives in."""

    @property
    def closed(self) -> bool:
        """Whether the scope has ended."""

    def member(self, owner: Persistent, key: str, class_name: str) -> Any:
        """Return the object of an id: the live one, a ghost, or one loaded at once."""

    def walk(self, blocks: Iterable[Iterable[T]], meet: Callable[[T], Any]) -> Iterator[Any]:
        """Yield what ``meet`` makes of each item, and part from what came with them."""

    def key_of(self, obj: object) -> str | None:
        """Return the id that an object has, or had in a scope that ended or before it was deleted."""

    def peek(self, key: str) -> object | None:
        """Return the live object of an id."""

    def exists(self, key: str) -> bool:
        """Tell whether an id is in the store."""

    def refers(self, obj: object) -> bool:
        """Tell whether an object is to have an entry of its own; otherwise it is a part of another."""

    def take_in(self, owner: Persistent, objects: list[Any]) -> list[tuple[str, str]]:
        """Return references to objects; those without ids are stored.

        :raises NotStorable: the type map refuses one, or something it reaches; nothing is stored then.
        """


class Bulk(Persistent, ABC):  # type: ignore[misc]  # persistent has no annotations
    """A collection that is loaded piece by piece."""

    #: Whether it keeps its members alive when garbage is collected.
    weak = False

    # Volatile attributes are no part of the record. See the module's docstring; None: what counts is in the trees.
    _v_contents: Any = None
    # The scope of a set of ids that is in no store itself.
    _v_graph: Home | None = None
    # Loaded holders of a scope that has ended, whose values may have been changed since.
    _v_taken: tuple[Holder, ...]

    @abstractmethod
    def member_ids(self) -> Iterable[str]:
        """Return the ids of all objects it refers to, as they were stored; no object is loaded."""

    @abstractmethod
    def referents(self, refers: Callable[[object], bool]) -> Iterator[object]:
        """Yield the objects among the contents, which count, that need ids.

        What has none and can be changed gets a holder.

        :param refers: tells whether an object has an entry of its own.
        """

    @abstractmethod
    def steps(self) -> Iterator[tuple[object, str]]:
        """Yield what the contents hold, each with the step that leads to it."""

    @abstractmethod
    def build(self, reference: Callable[[object], tuple[str, str]]) -> None:
        """Let the trees have what the contents have.

        :param reference: answers the id and the class's name of an object.
        """

    @abstractmethod
    def unbuild(self) -> None:
        """After an abort: let the trees be new ones, and empty."""

    def copied_contents(self) -> Any:
        """Return a copy of the contents, for :meth:`recall`."""
        return self._v_contents.copy()

    def recall(self, contents: Any) -> None:
        """Have again the contents of an earlier time, and write them anew."""
        self._v_contents = contents
        self._v_contents = self.copied_contents()  # an earlier time can be gone back to again
        self._p_changed = False  # since ZODB, which took the change back, has forgotten it
        self._p_changed = True

    def settle(self) -> None:
        """After a commit: from now on the trees count."""
        self.__dict__.pop("_v_contents", None)
        self.__dict__.pop("_v_graph", None)

    def graph(self) -> Home:
        """Return the scope that resolves the ids.

        :raises ScopeClosed: it has ended.
        """
        jar, graph = self._p_jar, self._v_graph
        if jar is not None:
            graph = jar.graph if jar.owns(self) else None
        if graph is None or graph.closed:
            raise ScopeClosed(f"a {name_of(type(self))}")
        return graph

    def check_scope(self, graph: object) -> None:
        """Refuse a set of ids that belongs to another scope.

        :raises ScopeClosed: it does.
        """
        if not has_contents(self) and self.graph() is not graph:
            raise ScopeClosed(f"a {name_of(type(self))} of another scope")

    def at_departure(self, taken: Holder) -> None:
        """Keep a loaded holder past the end of its scope."""
        self._v_taken = (*self.__dict__.get("_v_taken", ()), taken)

    def _p_deactivate(self) -> None:
        """Let go of the state, unless it is one that the store has not."""
        if self.__dict__.keys().isdisjoint(("_v_contents", "_v_graph")):
            super()._p_deactivate()

    def _p_invalidate(self) -> None:
        """As :meth:`_p_deactivate`."""
        if self.__dict__.keys().isdisjoint(("_v_contents", "_v_graph")):
            super()._p_invalidate()

    def _to_change(self) -> bool:
        """Prepare for a change; tell whether it is to be made in the contents.

        :raises ScopeClosed: the scope has ended.
        """
        if self._v_contents is None:
            self.graph()
            return False
        self._p_changed = True  # which raises where the scope has ended
        return True

    def _met(self, stored: Any) -> Any:
        """Return the value that something in a tree stands for."""
        found = values.reference(stored)
        if found is None:
            return values.decoded(stored)
        return unheld(self.graph().member(self, *found))

    def _stored(self, value: object, instead_of: Any = None) -> object:
        """Return what stands in a tree for a value.

        :param instead_of: what stands there. A holder in it is used again.
        """
        if values.is_fixed(value):
            return values.encoded(value)
        graph = self.graph()
        if graph.refers(value):
            return graph.take_in(self, [value])[0]
        before = None if instead_of is None else values.reference(instead_of)
        if before is not None and before[1] == name_of(Holder):
            holder = graph.member(self, *before)
            holder.value = value
            graph.take_in(self, [holder])
            return before
        return graph.take_in(self, [Holder(value)])[0]

    def _is_at(self, value: object) -> Callable[[Any], bool]:
        """Return what tells of something in a tree whether it stands for ``value``; references are told by their id."""
        graph = self.graph()
        key = None if values.is_fixed(value) else graph.key_of(value)

        def same(stored: Any) -> bool:
            found = values.reference(stored)
            if found is None or found[1] == name_of(Holder):
                return values.is_same(self._met(stored), value)
            return found[0] == key

        return same


# Functions, since to ask a ghost for a method loads it.


def has_contents(bulk: Bulk) -> bool:
    """Tell whether a collection's contents are what counts; nothing is loaded."""
    return bulk.__dict__.get("_v_contents") is not None


def held(bulk: Bulk) -> Iterable[tuple[object, str]]:
    """Return :meth:`Bulk.steps` if the contents count; nothing is loaded."""
    return bulk.steps() if has_contents(bulk) else ()


def taken(bulk: Bulk) -> Iterable[Holder]:
    """Return the holders of values that somebody may have changed after the scope ended; nothing is loaded."""
    return [*bulk.__dict__.get("_v_taken", ()), *(value for value, _ in held(bulk) if isinstance(value, Holder))]


def referents_of(
    items: Iterable[tuple[T, Any]], put: Callable[[T, Holder], None], refers: Callable[[object], bool]
) -> Iterator[object]:
    """Yield what needs ids among places and values; ``put(place, holder)`` replaces what gets a holder."""
    for place, value in items:
        if values.is_fixed(value):
            continue
        if not isinstance(value, Holder) and not refers(value):
            holder = Holder(value)
            put(place, holder)
            yield holder
        else:
            yield value


def stored_form(value: Any, reference: Callable[[object], tuple[str, str]]) -> object:
    """Return what stands in a tree for a value of the contents."""
    return values.encoded(value) if values.is_fixed(value) else reference(value)


def unheld(obj: Any) -> Any:
    """Return the value in a holder; anything else is itself."""
    return obj.value if isinstance(obj, Holder) else obj
