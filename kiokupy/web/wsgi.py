"""WSGI (PEP 3333): sessions in the environ of any WSGI application."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Iterator
from typing import TYPE_CHECKING, Any

from kiokupy.errors import SessionGone, SettingsError
from kiokupy.sessions.manager import SessionManager
from kiokupy.sessions.session import Session
from kiokupy.web.cookies import Cookie
from kiokupy.web.headers import Headers, with_session

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIApplication, WSGIEnvironment

_log = logging.getLogger(__name__)

_GONE = "400 Bad Request"
_GONE_TEXT = b"Your session ended while this request was under way. Please try again.\n"


class SessionMiddleware:
    """Gives each request its session, at ``environ["kiokupy.session"]``, saved before the response's headers leave.

    A session that the application does not touch costs nothing: the store is not asked, no cookie is set. Nothing is
    saved if the application raises, passes ``exc_info`` to ``start_response``, or answers with a status from 500 on.
    A request whose session was ended by another one meanwhile is answered with 400, and its changes are dropped.

    :param app: the WSGI application.
    :param manager: keeps the sessions.
    :param cookie: the cookie's attributes; ``Cookie(secure=False)`` for development over plain HTTP.
    :param key: where in the environ the session is put.
    """

    def __init__(
        self,
        app: WSGIApplication,
        manager: SessionManager,
        cookie: Cookie | None = None,
        *,
        key: str = "kiokupy.session",
    ) -> None:
        if not isinstance(manager, SessionManager):
            fix = "For example: SessionMiddleware(app, SessionManager(kiokupy.connect('Hash')))"
            raise SettingsError(f"the middleware takes a session manager, not a {type(manager).__name__}", fix=fix)
        self.app, self.manager, self.key = app, manager, key
        self.cookie = cookie if cookie is not None else Cookie()

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        """Answer a request."""
        session = self.manager.open(self.cookie.read(environ.get("HTTP_COOKIE")), lazy=True)
        environ[self.key] = session
        response = _Response(self.manager, self.cookie, session, start_response)
        result = self.app(environ, response.start)
        wrapper = environ.get("wsgi.file_wrapper")
        whole = isinstance(result, list | tuple) or (isinstance(wrapper, type) and isinstance(result, wrapper))
        return response.send_whole(result) if whole and response.started else _Body(response, result)


class _Response:
    """A response on its way: the server learns of it when the first byte of the body, or its end, is there."""

    def __init__(
        self, manager: SessionManager, cookie: Cookie, session: Session, start_response: StartResponse
    ) -> None:
        self._manager, self._cookie, self._session = manager, cookie, session
        self._start_response = start_response
        self._status = ""
        self._headers: Headers = []
        self._write: Callable[[bytes], object] | None = None
        self._known_id: str | None = None
        #: The application failed, or its changes are not to be saved for another reason.
        self.failed = False
        #: The application's response was replaced by a message about its session.
        self.replaced = False

    @property
    def started(self) -> bool:
        """Whether the application has called ``start_response``."""
        return bool(self._status)

    def start(self, status: str, headers: Headers, exc_info: Any = None, /) -> Callable[[bytes], object]:
        """Be the application's ``start_response``."""
        if exc_info is not None:
            try:
                if self._write is not None:
                    raise exc_info[1].with_traceback(exc_info[2])
            finally:
                exc_info = None  # breaks the cycle through the traceback, as PEP 3333 asks
            self.failed = True
        elif self.started:
            raise AssertionError("the application called start_response twice without exc_info")
        self._status, self._headers = status, list(headers)
        return self.write

    def write(self, data: bytes) -> None:
        """Be the application's ``write``; the headers leave with the first call."""
        write = self.send()
        if not self.replaced:
            write(data)

    def send(self) -> Callable[[bytes], object]:
        """Save the session and let the headers leave, unless that was done; return the server's ``write``."""
        if self._write is not None:
            return self._write
        if not self.started:
            raise AssertionError("the application did not call start_response")
        try:
            action = self._conclude()
        except SessionGone:
            self.failed = self.replaced = True
            headers = [
                ("Content-Type", "text/plain; charset=utf-8"),
                ("Content-Length", str(len(_GONE_TEXT))),
                ("Cache-Control", "no-store"),
                ("Vary", "Cookie"),
            ]
            self._write = self._start_response(_GONE, headers)
            return self._write
        headers = with_session(self._headers, self._session, action, self._cookie)
        self._known_id = self._session.id if self._session.accessed else None
        self._write = self._start_response(self._status, headers)
        return self._write

    def send_whole(self, result: Iterable[bytes]) -> Iterable[bytes]:
        """Send the headers and return a body that is there already, as it is, for the server to measure or to map."""
        self.send()
        if not self.replaced:
            return result
        _close(result)
        return [_GONE_TEXT]

    def finish(self) -> None:
        """Save what the application changed after the headers had left; too late for a cookie."""
        session = self._session
        if self._write is None or self.failed or not session.accessed:
            return
        if session.is_new or session.id != self._known_id:
            if session or not session.is_new:
                _log.warning("a session begun or moved after the headers had left is lost: its cookie was not sent")
            return
        try:
            self._manager.conclude(session)
        except SessionGone:
            _log.warning("a session changed after the headers had left was ended meanwhile")

    def _conclude(self) -> Any:
        self.failed = self.failed or self._status.startswith("5")
        return (self._manager.abandon if self.failed else self._manager.conclude)(self._session)


class _Body:
    """The application's body, one chunk at a time."""

    def __init__(self, response: _Response, result: Iterable[bytes]) -> None:
        self._response, self._result = response, result
        self._chunks = self._iterate()

    def __iter__(self) -> Iterator[bytes]:
        return self._chunks

    def close(self) -> None:
        """Close the application's body, and save late changes."""
        try:
            _close(self._result)
        finally:
            self._response.finish()

    def _iterate(self) -> Iterator[bytes]:
        response = self._response
        try:
            for chunk in self._result:
                if not chunk:
                    continue
                response.send()
                if response.replaced:
                    break
                yield chunk
            response.send()
        except BaseException:
            response.failed = True
            raise
        if response.replaced:
            yield _GONE_TEXT


def _close(result: Iterable[bytes]) -> None:
    close = getattr(result, "close", None)
    if close is not None:
        close()
