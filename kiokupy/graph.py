"""Graph: what connections ask of the scope that uses them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any, TypeVar

from persistent import Persistent

T = TypeVar("T")


class Graph:
    """What a connection asks of the scope that uses it; these answers are those of one without a scope."""

    def id_of(self, obj: object) -> str | None:
        """Return the id of a first-class plain object that a Persistent object holds."""

    def resolve(self, key: str, class_name: str) -> object:
        """Return the object of an id that a Persistent object's record refers to."""

    def reducer(self, cls: type) -> Callable[[Any], tuple[Any, ...]] | None:
        """Return what reduces the intrinsic objects of a class, where their own way of it will not do."""

    def restore(self, class_name: str, data: object) -> object:
        """Make an object of what its rule's ``collapse`` gave."""

    #: Whether the scope has ended.
    closed = False

    def member(self, owner: Persistent, key: str, class_name: str) -> object:
        """Return the object of an id in a collection; as :meth:`resolve`."""
        return self.resolve(key, class_name)

    def walk(self, blocks: Iterable[Iterable[T]], meet: Callable[[T], Any]) -> Iterator[Any]:
        """Yield what ``meet`` makes of each item, in memory for some blocks."""
        return (meet(item) for block in blocks for item in block)

    def exists(self, key: str) -> bool:
        """Tell whether an id is in the store, as far as is known."""
        return True
