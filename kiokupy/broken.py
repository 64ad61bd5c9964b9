"""Broken objects: what stands in for an object whose class is gone.

They can be looked at, referred to, deleted and copied with the store; what the store has of them is not touched.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from kiokupy.entry import Record
from kiokupy.errors import BrokenObject


class Broken:
    """An object whose class is gone; each such class has a subclass of its own, of that class's name."""

    __slots__ = ("__weakref__", "_read", "_record")

    _read: Callable[[Record], Any]
    _record: Record

    @property
    def class_name(self) -> str:
        """The class that is gone, as ``module:qualname``."""
        return self._record.class_name

    @property
    def content(self) -> Any:
        """What the object holds, as plain data in the forms of :mod:`kiokupy.inspection`."""
        return self._read(self._record)

    def __setattr__(self, name: str, value: object) -> None:
        raise BrokenObject(self.class_name)

    def __delattr__(self, name: str) -> None:
        raise BrokenObject(self.class_name)

    def __reduce_ex__(self, protocol: object) -> Any:
        raise BrokenObject(self.class_name)

    def __copy__(self) -> Broken:
        return self

    def __deepcopy__(self, memo: object) -> Broken:
        return self

    def __repr__(self) -> str:
        return f"<broken {self.class_name}>"


def made(cls: type[Broken], record: Record, read: Callable[[Record], Any]) -> Broken:
    """Return the broken object of a record.

    :param read: answers the record's content.
    """
    obj = cls.__new__(cls)
    object.__setattr__(obj, "_record", record)
    object.__setattr__(obj, "_read", read)
    return obj


def class_for(class_name: str) -> type[Broken]:
    """Return a class of broken objects that goes by the name of the one that is gone."""
    module, _, qualname = class_name.partition(":")
    namespace = {"__slots__": (), "__module__": module, "__qualname__": qualname}
    return type(qualname.rpartition(".")[2], (Broken,), namespace)
