"""Weights: what a session takes in memory and on the disk."""

from __future__ import annotations

from benchmarks.field import Field
from benchmarks.large import room
from benchmarks.stores import Contestant, Durability

PART = "memory"
MEMORY, DISK = "bytes a session in memory", "bytes a session on the disk"


def measure(field: Field, *, count: int) -> None:
    """Note what a session adds to the processes of a store, and to its folder or database, not packed.

    :param count: of how many sessions.
    """
    for contestant in field.starting():
        field.say(f"{contestant.name} is filled with {count:,} sessions, to be weighed")
        field.attempt(_weigh, contestant, count)


def _weigh(field: Field, contestant: Contestant, count: int) -> None:
    folder = field.folder(contestant)
    with field.worker(contestant) as worker:
        worker.do("fill", count=1)
        memory, disk = worker.do("memory"), room(folder)
        worker.do("fill", count=count)
        field.add(MEMORY, contestant, (worker.do("memory") - memory) / count)
        if contestant.durable is not Durability.MEMORY:
            field.add(DISK, contestant, (room(folder) - disk) / count)
