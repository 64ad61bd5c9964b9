"""Maps from ordered keys to objects that stay unloaded, and to plain values."""

from __future__ import annotations

from collections.abc import Callable, ItemsView, Iterable, Iterator, KeysView, Mapping, MutableMapping, ValuesView
from itertools import islice
from typing import Any

from BTrees.Length import Length
from BTrees.OOBTree import OOBTree

from kiokupy.collections import values
from kiokupy.collections.bulk import BLOCK, Bulk, referents_of, stored_form, unheld


class ObjectMap(Bulk, MutableMapping[Any, Any]):
    """A mapping in the order of its keys, loaded piece by piece.

    Keys are strings, numbers, bytes, dates, UUIDs, or tuples of these, of one kind. Each access costs the logarithm of
    the size, ``len()`` next to nothing. Two transactions that write different keys do not conflict, as a rule.

    Values are of any kind that can be stored. Objects with ids are referred to and stay unloaded; values that nobody
    can change are kept in place; what can be changed, such as a list, gets an entry of its own: it is loaded when it is
    asked for, and changes in it are noticed as in any object. That entry is garbage once the value is deleted.

    :param items: a mapping, or pairs.
    """

    def __init__(self, items: Mapping[Any, Any] | Iterable[tuple[Any, Any]] = ()) -> None:
        self._v_contents = OOBTree()
        self._tree, self._size = OOBTree(), Length()
        self.update(items)

    def __len__(self) -> int:
        return int(self._size()) if self._v_contents is None else len(self._v_contents)

    def __getitem__(self, key: Any) -> Any:
        return self.value_of(_found(self._now(), key))

    def __contains__(self, key: object) -> bool:
        try:
            return key in self._now()
        except TypeError:  # keys of another kind
            return False

    def __setitem__(self, key: Any, value: Any) -> None:
        values.check_key(key)
        if self._to_change():
            self._v_contents[key] = value
            return
        before = self._tree.get(key)
        stored = self._stored(value, before)
        if before is None:
            self._tree[key] = stored
            self._size.change(1)
        elif stored is not before:
            self._tree[key] = stored

    def __delitem__(self, key: Any) -> None:
        tree = self._v_contents if self._to_change() else self._tree
        _found(tree, key)
        del tree[key]
        if tree is self._tree:
            self._size.change(-1)

    def __iter__(self) -> Iterator[Any]:
        return iter(self.keys())

    def each(self, min: Any, max: Any, meet: Callable[[Any], Any]) -> Iterator[Any]:
        """Yield what ``meet`` makes of each key with what stands for its value, in bounded memory."""
        blocks = self._blocks(min, max)
        if self._v_contents is not None:
            return (meet(pair) for block in blocks for pair in block)
        return self.graph().walk(blocks, meet)

    def keys(self, min: Any = None, max: Any = None) -> KeysView[Any]:
        """Return a view of the keys, from one to another, both included; no value is loaded."""
        return KeysView(_Span(self, min, max))

    def values(self, min: Any = None, max: Any = None) -> ValuesView[Any]:
        """Return a view of the values of the keys from one to another."""
        return _Values(_Span(self, min, max))

    def items(self, min: Any = None, max: Any = None) -> ItemsView[Any, Any]:
        """Return a view of the keys from one to another with their values."""
        return _Items(_Span(self, min, max))

    def clear(self) -> None:
        """Take out everything."""
        if self._to_change():
            self._v_contents.clear()
        else:
            self._tree.clear()
            self._size.set(0)

    def __reduce__(self) -> Any:
        """Copy and pickle it as a map of its own, of the same objects."""
        return type(self), (list(self.items()),)

    def member_ids(self) -> Iterable[str]:
        """Return the ids of all objects that are values, as they were stored; no object is loaded."""
        return values.references(self._tree.values())

    def referents(self, refers: Callable[[object], bool]) -> Iterator[object]:
        """Yield the values that need ids; see :meth:`Bulk.referents`."""
        return referents_of(list(self._v_contents.items()), self.__setitem__, refers)

    def steps(self) -> Iterator[tuple[object, str]]:
        """Yield the values; see :meth:`Bulk.steps`."""
        for key, value in self._v_contents.items():
            yield value, f"[{key!r}]"

    def build(self, reference: Callable[[object], tuple[str, str]]) -> None:
        """Let the tree have what stands for the values; see :meth:`Bulk.build`."""
        self._tree.clear()
        self._tree.update([(key, stored_form(value, reference)) for key, value in self._v_contents.items()])
        self._size.set(len(self._v_contents))

    def unbuild(self) -> None:
        """Let the tree be a new one; see :meth:`Bulk.unbuild`."""
        self._tree, self._size = OOBTree(), Length()

    def copied_contents(self) -> OOBTree:
        """Return a copy of the contents; see :meth:`Bulk.copied_contents`."""
        return OOBTree(self._v_contents)

    def _now(self) -> OOBTree:
        return self._tree if self._v_contents is None else self._v_contents

    def value_of(self, stored: Any) -> Any:
        """Return the value that something in the tree, or in the contents, stands for."""
        if self._v_contents is None:
            return self._met(stored)
        return unheld(stored)

    def _blocks(self, min: Any, max: Any) -> Iterator[list[tuple[Any, Any]]]:
        after = False
        while block := list(islice(self._now().items(min, max, after), BLOCK)):
            min, after = block[-1][0], True
            yield block


def _found(tree: Any, key: Any) -> Any:
    try:
        return tree[key]
    except TypeError:  # a key of another kind than those in the tree
        raise KeyError(key) from None


class _Span(Mapping[Any, Any]):
    """The part of a map from one key to another."""

    def __init__(self, owner: ObjectMap, min: Any, max: Any) -> None:
        self.owner, self._min, self._max = owner, min, max

    def __len__(self) -> int:
        return len(self.owner) if self._min is self._max is None else sum(1 for _ in self)

    def __iter__(self) -> Iterator[Any]:
        return self.each(lambda pair: pair[0])

    def __getitem__(self, key: Any) -> Any:
        value = self.owner[key]
        if (self._min is None or self._min <= key) and (self._max is None or key <= self._max):
            return value
        raise KeyError(key)

    def each(self, meet: Callable[[tuple[Any, Any]], Any]) -> Iterator[Any]:
        """Yield what is made of each key and its value."""
        return self.owner.each(self._min, self._max, meet)


class _Values(ValuesView[Any]):
    _mapping: _Span

    def __iter__(self) -> Iterator[Any]:
        owner = self._mapping.owner
        return self._mapping.each(lambda pair: owner.value_of(pair[1]))


class _Items(ItemsView[Any, Any]):
    _mapping: _Span

    def __iter__(self) -> Iterator[tuple[Any, Any]]:
        owner = self._mapping.owner
        return self._mapping.each(lambda pair: (pair[0], owner.value_of(pair[1])))
