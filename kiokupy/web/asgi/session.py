"""Session for asynchronous views: what it asks of the store can be awaited."""

from __future__ import annotations

import threading
from collections.abc import Callable
from contextlib import suppress
from typing import Any, ParamSpec, TypeVar

import anyio
from anyio.lowlevel import RunVar

from kiokupy.errors import NotLoadable
from kiokupy.sessions.session import Session

P = ParamSpec("P")
T = TypeVar("T")

_MOST_THREADS = 40
_limiter: RunVar[anyio.CapacityLimiter] = RunVar("kiokupy's worker threads")


def _threads() -> anyio.CapacityLimiter:
    """Return what counts the worker threads of this event loop.

    They are our own: where plain ``def`` views hold all those of the framework, sessions can still be loaded and saved.
    """
    limiter = _limiter.get(None)
    if limiter is None:
        limiter = anyio.CapacityLimiter(_MOST_THREADS)
        _limiter.set(limiter)
    return limiter


class AsyncSession(Session):
    """A session with an awaitable twin of each verb that asks the store.

    Data is read and changed as in any session: it was loaded before the view began and is saved, off the event loop,
    before the answer leaves. Only the verbs that write at once would hold up the loop for a commit. So an ``async def``
    view calls ``await session.alogin("alice")``; a ``def`` view, which runs in a thread, ``session.login("alice")``.
    The twins are methods, named as Django names its own, since a view has the session at hand and needs no import.

    A verb that has begun is done to its end, also if the task that awaits it is cancelled, and the next one waits for
    it. Two tasks that share a session, as they may on a websocket, must not change it while one of them awaits a verb.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._turn = threading.Lock()

    async def in_thread(self, call: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Call something that uses this session or its scope, in a worker thread, after what is under way there.

        For example ``await session.in_thread(session.scope.get, "cart")``.
        """

        def alone() -> T:
            with self._turn:
                return call(*args, **kwargs)

        return await anyio.to_thread.run_sync(alone, limiter=_threads())

    def prefetch(self) -> None:
        """Ask the store for the session and for what its data refer to, which does not count as looking at them."""
        accessed = self.accessed
        self.open()
        with suppress(NotLoadable):  # that is for who looks at them
            self._values()
        self.accessed = accessed

    async def alogin(self, principal: str, *, remember: bool = False) -> str:
        """As :meth:`login`."""
        return await self.in_thread(self.login, principal, remember=remember)

    async def aflush(self) -> None:
        """As :meth:`flush`."""
        await self.in_thread(self.flush)

    async def adestroy(self) -> bool:
        """As :meth:`destroy`."""
        return await self.in_thread(self.destroy)

    async def aregenerate(self) -> str:
        """As :meth:`regenerate`."""
        return await self.in_thread(self.regenerate)

    async def ainvalidate(self) -> None:
        """As :meth:`invalidate`."""
        await self.in_thread(self.invalidate)
