"""Object graphs: plain objects in kiokupy, Persistent ones in bare ZODB, and KiokuDB in Perl, all in memory.

Figures are microseconds of processor time an object; every object has a string, a number, a list and a reference to
another one. Each contestant has a process of its own in each round: ``python -m benchmarks.graphs NAME COUNT``.
"""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from shutil import which

import transaction
from BTrees.OOBTree import OOBTree
from persistent import Persistent
from ZODB import DB
from ZODB.MappingStorage import MappingStorage

import kiokupy
from benchmarks.figures import Part, add

COUNTS = (1, 100, 10_000, 100_000)
_HOME = Path(__file__).parent.parent
#: Small graphs are stored so often that this many objects are.
_ENOUGH = 1_000
Figures = dict[str, float]


class Person:
    """A plain object."""

    def __init__(self, number: int, friend: object) -> None:
        self.name, self.age, self.tags, self.friend = f"person {number}", number, ["a", str(number)], friend


class PersistentPerson(Persistent):  # type: ignore[misc]  # persistent has no annotations
    """The same, of a class made for ZODB."""

    def __init__(self, number: int, friend: object) -> None:
        self.name, self.age, self.tags, self.friend = f"person {number}", number, ["a", str(number)], friend


def people(cls: type, count: int, first: int = 0) -> dict[str, object]:
    """Return objects by id, each of which refers to an earlier one.

    :param first: the number of the first.
    """
    found: dict[str, object] = {}
    for number in range(first, first + count):
        found[f"{number:06}"] = cls(number, found.get(f"{first + (number - first) // 2:06}"))
    return found


def microseconds(count: int, work: Callable[[], object]) -> float:
    """Return the processor time that ``work`` takes for each of some objects."""
    start = time.process_time()
    work()
    return (time.process_time() - start) * 1e6 / count


def with_kiokupy(count: int) -> Figures:
    """Measure plain objects in a directory, and what noticing changes costs at the commit."""
    graphs = [people(Person, count, number * count) for number in range(max(1, _ENOUGH // count))]
    every, figures = [id for graph in graphs for id in graph], Figures()
    with kiokupy.connect("Hash", allow_classes=[Person], cache_size=len(every)) as directory:

        def store() -> None:
            for objects in graphs:
                with directory.new_scope() as scope:
                    scope.insert_many(objects)

        figures["store"] = microseconds(len(every), store)
        with directory.new_scope() as scope:
            figures["look up"] = microseconds(len(every), lambda: _touch(scope, every))
            figures["commit after reading"] = microseconds(len(every), scope.commit)
        with directory.new_scope(track=False) as scope:
            _touch(scope, every)
            figures["commit after reading, track=False"] = microseconds(len(every), scope.commit)
        with directory.new_scope() as scope:
            figures["look up, prefetched"] = microseconds(len(every), lambda: scope.prefetch(*every))
    return figures


def _touch(scope: kiokupy.Scope, ids: list[str]) -> None:
    for person in scope.lookup_many(ids).values():
        person.age  # noqa: B018  # the first touch loads it


def with_zodb(count: int) -> Figures:
    """Measure Persistent objects in an OOBTree."""
    graphs = [people(PersistentPerson, count, number * count) for number in range(max(1, _ENOUGH // count))]
    every = [id for graph in graphs for id in graph]
    database = DB(MappingStorage(), cache_size=len(every))
    with database.transaction() as connection:
        connection.root()["people"] = OOBTree()

    def store() -> None:
        for objects in graphs:
            with database.transaction() as connection:
                connection.root()["people"].update(objects)

    figures = {"store": microseconds(len(every), store)}
    manager = transaction.TransactionManager()
    connection = database.open(manager)
    connection.cacheMinimize()

    def look_up() -> None:
        for id in every:
            connection.root()["people"][id].age  # noqa: B018  # the first touch loads it

    figures["look up"] = microseconds(len(every), look_up)
    figures["commit after reading"] = microseconds(len(every), manager.commit)
    connection.close()
    database.close()
    return figures


CONTESTANTS = {"kiokupy": with_kiokupy, "bare ZODB, Persistent": with_zodb}
PERL = "KiokuDB in Perl"


def measure(part: Part, say: Callable[[str], None], *, rounds: int, counts: tuple[int, ...] = COUNTS) -> None:
    """Note what storing and looking up an object costs, in graphs of each size."""
    for count in counts:
        for number in range(rounds):
            say(f"round {number + 1} of {rounds}, a graph of {count:,} objects")
            for name in (*CONTESTANTS, PERL):
                if name not in part["skipped"]:
                    _run(part, name, count)


def _run(part: Part, name: str, count: int) -> None:
    command = [sys.executable, "-m", "benchmarks.graphs", name, str(count)]
    if name == PERL:
        if which("perl") is None:
            part["skipped"][name] = "Perl is not installed"
            return
        command = ["perl", str(Path(__file__).with_name("kiokudb.pl")), str(count), str(max(1, _ENOUGH // count))]
    done = subprocess.run(command, check=False, capture_output=True, text=True, cwd=_HOME)
    if done.returncode != 0:
        part["skipped"][name] = _reason(done.stderr, name)
        return
    for work, figure in json.loads(done.stdout).items():
        add(part, f"{work}, {count} objects", name, figure)


def _reason(errors: str, name: str) -> str:
    lines = errors.strip().splitlines()
    return lines[0].partition(" (")[0] if name == PERL else lines[-1]  # Perl goes on with where it looked


if __name__ == "__main__":
    print(json.dumps(CONTESTANTS[sys.argv[1]](int(sys.argv[2]))))
