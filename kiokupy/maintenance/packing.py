"""Packing: a store lets go of the past, and of the records that nothing reaches any more.

ZODB keeps what the root of the database reaches. Objects are reached through the tree of entries, so whatever has an id
stays, also where only the record of a Persistent object names it, in a form that ZODB does not follow.
"""

from __future__ import annotations

import math
import time
from dataclasses import dataclass
from datetime import timedelta

from ZODB.serialize import referencesf

from kiokupy.directory import Directory
from kiokupy.errors import StoreError, StoreReadOnly
from kiokupy.maintenance.progress import Progress, Step, silent


@dataclass(frozen=True)
class Packed:
    """How large a store is, in bytes, as its storage tells: a database may keep freed space for itself."""

    before: int
    after: int


def pack(
    directory: Directory, *, days: float = 0, keep: timedelta = timedelta(0), progress: Progress = silent
) -> Packed:
    """Pack a store; others may read and write meanwhile. What was deleted is gone for good then.

    A File store's state before stands in ``path.old`` afterwards; it needs as much room again, and more while it packs.

    :param days: how many days of the past to keep, where the storage keeps one at all.
    :param keep: the same as a time span; the two add up.
    :raises StoreReadOnly: the store was opened for reading only.
    :raises StoreError: the storage cannot do it, as on a full disk, or is being packed already.
    """
    span = _span(days, keep)
    if directory.readonly:
        raise StoreReadOnly(directory.location)
    with directory.new_unit() as unit:
        storage, translated = unit.connection.db().storage, unit.database.translated
    before = storage.getSize()
    progress(Step("pack", 0, None))
    try:
        with translated():
            storage.pack(time.time() - span.total_seconds(), referencesf)
    except OSError as error:
        problem = f"it is as it was, the file system refused the packed copy ({error.strerror})"
        raise StoreError(directory.location, problem, fix="Make room on the disk, and try again") from error
    progress(Step("pack", 1, 1))
    return Packed(before, storage.getSize())


def _span(days: float, keep: timedelta) -> timedelta:
    if not isinstance(days, int | float) or not isinstance(keep, timedelta):
        raise TypeError(f"days={days!r}, keep={keep!r}: days is a number, keep a datetime.timedelta")
    if not math.isfinite(days) or days < 0 or keep < timedelta(0):
        raise ValueError(f"days={days!r}, keep={keep!r}: the past to keep is a time from 0 up")
    try:
        return timedelta(days=days) + keep
    except OverflowError as error:
        raise ValueError(f"days={days!r}: that is more past than there is") from error
