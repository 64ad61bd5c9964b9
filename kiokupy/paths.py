"""Paths: the way from one object to another, written as Python would, for errors to show."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from types import FunctionType, ModuleType

from kiokupy.collections.bulk import Bulk, held
from kiokupy.ghosts import is_ghost, slots_of
from kiokupy.holder import Holder

_LONGEST = 400


def find(root: object, wanted: object, *, name: str = "") -> str:
    """Return the shortest way from ``root`` to ``wanted``, such as ``cart['items'][2].gadget``.

    Ghosts are not entered. Where no way is found the root's name alone comes back.

    :param name: what to call the root; its class in lower case by default.
    """
    name = name if name.isidentifier() else type(root).__name__.lower()
    seen = {id(root)}
    keep_alive = [root]  # __getstate__-like children are made on the fly; their id() must not be reused
    queue = deque([(root, name)])
    while queue:
        owner, path = queue.popleft()
        if owner is wanted:
            return path if len(path) <= _LONGEST else f"{path[: _LONGEST // 2]} … {path[-_LONGEST // 2 :]}"
        for child, step in children(owner):
            if id(child) not in seen:
                seen.add(id(child))
                keep_alive.append(child)
                queue.append((child, path + step))
    return name


def children(owner: object) -> Iterator[tuple[object, str]]:
    """Yield what an object holds, each with the step that leads to it; a ghost is not entered."""
    # Beyond a class, a module or a function lies the whole program.
    if not is_ghost(owner) and not isinstance(owner, type | ModuleType | FunctionType):
        yield from _items(owner)
        yield from _attributes(owner)


def _items(owner: object) -> Iterator[tuple[object, str]]:
    if isinstance(owner, dict):
        for key, value in owner.items():
            shown = repr(key) if isinstance(key, str | bytes | int | float | None) else f"<{type(key).__name__}>"
            yield key, f".<key {shown}>"
            yield value, f"[{shown}]"
    elif isinstance(owner, Bulk):
        yield from held(owner)
    elif type(owner) is Holder:
        yield owner.value, ""
    elif isinstance(owner, list | tuple | deque):
        for index, value in enumerate(owner):
            yield value, f"[{index}]"
    elif isinstance(owner, set | frozenset):
        for value in owner:
            yield value, ".<element>"


def _attributes(owner: object) -> Iterator[tuple[object, str]]:
    for attribute, value in getattr(owner, "__dict__", {}).items():  # not getattr: a property may have the name
        yield value, f".{attribute}"
    for attribute in slots_of(type(owner)):
        try:
            yield object.__getattribute__(owner, attribute), f".{attribute}"
        except AttributeError:  # an unset slot
            continue
