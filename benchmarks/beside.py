"""Beside: what who reads and who changes feel while the store is packed by the same process."""

from __future__ import annotations

import threading
import time
from itertools import pairwise

from benchmarks.stores.contract import Store
from benchmarks.timing import Moments, Step, moments

#: A thread looks that often (seconds) whether it is time to end.
_GLANCE = 0.01


def pack_beside(store: Store, steps: dict[str, Step], seconds: float) -> dict[str, float]:
    """Pack a store while each step is done in a thread of its own; return figures by their names.

    :param steps: by what they are called in the figures, such as ``reads``; what they count begins anew now and then.
    :param seconds: how long they are done before that, for comparison.
    :raises NotImplementedError: the store has no such verb.
    """
    found: dict[str, Moments] = {name: [] for name in steps}
    failures, is_over = list[BaseException](), threading.Event()

    def run(name: str) -> None:
        try:
            while not is_over.is_set():
                found[name] += moments(steps[name], _GLANCE)[1:]  # the first is when it began
        except BaseException as error:
            failures.append(error)
        finally:
            store.leave_thread()

    threads = [threading.Thread(target=run, args=(name,)) for name in steps]
    for thread in threads:
        thread.start()
    try:
        begin = time.perf_counter()
        time.sleep(seconds)
        middle = time.perf_counter()
        store.pack()
        end = time.perf_counter()
    finally:
        is_over.set()
        for thread in threads:
            thread.join()
    if failures:
        raise failures[0]
    figures = {"pack, seconds": end - middle}
    for name, done in found.items():
        for when, window in (("before", (begin, middle)), ("while packing", (middle, end))):
            figures[f"{name} a second, {when}"] = rate(done, *window)
            figures[f"{name}, longest, ms, {when}"] = longest(done, *window) * 1000
    return figures


def rate(done: Moments, begin: float, end: float) -> float:
    """Return how often in a second something was done in a window."""
    return sum(begin < moment <= end for moment in done) / (end - begin)


def longest(done: Moments, begin: float, end: float) -> float:
    """Return the longest time from one to the next that lies in a window, if only in part."""
    return max(later - earlier for earlier, later in pairwise(done) if earlier < end and later > begin)
