"""Exchange: a request and its answer as its session sees them, whichever gateway carries them."""

from __future__ import annotations

import logging

from kiokupy.errors import SessionGone
from kiokupy.sessions.manager import CookieAction, SessionManager
from kiokupy.sessions.session import Session
from kiokupy.web.cookies import Cookie
from kiokupy.web.headers import Headers, with_session

_log = logging.getLogger(__name__)

#: What a client is told whose session was ended by another request while its own was under way.
GONE_STATUS = "400 Bad Request"
GONE_TEXT = b"Your session ended while this request was under way. Please try again.\n"
GONE_HEADERS: Headers = [
    ("Content-Type", "text/plain; charset=utf-8"),
    ("Content-Length", str(len(GONE_TEXT))),
    ("Cache-Control", "no-store"),
    ("Vary", "Cookie"),
]


class Exchange:
    """One request: its session is saved before the headers of the answer leave, and late changes at its end."""

    def __init__(self, manager: SessionManager, cookie: Cookie, session: Session) -> None:
        self._manager, self._cookie, self._session = manager, cookie, session
        #: The application failed, or its changes are not to be saved for another reason.
        self.failed = False
        self._answered = False
        self._known_id: str | None = None

    def answer(self, status: str, headers: Headers) -> Headers | None:
        """Save the session, unless the application failed; return its headers with what the session adds.

        ``None``: another request ended the session meanwhile, and the client is to be told so instead.

        :param status: begins with the status code; from 500 on the application has failed.
        """
        self.failed = self.failed or status.startswith("5")
        try:
            action = (self._manager.abandon if self.failed else self._manager.conclude)(self._session)
        except SessionGone:
            self.failed = True
            return None
        kept = self._session.client_id if action is CookieAction.KEEP else None
        self._known_id = self._session.id if action is CookieAction.SEND else kept
        self._answered = True
        return with_session(headers, self._session, action, self._cookie)

    def answer_nothing(self) -> None:
        """Note that no headers can be sent: the client goes on with the id that it has."""
        self._known_id, self._answered = self._session.client_id, True

    def finish(self) -> None:
        """Save what the application changed after the headers had left; too late for a cookie. Can be called again.

        What a failed application changed is dropped, and the scope is closed that was opened for it.
        """
        manager, session = self._manager, self._session
        if self.failed or not self._answered:
            manager.abandon(session)
        elif session.accessed and manager.is_worth_saving(session):
            self._finish_late()

    def _finish_late(self) -> None:
        session = self._session
        if session.is_new or session.id != self._known_id:
            _log.warning("a session begun or moved after the headers had left is lost: its cookie was not sent")
        elif session.saved and not session.modified:
            return
        elif session.joint is not None:
            _log.warning("a session changed after the headers had left is not saved: its scope was committed then")
        else:
            try:
                self._manager.conclude(session)
            except SessionGone:
                _log.warning("a session changed after the headers had left was ended meanwhile")
