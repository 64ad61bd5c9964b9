"""Values: what collections keep in place, and how they tell it from references.

In a tree stands ``(id, class name)`` for an object, and ``("", word, value)`` for a value that nobody can change. So a
tree is plain data, and can be walked without any class. To merge two transactions' changes, BTrees compares old and new
with ``<``, which not all values have, and takes ``1`` for ``True``. The word, which is compared before the value, is a
type's name if its values have an order, and otherwise differs where the values do: their ``repr``.
"""

from __future__ import annotations

import datetime
import decimal
import fractions
import uuid
import zoneinfo
from collections.abc import Iterable, Iterator
from typing import Any

from kiokupy.errors import NotStorable
from kiokupy.rules import name_of

_ATOMS = frozenset({
    type(None), bool, int, float, complex, str, bytes,
    datetime.date, datetime.timedelta, datetime.timezone, decimal.Decimal, fractions.Fraction, uuid.UUID,
})  # fmt: skip
_MOMENTS = (datetime.datetime, datetime.time)
_ZONES = (type(None), datetime.timezone, zoneinfo.ZoneInfo)
_PLAIN = _ATOMS.union(_MOMENTS, (list, dict, set, bytearray, tuple, frozenset))
_KEYS = _ATOMS - {type(None), complex}

_PLACED = ""  # which is no id
_IN_ORDER = (str, bytes, int)


def is_fixed(value: object) -> bool:
    """Tell whether a value is plain data that nobody can change."""
    cls = type(value)
    if cls in _ATOMS:
        return True
    if isinstance(value, _MOMENTS):
        return cls in _MOMENTS and type(value.tzinfo) in _ZONES
    return (cls is tuple or cls is frozenset) and all(map(is_fixed, value))  # type: ignore[call-overload]  # as cls says


def check_member(obj: object, owner: object) -> None:
    """Refuse what can never have an id.

    :raises NotStorable: it is plain data.
    """
    if type(obj) in _PLAIN:
        raise no_member(obj, owner)


def no_member(obj: object, owner: object) -> NotStorable:
    """Return the error for something without an id in a set."""
    name = name_of(type(obj))
    return NotStorable(
        f"{obj!r:.80} in a {type(owner).__name__}",
        name,
        reason=f"its members are objects with ids of their own, and a {name} has none",
        fix="Keep plain values in a set(), or as the keys of an ObjectMap",
    )


def check_key(key: Any) -> None:
    """Refuse what has no lasting place in an order.

    :raises NotStorable: it is no string, number, bytes, date, time, UUID, or tuple of these, or it is a NaN.
    """
    if type(key) is tuple:
        for part in key:
            check_key(part)
    elif not (type(key) in _KEYS or (type(key) in _MOMENTS and is_fixed(key))) or key != key:  # noqa: PLR0124  # a NaN
        raise NotStorable(
            f"the key {key!r:.80}",
            name_of(type(key)),
            reason="a map keeps its keys in order",
            fix="Use strings, numbers, bytes, dates, UUIDs, or tuples of these",
        )


def encoded(value: object) -> object:
    """Return what stands in a tree for a value that nobody can change."""
    cls = type(value)
    return _PLACED, cls.__name__ if cls in _IN_ORDER else repr(value), value


def reference(stored: Any) -> tuple[str, str] | None:
    """Return the id and the class's name if what stands in a tree is a reference."""
    return None if stored[0] == _PLACED else stored


def references(items: Iterable[Any]) -> Iterator[str]:
    """Yield the ids in what stands in a tree."""
    return (found[0] for stored in items if (found := reference(stored)))


def is_same(one: object, other: object) -> bool:
    """Tell whether two values are the same: objects by identity, plain values by equality."""
    return one is other or (type(one) in _PLAIN and one == other)


def decoded(stored: Any) -> Any:
    """Return the value that something in a tree stands for, if it is no reference."""
    return stored[2]
