"""Pyramid: sessions as ``request.session``, in transactions of their own or in pyramid_tm's."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from pyramid.httpexceptions import HTTPNotFound
from pyramid.interfaces import IExceptionResponse, ISession
from pyramid.response import Response
from zope.interface import implementer

from kiokupy.backends import dsn
from kiokupy.errors import SessionGone, SettingsError
from kiokupy.scope import Scope
from kiokupy.sessions.facts import Device
from kiokupy.sessions.manager import SessionManager
from kiokupy.sessions.session import Session
from kiokupy.web.cookies import Cookie, cookie_or_default
from kiokupy.web.exchange import GONE_HEADERS, GONE_STATUS, GONE_TEXT, Exchange
from kiokupy.web.settings import configured

_PREFIX, _JOIN = "kiokupy.", "join"
_MANAGER = "kiokupy.manager"


@implementer(ISession)
class PyramidSession(Session):
    """A session as Pyramid's ``ISession`` has it, with the rest of :class:`Session` beside it."""

    @property
    def created(self) -> int:  # type: ignore[override]  # Pyramid's interface has it so
        """When the session was created, in seconds since 1970 UTC."""
        return int(super().created.timestamp())

    @property
    def new(self) -> bool:
        """Whether the session has not been stored yet."""
        return self.is_new

    def changed(self) -> None:
        """Do nothing: changes inside values are seen without being told."""

    def get_csrf_token(self) -> str:
        """Return the session's token against forged requests."""
        return self.csrf_token()


def session_factory(
    manager: SessionManager, cookie: Cookie | None = None, *, join: bool = False
) -> Callable[[Any], Session]:
    """Return what ``config.set_session_factory()`` takes.

    A session that a request does not touch costs nothing. What changed is saved after the last response callback,
    before the response leaves Pyramid, and not if its status is from 500 on, or an exception view made it; an exception
    that is a response itself, as ``HTTPFound``, is an answer like any other. A request whose session was ended by
    another one meanwhile is answered with 400, or by the exception view of :class:`SessionGone`.

    :param manager: keeps the sessions.
    :param cookie: the cookie's attributes; ``Cookie(secure=False)`` for development over plain HTTP.
    :param join: where pyramid_tm looks after a request, read and save its session in ``request.tm``'s transaction,
        with the objects of ``request.kiokupy_scope``; its commit saves both, its abort drops both. Needs
        :func:`set_up`.
    :raises SettingsError: ``manager`` is none.
    """
    if not isinstance(manager, SessionManager):
        fix = "For example: session_factory(SessionManager(kiokupy.connect('Hash')))"
        raise SettingsError(f"the session factory takes a session manager, not a {type(manager).__name__}", fix=fix)
    sent = cookie_or_default(cookie)

    def factory(request: Any) -> Session:
        scope = request.kiokupy_scope if join and _is_in_transaction(request) else None
        id = sent.read(request.environ.get("HTTP_COOKIE"))
        device = Device(request.user_agent, request.remote_addr)
        session = manager.open(id, lazy=True, device=device, scope=scope, kind=PyramidSession)
        request.add_response_callback(_Ending(Exchange(manager, sent, session)))
        return session

    return factory


class _Ending:
    """The end of a request that asked for its session."""

    def __init__(self, exchange: Exchange) -> None:
        self._exchange = exchange
        self._is_last = False

    def __call__(self, request: Any, response: Any) -> None:
        """Save the session, and write its headers into the response."""
        if request.response_callbacks and not self._is_last:
            self._is_last = True  # others may touch the session still
            request.add_response_callback(self)
            return
        error = request.exception
        self._exchange.failed = error is not None and not IExceptionResponse.providedBy(error)
        headers = self._exchange.answer(response.status, response.headerlist)
        if headers is None:
            answer = _answer(request)
            response.status, response.headerlist, response.app_iter = answer.status, answer.headerlist, answer.app_iter
        else:
            response.headerlist = headers


def includeme(config: Any) -> None:
    """Set up sessions from the application's settings, as ``config.include("kiokupy.web.pyramid")`` asks.

    Settings are those of :func:`kiokupy.web.settings.configured`, each after ``kiokupy.``, and ``kiokupy.join``. What
    there is then, :func:`set_up` says.

    :raises SettingsError: a setting is unknown or malformed; others as :func:`kiokupy.connect`.
    """
    settings = {
        name.removeprefix(_PREFIX): value for name, value in config.get_settings().items() if name.startswith(_PREFIX)
    }
    join = dsn.flag(_PREFIX + _JOIN, settings.get(_JOIN, False))
    if join:
        _include_transactions(config)
    manager, cookie = configured(settings, also=(_JOIN,))
    set_up(config, manager, cookie, join=join)


def set_up(config: Any, manager: SessionManager, cookie: Cookie | None = None, *, join: bool = False) -> None:
    """Set up sessions in code: all that :func:`includeme` does from settings.

    ``request.session`` is the session then, ``request.kiokupy_manager`` and ``registry["kiokupy.manager"]`` the session
    manager, and ``request.kiokupy_scope`` a scope in the transaction of a request that pyramid_tm looks after. A
    :class:`SessionGone` that a view raises is answered with 400.

    :param join: as of :func:`session_factory`; pyramid_tm is included.
    """
    if join:
        _include_transactions(config)
    config.set_session_factory(session_factory(manager, cookie, join=join))
    config.registry[_MANAGER] = manager
    config.add_request_method(lambda request: manager, "kiokupy_manager", reify=True)
    config.add_request_method(_scope, "kiokupy_scope", reify=True)
    config.add_exception_view(_gone, context=SessionGone)


def _include_transactions(config: Any) -> None:
    try:
        config.include("pyramid_tm")
    except ImportError as error:
        fix = "Install it with: pip install pyramid_tm"
        raise SettingsError("kiokupy.join needs pyramid_tm, which is not installed", target=_JOIN, fix=fix) from error


def _scope(request: Any) -> Scope:
    if not _is_in_transaction(request):
        fix = "Set kiokupy.join = true, and ask for it while pyramid_tm looks after the request"
        raise SettingsError("request.kiokupy_scope was asked for outside of a transaction", fix=fix)
    scope: Scope = request.kiokupy_manager.directory.new_scope(transaction_manager=request.tm)
    request.add_finished_callback(lambda request: scope.close())
    return scope


def _is_in_transaction(request: Any) -> bool:
    return bool(request.environ.get("tm.active"))


def _answer(request: Any) -> Any:
    """Return the response about a session that was ended: the application's own if it has a view for that."""
    gone = SessionGone()
    try:
        return request.invoke_exception_view((SessionGone, gone, None))
    except HTTPNotFound:
        return _gone(gone, request)


def _gone(gone: SessionGone, request: Any) -> Response:
    return Response(GONE_TEXT, status=GONE_STATUS, headerlist=list(GONE_HEADERS))
