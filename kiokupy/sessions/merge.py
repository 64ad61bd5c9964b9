"""Merge: two requests changed one session at the same time."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

Data = dict[str, Any]


def merge(base: Data, mine: Data, theirs: Data, dump: Callable[[Data], bytes]) -> Data:
    """Return ``theirs`` with what ``mine`` changed of ``base``: a key that both changed gets my value.

    :param dump: gives equal bytes for unchanged values, so that changes deep inside them are seen.
    """
    merged = dict(theirs)
    for key in base.keys() - mine.keys():
        merged.pop(key, None)
    for key, value in mine.items():
        if key not in base or dump({key: value}) != dump({key: base[key]}):
            merged[key] = value
    return merged
