"""Beaker: its middleware and its session object over kiokupy's, so that an application need not be rewritten."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, MutableMapping
from typing import TYPE_CHECKING, Any

from kiokupy.sessions.manager import SessionManager
from kiokupy.sessions.session import Session
from kiokupy.web import wsgi
from kiokupy.web.beaker.settings import NAMES, translated
from kiokupy.web.settings import configured

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIApplication, WSGIEnvironment

_KEY = "kiokupy.session"


class SessionMiddleware:
    """Gives each request its session at ``environ["beaker.session"]``, as ``beaker.middleware.SessionMiddleware`` does.

    Beaker's settings keep their names: ``session.key``, ``session.timeout``, ``session.cookie_expires``,
    ``session.cookie_domain``, ``session.cookie_path``, ``session.secure``, ``session.httponly``, ``session.samesite``,
    ``session.auto``. Instead of ``session.type`` and what belongs to it there is ``session.target``: any target of
    :func:`kiokupy.connect` (``session.type = memory`` is understood). The other settings of
    :func:`kiokupy.web.settings.configured` can be given likewise, as ``session.allow_modules``. What is left open has
    kiokupy's default, not Beaker's: the cookie is secure, and sessions end.

    As in Beaker, what changed is saved if the application called ``save()``, or if ``session.auto`` is true.

    :param app: the WSGI application.
    :param config: the settings; those that do not begin with ``session.`` or ``beaker.session.`` are others'.
    :param environ_key: where in the environ the session is put.
    :param options: settings as well, with or without ``session.``.
    :raises SettingsError: a setting is unknown or malformed, or has no meaning here; others as :func:`kiokupy.connect`.
    """

    def __init__(
        self,
        app: WSGIApplication,
        config: Mapping[str, Any] | None = None,
        environ_key: str = "beaker.session",
        **options: Any,
    ) -> None:
        settings, self._auto = translated(config, options)
        self.manager, cookie = configured(settings, also=NAMES)
        self.app, self.environ_key = app, environ_key
        self._middleware = wsgi.SessionMiddleware(self._answer, self.manager, cookie, key=_KEY)

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        """Answer a request."""
        return self._middleware(environ, start_response)

    def _answer(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        session = BeakerSession(environ[_KEY], self.manager, auto=self._auto)
        environ[self.environ_key] = session

        def start(status: str, headers: list[tuple[str, str]], exc_info: Any = None, /) -> Any:
            session.settle()
            return start_response(status, headers, exc_info)

        return self.app(environ, start)


class BeakerSession(MutableMapping[str, Any]):
    """A session as Beaker has it; whatever else is asked is that of the session within, as ``login()``.

    :param auto: what changed is saved whether or not :meth:`save` was called.
    :param at_once: :meth:`save` saves at once: no response is going to do it.
    """

    __slots__ = ("_at_once", "_auto", "_manager", "_saved", "_session")

    def __init__(self, session: Session, manager: SessionManager, *, auto: bool, at_once: bool = False) -> None:
        self._session, self._manager, self._auto, self._at_once = session, manager, auto, at_once
        self._saved = False

    @property
    def created(self) -> float:
        """When the session was created, in seconds since 1970 UTC."""
        return self._session.created.timestamp()

    @property
    def last_accessed(self) -> float | None:
        """When the session was used before, in seconds since 1970 UTC; ``None``: it is new."""
        return None if self._session.is_new else self._session.used.timestamp()

    def accessed(self) -> bool:
        """Tell whether the session was looked at or changed."""
        return self._session.accessed

    def dirty(self) -> bool:
        """Tell whether :meth:`save` was called."""
        return self._saved

    def save(self) -> None:
        """Have the session saved before the headers of the response leave."""
        self._saved = True
        if self._at_once:
            self._session.flush()

    def persist(self) -> None:
        """Save the session now, if :meth:`save` was called or ``session.auto`` is true.

        :raises SessionGone: it was ended meanwhile.
        """
        if self._saved or self._auto:
            self._session.flush()

    def settle(self) -> None:
        """Prepare for the end of the request: what is not to be saved is dropped; the middleware calls it."""
        session = self._session
        if not session.accessed or session.destroyed:
            return
        if not self._saved and not self._auto:
            session.revert()
        elif self._saved:
            session.held.wanted = True  # the application may need the id elsewhere

    def delete(self) -> None:
        """End the session, at once, and have the client drop the cookie."""
        self._session.destroy()
        self._session.clear()

    def invalidate(self) -> None:
        """End the session, at once, and go on as a new, empty one under a new id."""
        self._session.invalidate()

    def regenerate_id(self) -> None:
        """Go on under a new id; the old one, unlike in Beaker, leads nowhere from then on."""
        self._session.regenerate()

    def revert(self) -> None:
        """Drop what changed and was not saved."""
        self._session.revert()

    def load(self) -> None:
        """Read the session from the store again; what changed and was not saved is dropped."""
        self._session.revert()
        stored = self._manager.retrieve(self.id)
        if stored is not None:
            self._session.clear()
            self._session.update(stored)

    def get_by_id(self, id: str) -> BeakerSession | None:
        """Return the stored session of an id, or ``None``; its :meth:`save` saves at once."""
        session = self._manager.retrieve(id)
        return None if session is None else BeakerSession(session, self._manager, auto=self._auto, at_once=True)

    def has_key(self, key: str) -> bool:
        """Tell whether there is a value of this name."""
        return key in self

    def __getattr__(self, name: str) -> Any:
        return getattr(object.__getattribute__(self, "_session"), name)

    def __getitem__(self, key: str) -> Any:
        stamp = _STAMPS.get(key)
        return self._session[key] if stamp is None else getattr(self._session, stamp).timestamp()

    def __setitem__(self, key: str, value: Any) -> None:
        self._session[key] = value

    def __delitem__(self, key: str) -> None:
        del self._session[key]

    def __iter__(self) -> Iterator[str]:
        return iter(self._session)

    def __len__(self) -> int:
        return len(self._session)

    def __repr__(self) -> str:
        return repr(self._session)


#: Beaker keeps these among the data; applications read them there.
_STAMPS = {"_creation_time": "created", "_accessed_time": "used"}
