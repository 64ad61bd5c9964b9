"""Large stores: filled, packed and closed; then used by a fresh process in each round, which has seen no session yet.

The file's pages are in the system's memory: a cold read is one that the process has to ask its store for. Stores of
different sizes take turns, round by round: what a session costs among more of them is told within one run.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from benchmarks import services
from benchmarks.field import Field
from benchmarks.stores import Contestant
from benchmarks.stores.contract import LIFETIME
from benchmarks.workers import Worker

_SIZE = 1_000
#: One in so many has expired, and no more than so many; so often they are swept, and the store is opened.
_EXPIRED_IN, _MOST_EXPIRED, _TIMES = 10, 10_000, 3
_COLD = 10_000
_BLOCK, _BESIDE = 512, {".old", ".tmp"}
#: What is done in a round, by its name: the method of Works, and its arguments.
USES: dict[str, tuple[str, dict[str, Any]]] = {
    "retrieve cold": ("cold", {"work": "retrieve", "count": _COLD}),
    "change cold": ("cold", {"work": "change", "count": _COLD}),
    "create": ("create", {}),
    "retrieve hot": ("retrieve", {}),
    "change": ("change", {}),
    "90/10, 8 threads": ("mixed_threads", {"threads": 8}),
}
_OPENED, _FILL, _BYTES, _PACK, _PACKED = (
    "start, seconds",
    "fill",
    "bytes a session",
    "pack, seconds",
    "bytes a session, packed",
)
_MEMORY, _SWEEP = "memory, bytes", "sweep, seconds"
#: By whether the index is there.
REOPEN = {True: "reopen, seconds", False: "reopen without index, seconds"}
#: What is found out, in the order of the table.
ORDER = (*USES, _SWEEP, _FILL, _BYTES, _PACKED, _PACK, _OPENED, *REOPEN.values(), _MEMORY)


def measure(fields: Sequence[Field], counts: Sequence[int], *, rounds: int, seconds: float) -> None:
    """Note what each contestant does among many sessions.

    :param counts: how many sessions, for each field.
    :param seconds: how long a work is done in a round.
    """
    sizes = list(zip(fields, counts, strict=True))
    for field, count in sizes:
        for contestant in field.starting():
            field.say(f"{contestant.name} is filled with {count:,} sessions")
            field.attempt(_fill, contestant, count)
    for number in range(rounds):
        for field, count in sizes:
            field.say(f"round {number + 1} of {rounds}, among {count:,} sessions")
            for contestant in field.starting(number):
                field.attempt(_use, contestant, seconds)
    for number in range(min(rounds, _TIMES)):
        for field, count in sizes:
            field.say(f"opening and sweep {number + 1}, {count:,} sessions")
            for contestant in field.starting(number):
                field.attempt(_sweep, contestant, min(count // _EXPIRED_IN, _MOST_EXPIRED))
            for contestant in field.starting(number):
                field.attempt(_reopen, contestant)


def _fill(field: Field, contestant: Contestant, count: int) -> None:
    folder = field.folder(contestant)
    with field.worker(contestant, size=_SIZE) as worker:
        field.add(_FILL, contestant, worker.do("fill", count=count))
        field.add(_BYTES, contestant, room(folder) / count)
        with suppress(NotImplementedError):
            field.add(_PACK, contestant, worker.do("pack"))
    field.add(_PACKED, contestant, room(folder) / count)


def _use(field: Field, contestant: Contestant, seconds: float) -> None:
    with field.worker(contestant, seconds=seconds, size=_SIZE) as worker:
        field.add(_OPENED, contestant, worker.opened)
        for name, (work, arguments) in USES.items():
            field.add(name, contestant, worker.do(work, **arguments))
        field.add(_MEMORY, contestant, worker.do("memory"))


def _sweep(field: Field, contestant: Contestant, count: int) -> None:
    with field.worker(contestant, size=_SIZE) as worker:
        worker.do("fill", count=count, age=LIFETIME * 2)
        field.add(_SWEEP, contestant, worker.do("sweep"))


def _reopen(field: Field, contestant: Contestant) -> None:
    with field.worker(contestant, size=_SIZE) as worker:
        reopen(field, contestant, worker)


def reopen(field: Field, contestant: Contestant, worker: Worker) -> None:
    """Note how many seconds a store takes until it answers again, with its index and without, if it has one."""
    for is_indexed, name in REOPEN.items():
        with suppress(NotImplementedError):
            field.add(name, contestant, worker.do("reopen", is_indexed=is_indexed))


def room(folder: Path) -> int:
    """Return how many bytes a store takes on the disk, in whole blocks.

    What packing kept of it as it was does not count, nor the buffer of a FileStorage, which is as large as the largest
    transaction: that was one of filling.
    """
    database = services.database_bytes(folder)
    if database is not None:
        return database
    files = (path for path in folder.rglob("*") if path.is_file() and path.suffix not in _BESIDE)
    return sum(path.stat().st_blocks * _BLOCK for path in files)
