"""Flask: ``flask.session`` is a session that kiokupy keeps."""

from __future__ import annotations

import threading
from collections.abc import Iterable
from typing import TYPE_CHECKING, NamedTuple, cast

import flask
from flask.sessions import SessionInterface, SessionMixin
from werkzeug.exceptions import BadRequest
from werkzeug.local import LocalProxy

from kiokupy.errors import SettingsError
from kiokupy.scope import Scope
from kiokupy.sessions.facts import Device
from kiokupy.sessions.manager import SessionManager
from kiokupy.typemap import Allowed
from kiokupy.web.cookies import Cookie
from kiokupy.web.exchange import GONE_TEXT, Exchange
from kiokupy.web.flask import settings as own_settings
from kiokupy.web.flask.commands import commands
from kiokupy.web.flask.naming import FlaskSession, NoSession
from kiokupy.web.flask.settings import NAME, Own
from kiokupy.web.settings import Prepared

if TYPE_CHECKING:
    from flask import Flask, Request, Response

_KEY = "kiokupy"
_PLAIN_HTTP = (
    "The session cookie is for HTTPS, and a request came over plain HTTP: many clients will not send it back, some not "
    "even to localhost. For development: flask --debug run, or %s = {..., 'cookie_secure': False}. Behind a proxy that "
    "ends TLS: werkzeug's ProxyFix"
)

#: ``flask.session``, with the type that it has here.
session = cast(FlaskSession, flask.session)
#: The scope of a joined session, where the application's own objects are: ``flask.session.scope``.
scope = cast(Scope, LocalProxy(lambda: session.scope))


class KiokuInterface(SessionInterface):
    """Opens and saves the sessions of one application.

    The store is opened by the first request, not when the application is made: the reloader of ``flask --debug run``
    and the parent of servers that fork make it too, and would hold the store.
    """

    null_session_class = NoSession

    def __init__(
        self, app: Flask, manager: SessionManager | None, allow_classes: tuple[Allowed, ...], join: bool | None
    ) -> None:
        self._app, self._given, self._allow_classes, self._join = app, manager, allow_classes, join
        self._lock = threading.Lock()
        self._opened: _Opened | None = None
        self._is_warned = False
        self._read()  # so that what is wrong is said when the application is made

    @property
    def manager(self) -> SessionManager:
        """The session manager; opens the store, if that was not done yet.

        :raises StoreError: the store cannot be opened.
        """
        return self._open().manager

    def close(self) -> None:
        """Close the store, if it is open and was not opened by the application; the next request opens it again."""
        with self._lock:
            if self._opened is not None and self._given is None:
                self._opened.manager.close()
            self._opened = None

    def open_session(self, app: Flask, request: Request) -> FlaskSession | None:
        """Return a request's session, which asks the store when it is touched; ``None`` where there is to be none."""
        manager, cookie, own = self._open()
        if own.excludes(request.path):
            return None
        kept = manager.open(
            cookie.read(request.environ.get("HTTP_COOKIE")),
            lazy=True,
            device=Device(request.user_agent.string or None, request.remote_addr),
            scope=manager.directory.new_scope if own.join else None,
        )
        session = FlaskSession(kept, Exchange(manager, cookie, kept), own.principal_key)
        vars(request)[_KEY] = session
        return session

    def save_session(self, app: Flask, session: SessionMixin, response: Response) -> None:
        """Save the session, and say so in the response's headers, which leave afterwards.

        A response to a request whose session another one ended meanwhile becomes the application's answer to
        :class:`~werkzeug.exceptions.BadRequest`; of one from 500 on nothing is saved.
        """
        if not isinstance(session, FlaskSession):  # it could not be opened, and Flask answers with 500
            return
        self._settle_lifetime(session)
        headers = session.exchange.answer(response.status, response.headers.to_wsgi_list())
        if headers is None:
            error = BadRequest(GONE_TEXT.decode().strip())
            _replace(response, app.make_response(app.handle_user_exception(error)))
            return
        session.ended, session.is_streamed = True, response.is_streamed
        if session.accessed:
            response.headers[:] = headers
            self._warn_of_http(response)

    def end(self, error: BaseException | None) -> None:
        """End a request that was not answered, or whose answer was streamed; what Flask calls at teardown."""
        session: FlaskSession | None = vars(flask.request._get_current_object()).get(_KEY)  # type: ignore[attr-defined]
        if session is None or not session.kept.accessed:  # session_transaction() opens one in a request that ends first
            return
        if not session.ended:
            session.ended = True
            self.manager.abandon(session.kept)
        elif session.is_streamed and error is None:
            session.exchange.finish()

    def _open(self) -> _Opened:
        with self._lock:
            if self._opened is None:
                # Read once more: the application may have been configured, or set to debug, after it was made.
                own, ready = self._read()
                if self._given is None and not self._app.testing and own_settings.is_in_memory(self._app):
                    self._app.logger.warning("%s does not say where to keep sessions: they end with this process", NAME)
                self._opened = _Opened(ready.connect(), ready.cookie, own)
            return self._opened

    def _read(self) -> tuple[Own, Prepared]:
        own = own_settings.own(self._app, self._join)
        return own, own_settings.prepare(self._app, self._given, self._allow_classes)

    def _settle_lifetime(self, session: FlaskSession) -> None:
        """Give a session the lifetime that ``permanent`` asks for."""
        kept, config, manager = session.kept, self._app.config, self.manager
        if not kept.accessed or not manager.is_worth_saving(kept):
            return
        if session.wanted is None and kept.is_new and config.get("SESSION_PERMANENT"):
            session.wanted = True
        seconds = self._app.permanent_session_lifetime.total_seconds()
        if session.wanted and config["SESSION_REFRESH_EACH_REQUEST"]:
            kept.set_lifetime(idle=seconds, absolute=None, lasting=True)
        elif session.wanted:
            kept.set_lifetime(idle=None, absolute=seconds, lasting=True)
        elif session.wanted is False and kept.max_age is not None:
            kept.set_lifetime(idle=manager.policy.idle, absolute=manager.policy.absolute, lasting=False)

    def _warn_of_http(self, response: Response) -> None:
        cookie = self._open().cookie
        if not cookie.secure or flask.request.is_secure or self._app.testing or self._is_warned:
            return
        if any(value.startswith(f"{cookie.name}=") for value in response.headers.getlist("Set-Cookie")):
            self._is_warned = True
            self._app.logger.warning(_PLAIN_HTTP, NAME)


class KiokuSessions:
    """Flask's extension: ``KiokuSessions(app)``, or ``sessions.init_app(app)`` for each application.

    ``app.config["SESSION_KIOKUPY"]`` is a target of :func:`kiokupy.connect`, such as ``"sqlite:///sessions.sqlite"``,
    or a mapping with the settings of :func:`kiokupy.web.settings.configured` and these:

    - ``join``: sessions are saved in one transaction with the application's objects in :data:`scope`.
    - ``exclude``: paths that have no session, each with all below it.
    - ``principal_key``: the key whose value says who is logged in (Flask-Login's ``"_user_id"`` by default).

    Flask's own ``SESSION_COOKIE_*``, ``SESSION_PERMANENT``, ``PERMANENT_SESSION_LIFETIME`` and
    ``SESSION_REFRESH_EACH_REQUEST`` count too. Where a cookie's attribute has Flask's default, ours stands, which is
    the safe one; in debug mode the cookie goes over plain HTTP as well.

    :param manager: keeps the sessions, instead of one that the settings describe.
    :param join: as in the settings.
    :param allow_classes: classes whose objects may be stored, for :func:`kiokupy.connect`.
    :raises SettingsError: a setting is unknown or malformed, or two contradict each other.
    """

    def __init__(
        self,
        app: Flask | None = None,
        manager: SessionManager | None = None,
        *,
        join: bool | None = None,
        allow_classes: Iterable[Allowed] = (),
    ) -> None:
        if manager is not None and not isinstance(manager, SessionManager):
            fix = "For example: KiokuSessions(app, SessionManager(kiokupy.connect('Hash')))"
            raise SettingsError(f"the extension takes a session manager, not a {type(manager).__name__}", fix=fix)
        self._given, self._join, self._allow_classes = manager, join, tuple(allow_classes)
        if app is not None:
            self.init_app(app)

    def init_app(self, app: Flask) -> None:
        """Give an application its sessions, and the commands ``flask kiokupy ...``."""
        if _KEY in app.extensions:
            raise SettingsError("the application has its sessions already", fix="Call init_app() for it once")
        interface = KiokuInterface(app, self._given, self._allow_classes, self._join)
        app.extensions[_KEY] = app.session_interface = interface
        app.teardown_request(interface.end)
        app.cli.add_command(commands)

    @property
    def manager(self) -> SessionManager:
        """The current application's session manager: to list a principal's sessions, to end them, to sweep."""
        return cast(KiokuInterface, flask.current_app.extensions[_KEY]).manager


class _Opened(NamedTuple):
    manager: SessionManager
    cookie: Cookie
    own: Own


def _replace(response: Response, other: Response) -> None:
    """Make a response say what another one says; nobody can be given that one instead."""
    close = getattr(response.response, "close", None)
    if close is not None:
        close()
    response.direct_passthrough = other.direct_passthrough
    response.status, response.response, response.headers = other.status, other.response, other.headers
    response.headers["Cache-Control"] = "no-store"
    response.vary.add("Cookie")
