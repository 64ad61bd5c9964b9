"""Headers: what a response says about its session, whichever gateway carries it."""

from __future__ import annotations

from kiokupy.sessions.manager import CookieAction
from kiokupy.sessions.session import Session
from kiokupy.web.cookies import Cookie

Headers = list[tuple[str, str]]


def with_session(headers: Headers, session: Session, action: CookieAction, cookie: Cookie) -> Headers:
    """Return a response's headers with what the session adds.

    ``Vary: Cookie`` where the session was touched, since the response may depend on it; where a cookie is set or
    deleted the response may not be kept by any cache.
    """
    if session.accessed:
        headers = _vary(headers)
    if action is CookieAction.KEEP:
        return headers
    value = cookie.sent(session.id, session.max_age) if action is CookieAction.SEND else cookie.deleted()
    return [*_without(headers, "cache-control"), ("Cache-Control", "no-store"), ("Set-Cookie", value)]


def _vary(headers: Headers) -> Headers:
    fields = [field.strip() for name, value in headers if name.lower() == "vary" for field in value.split(",")]
    if "*" in fields or "cookie" in map(str.lower, fields):
        return headers
    return [*_without(headers, "vary"), ("Vary", ", ".join([*filter(None, fields), "Cookie"]))]


def _without(headers: Headers, unwanted: str) -> Headers:
    return [(name, value) for name, value in headers if name.lower() != unwanted]
