"""Resolving: what ZODB unpickles to merge two writes of one record is held to the type map, as all that is loaded.

ZODB asks a database's class factory when it loads an object. When it resolves a conflict it imports whatever the two
records name, so that who can write a store could run code in the processes that use it.
"""

from __future__ import annotations

import io
from collections.abc import Callable
from typing import Any

from ZODB._compat import PersistentUnpickler
from ZODB.ConflictResolution import BadClassName

from kiokupy import entry
from kiokupy.errors import NotLoadable

_HOOK = "_crs_untransform_record_data"  # what a storage does with a record before it unpickles it to resolve
_PARTS = 2  # of a record: its class and its state

Check = Callable[[bytes], bytes]


def checker(find_class: Callable[[str, str], Any]) -> Check:
    """Return what gives a record back, unless it names what ``find_class`` refuses: then its conflict is not resolved.

    So the conflict is the application's, whose next attempt loads the record and is told what is wrong with it.
    """

    def find(module: str, name: str) -> Any:
        if (module, name) == (entry.restore.__module__, entry.restore.__qualname__):
            return _Restored
        return entry.CLASSES.get((module, name)) or find_class(module, name)

    def checked(data: bytes) -> bytes:
        unpickler = PersistentUnpickler(find, lambda reference: None, io.BytesIO(data))
        try:
            for _ in range(_PARTS):
                unpickler.load()
        except NotLoadable as error:
            raise BadClassName(error.class_name) from error
        return data

    return checked


def install(storage: Any, check: Check) -> None:
    """Have a storage check records; a ZEO server resolves conflicts itself, unless it is told to leave that to us."""
    if hasattr(storage, _HOOK):
        setattr(storage, _HOOK, check)


class _Restored:
    """Stands for an object that the type map's pair makes; it cannot be part of a conflict that is resolved."""

    def __init__(self, class_name: str, data: object) -> None:
        pass
