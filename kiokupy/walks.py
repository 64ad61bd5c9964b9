"""Walks: over many objects of a scope, block by block, in memory for some blocks."""

from __future__ import annotations

import gc
from collections.abc import Callable, Iterable, Iterator
from itertools import islice
from typing import Any, Protocol, TypeVar

from kiokupy import ghosts
from kiokupy.changes import Changes
from kiokupy.database import Unit
from kiokupy.holder import Holder
from kiokupy.live import LiveObjects

T = TypeVar("T")

_FIRST_BLOCK, _BLOCK = 8, 500
_MANY = 10 * _BLOCK

_NOTHING = (type(None), Holder)


class Tree(Protocol):
    """A tree of the database whose keys are ids."""

    def keys(self, min: str | None = None, max: str | None = None, excludemin: bool = False) -> Any:
        """Return the ids from one to another, in order."""


class Walk:
    """Gives the objects of many ids.

    After each block the scope parts from the objects that came with it, except those that were changed or that somebody
    holds. Only Python's collector tells a cycle that nobody holds from one that somebody does; it is asked when many
    are left, and more seldom the more of them are really held.
    """

    def __init__(self, unit: Unit, live: LiveObjects, changes: Changes) -> None:
        self._unit, self._live, self._changes = unit, live, changes
        self._left: set[str] = set()
        self._limit = _MANY

    def over(self, tree: Tree) -> Iterator[Any]:
        """Yield the objects of all ids in a tree, in order; it may change meanwhile."""
        last = None
        while block := list(islice(tree.keys(last, None, last is not None), _BLOCK)):
            last = block[-1]
            yield from self.through(block)

    def along(self, ids: Iterator[str]) -> Iterator[Any]:
        """Yield the objects of ids as these come; the blocks are small at first, for who wants only some objects."""
        size = _FIRST_BLOCK
        while block := list(islice(ids, size)):
            yield from self.through(block)
            size = min(2 * size, _BLOCK)

    def through(self, block: list[str]) -> Iterator[Any]:
        """Yield the objects of some ids; what is not in the store, or is a part of others, is passed over."""
        with self._live.watching() as arrived:
            self._live.prefetch(block)
            for key in block:
                if ghosts.real_class(self._live.get(key)) not in _NOTHING:
                    yield self._live.peek(key)
        self._part(arrived)
        self._unit.connection.cacheGC()  # ZODB keeps all it loaded until the transaction ends, unless it is asked

    def members(self, blocks: Iterable[Iterable[T]], meet: Callable[[T], Any]) -> Iterator[Any]:
        """Yield what ``meet`` makes of each item of a collection."""
        for block in blocks:
            with self._live.watching() as arrived:
                for item in block:
                    yield meet(item)
            self._part(arrived)
            self._unit.connection.cacheGC()

    def _part(self, arrived: set[str]) -> None:
        collect = len(self._left) + len(arrived) > self._limit
        if collect:
            arrived |= self._left
            self._left = set()
        clean = [key for key in arrived if self._changes.is_clean(key)]
        released = [self._live.release(key) for key in clean]
        if collect:
            gc.collect()
        self._left.update(key for key in map(self._live.reclaim, released) if key is not None)
        if collect:
            self._limit = max(_MANY, 2 * len(self._left))
