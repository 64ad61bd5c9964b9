"""Flask's session: one that kiokupy keeps, under Flask's names."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import flask
from flask.sessions import NullSession, SessionMixin

from kiokupy.sessions.merging import appended
from kiokupy.sessions.session import Session
from kiokupy.web.exchange import Exchange
from kiokupy.web.flask.settings import NAME

_FLASHES = "_flashes"  # where flask.flash() keeps its messages
_FRESH = "_fresh"  # where Flask-Login says whether its user has just logged in


class FlaskSession(SessionMixin):
    """``flask.session``: a session that kiokupy keeps, under Flask's names.

    What is not named here is the kept session's: ``session.login("ada")``, ``session.csrf_token()``,
    ``session.increment("visits")``; see :class:`kiokupy.sessions.session.Session`.
    """

    def __init__(self, kept: Session, exchange: Exchange, principal_key: str | None) -> None:
        #: The session itself.
        self.kept = kept
        #: Its request.
        self.exchange = exchange
        #: What was assigned to :attr:`permanent`.
        self.wanted: bool | None = None
        #: Whether its request was answered, or failed.
        self.ended = False
        #: Whether that answer is still made while it is sent.
        self.is_streamed = False
        self._principal_key = principal_key

    @property
    def permanent(self) -> bool:
        """Whether the session outlives the browser, by ``PERMANENT_SESSION_LIFETIME``.

        It takes effect when the session is saved; a session that stays empty is not saved.
        """
        return self.kept.max_age is not None if self.wanted is None else self.wanted

    @permanent.setter
    def permanent(self, value: bool) -> None:
        self.wanted = bool(value)

    @property
    def new(self) -> bool:  # type: ignore[override]  # a plain attribute in Flask, which nobody sets
        """Whether the session has not been stored yet."""
        return self.kept.is_new

    @property
    def modified(self) -> bool:
        """Whether there is something to save. Changes deep inside values count: nobody needs to set it."""
        return self.kept.modified

    @modified.setter
    def modified(self, value: bool) -> None:
        pass  # Flask's applications set it after such a change

    @property
    def accessed(self) -> bool:
        """Whether the session's data was asked for."""
        return self.kept.accessed

    @accessed.setter
    def accessed(self, value: bool) -> None:
        pass  # Flask sets it whenever its proxy is used, be it to set ``permanent`` before each request

    @property
    def principal(self) -> str | None:
        """Who the session belongs to."""
        return self.kept.principal

    @principal.setter
    def principal(self, principal: str | None) -> None:
        self.kept.principal = principal

    def clear(self) -> None:
        """End the session and go on as a new, empty one: what Flask's applications mean at login and logout."""
        self.kept.invalidate()

    def __getitem__(self, key: str) -> Any:
        return self.kept[key]

    def __setitem__(self, key: str, value: Any) -> None:
        self.kept[key] = value
        self._note(key, value)

    def __delitem__(self, key: str) -> None:
        del self.kept[key]
        self._note(key, None)

    def __iter__(self) -> Iterator[str]:
        return iter(self.kept)

    def __len__(self) -> int:
        return len(self.kept)

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_"):
            raise AttributeError(name)
        return getattr(self.kept, name)

    def __repr__(self) -> str:
        return repr(self.kept)

    def _note(self, key: str, value: Any) -> None:
        if key in (self._principal_key, _FRESH) and self._principal_key is not None:
            user = self.kept.get(self._principal_key)
            self.kept.identify(None if user is None else str(user), authenticated=self.kept.get(_FRESH, True) is True)
        elif key == _FLASHES:
            self.kept.held.merges[key] = appended


class NoSession(NullSession):
    """``flask.session`` where there is none: it reads as an empty one, and to write to it is an error."""

    permanent = False
    principal = None

    def _fail(self, *args: Any, **kwargs: Any) -> Any:
        excluded = f"{NAME}['exclude'] names this path"
        raise RuntimeError(f"there is no session at {flask.request.path}: {excluded}. Take it out there")

    __setitem__ = __delitem__ = clear = pop = popitem = update = setdefault = __ior__ = _fail
