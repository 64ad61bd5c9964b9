"""Membership: what the big collections of a scope ask of it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any, TypeVar

from kiokupy.changes import Changes
from kiokupy.database import Unit
from kiokupy.drafts import Draft
from kiokupy.live import LiveObjects
from kiokupy.typemap import TypeMap
from kiokupy.walks import Walk

T = TypeVar("T")


class Membership:
    """Walks over members, and stores new ones; it is what :class:`~kiokupy.live.LiveObjects` has for a host."""

    def __init__(self, unit: Unit, typemap: TypeMap, live: LiveObjects, changes: Changes) -> None:
        self._unit, self._typemap, self._live, self._changes = unit, typemap, live, changes

    def walk(self, blocks: Iterable[Iterable[T]], meet: Callable[[T], Any]) -> Iterator[Any]:
        """Yield what ``meet`` makes of each item, and part from what came with them."""
        return Walk(self._unit, self._live, self._changes).members(blocks, meet)

    def store_new(self, objects: list[Any]) -> None:
        """Store the objects that have no ids.

        :raises NotStorable: the type map refuses one, or something it reaches; nothing is stored then.
        :raises StoreReadOnly: the scope does not write.
        """
        draft = Draft(self._typemap, self._live, deep=False, grow=True, revive=True)
        with self._live.adopting(), self._unit.database.translated():
            for obj in objects:
                draft.reference(obj)
                draft.run(obj)
            self._changes.write(draft)
