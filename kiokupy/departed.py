"""Departed objects: where an object came from whose scope has ended.

Without this an object held past its scope would come back as a stranger: stored again it would get a second id, or
write over what others wrote meanwhile.
"""

from __future__ import annotations

import weakref
from collections.abc import Mapping
from typing import NamedTuple

from kiokupy.entry import Record


class Origin(NamedTuple):
    """What is known of a departed object."""

    key: str
    #: What the store said of it when it was loaded or written; ``None``: it was never loaded.
    record: Record | None
    #: Whether it was loaded from the past, so that the record may have been outdated even then.
    past: bool
    #: The containers that it shared with others, by their ids.
    containers: Mapping[str, tuple[object, Record]] = {}


class Departed:
    """Remembers objects for as long as they live; those that cannot be weakly referenced are not remembered."""

    def __init__(self) -> None:
        self._origins: dict[int, tuple[weakref.ref[object], Origin]] = {}

    def remember(self, obj: object, origin: Origin) -> None:
        """Note where an object came from."""
        number = id(obj)
        try:
            alive = weakref.ref(obj, lambda _: self._origins.pop(number, None))
        except TypeError:
            return
        self._origins[number] = alive, origin

    def find(self, obj: object) -> Origin | None:
        """Return where an object came from."""
        alive, origin = self._origins.get(id(obj), (None, None))
        return origin if alive is not None and alive() is obj else None

    def forget(self, obj: object) -> None:
        """Treat an object as new from now on."""
        self._origins.pop(id(obj), None)
