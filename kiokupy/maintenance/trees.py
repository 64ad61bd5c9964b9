"""Trees: the keys and values in a tree of the database, past what is damaged in it.

BTrees' own checks load the whole tree and end at the first record that is missing; this reads one node at a time.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import pairwise
from typing import Any, NamedTuple

from BTrees.QQBTree import QQTreeSet
from ZODB.utils import u64

from kiokupy import raw
from kiokupy.connection import GraphConnection
from kiokupy.errors import KiokuError
from kiokupy.raw import Pointer

_TREES = {raw.ENTRY_TREE, "BTrees.OOBTree:OOBTree", "BTrees.OOBTree:OOTreeSet"}
_MAPPINGS = {raw.ENTRY_TREE, "BTrees.OOBTree:OOBTree", "BTrees.OOBTree:OOBucket"}
_LEAVES = {"BTrees.OOBTree:OOBucket", "BTrees.OOBTree:OOSet"}


class _Node(NamedTuple):
    oid: bytes
    # The keys in it are from the one up to, and without, the other; None is the end.
    low: Any
    high: Any


class Walker:
    """Walks a tree from left to right.

    :param damaged: called with what is wrong, once for each damaged node; the walk goes on behind it.
    """

    def __init__(self, connection: GraphConnection, damaged: Callable[[str], None]) -> None:
        self._connection, self._damaged = connection, damaged
        self._seen = QQTreeSet()
        self._pending: list[_Node] = []
        # The leaf that the one before names as its next; False: there is none before, or it is damaged.
        self._next: bytes | bool | None = False

    def walk(self, oid: bytes) -> Iterator[tuple[Any, Any]]:
        """Yield the keys and values of the tree whose record has an oid; in a set a key is its own value."""
        self._pending = [_Node(oid, None, None)]
        while self._pending:
            node = self._pending.pop()
            try:
                yield from self._read(node)
            except (ValueError, TypeError, KiokuError) as error:  # TypeError: keys that cannot be compared
                self._next = False
                self._damaged(f"{_span(node)}: {error}")

    def _read(self, node: _Node) -> list[tuple[Any, Any]]:
        if not self._seen.insert(u64(node.oid)):
            raise ValueError("a node of the tree is in it twice")
        with self._connection.db().translated():
            data = self._connection.raw(node.oid)
        name, state = raw.read(data)
        match state:
            case None if name in _TREES:
                return []
            case (((tuple() as items,),),) if name in _TREES:
                return self._leaf(node, items, name)
            case (tuple() as items, Pointer()) if name in _TREES:
                self._push(node, items)
                return []
            case (tuple() as items,) | (tuple() as items, Pointer()) if name in _LEAVES:
                self._check_chain(node, state[1].oid if len(state) > 1 else None)
                return self._leaf(node, items, name)
        raise ValueError(f"a node of the tree is a damaged {name}")

    def _push(self, node: _Node, items: tuple[Any, ...]) -> None:
        children, keys = items[::2], items[1::2]
        _check_order(node, keys)
        if len(children) != len(keys) + 1 or not all(isinstance(child, Pointer) for child in children):
            raise ValueError("an inner node of the tree is damaged")
        bounds = [node.low, *keys, node.high]
        nodes = [_Node(child.oid, *bounds[n : n + 2]) for n, child in enumerate(children)]
        self._pending += reversed(nodes)

    def _leaf(self, node: _Node, items: tuple[Any, ...], name: str) -> list[tuple[Any, Any]]:
        keys, values = (items[::2], items[1::2]) if name in _MAPPINGS else (items, items)
        _check_order(node, keys)
        return list(zip(keys, values, strict=True))

    def _check_chain(self, node: _Node, following: bytes | None) -> None:
        expected, self._next = self._next, following
        if expected is not False and expected != node.oid:
            self._damaged(f"{_span(node)}: the leaf before does not lead here, so that iteration passes it over")


def _check_order(node: _Node, keys: tuple[Any, ...]) -> None:
    low, high = node.low, node.high
    ordered = all(a < b for a, b in pairwise(keys))
    if not ordered or (keys and ((low is not None and keys[0] < low) or (high is not None and not keys[-1] < high))):
        raise ValueError("keys are out of order, so that lookups do not find them")


def _span(node: _Node) -> str:
    low = "the first" if node.low is None else repr(node.low)
    return f"from {low} to {'the last' if node.high is None else f'before {node.high!r}'}"
