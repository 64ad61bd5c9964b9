"""Indexes: what an application declares, so that objects are found by their values."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

from kiokupy import orderable
from kiokupy.errors import NotIndexable, TargetError
from kiokupy.rules import name_of

#: What :meth:`~kiokupy.Scope.search` takes by name besides conditions.
_TAKEN = frozenset({"order_by", "reverse", "limit"})


@dataclass(frozen=True)
class Index:
    """Lets objects be found by a value; declared once: ``connect(..., indexes=[Index("email", unique=True)])``.

    An object is in the index if it is of a class that the index is on and its value is not ``None``; an attribute that
    is not there counts as ``None``. The values of an index must have an order among each other: text, numbers, bytes,
    dates, moments, times, spans of time, UUIDs, enum members (by their values), or tuples of these.

    The index follows the object's own record. A key that is computed from other objects is as it was when this object
    was last written.

    :param name: how :meth:`~kiokupy.Scope.search` calls it, and the attribute that it holds unless there is a ``key``.
    :param on: a class or several; subclasses are covered.
    :param key: called with an object, returns its value. Let it be a named function: the store notes the name, and an
        index that comes with another one must be built anew. What it raises comes out of the verb that writes, with a
        note of index and object.
    :param many: the value is a collection, and the object is found by each of its elements.
    :param unique: at most one object may have a value.
    """

    name: str
    on: type | tuple[type, ...] = object
    key: Callable[[Any], Any] | None = None
    many: bool = False
    unique: bool = False

    def __post_init__(self) -> None:
        if not isinstance(self.name, str) or not self.name.isidentifier() or self.name in _TAKEN:
            raise TargetError(
                f"an index cannot be called {self.name!r:.80}",
                target=self.name,
                fix="Choose a name that can be an argument of search() and is none yet",
            )
        if not all(isinstance(cls, type) for cls in self._classes):
            raise TargetError(f"the index {self.name!r} is on classes, not on {self.on!r:.80}", target=self.on)
        if self.key is not None and not callable(self.key):
            raise TargetError(
                f"the key of the index {self.name!r} is {self.key!r:.80}, which cannot be called",
                target=self.key,
                fix="Give a function of an object; without one the attribute of the index's name is taken",
            )

    @functools.cached_property
    def definition(self) -> str:
        """What decides the index's content, in one line; the store keeps it beside the content."""
        parts = ["on " + " or ".join(map(name_of, self._classes))]
        if self.key is not None:
            parts.append(f"by {_name_of_key(self.key)}")
        parts += [word for word, said in (("many", self.many), ("unique", self.unique)) if said]
        return ", ".join(parts)

    def covers(self, cls: type) -> bool:
        """Tell whether objects of a class can be in it."""
        return issubclass(cls, self.on)

    def values(self, id: str, obj: object) -> tuple[Any, ...]:
        """Return the values that an object is found by, in order.

        :raises NotIndexable: it has a value that has no place in the index.
        """
        if not self.covers(obj.__class__):
            return ()
        try:
            found = getattr(obj, self.name, None) if self.key is None else self.key(obj)
        except Exception as error:
            error.add_note(f"It was raised by the key of the index {self.name!r} for object {id!r}.")
            raise
        if found is None:
            return ()
        return self._many(id, found) if self.many else (self._plain(id, found),)

    @property
    def _classes(self) -> tuple[Any, ...]:
        return self.on if isinstance(self.on, tuple) else (self.on,)

    def _many(self, id: str, found: Any) -> tuple[Any, ...]:
        if isinstance(found, str | bytes) or not isinstance(found, Iterable):
            problem = f"many=True needs a collection, not a {type(found).__qualname__}"
            raise NotIndexable(self.name, found, problem=problem, fix="Give the index a key that makes a list", id=id)
        values = {self._plain(id, element) for element in found if element is not None}
        kinds = sorted({orderable.described(orderable.kind(value)) for value in values})
        if len(kinds) > 1:
            problem = f"{' and '.join(kinds)} have no order among each other"
            raise NotIndexable(self.name, found, problem=problem, fix="Give the index a key that makes one kind", id=id)
        return tuple(sorted(values))

    def _plain(self, id: str, value: Any) -> Any:
        try:
            return orderable.plain(value)
        except orderable.Unorderable as error:
            raise NotIndexable(self.name, value, problem=error.problem, fix=error.fix, id=id) from None


def declared(indexes: Iterable[Index]) -> dict[str, Index]:
    """Return indexes by name.

    :raises TargetError: two have one name, or something is no index.
    """
    found: dict[str, Index] = {}
    for index in [indexes] if isinstance(indexes, Index | str) else indexes:
        if not isinstance(index, Index):
            raise TargetError(
                f"indexes has {index!r:.80}", target=index, fix=f"Declare an index: Index({index!r:.80}, on=...)"
            )
        if index.name in found:
            raise TargetError(f"two indexes are called {index.name!r}", target=index, fix="Give one another name")
        found[index.name] = index
    return found


def _name_of_key(key: Any) -> str:
    name = getattr(key, "__qualname__", None)
    return f"{key.__module__}:{name}" if name is not None else name_of(type(key))
