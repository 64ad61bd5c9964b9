"""Growth: what many changes of few sessions leave on the disk, and what packing that away is like for who works on."""

from __future__ import annotations

from contextlib import suppress

from benchmarks import large
from benchmarks.field import Field
from benchmarks.stores import Contestant

PART = "growth"
#: Who grows, or is there to be compared.
CONTESTANTS = ("kiokupy File", "bare FileStorage", "diskcache")
#: Work goes on for so many rounds' time before the store is packed.
_BEFORE = 10
_MEGABYTE = 1 << 20
_FILLED, _GROWN, _PACKED = "MB, filled", "MB, then", "MB, packed"
_UPDATES, _EACH = "changes a second", "bytes a change"
#: What is found out, in the order of the table; what else there is follows.
ORDER = (_FILLED, _UPDATES, _GROWN, _EACH, *large.REOPEN.values(), "pack, seconds", _PACKED)


def measure(field: Field, *, seconds: float, sessions: int, changes: int) -> None:
    """Note how a store grows that is changed all the time, and what packing it is like, once.

    :param seconds: of a round.
    :param sessions: how many there are.
    :param changes: how many there will be, one after the other.
    """
    for contestant in field.starting():
        field.say(f"{contestant.name}: {changes:,} changes of {sessions:,} sessions")
        field.attempt(_grow, contestant, seconds, sessions, changes)


def _grow(field: Field, contestant: Contestant, seconds: float, sessions: int, changes: int) -> None:
    folder = field.folder(contestant)

    def weigh(name: str) -> int:
        found = large.room(folder)
        field.add(name, contestant, found / _MEGABYTE)
        return found

    with field.worker(contestant) as worker:
        worker.do("fill", count=sessions)
        filled = weigh(_FILLED)
        field.add(_UPDATES, contestant, worker.do("update", count=changes))
        field.add(_EACH, contestant, (weigh(_GROWN) - filled) / changes)
        large.reopen(field, contestant, worker)
        with suppress(NotImplementedError):
            for name, figure in worker.do("pack_beside", seconds=seconds * _BEFORE).items():
                field.add(name, contestant, figure)
            weigh(_PACKED)
