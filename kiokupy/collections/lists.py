"""Lists of objects that stay unloaded, and of plain values."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, MutableSequence
from itertools import islice
from typing import Any

from BTrees.LOBTree import LOBTree

from kiokupy.collections import values
from kiokupy.collections.bulk import BLOCK, Bulk, referents_of, stored_form, unheld


class ObjectList(Bulk, MutableSequence[Any]):
    """A list, loaded piece by piece. Its values are those of an :class:`~kiokupy.ObjectMap`.

    ``len()`` costs next to nothing. An index, ``append()`` and ``pop()`` cost the logarithm of the length, at the front
    as at the back; ``insert()``, ``del`` and ``pop(i)`` move the items on the shorter side; ``index()``, ``remove()``,
    ``in`` and ``count()`` look at each item, and load no object. A slice is a plain list; only single items can be
    assigned and deleted. Objects are found by identity, plain values by equality.

    Two transactions that both add or take out items conflict; those that replace different items do not, as a rule.
    """

    def __init__(self, items: Iterable[Any] = ()) -> None:
        self._v_contents = []
        # Places are consecutive, from the first one up to the one before the end.
        self._tree, self._first, self._end = LOBTree(), 0, 0
        self.extend(items)

    def __len__(self) -> int:
        return int(self._end - self._first) if self._v_contents is None else len(self._v_contents)

    def __getitem__(self, index: Any) -> Any:
        if isinstance(index, slice):
            start, stop, step = index.indices(len(self))
            if step == 1:
                return list(self._from(start, stop))
            return [self[i] for i in range(start, stop, step)]
        if self._v_contents is not None:
            return unheld(self._v_contents[index])
        return self._met(self._tree[self._place(index)])

    def __setitem__(self, index: Any, value: Any) -> None:
        _refuse_slice(index)
        if self._to_change():
            self._v_contents[index] = value
            return
        place = self._place(index)
        before = self._tree[place]
        stored = self._stored(value, before)
        if stored is not before:
            self._tree[place] = stored

    def __delitem__(self, index: Any) -> None:
        _refuse_slice(index)
        if self._to_change():
            del self._v_contents[index]
            return
        place = self._place(index)
        if place - self._first < self._end - place:
            for at in range(place, self._first, -1):
                self._tree[at] = self._tree[at - 1]
            del self._tree[self._first]
            self._first += 1
        else:
            for at in range(place, self._end - 1):
                self._tree[at] = self._tree[at + 1]
            del self._tree[self._end - 1]
            self._end -= 1

    def insert(self, index: int, value: Any) -> None:
        """Insert a value before an index; the items on the shorter side of it move."""
        if self._to_change():
            self._v_contents.insert(index, value)
            return
        place = self._first + slice(index, None).indices(len(self))[0]
        stored = self._stored(value)
        if place - self._first < self._end - place:
            self._first, place = self._first - 1, place - 1
            for at in range(self._first, place):
                self._tree[at] = self._tree[at + 1]
        else:
            for at in range(self._end, place, -1):
                self._tree[at] = self._tree[at - 1]
            self._end += 1
        self._tree[place] = stored

    def append(self, value: Any) -> None:
        """Add a value at the end. If the list is stored and an object is not, that is stored at once."""
        self.extend((value,))

    def extend(self, items: Iterable[Any]) -> None:
        """Add values at the end; as :meth:`append`."""
        added = iter(list(items) if items is self else items)
        while block := list(islice(added, BLOCK)):
            if self._to_change():
                self._v_contents.extend(block)
                continue
            stored = [self._stored(value) for value in block]
            self._tree.update(list(enumerate(stored, self._end)))
            self._end += len(stored)

    def clear(self) -> None:
        """Take out everything."""
        if self._to_change():
            self._v_contents.clear()
        else:
            self._tree.clear()
            self._first = self._end = 0

    def __iter__(self) -> Iterator[Any]:
        return self._from(0, None)

    def __contains__(self, value: object) -> bool:
        return next(self._places(value, 0, None), None) is not None

    def index(self, value: Any, start: int = 0, stop: int | None = None) -> int:
        """Return the first index of a value; no object is loaded.

        :raises ValueError: it is not there.
        """
        for index in self._places(value, *slice(start, stop).indices(len(self))[:2]):
            return index
        raise ValueError("the value is not in the list")

    def count(self, value: Any) -> int:
        """Return how many times a value is there; no object is loaded."""
        return sum(1 for _ in self._places(value, 0, None))

    def __reduce__(self) -> Any:
        """Copy and pickle it as a list of its own, of the same objects."""
        return type(self), (list(self),)

    def member_ids(self) -> Iterable[str]:
        """Return the ids of all objects in it, as they were stored; no object is loaded."""
        return values.references(self._tree.values())

    def referents(self, refers: Callable[[object], bool]) -> Iterator[object]:
        """Yield the values that need ids; see :meth:`Bulk.referents`."""
        return referents_of(list(enumerate(self._v_contents)), self.__setitem__, refers)

    def steps(self) -> Iterator[tuple[object, str]]:
        """Yield the values; see :meth:`Bulk.steps`."""
        for index, value in enumerate(self._v_contents):
            yield value, f"[{index}]"

    def build(self, reference: Callable[[object], tuple[str, str]]) -> None:
        """Let the tree have what stands for the values; see :meth:`Bulk.build`."""
        self._tree.clear()
        self._tree.update(list(enumerate(stored_form(value, reference) for value in self._v_contents)))
        self._first, self._end = 0, len(self._v_contents)

    def unbuild(self) -> None:
        """Let the tree be a new one; see :meth:`Bulk.unbuild`."""
        self._tree, self._first, self._end = LOBTree(), 0, 0

    def _place(self, index: int) -> int:
        place = self._first + index if index >= 0 else self._end + index
        if not self._first <= place < self._end:
            raise IndexError(f"the list has no item {index}")
        return int(place)

    def _from(self, start: int, stop: int | None) -> Iterator[Any]:
        if self._v_contents is not None:
            return map(unheld, self._v_contents[start:stop])
        return self.graph().walk(self._blocks(start, stop), self._met)

    def _blocks(self, start: int, stop: int | None) -> Iterator[list[Any]]:
        end = len(self) if stop is None else stop
        while start < end and (block := list(self._stored_items(start, min(start + BLOCK, end)))):
            start += BLOCK
            yield block

    def _stored_items(self, start: int, stop: int) -> Iterable[Any]:
        items: Iterable[Any] = self._tree.values(self._first + start, self._first + stop, False, True)
        return items

    def _places(self, value: object, start: int, stop: int | None) -> Iterator[int]:
        """Yield the indexes of a value."""
        if self._v_contents is not None:
            items = map(unheld, self._v_contents[start:stop])
            yield from (i for i, item in enumerate(items, start) if values.is_same(item, value))
            return
        same = self._is_at(value)
        for block in self._blocks(start, stop):
            yield from (i for i, stored in enumerate(block, start) if same(stored))
            start += BLOCK


def _refuse_slice(index: object) -> None:
    if isinstance(index, slice):
        raise TypeError("an ObjectList assigns and deletes single items. Loop over the indexes")
