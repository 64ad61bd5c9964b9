"""Moments: points in a store's past, as people name them and as storages number them."""

from __future__ import annotations

import struct
from datetime import UTC, datetime, timedelta
from typing import NamedTuple, TypeAlias

from persistent.timestamp import TimeStamp

from kiokupy.errors import InvalidMoment


class Revision(NamedTuple):
    """One state that an object had."""

    #: The object's id.
    id: str
    #: The number of the transaction that wrote it.
    tid: bytes
    #: When it was written, in UTC.
    time: datetime
    #: How many bytes were written of the object; 0 where the storage only points to an earlier state.
    size: int
    #: Who wrote it and why, as :meth:`kiokupy.Scope.note` said.
    user: str
    description: str


Moment: TypeAlias = datetime | bytes | Revision

# A number is the minutes since 1900, each month counted as 31 days, and the 2**32nd parts of a minute since then.
_BYTES = 8
_MINUTE = 60_000_000
_FIRST, _LAST = datetime(1900, 1, 1, tzinfo=UTC), datetime(9900, 1, 1, tzinfo=UTC)


def time_of(tid: bytes) -> datetime:
    """Return when a transaction was committed, to the microsecond; what is finer is dropped."""
    stamp = TimeStamp(tid)
    parts: int = struct.unpack(">L", tid[4:])[0]
    start = datetime(stamp.year(), stamp.month(), 1, stamp.hour(), stamp.minute(), tzinfo=UTC)
    return start + timedelta(days=stamp.day() - 1, microseconds=parts * _MINUTE >> 32)


def last_tid(moment: Moment) -> bytes:
    """Return the highest number of a transaction that a moment includes; of a datetime, until its microsecond ends.

    So :attr:`Revision.time`, which drops what is finer, includes its revision.

    :raises InvalidMoment: it is none.
    """
    found = moment.tid if isinstance(moment, Revision) else moment
    if isinstance(found, bytes) and len(found) == _BYTES:
        return found
    if not isinstance(found, datetime):
        raise InvalidMoment(moment, "is no moment")
    if found.utcoffset() is None:
        raise InvalidMoment(moment, "has no time zone")
    utc = min(max(found, _FIRST), _LAST).astimezone(UTC)
    parts = -(-(utc.second * 1_000_000 + utc.microsecond + 1 << 32) // _MINUTE) - 1
    minute: bytes = TimeStamp(utc.year, utc.month, utc.day, utc.hour, utc.minute, 0).raw()
    return minute[:4] + struct.pack(">L", parts)


def known(moment: Moment, newest: bytes) -> bytes:
    """Return the number of the last transaction that a moment includes, or of the newest one if that is earlier.

    :raises InvalidMoment: it is none, or in the future.
    """
    tid = last_tid(moment)
    if tid > newest and time_of(tid) > datetime.now(UTC):
        raise InvalidMoment(moment, "is in the future")
    return min(tid, newest)
