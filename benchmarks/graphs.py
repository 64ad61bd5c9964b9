"""Object graphs: store, load, and what noticing changes costs, beside Persistent classes on the bare ZODB database.

Usage: scripts/bench graphs. Each figure is the median of ROUNDS rounds of the two in turn, in memory, in microseconds
of processor time an object; every object has a string, a number, a list and a reference to another one.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable

import transaction
from BTrees.OOBTree import OOBTree
from persistent import Persistent
from ZODB import DB

import kiokupy
from kiokupy.backends.hash import HashStorage

ROUNDS = 5
COUNTS = (1, 100, 10_000)
Figures = dict[str, float]


class Person:
    """A plain object."""

    def __init__(self, number: int, friend: object) -> None:
        self.name, self.age, self.tags, self.friend = f"person {number}", number, ["a", str(number)], friend


class PersistentPerson(Persistent):
    """The same, of a class made for ZODB."""

    def __init__(self, number: int, friend: object) -> None:
        self.name, self.age, self.tags, self.friend = f"person {number}", number, ["a", str(number)], friend


def people(cls: type, count: int) -> dict[str, object]:
    """Return objects by id, each of which refers to an earlier one."""
    found: dict[str, object] = {}
    for number in range(count):
        found[f"{number:06}"] = cls(number, found.get(f"{number // 2:06}"))
    return found


def microseconds(count: int, work: Callable[[], object]) -> float:
    """Return the processor time that ``work`` takes for each of some objects."""
    start = time.process_time()
    work()
    return (time.process_time() - start) * 1e6 / count


def with_kiokupy(count: int) -> Figures:
    """Measure plain objects in a directory."""
    with kiokupy.connect("Hash", allow_classes=[Person]) as directory:
        objects = people(Person, count)
        figures: Figures = {}
        with directory.new_scope() as scope:

            def store() -> None:
                for key, obj in objects.items():
                    scope.insert(obj, id=key)
                scope.commit()

            figures["store"] = microseconds(count, store)
        for name, track in (("commit, tracked", True), ("commit, track=False", False)):
            with directory.new_scope(track=track) as scope:
                figures["load"] = microseconds(count, lambda: scope.prefetch(*objects))
                figures[name] = microseconds(count, scope.commit)
        return figures


def with_zodb(count: int) -> Figures:
    """Measure Persistent objects in an OOBTree."""
    database = DB(HashStorage(), cache_size=20_000)
    objects = people(PersistentPerson, count)
    with transaction.TransactionManager() as manager, database.transaction() as connection:
        connection.root()["people"] = OOBTree()
    manager = transaction.TransactionManager()
    connection = database.open(manager)

    def store() -> None:
        connection.root()["people"].update(objects)
        manager.commit()

    def load() -> None:
        for key in objects:
            connection.root()["people"][key]._p_activate()

    figures = {"store": microseconds(count, store)}
    connection.cacheMinimize()
    figures["load"] = microseconds(count, load)
    figures["commit, tracked"] = microseconds(count, manager.commit)
    connection.close()
    database.close()
    return figures


def main() -> None:
    """Print a table of medians."""
    print(f"{'objects':>8}  {'work':20}{'kiokupy':>10}{'bare ZODB':>12}{'ratio':>8}")
    for count in COUNTS:
        rounds = [(with_kiokupy(count), with_zodb(count)) for _ in range(ROUNDS)]
        for work in rounds[0][0]:
            ours = statistics.median(mine[work] for mine, _ in rounds)
            bare = statistics.median(theirs.get(work, float("nan")) for _, theirs in rounds)
            print(f"{count:8}  {work:20}{ours:10.1f}{bare:12.1f}{ours / bare:8.1f}")


if __name__ == "__main__":
    main()
