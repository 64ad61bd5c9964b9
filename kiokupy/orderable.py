"""Orderable values: what an index can hold.

The keys of a tree must be in one order, and each process that reads it must agree on that order; otherwise the tree is
damaged without a sign. So an index holds only immutable values of the standard library, and only such as compare with
each other; an application's class would also have to be loaded to read the tree at all.
"""

from __future__ import annotations

import datetime
import decimal
import enum
import math
import uuid
from collections.abc import Callable
from typing import Any, TypeVar

T = TypeVar("T")

_KINDS: dict[type, str] = {
    bool: "numbers",
    int: "numbers",
    float: "numbers",
    decimal.Decimal: "numbers",
    str: "text",
    bytes: "bytes",
    datetime.date: "dates",
    datetime.time: "times",
    datetime.timedelta: "spans of time",
    uuid.UUID: "UUIDs",
}

_FIX = "Give the index a key that makes text, a number, a date or a tuple of it"


class Unorderable(Exception):
    """A value has no place in an order."""

    def __init__(self, problem: str, fix: str = _FIX) -> None:
        super().__init__(problem)
        self.problem, self.fix = problem, fix


def plain(value: Any) -> Any:
    """Return what an index holds for a value: the value, or an equal one of an exact type of the standard library.

    An enum's member stands for its value, a moment with a zone for the same moment in UTC.

    :raises Unorderable: it has no place in an order.
    """
    if type(value) in _AS_IT_IS:
        return value
    for cls, make in _MAKERS:
        if isinstance(value, cls):
            return make(value)
    if value is None:
        raise Unorderable("None is in no index, and what has no value cannot be found in one", "Look for a value")
    raise Unorderable(f"there is no order for a {type(value).__qualname__}")


def kind(value: Any) -> Any:
    """Return what a value that :func:`plain` gave can be compared with: two of one kind always have an order."""
    if isinstance(value, tuple):
        return tuple(map(kind, value))
    if isinstance(value, datetime.datetime):
        return "moments without a zone" if value.tzinfo is None else "moments with a zone"
    return _KINDS[type(value)]


def described(kind: Any) -> str:
    """Return a kind in words."""
    if isinstance(kind, tuple):
        return f"tuples of ({', '.join(map(described, kind))})"
    return str(kind)


def _float(value: float) -> float:
    if math.isnan(value):
        raise Unorderable(*_NO_NUMBER)
    return float.__float__(value)


def _decimal(value: decimal.Decimal) -> decimal.Decimal:
    if value.is_nan():
        raise Unorderable(*_NO_NUMBER)
    return decimal.Decimal(value)


_NO_NUMBER = ("it is not a number and has no order", "Use None for what is not known")


def _time(value: datetime.time) -> datetime.time:
    if value.tzinfo is not None:
        raise Unorderable("times of different zones have no order", "Give the index a key that makes moments of them")
    return _exactly(value, datetime.time)


def _moment(value: datetime.datetime) -> datetime.datetime:
    _exactly(value, datetime.datetime)
    if value.utcoffset() is None:
        return value.replace(tzinfo=None)
    try:
        return value.astimezone(datetime.UTC)
    except OverflowError:
        raise Unorderable("this moment does not exist in UTC") from None


def _exactly(value: T, cls: type) -> T:
    if type(value) is not cls:
        raise Unorderable(f"there is no order for a {type(value).__qualname__}")
    return value


#: These are immutable and hold nothing that is not.
_AS_IT_IS = frozenset({bool, int, str, bytes, datetime.date, datetime.timedelta, uuid.UUID})

#: What is made of the others. A subclass is cut down: as a key of a tree it would drag its class into the store.
_MAKERS: list[tuple[type, Callable[[Any], Any]]] = [
    (enum.Enum, lambda member: plain(member.value)),
    (str, str.__str__),
    (float, _float),
    (decimal.Decimal, _decimal),
    (int, int.__int__),
    (datetime.datetime, _moment),
    (datetime.time, _time),
    (tuple, lambda parts: tuple(map(plain, parts))),
]
