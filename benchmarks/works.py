"""Works: what is timed on one open store. Each runs for a given time and tells how often it was done in a second."""

from __future__ import annotations

import itertools
import random
import time
from array import array
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from benchmarks import beside, timing
from benchmarks.payloads import payload
from benchmarks.stores.contract import Store
from benchmarks.timing import Moments, Step

#: So many sessions are hot.
_HOT = 128
#: One operation in so many is a change where reading and writing are mixed.
_WRITES_IN = 10
_PROCESSES = Path("/proc")


class Works:
    """The works on a store; what one creates another one uses.

    :param open: opens the store; again after it was closed.
    :param folder: of the store; the ids of the sessions that it was filled with stand beside it.
    :param seconds: how long each may take.
    :param size: of the payload.
    """

    def __init__(self, open: Callable[[], Store], folder: Path, seconds: float, size: int) -> None:
        self._open, self._folder, self._seconds = open, folder, seconds
        self._store, self._written = open(), folder.with_suffix(".ids")
        self._data = payload(size)
        #: The ids of the sessions that are there.
        self._ids: list[str] = []
        #: By work and threads: the seconds that each operation took.
        self._latencies: dict[tuple[str, int], array[float]] = {}
        #: What changes write: never what is there already, or a store that compares would have nothing to do.
        self._numbers = itertools.count(time.time_ns())

    def create(self) -> float:
        """New sessions, stored."""
        ids: list[str] = []
        found = self._rate(lambda _: ids.append(self._store.create(self._data)))
        self._ids = ids + self._store.fill(max(0, _HOT - len(ids)), self._data)
        return found

    def retrieve(self) -> float:
        """Sessions that were used just now, read in turn."""
        hot = self._ids[:_HOT]
        return self._rate(lambda number: self._store.retrieve(hot[number % len(hot)]))

    def miss(self) -> float:
        """Sessions that are not there: what follows from a cookie that has outlived its session."""
        unknown = [id[::-1] for id in self._ids[:_HOT]]  # of the right form
        return self._rate(lambda number: self._store.misses(unknown[number % len(unknown)]))

    def change(self) -> float:
        """Read, modify, store: hot sessions in turn."""
        hot = self._ids[:_HOT]
        found = [timing.moments(lambda number: self._change(hot[number % len(hot)]), self._seconds)]
        return self._noted("change", found)

    def change_threads(self, threads: int) -> float:
        """Read, modify, store in many threads, each with sessions of its own."""

        def step_of(thread: int) -> Step:
            own = self._ids[:_HOT][thread::threads]
            return lambda number: self._change(own[number % len(own)])

        return self._noted("change_threads", self._in_threads([step_of(thread) for thread in range(threads)]))

    def mixed_threads(self, threads: int) -> float:
        """Nine reads to one change in many threads, among the same sessions."""

        def step_of(thread: int) -> Step:
            choose, hot = random.Random(thread).choice, self._ids[:_HOT]  # noqa: S311  # no secret

            def step(number: int) -> None:
                if number % _WRITES_IN:
                    self._store.retrieve(choose(hot))
                else:
                    self._change(choose(hot))

            return step

        return self._noted("mixed_threads", self._in_threads([step_of(thread) for thread in range(threads)]))

    def latencies(self, work: str, threads: int = 1) -> dict[str, float]:
        """Return what :func:`benchmarks.timing.summary` says of one of the three above, all the times that it was done.

        :raises NotImplementedError: it was not done.
        """
        if (work, threads) not in self._latencies:
            raise NotImplementedError
        return timing.summary(self._latencies[work, threads])

    def destroy(self) -> float:
        """The sessions that :meth:`create` left, taken out, one after the other."""
        return self._rate(lambda _: self._store.destroy(self._ids.pop()), most=len(self._ids))

    def fill(self, count: int, age: float = 0) -> float:
        """Many sessions stored as fast as the store can; their ids are found by other processes."""
        start = time.perf_counter()
        ids = self._store.fill(count, self._data, age=age)
        seconds = time.perf_counter() - start
        if not age:
            self._written.write_text("".join(f"{id}\n" for id in ids))
        return count / seconds

    def cold(self, work: str, count: int) -> float:
        """Retrieve or change sessions that this process has not seen, in no order."""
        ids = self._sample(count)
        steps: dict[str, Step] = {
            "retrieve": lambda number: self._store.retrieve(ids[number]),
            "change": lambda number: self._change(ids[number]),
        }
        return self._rate(steps[work], most=len(ids))

    def read(self, count: int, threads: int) -> float:
        """Each of so many sessions once, by many threads that share them; how many in a second."""

        def step_of(thread: int) -> Step:
            ids = itertools.islice(self._stored(), thread, count, threads)
            return lambda _: self._store.retrieve(next(ids))

        share = count // threads
        steps = [step_of(thread) for thread in range(threads)]
        return timing.rate(timing.in_threads(steps, float("inf"), self._store.leave_thread, most=share))

    def update(self, count: int) -> float:
        """So many changes of sessions that the store was filled with, in no order; how many in a second."""
        choose, ids = random.choice, list(self._stored())
        return timing.rate([timing.moments(lambda _: self._change(choose(ids)), float("inf"), most=count)])

    def sweep(self) -> float:
        """Seconds that it takes to take out all that has expired."""
        return _seconds(self._store.sweep)

    def pack(self) -> float:
        """Seconds that it takes to let go of what is not needed."""
        return _seconds(self._store.pack)

    def pack_beside(self, seconds: float) -> dict[str, float]:
        """Pack while one thread reads and one changes; see :func:`benchmarks.beside.pack_beside`."""
        choose, ids = random.choice, list(self._stored())
        steps: dict[str, Step] = {
            "reads": lambda _: self._store.retrieve(choose(ids)),
            "changes": lambda _: self._change(choose(ids)),
        }
        return beside.pack_beside(self._store, steps, seconds)

    def reopen(self, is_indexed: bool) -> float:
        """Seconds from opening the store, which was closed well, to the first session that was read.

        :param is_indexed: whether it finds the index that it has put beside its file.
        :raises NotImplementedError: it has none.
        """
        [id] = self._sample(1)
        self._store.close()
        indexes = list(self._folder.glob("*.index"))
        if not is_indexed:
            for index in indexes:
                index.unlink()

        def open_and_read() -> None:
            self._store = self._open()
            self._store.retrieve(id)

        found = _seconds(open_and_read)
        if not is_indexed and not indexes:
            raise NotImplementedError
        return found

    def some(self, work: str, count: int) -> int:
        """Create or change so many sessions, for those who count and not for those who time."""
        if work == "create":
            self._ids += [self._store.create(self._data) for _ in range(count)]
        else:
            for number in range(count):
                self._change(self._ids[number % len(self._ids)])
        return count

    def pids(self) -> list[int]:
        """Return the processes that write."""
        return [*self._store.pids(), *self._store.shared_pids()]

    def memory(self, is_most: bool = False) -> int:
        """Return how many bytes the processes have in memory that work for this store alone.

        :param is_most: the most that they had since they began.
        :raises NotImplementedError: the system does not tell in the way of Linux.
        """
        if not _PROCESSES.exists():
            raise NotImplementedError
        found, line_of = 0, "VmHWM:" if is_most else "VmRSS:"
        for pid in self._store.pids():
            for line in (_PROCESSES / str(pid) / "status").read_text().splitlines():
                found += int(line.split()[1]) * 1024 if line.startswith(line_of) else 0
        return found

    def close(self) -> None:
        """Close the store."""
        self._store.close()

    def _change(self, id: str) -> None:
        self._store.change(id, next(self._numbers))

    def _stored(self) -> Iterator[str]:
        """Yield the ids of the sessions that the store was filled with; there may be more than memory should hold."""
        with self._written.open() as lines:
            yield from map(str.rstrip, lines)

    def _sample(self, count: int) -> list[str]:
        every = sum(1 for _ in self._stored())
        numbers = set(random.sample(range(every), min(count, every)))
        found = [id for number, id in enumerate(self._stored()) if number in numbers]
        random.shuffle(found)
        return found

    def _rate(self, step: Step, most: int | None = None) -> float:
        return timing.rate([timing.moments(step, self._seconds, most)])

    def _in_threads(self, steps: list[Step]) -> list[Moments]:
        return timing.in_threads(steps, self._seconds, self._store.leave_thread)

    def _noted(self, work: str, found: list[Moments]) -> float:
        self._latencies.setdefault((work, len(found)), array("d")).extend(timing.latencies(found))
        return timing.rate(found)


def _seconds(action: Callable[[], object]) -> float:
    start = time.perf_counter()
    action()
    return time.perf_counter() - start


def call(works: Works, name: str, arguments: dict[str, Any]) -> Any:
    """Do a work by its name."""
    return getattr(works, name)(**arguments)
