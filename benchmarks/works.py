"""Works: what is timed on one open store. Each runs for a given time and tells how often it was done in a second."""

from __future__ import annotations

import itertools
import json
import random
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from benchmarks.payloads import payload
from benchmarks.stores.contract import Store

#: So many sessions are hot.
_HOT = 128
#: One operation in so many is a change where reading and writing are mixed.
_WRITES_IN = 10
_PROCESSES, _MEMORY = Path("/proc"), "VmRSS:"

Step = Callable[[int], object]


class Works:
    """The works on a store; what one creates another one uses.

    :param seconds: how long each may take.
    :param size: of the payload.
    """

    def __init__(self, store: Store, folder: Path, seconds: float, size: int) -> None:
        self._store, self._folder, self._seconds = store, folder, seconds
        self._data = payload(size)
        #: The ids of the sessions that are there.
        self._ids: list[str] = []
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

    def change(self) -> float:
        """Read, modify, store: hot sessions in turn."""
        hot = self._ids[:_HOT]
        return self._rate(lambda number: self._change(hot[number % len(hot)]))

    def change_threads(self, threads: int) -> float:
        """Read, modify, store in many threads, each with sessions of its own."""

        def step_of(thread: int) -> Step:
            own = self._ids[:_HOT][thread::threads]
            return lambda number: self._change(own[number % len(own)])

        return self._rate_of_threads(threads, step_of)

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

        return self._rate_of_threads(threads, step_of)

    def destroy(self) -> float:
        """The sessions that :meth:`create` left, taken out, one after the other."""
        return self._rate(lambda _: self._store.destroy(self._ids.pop()), most=len(self._ids))

    def fill(self, count: int, age: float = 0) -> float:
        """Many sessions stored as fast as the store can; their ids are found by other processes."""
        start = time.perf_counter()
        ids = self._store.fill(count, self._data, age=age)
        seconds = time.perf_counter() - start
        if not age:
            self._folder.with_suffix(".ids").write_text(json.dumps(ids))
        return count / seconds

    def cold(self, work: str, count: int) -> float:
        """Retrieve or change sessions that this process has not seen, in no order."""
        every = json.loads(self._folder.with_suffix(".ids").read_text())
        ids = random.sample(every, min(count, len(every)))
        steps: dict[str, Step] = {
            "retrieve": lambda number: self._store.retrieve(ids[number]),
            "change": lambda number: self._change(ids[number]),
        }
        return self._rate(steps[work], most=len(ids))

    def sweep(self) -> float:
        """Seconds that it takes to take out all that has expired."""
        start = time.perf_counter()
        self._store.sweep()
        return time.perf_counter() - start

    def pack(self) -> float:
        """Seconds that it takes to let go of what is not needed."""
        start = time.perf_counter()
        self._store.pack()
        return time.perf_counter() - start

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

    def memory(self) -> int:
        """Return how many bytes the processes have in memory that work for this store alone.

        :raises NotImplementedError: the system does not tell in the way of Linux.
        """
        if not _PROCESSES.exists():
            raise NotImplementedError
        found = 0
        for pid in self._store.pids():
            for line in (_PROCESSES / str(pid) / "status").read_text().splitlines():
                found += int(line.split()[1]) * 1024 if line.startswith(_MEMORY) else 0
        return found

    def _change(self, id: str) -> None:
        self._store.change(id, next(self._numbers))

    def _rate(self, step: Step, most: int | None = None) -> float:
        return _rate(step, self._seconds, most)[0]

    def _rate_of_threads(self, threads: int, step_of: Callable[[int], Step]) -> float:
        done, failures = [0] * threads, list[BaseException]()
        begin = threading.Barrier(threads + 1)

        def run(thread: int) -> None:
            step = step_of(thread)
            begin.wait()
            try:
                done[thread] = _rate(step, self._seconds)[1]
            except BaseException as error:
                failures.append(error)
            finally:
                self._store.leave_thread()

        running = [threading.Thread(target=run, args=(thread,)) for thread in range(threads)]
        for thread in running:
            thread.start()
        begin.wait()
        start = time.perf_counter()
        for thread in running:
            thread.join()
        if failures:
            raise failures[0]
        return sum(done) / (time.perf_counter() - start)


def _rate(step: Step, seconds: float, most: int | None = None) -> tuple[float, int]:
    """Do something time and again, and return how often in a second, and how often."""
    done, start = 0, time.perf_counter()
    end = start + seconds
    while True:
        step(done)
        done += 1
        now = time.perf_counter()
        if now >= end or done == most:
            return done / (now - start), done


def call(works: Works, name: str, arguments: dict[str, Any]) -> Any:
    """Do a work by its name."""
    return getattr(works, name)(**arguments)
