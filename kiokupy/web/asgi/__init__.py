"""ASGI 3: sessions in the scope of any ASGI application, such as those of Starlette, FastAPI and Litestar."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping, MutableMapping
from enum import Enum
from typing import Any

import anyio

from kiokupy.errors import NotStorable, SettingsError
from kiokupy.rules import name_of
from kiokupy.sessions.facts import Device
from kiokupy.sessions.manager import SessionManager
from kiokupy.web.asgi.session import AsyncSession
from kiokupy.web.cookies import Cookie, cookie_or_default
from kiokupy.web.exchange import GONE_HEADERS, GONE_STATUS, GONE_TEXT, Exchange
from kiokupy.web.headers import Headers

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
#: Any, since each framework has its own types for scopes and messages.
ASGIApp = Callable[[Any, Any, Any], Awaitable[None]]

_log = logging.getLogger(__name__)


class SessionMiddleware:
    """Gives each request and websocket its session, at ``scope["session"]``, which is ``request.session``.

    It is loaded before the application is called and saved before the response's headers leave, both in a worker
    thread. A request without the cookie asks the store nothing unless something is put into its session. Nothing is
    saved if the application raises or answers with a status from 500 on. A request whose session was ended by another
    one meanwhile is answered with 400, and its changes are dropped.

    A websocket's session is saved when the connection is accepted, so that its cookie can go along, and when it ends.
    One that was ended meanwhile is logged; to learn of that at once, the application calls ``await session.aflush()``.

    :param app: the ASGI application.
    :param manager: keeps the sessions; closing it is for the application's ``lifespan``.
    :param cookie: the cookie's attributes; ``Cookie(secure=False)`` for development over plain HTTP.
    :param key: where in the scope the session is put.
    :param exclude: paths that get no session, with all below them, such as ``["/static"]``.
    :param join: save a request's session and the application's objects in ``session.scope`` in one transaction, or
        neither. ``def`` views use the scope as it is, ``async def`` views by ``await session.in_thread(...)``. A
        websocket outlives any transaction: its session is in no scope.
    """

    def __init__(
        self,
        app: ASGIApp,
        manager: SessionManager,
        cookie: Cookie | None = None,
        *,
        key: str = "session",
        exclude: Iterable[str] = (),
        join: bool = False,
    ) -> None:
        if not isinstance(manager, SessionManager):
            fix = "For example: SessionMiddleware(app, manager=SessionManager(kiokupy.connect('Hash')))"
            raise SettingsError(f"the middleware takes a session manager, not a {type(manager).__name__}", fix=fix)
        self.app, self.manager, self.key = app, manager, key
        self.cookie = cookie_or_default(cookie)
        self.exclude, self.join = _checked(exclude), join

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """Answer a request, serve a websocket, or pass on what is neither."""
        if scope["type"] not in ("http", "websocket") or self._is_excluded(scope["path"]):
            await self.app(scope, receive, send)
            return
        scope[self.key] = session = self._open(scope)
        await _Conversation(self, scope, session).hold(receive, send)

    def _open(self, scope: Scope) -> AsyncSession:
        # HTTP/2 lets a client send its cookies in several fields.
        id = self.cookie.read("; ".join(_fields(scope, b"cookie")))
        device = Device(next(_fields(scope, b"user-agent"), None), (scope.get("client") or [None])[0])
        new_scope = self.manager.directory.new_scope if self.join and scope["type"] == "http" else None
        session = self.manager.open(id, lazy=True, device=device, scope=new_scope, kind=AsyncSession)
        assert isinstance(session, AsyncSession)
        return session

    def _is_excluded(self, path: str) -> bool:
        return any(path == prefix or path.startswith(f"{prefix}/") for prefix in self.exclude)


class _Conversation:
    """What an application receives and sends in one request or on one websocket."""

    def __init__(self, middleware: SessionMiddleware, scope: Scope, session: AsyncSession) -> None:
        self._manager = middleware.manager
        self._exchange = Exchange(middleware.manager, middleware.cookie, session)
        self._app, self._key = middleware.app, middleware.key
        self._scope, self._session = scope, session
        self._receive: Receive
        self._send: Send
        self._started = self._streamed = False
        # The application's response was replaced by a message about its session.
        self._replaced = self._hung_up = False

    async def hold(self, receive: Receive, send: Send) -> None:
        """Load the session, call the application, save late changes at its end."""
        self._receive, self._send = receive, send
        try:
            if self._session.client_id is not None:
                await self._session.in_thread(self._session.prefetch)
            await self._app(self._scope, self.receive, self.send)
        except BaseException as error:
            self._exchange.failed = True
            if not self._hung_up or not isinstance(error, Exception):
                raise
        finally:
            with anyio.CancelScope(shield=True):
                await self._finish()

    async def receive(self) -> Message:
        """Be the application's ``receive``."""
        message = await self._receive()
        if message["type"] == "websocket.disconnect":
            await self._finish()  # the frameworks tell the application of it by an exception
        return message

    async def send(self, message: Message) -> None:
        """Be the application's ``send``."""
        kind = message["type"]
        if self._replaced:
            if message.get("more_body"):
                self._hung_up = True
                raise _Answered
            return
        if kind in _STARTS:
            message = await self._start(message)
        elif kind == "websocket.close":
            await self._close()
        elif message.get("more_body"):
            self._streamed = True
        elif self._streamed:
            await self._finish()  # so the client that has seen the end finds what was saved
        await self._send(message)
        if self._replaced:
            text = b"" if self._scope.get("method") == "HEAD" else GONE_TEXT
            await self._send({"type": kind.replace("start", "body"), "body": text})

    async def _start(self, message: Message) -> Message:
        """Return the message that begins the answer, with what the session adds to its headers."""
        self._started = True
        await self._take_over()
        status = str(message.get("status", _SWITCHING))
        given = [(name.decode("latin-1"), value.decode("latin-1")) for name, value in message.get("headers", ())]
        headers = await self._answer(status, given)
        if headers is not None:
            return {**message, "headers": _encoded(headers)}
        if message["type"] == "websocket.accept":
            _log.warning("a session was ended while its websocket was being accepted")
            return message
        self._replaced = True
        return {"type": message["type"], "status": int(GONE_STATUS[:3]), "headers": _encoded(GONE_HEADERS)}

    async def _answer(self, status: str, headers: Headers) -> Headers | None:
        if self._is_idle:
            return self._exchange.answer(status, headers)
        return await self._session.in_thread(self._exchange.answer, status, headers)

    async def _close(self) -> None:
        if not self._started:
            self._exchange.answer_nothing()
        await self._finish()

    async def _finish(self) -> None:
        if not self._is_idle:
            await self._session.in_thread(self._exchange.finish)

    @property
    def _is_idle(self) -> bool:
        """Whether the end of a request asks the store nothing."""
        session = self._session
        return session.joint is None and not (session.accessed and self._manager.is_worth_saving(session))

    async def _take_over(self) -> None:
        """Do to the session what was done to its place in the scope, as Litestar's ``set_session`` does."""
        value = self._scope[self._key]
        if value is self._session:
            return
        self._scope[self._key] = self._session
        if isinstance(value, Mapping):
            for key in self._session.keys() - value.keys():
                del self._session[key]
            self._session.update(value)
        elif isinstance(value, Enum):  # Litestar's Empty: clear_session() was called
            await self._session.ainvalidate()
        else:
            name = name_of(type(value))
            raise NotStorable("session", name, reason=f"its data is to be a mapping, not a {name}")


class _Answered(OSError):
    """The client has its answer: the application's stream is not wanted any more."""


_STARTS = ("http.response.start", "websocket.accept", "websocket.http.response.start")
_SWITCHING = 101


def _fields(scope: Scope, wanted: bytes) -> Iterator[str]:
    return (value.decode("latin-1") for name, value in scope["headers"] if name == wanted)


def _encoded(headers: Headers) -> list[tuple[bytes, bytes]]:
    return [(name.lower().encode("latin-1"), value.encode("latin-1")) for name, value in headers]


def _checked(exclude: Iterable[str]) -> tuple[str, ...]:
    paths = (exclude,) if isinstance(exclude, str) else tuple(exclude)
    for path in paths:
        if not path.startswith("/"):
            raise SettingsError(f"exclude has {path!r}", target="exclude", fix="Paths begin with /, as '/static' does")
    return tuple(path.rstrip("/") for path in paths)
