"""Timing: something is done time and again, in one thread or many; how often in a second, and how long each took."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable, Sequence
from itertools import pairwise

#: Does it once; its argument counts from 0.
Step = Callable[[int], object]
#: When something began, and when each was done (seconds of one clock).
Moments = list[float]


def moments(step: Step, seconds: float, most: int | None = None) -> Moments:
    """Do something until the time is over, at least once.

    :param most: no more often than that.
    """
    found, done = [time.perf_counter()], 0
    end = found[0] + seconds
    while True:
        step(done)
        done += 1
        now = time.perf_counter()
        found.append(now)
        if now >= end or done == most:
            return found


def in_threads(
    steps: Sequence[Step], seconds: float, leave: Callable[[], None], most: int | None = None
) -> list[Moments]:
    """Do each of some things in a thread of its own; they begin together. What the first of them raises is raised.

    :param leave: called in each thread at its end.
    :param most: no thread does its own more often than that.
    """
    found, failures = list[Moments](), list[BaseException]()
    begin = threading.Barrier(len(steps))

    def run(step: Step) -> None:
        begin.wait()
        try:
            found.append(moments(step, seconds, most))
        except BaseException as error:
            failures.append(error)
        finally:
            leave()

    running = [threading.Thread(target=run, args=(step,)) for step in steps]
    for thread in running:
        thread.start()
    for thread in running:
        thread.join()
    if failures:
        raise failures[0]
    return found


def rate(threads: Sequence[Moments]) -> float:
    """Return how often it was done in a second, by all threads together."""
    done = sum(len(found) - 1 for found in threads)
    return done / (max(found[-1] for found in threads) - min(found[0] for found in threads))


def latencies(threads: Iterable[Moments]) -> list[float]:
    """Return the seconds that each took."""
    return [end - begin for found in threads for begin, end in pairwise(found)]


def summary(found: Iterable[float]) -> dict[str, float]:
    """Return the milliseconds that half of them took at most, that 99 of 100 took at most, and the most."""
    ordered = sorted(found)
    places = {"p50": len(ordered) // 2, "p99": len(ordered) * 99 // 100, "longest": len(ordered) - 1}
    return {name: ordered[place] * 1000 for name, place in places.items()}
