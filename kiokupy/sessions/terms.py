"""Terms: how long a session lives, and whose it is."""

from __future__ import annotations

from abc import abstractmethod
from datetime import datetime
from types import EllipsisType

from kiokupy.errors import SettingsError
from kiokupy.rules import name_of
from kiokupy.sessions.facts import Device, Facts
from kiokupy.sessions.mapping import SessionMapping
from kiokupy.sessions.policy import SessionPolicy, check_limit
from kiokupy.sessions.roster import moment


class SessionTerms(SessionMapping):
    """What is known of a session beside its data. What is changed here is saved with it."""

    @property
    @abstractmethod
    def policy(self) -> SessionPolicy:
        """The manager's policy."""

    @property
    def created(self) -> datetime:
        """When the session was created."""
        return moment(self.held.facts.created)

    @property
    def used(self) -> datetime:
        """When the session was used last, before now, to the policy's ``resolution``."""
        return moment(self.held.facts.used)

    @property
    def expires(self) -> datetime:
        """When the session ends unless it is used before."""
        return moment(self._expected().expires)

    @property
    def device(self) -> Device:
        """Where the session was used last."""
        return self.held.facts.device

    @property
    def max_age(self) -> int | None:
        """For how many seconds the browser is to keep the cookie; ``None``: until it ends."""
        return self.policy.max_age(self._expected())

    @property
    def principal(self) -> str | None:
        """Who the session belongs to; to set it is to :meth:`identify`."""
        return self.held.expected.principal

    @principal.setter
    def principal(self, principal: str | None) -> None:
        self.identify(principal)

    def identify(self, principal: str | None, *, authenticated: bool = True) -> None:
        """Note who the session belongs to, where a framework has a login of its own; else call :meth:`login`.

        A stored session gets a new id when it is saved, unless it got one since it was opened. Its data stay, also if
        they were another principal's.

        :param authenticated: whether the principal has just proved who it is; not if a cookie said so.
        :raises SettingsError: a principal is no string.
        """
        if not isinstance(principal, str | None):
            fix = "Give its id as a string: session.login(str(user.id))"
            raise SettingsError(
                f"a principal is a string, not a {name_of(type(principal))}", target="principal", fix=fix
            )
        self.held.changes["principal"] = principal
        proved = authenticated and principal is not None
        self.held.changes["authenticated"] = self.policy.clock() if proved else None

    @property
    def authenticated(self) -> datetime | None:
        """When the principal logged in, or proved again who it is."""
        authenticated = self.held.expected.authenticated
        return None if authenticated is None else moment(authenticated)

    def is_fresh(self, within: float | None = None) -> bool:
        """Tell whether the principal was authenticated lately: ask before what is sensitive, and for a login if not.

        :param within: seconds; by default the policy's ``fresh``.
        """
        authenticated = self.held.expected.authenticated
        limit = self.policy.fresh if within is None else within
        return authenticated is not None and self.policy.clock() - authenticated < limit

    def set_lifetime(
        self,
        *,
        idle: float | EllipsisType | None = ...,
        absolute: float | EllipsisType | None = ...,
        lasting: bool | EllipsisType = ...,
    ) -> None:
        """Give the session limits of its own; what is left out stays.

        :param idle: seconds without use after which it ends; ``None``: no limit.
        :param absolute: seconds after which it ends in any case; ``None``: no limit.
        :param lasting: whether its cookie outlives the browser.
        :raises SettingsError: a limit is not above 0.
        """
        for name, limit in {"idle": idle, "absolute": absolute}.items():
            if not isinstance(limit, EllipsisType):
                self.held.changes[name] = check_limit(name, limit)
        if not isinstance(lasting, EllipsisType):
            self.held.changes["lasting"] = bool(lasting)

    def _expected(self) -> Facts:
        """Return the facts as the next save leaves them."""
        held = self.held
        if held.record is not None and not held.is_changed:
            return held.facts
        return held.expected._replace(expires=self.policy.expiry(held.expected))
