"""Django's session middleware for our engine: it joins a request's session and objects in one transaction."""

from __future__ import annotations

import threading
from collections.abc import Callable
from http import HTTPStatus
from typing import Any

from asgiref.sync import iscoroutinefunction
from django.conf import settings as django_settings
from django.contrib.sessions import middleware
from django.contrib.sessions.exceptions import SessionInterrupted
from django.core.exceptions import ImproperlyConfigured
from django.http import HttpRequest, HttpResponse

from kiokupy.errors import SessionGone
from kiokupy.sessions.facts import Device
from kiokupy.sessions.session import Session
from kiokupy.web.django import SessionStore, beside
from kiokupy.web.django.settings import is_joined, manager


class JoinedStore(SessionStore):
    """A session that is read and saved in a scope's transaction, which the middleware ends with the request."""

    #: Whether the transaction is still to be ended.
    is_joined = True
    #: Whether the request is at its end, so that saving the session ends the transaction.
    is_ending = False

    def __init__(self, session_key: str | None = None) -> None:
        super().__init__(session_key)
        # A coroutine that is cancelled leaves its thread at work, and the scope is one thread's at a time.
        self._turn = threading.RLock()

    def commit(self) -> None:
        """Commit what was done to the session and in its scope, unless saving the session did that.

        :raises SessionGone: the session was ended meanwhile; nothing is written.
        """
        with self._turn:
            if self.is_joined and self._loaded is not None:
                self.is_joined = False
                manager().conclude(self._loaded)

    def drop(self) -> None:
        """Forget what was done to the session and in its scope, unless that was committed."""
        with self._turn:
            if self.is_joined and self._loaded is not None:
                manager().abandon(self._loaded)
                self._session_key, self._told = self._loaded.client_id, None
                del self._session_cache
            self.is_joined = False

    def _get_session(self, no_load: bool = False) -> Session:
        with self._turn:
            return super()._get_session(no_load)

    def _opened(self, key: str | None) -> Session:
        if not self.is_joined:
            return super()._opened(key)
        return manager().open(key, device=self.device, scope=manager().directory.new_scope)

    def _write(self, session: Session) -> None:
        super()._write(session)
        if self.is_ending:
            self.commit()


class SessionMiddleware(middleware.SessionMiddleware):  # type: ignore[misc]  # Django has no types
    """What Django's own does, and more: it notes the client's device, and joins sessions with scopes.

    To be named in ``MIDDLEWARE`` in place of ``django.contrib.sessions.middleware.SessionMiddleware``. With
    ``"join": True`` in ``SESSION_KIOKUPY``, the objects that a view takes from ``request.session.scope`` are committed
    together with the session when the response is there, and dropped together if the view raises or answers with a
    status from 500 on.

    :raises ImproperlyConfigured: ``SESSION_ENGINE`` is another one, or ``SESSION_KIOKUPY`` is not set.
    """

    SessionStore: Any  # Django's name for the engine's class

    def __init__(self, get_response: Callable[[HttpRequest], Any]) -> None:
        super().__init__(get_response)
        if not issubclass(self.SessionStore, SessionStore):
            raise ImproperlyConfigured(f'{__name__} needs SESSION_ENGINE = "{SessionStore.__module__}"')
        self._joins = is_joined()
        if self._joins:
            self.SessionStore = type("JoinedStore", (JoinedStore, self.SessionStore), {})

    def __call__(self, request: HttpRequest) -> Any:
        """Answer a request; whatever becomes of it, its scope is closed."""
        if iscoroutinefunction(self):
            return self.__acall__(request)
        try:
            return super().__call__(request)
        finally:
            self._drop(request)

    async def __acall__(self, request: HttpRequest) -> Any:
        try:
            return await super().__acall__(request)
        finally:
            await beside(self._drop, request)

    def process_request(self, request: HttpRequest) -> None:
        """Give the request its session."""
        super().process_request(request)
        request.session.device = Device(request.META.get("HTTP_USER_AGENT"), request.META.get("REMOTE_ADDR"))

    def process_exception(self, request: HttpRequest, exception: Exception) -> None:
        """Drop what a view did before it raised, if that was joined."""
        self._drop(request)

    def process_response(self, request: HttpRequest, response: HttpResponse) -> HttpResponse:
        """Save the session, and set or delete its cookie; a response that does either may not be kept by any cache.

        :raises SessionInterrupted: the session was ended meanwhile; Django answers with 400.
        """
        session = request.session
        if response.status_code >= HTTPStatus.INTERNAL_SERVER_ERROR:
            self._drop(request)
        session.is_ending = True
        response = super().process_response(request, response)
        if self._joins:
            try:
                session.commit()
            except SessionGone as error:
                raise SessionInterrupted("the session was ended before the request was") from error
        if django_settings.SESSION_COOKIE_NAME in response.cookies:
            response["Cache-Control"] = "no-store"
        return response

    def _drop(self, request: HttpRequest) -> None:
        if self._joins:
            request.session.drop()
