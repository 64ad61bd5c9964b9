"""The world of a test: the clock that it turns, what it hears of sessions, and a request that is held up."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager

from kiokupy.sessions.events import Event
from kiokupy.sessions.manager import SessionManager
from kiokupy.testing.adapters.browser import Browser, Page
from kiokupy.testing.adapters.site import Site

_LONG_AGO = 1_700_000_000.0


class Clock:
    """Stands still until a test turns it."""

    def __init__(self) -> None:
        self.now = _LONG_AGO

    def __call__(self) -> float:
        return self.now

    def forward(self, seconds: float) -> None:
        """Let time pass."""
        self.now += seconds


class Listening:
    """Hears of events."""

    def __init__(self) -> None:
        self.heard: list[Event] = []
        #: Called with each event; what it does holds up the thread that saves or loads the session.
        self.also: Callable[[Event], object] = self.heard.append

    def __call__(self, event: Event) -> None:
        self.also(event)


def stored(manager: SessionManager) -> int:
    """Return how many sessions the store has, dead or alive."""
    stats = manager.stats()
    return stats.alive + stats.expired


@contextmanager
def under_way(browser: Browser, site: Site, *, method: str = "GET", **query: str) -> Iterator[Future[Page]]:
    """Have a request for ``/slow`` under way in the block; the block opens the gate, and gets the page."""
    with ThreadPoolExecutor(1) as pool:
        page = pool.submit(lambda: browser.copy().get("/slow", method=method, header=None, **query))
        try:
            site.gate.expect()
            yield page
        finally:
            site.gate.open()
