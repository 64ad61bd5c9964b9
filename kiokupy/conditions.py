"""Conditions: what :meth:`~kiokupy.Scope.search` asks of an index, where a plain value would ask for that value."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple

#: Where a span has no end. Not ``None``, which somebody may look for and is then told of.
ENDLESS: Any = ...


class Span(NamedTuple):
    """The values from one to another."""

    low: Any = ENDLESS
    high: Any = ENDLESS
    #: whether ``low`` itself is left out
    above: bool = False
    #: whether ``high`` itself is left out
    below: bool = False

    def holds(self, value: Any) -> bool:
        """Tell whether a value of the same kind is in it."""
        return not (
            (self.low is not ENDLESS and (value < self.low or (self.above and value == self.low)))
            or (self.high is not ENDLESS and (value > self.high or (self.below and value == self.high)))
        )


@dataclass(frozen=True)
class Condition:
    """A value is in one of some spans; or, where an object has many values, there is one in each of them."""

    spans: tuple[Span, ...]
    every: bool = False


def condition(asked: Any) -> Condition:
    """Return what was asked as a condition: a plain value asks for itself."""
    return asked if isinstance(asked, Condition) else any_of(asked)


def between(low: Any, high: Any) -> Condition:
    """Ask for the values from ``low`` to ``high``, both included."""
    return Condition((Span(low, high),))


def at_least(low: Any) -> Condition:
    """Ask for ``low`` and greater values."""
    return Condition((Span(low=low),))


def at_most(high: Any) -> Condition:
    """Ask for ``high`` and lesser values."""
    return Condition((Span(high=high),))


def above(low: Any) -> Condition:
    """Ask for values greater than ``low``."""
    return Condition((Span(low=low, above=True),))


def below(high: Any) -> Condition:
    """Ask for values less than ``high``."""
    return Condition((Span(high=high, below=True),))


def any_of(*values: Any) -> Condition:
    """Ask for each of some values; without any nothing is found."""
    return Condition(tuple(Span(value, value) for value in values))


def all_of(value: Any, *values: Any) -> Condition:
    """Ask for objects that have all of some values; for an index with ``many=True``."""
    return Condition(any_of(value, *values).spans, every=True)


def has_prefix(prefix: str | bytes) -> Condition:
    """Ask for text, or bytes, that begins so.

    :raises TypeError: ``prefix`` is neither.
    """
    if not isinstance(prefix, str | bytes):
        raise TypeError(f"a prefix is text or bytes, not {prefix!r:.80}")
    return Condition((Span(prefix, _after(prefix), below=True),))


def _after(prefix: Any) -> Any:
    """Return the least text that is greater than all that begin so; there may be none."""
    greatest = chr(0x10FFFF) if isinstance(prefix, str) else b"\xff"
    stem = prefix.rstrip(greatest)
    if not stem:
        return ENDLESS
    if isinstance(stem, str):
        return stem[:-1] + chr(ord(stem[-1]) + 1)
    return stem[:-1] + bytes([stem[-1] + 1])
