"""WSGI (PEP 3333): sessions in the environ of any WSGI application."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import TYPE_CHECKING, Any

from kiokupy.errors import SettingsError
from kiokupy.sessions.facts import Device
from kiokupy.sessions.manager import SessionManager
from kiokupy.web.cookies import Cookie, cookie_or_default
from kiokupy.web.exchange import GONE_HEADERS, GONE_STATUS, GONE_TEXT, Exchange
from kiokupy.web.headers import Headers

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIApplication, WSGIEnvironment


class SessionMiddleware:
    """Gives each request its session, at ``environ["kiokupy.session"]``, saved before the response's headers leave.

    A session that the application does not touch costs nothing: the store is not asked, no cookie is set. Nothing is
    saved if the application raises, passes ``exc_info`` to ``start_response``, or answers with a status from 500 on.
    A request whose session was ended by another one meanwhile is answered with 400, and its changes are dropped.

    :param app: the WSGI application.
    :param manager: keeps the sessions.
    :param cookie: the cookie's attributes; ``Cookie(secure=False)`` for development over plain HTTP.
    :param key: where in the environ the session is put.
    :param join: save the session and the application's objects in ``session.scope`` in one transaction, or neither.
    """

    def __init__(
        self,
        app: WSGIApplication,
        manager: SessionManager,
        cookie: Cookie | None = None,
        *,
        key: str = "kiokupy.session",
        join: bool = False,
    ) -> None:
        if not isinstance(manager, SessionManager):
            fix = "For example: SessionMiddleware(app, SessionManager(kiokupy.connect('Hash')))"
            raise SettingsError(f"the middleware takes a session manager, not a {type(manager).__name__}", fix=fix)
        self.app, self.manager, self.key, self.join = app, manager, key, join
        self.cookie = cookie_or_default(cookie)

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        """Answer a request."""
        id = self.cookie.read(environ.get("HTTP_COOKIE"))
        device = Device(environ.get("HTTP_USER_AGENT"), environ.get("REMOTE_ADDR"))
        new_scope = self.manager.directory.new_scope if self.join else None
        environ[self.key] = session = self.manager.open(id, lazy=True, device=device, scope=new_scope)
        exchange = Exchange(self.manager, self.cookie, session)
        response = _Response(exchange, start_response)
        # Servers such as waitress send what they get: a body would be taken for the next response.
        response.gone_text = b"" if environ.get("REQUEST_METHOD") == "HEAD" else GONE_TEXT
        try:
            result = self.app(environ, response.start)
        except BaseException:
            exchange.failed = True
            exchange.finish()
            raise
        wrapper = environ.get("wsgi.file_wrapper")
        whole = isinstance(result, list | tuple) or (isinstance(wrapper, type) and isinstance(result, wrapper))
        return response.send_whole(result) if whole and response.started else _Body(response, result)


class _Response:
    """A response on its way: the server learns of it when the first byte of the body, or its end, is there."""

    def __init__(self, exchange: Exchange, start_response: StartResponse) -> None:
        self.exchange = exchange
        self._start_response = start_response
        self._status = ""
        self._headers: Headers = []
        self._write: Callable[[bytes], object]
        #: The headers have left.
        self.sent = False
        #: The application's response was replaced by a message about its session.
        self.replaced = False
        #: That message, as this request's method allows.
        self.gone_text = GONE_TEXT

    @property
    def started(self) -> bool:
        """Whether the application has called ``start_response``."""
        return bool(self._status)

    def start(self, status: str, headers: Headers, exc_info: Any = None, /) -> Callable[[bytes], object]:
        """Be the application's ``start_response``."""
        if exc_info is not None:
            self.exchange.failed = True
            try:
                if self.sent:
                    raise exc_info[1].with_traceback(exc_info[2])
            finally:
                exc_info = None  # breaks the cycle through the traceback, as PEP 3333 asks
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
        if self.sent:
            return self._write
        if not self.started:
            raise AssertionError("the application did not call start_response")
        headers = self.exchange.answer(self._status, self._headers)
        if headers is None:
            self.replaced = True
            return self._leave(GONE_STATUS, list(GONE_HEADERS))
        return self._leave(self._status, headers)

    def send_whole(self, result: Iterable[bytes]) -> Iterable[bytes]:
        """Send the headers and return a body that is there already, as it is, for the server to measure or to map."""
        try:
            self.send()
        except BaseException:
            _close(result)  # the server never gets it
            raise
        if not self.replaced:
            return result
        _close(result)
        return [self.gone_text]

    def _leave(self, status: str, headers: Headers) -> Callable[[bytes], object]:
        self._write = self._start_response(status, headers)
        self.sent = True
        return self._write


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
            self._response.exchange.finish()

    def _iterate(self) -> Iterator[bytes]:
        response = self._response
        try:
            for chunk in self._result:
                if chunk:
                    response.send()
                if response.replaced:
                    break
                # An empty chunk is passed on, as PEP 3333 asks, but nothing may be before the headers have left.
                if response.sent:
                    yield chunk
            response.send()
        except BaseException:
            response.exchange.failed = True
            raise
        if response.replaced:
            yield response.gone_text


def _close(result: Iterable[bytes]) -> None:
    close = getattr(result, "close", None)
    if close is not None:
        close()
