"""Large stores: filled, packed and closed; then used by a fresh process in each round, which has seen no session yet.

The file's pages are in the system's memory: a cold read is one that the process has to ask its store for.
"""

from __future__ import annotations

from pathlib import Path

from benchmarks import services
from benchmarks.field import Field
from benchmarks.stores import Contestant
from benchmarks.stores.contract import LIFETIME

_SIZE = 1_000
_EXPIRED_IN, _SWEEPS = 10, 3
_COLD = 10_000
_BLOCK = 512


def measure(field: Field, *, rounds: int, seconds: float, count: int) -> None:
    """Note what each contestant does among many sessions.

    :param seconds: how long a work is done in a round.
    :param count: how many sessions.
    """
    for contestant in field.starting():
        field.say(f"{contestant.name} is filled with {count:,} sessions")
        field.attempt(_fill, contestant, count)
    for number in range(rounds):
        field.say(f"round {number + 1} of {rounds}, among {count:,} sessions")
        for contestant in field.starting(number):
            field.attempt(_use, contestant, seconds)
    for number in range(min(rounds, _SWEEPS)):
        field.say(f"sweep {number + 1}: {count // _EXPIRED_IN:,} expired among {count:,}")
        for contestant in field.starting(number):
            field.attempt(_sweep, contestant, count)


def _fill(field: Field, contestant: Contestant, count: int) -> None:
    folder = field.folder(contestant)
    with field.worker(contestant, size=_SIZE) as worker:
        field.add("fill", contestant, worker.do("fill", count=count))
        field.add("bytes a session", contestant, _bytes(folder) / count)
        field.add("pack, seconds", contestant, worker.do("pack"))
    for old in folder.glob("*.old"):  # what packing keeps of the store before it is nothing that the store needs
        old.unlink()
    field.add("bytes a session, packed", contestant, _bytes(folder) / count)


def _use(field: Field, contestant: Contestant, seconds: float) -> None:
    with field.worker(contestant, seconds=seconds, size=_SIZE) as worker:
        field.add("open, seconds", contestant, worker.opened)
        for work in ("retrieve", "change"):
            field.add(f"{work} cold", contestant, worker.do("cold", work=work, count=_COLD))
        field.add("create", contestant, worker.do("create"))
        field.add("memory, bytes", contestant, worker.do("memory"))


def _sweep(field: Field, contestant: Contestant, count: int) -> None:
    with field.worker(contestant, size=_SIZE) as worker:
        worker.do("fill", count=count // _EXPIRED_IN, age=LIFETIME * 2)
        field.add("sweep, seconds", contestant, worker.do("sweep"))


def _bytes(folder: Path) -> int:
    """Return how much room a store takes on the disk, in whole blocks."""
    database = services.database_bytes(folder)
    if database is not None:
        return database
    return sum(path.stat().st_blocks * _BLOCK for path in folder.rglob("*") if path.is_file())
