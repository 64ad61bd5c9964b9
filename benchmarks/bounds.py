"""Bounds: the memory of a process that reads many more sessions than its settings let it keep."""

from __future__ import annotations

from benchmarks.field import Field
from benchmarks.stores import Contestant

PART = "bounds"
#: Who can be told how many records to keep.
CONTESTANTS = ("kiokupy File", "bare FileStorage")
CACHE_SIZES, THREADS = (1_000, 20_000), (1, 8)
_MEGABYTE = 1 << 20
_START = "MB, opened"
_NAMES = {
    (cache_size, threads): f"cache_size {cache_size:,}, {threads} {'thread' if threads == 1 else 'threads'}"
    for cache_size in CACHE_SIZES
    for threads in THREADS
}
#: What is found out, in the order of the table.
ORDER = (_START, *(f"{what}, {name}" for what in ("MB", "reads a second") for name in _NAMES.values()))


def measure(field: Field, *, count: int) -> None:
    """Note the most memory that a fresh process took which read all sessions of a store, once for each setting.

    :param count: how many sessions.
    """
    for contestant in field.starting():
        field.say(f"{contestant.name} is filled with {count:,} sessions, to be read with bounded memory")
        field.attempt(_fill, contestant, count)
    for setting, name in _NAMES.items():
        field.say(name)
        for contestant in field.starting():
            field.attempt(_read, contestant, count, *setting)


def _fill(field: Field, contestant: Contestant, count: int) -> None:
    with field.worker(contestant) as worker:
        worker.do("fill", count=count)
    with field.worker(contestant) as worker:
        field.add(_START, contestant, worker.do("memory") / _MEGABYTE)


def _read(field: Field, contestant: Contestant, count: int, cache_size: int, threads: int) -> None:
    name = _NAMES[cache_size, threads]
    with field.worker(contestant, cache_size=cache_size) as worker:
        field.add(f"reads a second, {name}", contestant, worker.do("read", count=count, threads=threads))
        field.add(f"MB, {name}", contestant, worker.do("memory", is_most=True) / _MEGABYTE)
