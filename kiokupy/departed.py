"""Departed objects: where an object came from whose scope has ended.

Without this an object held past its scope would come back as a stranger: stored again it would get a second id, or
write over what others wrote meanwhile.
"""

from __future__ import annotations

import weakref
from collections.abc import Mapping
from functools import partial
from typing import Any, NamedTuple

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


class _Departure(weakref.ref[Any]):
    """A reference to a departed object, with its number and the fields of its origin.

    They are in no tuple, which would be one more object to visit for Python's collector.
    """

    __slots__ = ("containers", "key", "number", "past", "record")

    number: int
    key: str
    record: Record | None
    past: bool
    containers: Mapping[str, tuple[object, Record]]


class Departed:
    """Remembers objects for as long as they live; those that cannot be weakly referenced are not remembered."""

    def __init__(self) -> None:
        self._departures: dict[int, _Departure] = {}
        self._over = partial(_forget, self._departures)

    def remember(self, obj: object, origin: Origin) -> None:
        """Note where an object came from."""
        try:
            departure = _Departure(obj, self._over)
        except TypeError:
            return
        departure.number = id(obj)
        departure.key, departure.record, departure.past, departure.containers = origin
        self._departures[departure.number] = departure

    def find(self, obj: object) -> Origin | None:
        """Return where an object came from."""
        departure = self._departures.get(id(obj))
        if departure is None or departure() is not obj:
            return None
        return Origin(departure.key, departure.record, departure.past, departure.containers)

    def forget(self, obj: object) -> None:
        """Treat an object as new from now on."""
        self._departures.pop(id(obj), None)


def _forget(departures: dict[int, _Departure], departure: _Departure) -> None:
    departures.pop(departure.number, None)
