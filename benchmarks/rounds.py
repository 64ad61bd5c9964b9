"""Rounds: small works. All contestants are open at the same time and take turns at each work, several times over.

What else the machine does then hits all of them alike, and ratios within a round hold where figures do not.
"""

from __future__ import annotations

from contextlib import ExitStack
from typing import Any

from benchmarks import fsyncs
from benchmarks.field import Field
from benchmarks.stores import Contestant
from benchmarks.workers import Worker

#: By name: the method of Works, and its arguments. The order is one of use: what is created first is destroyed last.
WORKS: dict[str, tuple[str, dict[str, Any]]] = {
    "create": ("create", {}),
    "retrieve hot": ("retrieve", {}),
    "change": ("change", {}),
    "change, 8 threads": ("change_threads", {"threads": 8}),
    "change, 32 threads": ("change_threads", {"threads": 32}),
    "90/10, 1 thread": ("mixed_threads", {"threads": 1}),
    "90/10, 8 threads": ("mixed_threads", {"threads": 8}),
    "90/10, 32 threads": ("mixed_threads", {"threads": 32}),
    "destroy": ("destroy", {}),
}
_FILLED = 10_000


def measure(field: Field, *, rounds: int, seconds: float, size: int) -> None:
    """Note how often a second each contestant does each work.

    :param seconds: how long a work is done in a round.
    :param size: of the payload.
    """
    workers: dict[Contestant, Worker] = {}
    with ExitStack() as stack:

        def enter(contestant: Contestant) -> None:
            workers[contestant] = stack.enter_context(field.worker(contestant, seconds=seconds, size=size))
            field.add("open, seconds", contestant, workers[contestant].opened)

        for contestant in field.starting():
            field.attempt(contestant, lambda: enter(contestant))
        for number in range(rounds):
            field.say(f"round {number + 1} of {rounds}, {size:,} bytes: {len(field.starting())} contestants")
            for name, (work, arguments) in WORKS.items():
                for contestant in field.starting(number):
                    found = workers[contestant]
                    field.attempt(contestant, lambda: field.add(name, contestant, found.do(work, **arguments)))


def count_fsyncs(field: Field) -> None:
    """Note how many times a write of each contestant waits for the disk."""

    def count(contestant: Contestant) -> None:
        with field.worker(contestant) as worker:
            for work, calls in fsyncs.count(worker).items():
                field.add(f"fsyncs of a {work}", contestant, calls)

    for contestant in field.starting():
        field.say(f"{contestant.name}: fsyncs are counted")
        field.attempt(contestant, lambda: count(contestant))


def weigh(field: Field, *, count: int = _FILLED) -> None:
    """Note how much memory a session takes in the processes of a store; of those on a disk it is what they cache."""

    def fill(contestant: Contestant) -> None:
        with field.worker(contestant) as worker:
            worker.do("fill", count=1)
            before = worker.do("memory")
            worker.do("fill", count=count)
            field.add("bytes a session", contestant, (worker.do("memory") - before) / count)

    for contestant in field.starting():
        field.say(f"{contestant.name} is filled with {count:,} sessions in memory")
        field.attempt(contestant, lambda: fill(contestant))
