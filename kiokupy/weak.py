"""Weak references: kept in records, restored weak, and not lost when what they refer to was let go with its scope."""

from __future__ import annotations

import weakref
from typing import Any


class WeakReference(weakref.ref[Any]):
    """A weak reference that was loaded; it knows where it led, for when it is stored again after its target is gone."""

    #: The id and the class's name of what it refers to; ``None``: the store does not have it.
    origin: tuple[str, str] | None = None


class _Gone:
    """What a dead reference refers to."""


def dead() -> WeakReference:
    """Return a reference to something that is no more."""
    return WeakReference(_Gone())


def made(target: Any, id: str, class_name: str) -> WeakReference:
    """Return a weak reference to an object that has an id."""
    reference = WeakReference(target)
    reference.origin = id, class_name
    return reference
