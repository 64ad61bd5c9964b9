"""Durability: the option ``fsync``, which says when a commit is put on the disk.

==============  =====================================================================================
``always``      before it returns, each by itself
``group:<ms>``  before it returns, together with those that come within so many milliseconds
``everysec``    about a second later
``never``       when the store is packed and closed, else when the operating system likes
==============  =====================================================================================
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Literal, cast

from kiokupy import suggestion
from kiokupy.errors import TargetError

Word = Literal["always", "group", "everysec", "never"]

_WORDS = ("always", "group", "everysec", "never")
_KNOWN = "It is 'always', 'group:5' (a number of milliseconds), 'everysec' or 'never'"


@dataclass(frozen=True)
class Durability:
    """What was chosen; ``delay``, in seconds, belongs to ``group``."""

    word: Word = "always"
    delay: float = 0.0


def read(value: Any) -> Durability:
    """Return what a value of the option means.

    :raises TargetError: it means nothing.
    """
    word, colon, number = str(value).strip().lower().partition(":")
    if word not in _WORDS:
        near = suggestion.nearest(word, _WORDS, 1)
        raise _refused(value, f"Did you mean {near[0]!r}? {_KNOWN}" if near else _KNOWN)
    if word != "group":
        if colon:
            raise _refused(value, f"Write fsync={word!r}; only 'group' has a number")
        return Durability(cast("Word", word))
    return Durability("group", _milliseconds(value, number) / 1000)


def _milliseconds(value: Any, number: str) -> float:
    try:
        milliseconds = float(number)
    except ValueError:
        milliseconds = math.nan
    if not 0 <= milliseconds < math.inf:
        raise _refused(value, "Say for how many milliseconds a commit waits for others, from 0 up: fsync='group:5'")
    return milliseconds


def _refused(value: Any, fix: str) -> TargetError:
    return TargetError(f"the option fsync is {value!r}", target="fsync", fix=fix)
