"""Merging: two requests changed one session at the same time.

What only one of them changed is kept. Where both changed one key, a merge function decides, or the later writer wins.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from kiokupy.errors import SettingsError

Data = dict[str, Any]

#: ``merge(base, mine, theirs)`` returns the value that a key gets which two requests gave different ones: ``mine`` is
#: that of the request that is saved now, ``theirs`` is stored, and ``base`` is what both began with. ``None`` stands
#: for a key that is not there. It may be called again after a conflict, and changes none of the three. Since threads
#: save together it may run in another one than the request's, in the context (:mod:`contextvars`) of that.
Merge = Callable[[Any, Any, Any], Any]


def added(base: Any, mine: Any, theirs: Any) -> Any:
    """Merge numbers: what both added to them counts."""
    return (theirs or 0) + (mine or 0) - (base or 0)


def appended(base: Any, mine: Any, theirs: Any) -> Any:
    """Merge lists: what both appended is kept, theirs first; what one of them took out is gone.

    Items are compared with ``==``, each counts once.
    """
    base, mine, theirs = list(base or ()), list(mine or ()), list(theirs or ())
    return _without(theirs, _without(base, mine)) + _without(mine, base)


@dataclass(frozen=True)
class Tail:
    """Merges a list that got ``count`` items at its end, whatever they are, or more if it has grown by more."""

    count: int

    def __call__(self, base: Any, mine: Any, theirs: Any) -> Any:
        """Return their list with my new items."""
        new = max(self.count, len(mine) - len(base or ()))
        return [*(theirs or ()), *mine[max(0, len(mine) - new) :]]


def first(base: Any, mine: Any, theirs: Any) -> Any:
    """Let the earlier writer win."""
    return mine if theirs is None else theirs


def _without(items: list[Any], taken: list[Any]) -> list[Any]:
    left = list(taken)
    found = []
    for item in items:
        if item in left:
            left.remove(item)
        else:
            found.append(item)
    return found


def check_merges(merges: Mapping[str, Merge] | None) -> dict[str, Merge]:
    """Return merge functions by key.

    :raises SettingsError: one of them is none.
    """
    for key, merge in (merges or {}).items():
        if not isinstance(key, str) or not callable(merge):
            fix = "For example: merges={'visits': kiokupy.sessions.merging.added}"
            raise SettingsError(f"merges has {merge!r:.60} for {key!r:.60}, which is no function", target=key, fix=fix)
    return dict(merges or {})


def merged(
    base: Data, mine: Data, theirs: Data, *, dump: Callable[[Data], object], merges: Mapping[str, Merge]
) -> Data:
    """Return ``theirs`` with what ``mine`` changed of ``base``.

    :param dump: gives equal answers for unchanged values, so that changes deep inside them are seen.
    """
    result = dict(theirs)
    for key in base.keys() | mine.keys():
        if not _differs(key, base, mine, dump):
            continue
        if key in merges and _differs(key, base, theirs, dump):
            result[key] = merges[key](base.get(key), mine.get(key), theirs.get(key))
        elif key in mine:
            result[key] = mine[key]
        else:
            result.pop(key, None)
    return result


def _differs(key: str, one: Data, other: Data, dump: Callable[[Data], object]) -> bool:
    if key not in one or key not in other:
        return key in one or key in other
    return dump({key: one[key]}) != dump({key: other[key]})
