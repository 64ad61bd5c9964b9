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
    begin = time.perf_counter()
    found: dict[str, Moments] = {name: [begin] for name in steps}
    failures, is_over = list[BaseException](), threading.Event()

    def run(name: str) -> None:
        try:
            is_last = False
            while not is_last:  # one ends after the packing, or a pause at its end would not be seen
                is_last = is_over.is_set()
                found[name] += moments(steps[name], _GLANCE)[1:]  # the first is when it began
        except BaseException as error:
            failures.append(error)
        finally:
            store.leave_thread()

    threads = [threading.Thread(target=run, args=(name,)) for name in steps]
    for thread in threads:
        thread.start()
    try:
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
    windows = {"before": (begin, middle), "while packing": (middle, end)}
    figures = {"pack, seconds": end - middle}
    for name, done in found.items():
        figures |= {f"{name} a second, {when}": rate(done, *window) for when, window in windows.items()}
        figures |= {f"{name}, longest, ms, {when}": longest(done, *window) * 1000 for when, window in windows.items()}
    return figures


def rate(done: Moments, begin: float, end: float) -> float:
    """Return how often in a second something was done in a window."""
    return sum(begin < moment <= end for moment in done) / (end - begin)


def longest(done: Moments, begin: float, end: float) -> float:
    """Return the longest time from one to the next that lies in a window, if only in part."""
    return max(later - earlier for earlier, later in pairwise(done) if earlier < end and later > begin)
