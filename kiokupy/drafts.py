"""Drafts: a graph of objects collapsed whole, before any of it is written."""

from __future__ import annotations

from collections.abc import Callable

from persistent import Persistent

from kiokupy import ghosts, ids, paths
from kiokupy.collapse import Collapser, Refusal
from kiokupy.entry import Record
from kiokupy.errors import NotStored
from kiokupy.typemap import TypeMap


class Draft:
    """A graph on its way into the store. Nothing it does is seen outside before the scope takes it over.

    :param known: answers the id of an object that the scope knows already.
    :param deep: whether known objects that are reached are collapsed in their turn.
    :param grow: whether unknown first-class objects that are reached get ids; otherwise they are refused.
    """

    def __init__(self, typemap: TypeMap, known: Callable[[object], str | None], *, deep: bool, grow: bool) -> None:
        self._known, self._deep, self._grow = known, deep, grow
        self._collapser = Collapser(typemap, self._id_of)
        self._queue: list[tuple[str, object]] = []
        self._unchecked: list[Persistent] = []
        self._new_ids: dict[int, str] = {}
        #: New objects by id; they stay alive with the draft.
        self.new: dict[str, object] = {}
        #: What was collapsed, by id.
        self.records: dict[str, Record] = {}

    def add(self, key: str, obj: object) -> None:
        """Take in a new object under an id."""
        self.new[key] = obj
        self._new_ids[id(obj)] = key
        self._queue.append((key, obj))

    def revisit(self, key: str, obj: object) -> None:
        """Take in an object that the scope knows; an unloaded one has not changed and is passed over."""
        if key not in self.records and not ghosts.is_ghost(obj):
            self._queue.append((key, obj))

    def check(self, obj: Persistent) -> None:
        """Take in the plain objects that a changed Persistent object holds; it writes itself."""
        self._unchecked.append(obj)

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
                key, obj = self._queue.pop()
                if key not in self.records:
                    self.records[key] = self._collapser.collapse(obj)
                    if isinstance(obj, Persistent) and obj._p_jar is None:
                        self._inspect(obj)
        except Refusal as refusal:
            raise refusal.error(root, name) from refusal.__cause__
        except _Unknown as unknown:
            culprit = unknown.args[0]
            raise NotStored(culprit, path=paths.find(root, culprit, name=name)) from None

    def _inspect(self, obj: Persistent) -> None:
        """Check a Persistent object and the new Persistent objects it reaches; take in the plain ones they hold."""
        queue, seen = [obj], {id(obj)}
        while queue:
            for held in self._collapser.inspect(queue.pop()):
                if held._p_jar is not None:
                    self._known(held)  # raises for one from a scope that has ended
                elif id(held) not in seen:
                    seen.add(id(held))
                    queue.append(held)

    def _id_of(self, obj: object) -> str:
        key = self._new_ids.get(id(obj)) or self._known(obj)
        if key is None:
            if not self._grow:
                raise _Unknown(obj)
            key = ids.fresh()
            self.add(key, obj)
        elif self._deep and key not in self.new:
            self.revisit(key, obj)
        return key


class _Unknown(Exception):
    """An object was reached that may not be taken in."""
