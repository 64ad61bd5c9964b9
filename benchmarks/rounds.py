"""Rounds: small works. All contestants are open at the same time and take turns at each work, several times over.

What else the machine does then hits all of them alike, and ratios within a round hold where figures do not.
"""

from __future__ import annotations

from contextlib import ExitStack
from typing import Any

from benchmarks import fsyncs
from benchmarks.field import Field
from benchmarks.stores import Contestant
from benchmarks.stores.contract import Missing
from benchmarks.workers import Worker

#: By name: the method of Works, and its arguments. The order is one of use: what is created first is destroyed last.
WORKS: dict[str, tuple[str, dict[str, Any]]] = {
    "create": ("create", {}),
    "retrieve hot": ("retrieve", {}),
    "retrieve unknown": ("miss", {}),
    "change": ("change", {}),
    "change, 8 threads": ("change_threads", {"threads": 8}),
    "change, 32 threads": ("change_threads", {"threads": 32}),
    "90/10, 1 thread": ("mixed_threads", {"threads": 1}),
    "90/10, 8 threads": ("mixed_threads", {"threads": 8}),
    "90/10, 32 threads": ("mixed_threads", {"threads": 32}),
    "destroy": ("destroy", {}),
}
#: Those of which it is told how long an operation takes, and in which terms.
TIMED = [name for name in WORKS if name.startswith(("change", "90/10"))]
TERMS = ("p50", "p99", "longest")
#: The names of what else is found out.
FSYNCS, OPEN, LATENCY = "fsyncs of a {}", "open, seconds", "{}: {}, ms"


def measure(field: Field, *, rounds: int, seconds: float, size: int) -> None:
    """Note how often a second each contestant does each work, how long it takes, and the fsyncs of a write.

    :param seconds: how long a work is done in a round.
    :param size: of the payload.
    """
    with ExitStack() as stack:
        workers: dict[Contestant, Worker] = {}
        for contestant in field.starting():
            field.attempt(_open, contestant, workers, stack, seconds=seconds, size=size)
        for number in range(rounds):
            field.say(f"round {number + 1} of {rounds}, {size:,} bytes: {len(field.starting())} contestants")
            for name in WORKS:
                for contestant in field.starting(number):
                    field.attempt(_do, contestant, workers[contestant], name)
        for action in (_tell, _count):
            for contestant in field.starting():
                field.attempt(action, contestant, workers[contestant])


def _open(
    field: Field, contestant: Contestant, workers: dict[Contestant, Worker], stack: ExitStack, **options: Any
) -> None:
    worker = workers[contestant] = stack.enter_context(field.worker(contestant, **options))
    field.add(OPEN, contestant, worker.opened)


def _do(field: Field, contestant: Contestant, worker: Worker, name: str) -> None:
    work, arguments = WORKS[name]
    field.add(name, contestant, worker.do(work, **arguments))


def _tell(field: Field, contestant: Contestant, worker: Worker) -> None:
    for name in TIMED:
        work, arguments = WORKS[name]
        for term, milliseconds in worker.do("latencies", work=work, **arguments).items():
            field.add(LATENCY.format(name, term), contestant, milliseconds)


def _count(field: Field, contestant: Contestant, worker: Worker) -> None:
    try:
        for work, calls in fsyncs.count(worker).items():
            field.add(FSYNCS.format(work), contestant, calls)
    except Missing as missing:  # it can be measured all the same
        field.part["skipped"][FSYNCS.format(contestant.name)] = str(missing)
        field.say(f"fsyncs of {contestant.name} are not counted: {missing}")
