"""Goals: ratios within one run, and what the figures say of each."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from benchmarks.figures import Figures, median, ratio
from benchmarks.graphs import PERL
from benchmarks.large import USES
from benchmarks.payloads import pickled_bytes
from benchmarks.startup import WORK as IMPORT

_FILE, _HASH, _SQLITE, _POSTGRESQL = "kiokupy File", "kiokupy Hash", "kiokupy SQLite", "kiokupy PostgreSQL"
_RAW, _DISK = "raw append + fsync", "diskcache"
_BYTES = 1_000
_SMALL, _LARGE = f"sessions {_BYTES}", "large 100000"
_FEW, _MANY = "large 10000", "large 1000000"
#: What a session may take on the disk: its pickle so many times, and so many bytes.
_ROOM, _MARGIN = 1.3, 300


@dataclass(frozen=True)
class Reached:
    """One thing that a goal asks for.

    :param value: what was found; ``None``: it was not measured.
    :param bound: what is asked for: at least that, or at most if ``is_most``.
    """

    what: str
    value: float | None
    bound: float
    is_most: bool = False
    unit: str = "×"  # noqa: RUF001  # times, not the letter

    @property
    def is_reached(self) -> bool | None:
        """Whether it is what it ought to be; ``None``: it was not measured."""
        if self.value is None:
            return None
        return self.value <= self.bound if self.is_most else self.value >= self.bound


@dataclass(frozen=True)
class Goal:
    """A goal, by its number, and what it asks for."""

    number: str
    text: str
    reached: tuple[Reached, ...]


def goals(figures: Figures) -> list[Goal]:
    """Return all goals with what these figures say of them."""
    return [Goal(number, text, tuple(found)) for number, text, found in _goals(figures)]


def _goals(figures: Figures) -> Iterator[tuple[str, str, list[Reached]]]:
    def beside(other: str, work: str, bound: float, ours: str = _FILE, part: str = _SMALL) -> Reached:
        found = ratio(figures, part, (work, ours), (work, other))
        return Reached(f"{work}: {ours.removeprefix('kiokupy ')} / {other}", found, bound)

    redis, django, wal = "redis-py, AOF always", "Django locmem", "Django db WAL FULL"
    yield "P1", "File, durable change, 1 thread", [beside(redis, "change", 1.3), beside(_RAW, "change", 0.7)]
    yield "P2", "File, durable change, many threads", _beside_one_thread(figures)
    yield "P3", "File, retrieve hot", [beside(_DISK, "retrieve hot", 1)]
    yield "P4", "File, durable, 8 threads 90/10", [beside(_DISK, "90/10, 8 threads", 1)]
    yield "P5", "File, cold read among 100,000", [beside(_DISK, "retrieve cold", 1, part=_LARGE)]
    yield "P6", "File, sweep 10,000 expired of 100,000", [_sweep(figures)]
    in_memory = [beside(django, work, 1, _HASH) for work in ("create", "retrieve hot", "change")]
    yield "P7", "Hash, as fast as a dict of pickles", in_memory
    on_sqlite = [beside(wal, "change", 3, _SQLITE), beside(wal, "retrieve hot", 8, _SQLITE)]
    yield "P8", "SQLite, synchronous FULL", on_sqlite
    alchemy, relstorage = "Flask-Session SQLAlchemy PostgreSQL", "bare RelStorage PostgreSQL"
    on_postgresql = [
        beside(relstorage, "change, 8 threads", 6, _POSTGRESQL),
        beside(alchemy, "retrieve hot", 2, _POSTGRESQL),
    ]
    yield "P9", "PostgreSQL", on_postgresql
    yield "P10", "File, cost with 1,000,000 sessions beside that with 10,000", _growth(figures)
    yield "P11", "File, disk a session, packed", [_disk(figures)]
    yield "P12", "a graph of 100,000 plain objects, in memory", _graphs(figures)
    beyond = median(figures, "startup", IMPORT, "kiokupy, beyond ZODB")
    took = None if beyond is None else beyond * 1000
    yield "P13", "import kiokupy, beyond ZODB", [Reached("import kiokupy", took, 30, is_most=True, unit="ms")]


def _beside_one_thread(figures: Figures) -> list[Reached]:
    return [
        Reached(
            f"change, {threads} threads: File / {_RAW}, 1 thread",
            ratio(figures, _SMALL, (f"change, {threads} threads", _FILE), ("change", _RAW)),
            bound,
        )
        for threads, bound in ((8, 1.2), (32, 2))
    ]


def _sweep(figures: Figures) -> Reached:
    work = "sweep, seconds"
    found = ratio(figures, _LARGE, (work, _FILE), (work, _DISK))
    return Reached(f"{work}: File / {_DISK}", found, 1, is_most=True)


def _growth(figures: Figures) -> list[Reached]:
    found = []
    for work in USES:
        value = ratio(figures, _FEW, (work, _FILE), (work, _FILE), beside=_MANY)
        found.append(Reached(f"{work}: cost with 1,000,000 / with 10,000", value, 1.5, is_most=True))
    return found


def _disk(figures: Figures) -> Reached:
    pickled = pickled_bytes(_BYTES)
    found = median(figures, _LARGE, "bytes a session, packed", _FILE)
    return Reached(f"of a pickle of {pickled} bytes", found, _ROOM * pickled + _MARGIN, is_most=True, unit="bytes")


def _graphs(figures: Figures) -> list[Reached]:
    found = []
    for work in ("store", "look up"):
        for other, bound in ((PERL, 10), ("bare ZODB, Persistent", 0.5)):
            key = f"{work}, 100000 objects"  # these figures are costs, so the other one's stands above
            found.append(Reached(f"{work}: {other}", ratio(figures, "graphs", (key, other), (key, "kiokupy")), bound))
    return found


def verdict(goal: Goal) -> str:
    """Return whether a goal is reached, in a word or two."""
    found = [reached.is_reached for reached in goal.reached]
    if None in found:
        return "not measured"
    return "reached" if all(found) else "in part" if any(found) else "not yet"
