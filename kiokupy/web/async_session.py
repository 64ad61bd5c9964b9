"""Session for asynchronous views: what it asks of the store can be awaited."""

from __future__ import annotations

import threading
from collections.abc import Callable
from functools import partial
from typing import Any, ParamSpec, TypeVar

import anyio
from anyio.lowlevel import RunVar

from kiokupy.sessions.session import Session

P = ParamSpec("P")
T = TypeVar("T")

_THREADS = 40
_limiter: RunVar[anyio.CapacityLimiter] = RunVar("kiokupy's worker threads")


async def in_thread(call: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    """Call something that asks the store, in a worker thread.

    The threads are our own: an application whose plain ``def`` views hold all those of its framework can still load
    and save sessions.
    """
    limiter = _limiter.get(None)
    if limiter is None:
        limiter = anyio.CapacityLimiter(_THREADS)
        _limiter.set(limiter)
    return await anyio.to_thread.run_sync(partial(call, *args, **kwargs), limiter=limiter)


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

        return await in_thread(alone)

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
