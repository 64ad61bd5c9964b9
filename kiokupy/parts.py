"""Parts: the containers inside objects, to see which two objects share, and which are nested too deeply."""

from __future__ import annotations

from collections import ChainMap, UserDict, UserList, deque
from collections.abc import Iterable, Iterator
from types import SimpleNamespace
from typing import NamedTuple

from kiokupy.paths import children

# The C pickler recurses; far below what Python allows, since nobody knows how deep the caller is.
_DEEPEST = 100


_PATIENCE = 20

_HOLDERS = (dict, list, set, tuple)
_PLAIN = frozenset({*_HOLDERS, bytearray})


class Shared(NamedTuple):
    """A container that two objects hold."""

    container: object
    #: The id of the object that was seen with it first.
    other: str


class Parts:
    """Remembers whose part a container is. It holds the containers, so that their numbers stay theirs."""

    def __init__(self) -> None:
        # Two dicts of what exists already: a tuple for each would be one more object for Python's collector to visit.
        self._owners: dict[int, str] = {}
        self._held: dict[int, object] = {}
        # How often an object had to share a container that it was seen with first.
        self._gave: dict[str, int] = {}

    def claim(self, key: str, containers: Iterable[object]) -> list[Shared]:
        """Note that an object holds containers, outer ones first, and return those that another one holds as well.

        What is inside a returned one is not returned, and is nobody's from now on. That may have to be taken back, one
        container at a time, where one holds the next; so from an object that shares again and again all are taken.
        """
        shared: list[Shared] = []
        inside: set[int] = set()
        for container in containers:
            number = id(container)
            other = self._owners.setdefault(number, key)
            self._held[number] = container
            if other != key and number not in inside:
                shared.append(Shared(container, other))
                inside.add(number)
                self._gave[other] = gave = self._gave.get(other, 0) + 1
                if gave < _PATIENCE:
                    _add_inner(container, inside)
        for number in inside:
            self._owners.pop(number, None)
        return shared


def plain_containers(value: object) -> list[object]:
    """Return the containers in plain data, outer ones first."""
    found: list[object] = []
    seen: set[int] = set()
    pending = [value] if isinstance(value, _HOLDERS) else []
    while pending:
        owner = pending.pop()
        for child in owner.values() if isinstance(owner, dict) else owner:
            cls = type(child)
            if cls in _PLAIN and id(child) not in seen:
                seen.add(id(child))
                found.append(child)
                if cls is not bytearray:
                    pending.append(child)
    return found


def deep_ones(root: object) -> list[object]:
    """Return lists, dicts and sets inside an object that it is enough to cut out for none to be nested deeply."""
    found: list[object] = []
    seen = {id(root)}
    roots = deque([[child for child, _ in children(root)]])
    while roots:
        stack: list[Iterator[object]] = [iter(roots.popleft())]
        while stack:
            value = next(stack[-1], stack)
            if value is stack:
                stack.pop()
            elif id(value) not in seen:
                seen.add(id(value))
                if len(stack) >= _DEEPEST and isinstance(value, dict | list | set):
                    found.append(value)
                    roots.append(list(_items(value)))
                else:
                    stack.append(_items(value))
    return found


def _add_inner(container: object, numbers: set[int]) -> None:
    """Add the numbers of all that is inside a container, but not what is inside of what has been added before."""
    pending = [_items(container)]
    while pending:
        for value in pending.pop():
            if id(value) not in numbers:
                numbers.add(id(value))
                pending.append(_items(value))


def _items(value: object) -> Iterator[object]:
    if isinstance(value, dict):
        yield from value
        yield from value.values()
    elif isinstance(value, list | tuple | set | frozenset | deque):
        yield from value
    elif isinstance(value, UserDict | UserList | ChainMap | SimpleNamespace):
        yield from vars(value).values()
