"""Pyramid's security: who is logged in is the principal of the session."""

from __future__ import annotations

from typing import Any

from pyramid.authorization import ACLHelper, Authenticated, Everyone
from pyramid.interfaces import ISecurityPolicy
from zope.interface import implementer


@implementer(ISecurityPolicy)
class SessionSecurityPolicy:
    """``remember()`` logs in, which gives the session a new id; ``forget()`` ends the session.

    The user is the session's principal, a string; access is by the ACLs of the context, with ``Everyone``,
    ``Authenticated`` and the user. For an application with more to it, to be derived from: ``identity()`` and
    ``permits()`` are what it overrides. pyramid_tm asks for the user of each request, and so reads each session, unless
    the setting ``tm.annotate_user`` is false.
    """

    def identity(self, request: Any) -> Any:
        """Return who is logged in, or ``None``."""
        return self.authenticated_userid(request)

    def authenticated_userid(self, request: Any) -> str | None:
        """Return the principal of the session, or ``None``."""
        principal: str | None = request.session.principal
        return principal

    def permits(self, request: Any, context: Any, permission: str) -> Any:
        """Tell whether the context's ACL allows it."""
        user = self.authenticated_userid(request)
        principals = [Everyone] if user is None else [Everyone, Authenticated, user]
        return ACLHelper().permits(context, principals, permission)

    def remember(self, request: Any, userid: str, *, lasting: bool = False, **kw: Any) -> list[tuple[str, str]]:
        """Log in; there are no headers to be set.

        :param lasting: let the session outlive the browser.
        """
        request.session.login(userid, remember=lasting)
        return []

    def forget(self, request: Any, **kw: Any) -> list[tuple[str, str]]:
        """Log out; there are no headers to be set."""
        request.session.invalidate()
        return []
