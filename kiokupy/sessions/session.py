"""Session: a visitor's data, as a mapping, and whose they are."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import datetime
from functools import partial
from types import EllipsisType
from typing import Protocol

from kiokupy.database import Unit
from kiokupy.entry import Record
from kiokupy.errors import SettingsError
from kiokupy.rules import name_of
from kiokupy.scope import Scope
from kiokupy.sessions.facts import Device, Facts
from kiokupy.sessions.held import Held
from kiokupy.sessions.joint import Joint
from kiokupy.sessions.mapping import SessionMapping
from kiokupy.sessions.merging import Data
from kiokupy.sessions.policy import SessionPolicy, check_limit
from kiokupy.sessions.roster import moment


class Verbs(Protocol):
    """What a session asks of its manager."""

    policy: SessionPolicy

    def begin(self, session: Session, client_id: str | None) -> Held:
        """Return the stored session of an id, else a new one."""

    def load(self, session: Session, record: Record) -> Data:
        """Return the data in a session's record."""

    def is_changed(self, session: Session) -> bool:
        """Tell whether a session differs from what is stored."""

    def copy(self, session: Session) -> Callable[[], Data]:
        """Return what makes a session's data as they are now."""

    def write(self, session: Session, unit: Unit, ended: list[Held]) -> Callable[[], None]:
        """Write a session in the transaction of the scope that it is in."""

    def flush(self, session: Session) -> None:
        """Save a session."""

    def destroy(self, session: Session) -> bool:
        """End a session."""

    def regenerate(self, session: Session) -> str:
        """Move a session to a new id."""


class Session(SessionMapping):
    """A visitor's data: strings to any objects that the type map knows.

    Changes, also those deep inside values, are saved by :meth:`flush`, which a web adapter calls at the end of a
    request. A lazy session asks the store when it is first touched, and not at all if it never is. An object that has
    an id in the directory is referred to; what is changed in it is saved with the session only if that is in a scope.
    """

    def __init__(
        self,
        manager: Verbs,
        client_id: str | None,
        held: Held | None = None,
        *,
        device: Device | None = None,
        joint: Joint | None = None,
    ) -> None:
        self._manager = manager
        #: The id that the client sent, or ``None``; it need not be that of a session.
        self.client_id = client_id
        #: Where the session is used now, if that is known.
        self.seen_at = device
        #: How it takes part in a scope's transaction; ``None``: each save is a transaction of its own.
        self.joint = joint
        #: Whether the session was looked at or changed.
        self.accessed = False
        #: Whether the session was destroyed; it cannot be saved then.
        self.destroyed = False
        #: Whether it was saved since it was opened.
        self.saved = False
        self._held = held
        # How it was committed last, and whether it was ended.
        self._kept: tuple[Held | None, bool] = None, False
        if joint is not None:
            joint.bind(partial(manager.write, self), self.reset, self._mark)

    @property
    def held(self) -> Held:
        """What the manager knows of the session; opens a lazy one."""
        self.accessed = True
        self.open()
        assert self._held is not None
        return self._held

    @property
    def is_joined(self) -> bool:
        """Whether it is saved with a scope; when that has ended, each save is a transaction of its own again."""
        return self.joint is not None and self.joint.is_usable

    @property
    def id(self) -> str:
        """The session's id: the secret for the cookie, 43 characters."""
        return self.held.next_id or self.held.id

    @property
    def is_new(self) -> bool:
        """Whether the session has not been stored yet."""
        return self.held.record is None

    @property
    def modified(self) -> bool:
        """Whether the next save changes anything in the store but the time of use: computed, so it costs a pickle."""
        return self._manager.is_changed(self)

    @property
    def scope(self) -> Scope:
        """The scope in whose transaction the session is read and saved, for the application's own objects.

        :raises SettingsError: the session is in none.
        """
        if self.joint is None:
            fix = "Open it with one: manager.open(id, scope=directory.new_scope), or join=True where an adapter does it"
            raise SettingsError("this session is in no scope", target="scope", fix=fix)
        self.accessed = True
        return self.joint.scope

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
        return self._manager.policy.max_age(self._expected())

    @property
    def principal(self) -> str | None:
        """Who the session belongs to.

        To be set by :meth:`login`. Where a framework has a login of its own, an adapter may set it: a stored session
        gets a new id when it is saved then, unless it got one since it was opened.
        """
        principal: str | None = self.held.fact("principal")
        return principal

    @principal.setter
    def principal(self, principal: str | None) -> None:
        if not isinstance(principal, str | None):
            fix = "Give its id as a string: session.login(str(user.id))"
            raise SettingsError(
                f"a principal is a string, not a {name_of(type(principal))}", target="principal", fix=fix
            )
        self.held.changes["principal"] = principal
        self.held.changes["authenticated"] = None if principal is None else self._manager.policy.clock()

    @property
    def authenticated(self) -> datetime | None:
        """When the principal logged in, or proved again who it is."""
        authenticated = self.held.fact("authenticated")
        return None if authenticated is None else moment(authenticated)

    def is_fresh(self, within: float | None = None) -> bool:
        """Tell whether the principal was authenticated lately: ask before what is sensitive, and for a login if not.

        :param within: seconds; by default the policy's ``fresh``.
        """
        authenticated = self.held.fact("authenticated")
        policy = self._manager.policy
        limit = policy.fresh if within is None else within
        return authenticated is not None and policy.clock() - authenticated < limit

    def login(self, principal: str, *, remember: bool = False) -> str:
        """Note that a principal has proved who it is, and save; return the new id.

        The id changes in the same transaction, so that one that was planted before is worth nothing, and the clocks
        begin anew. Where the session belonged to another principal, its data are dropped. To be called at each
        authentication, also at one of a principal that is logged in already.

        :param remember: let the session outlive the browser, with the policy's ``remember_idle`` and
            ``remember_absolute``.
        :raises TooManySessions: the principal has as many as the policy allows.
        :raises SessionGone: the session was ended meanwhile.
        """
        known = self.held.copy()
        try:
            before = self.principal
            self.principal = principal
            if before not in (None, principal):
                self._held = replace(self.held, data={}, replaces=True)
            self.held.changes["lasting"] = remember
            self._manager.regenerate(self)
            if self.is_new:
                self.flush()
        except BaseException:
            self._held = known  # whoever goes on with it is not logged in
            raise
        return self.id

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

    def open(self) -> None:
        """Ask the store for a lazy session."""
        if self._held is None:
            kept = self._kept[0]
            self._held = self._manager.begin(self, self.client_id if kept is None else kept.stored_id)

    def flush(self) -> None:
        """Save what changed; see :meth:`SessionManager.flush`."""
        self._manager.flush(self)

    def destroy(self) -> bool:
        """End the session; see :meth:`SessionManager.destroy`."""
        return self._manager.destroy(self)

    def regenerate(self) -> str:
        """Move the session to a new id; see :meth:`SessionManager.regenerate`."""
        return self._manager.regenerate(self)

    def invalidate(self) -> None:
        """End the session and go on as a new, empty one under a new id; to be called at logout."""
        self.destroy()
        self._held = self._manager.begin(self, None)
        self.destroyed = False

    def settle(self) -> None:
        """Know that the session is committed as it is."""
        self._kept = self.held.copy(), self.destroyed

    def reset(self, *, over: bool) -> None:
        """Drop all changes: be again as the store has it, or, if the scope is over, as that committed it."""
        kept, self.destroyed = self._kept
        self._held = replace(kept.copy(), data=None) if over and kept is not None else None

    def _mark(self) -> Callable[[], None]:
        """Return what lets the session be again as it is now; objects of its own are other ones then."""
        known, destroyed = self._held and self._held.copy(), self.destroyed
        data = None if known is None or known.data is None else self._manager.copy(self)

        def recall() -> None:
            self._held, self.destroyed = known and known.copy(), destroyed
            if self._held is not None and data is not None:
                self._held.data = data()

        return recall

    def __repr__(self) -> str:  # neither id nor data: a repr ends up in logs
        if self._held is None:
            return "<Session, not opened yet>"
        state = "destroyed" if self.destroyed else "new" if self._held.record is None else "stored"
        return f"<Session, {state}>"

    def _expected(self) -> Facts:
        """Return the facts as the next save leaves them."""
        held = self.held
        if held.record is not None and not held.is_changed:
            return held.facts
        return held.expected._replace(expires=self._manager.policy.expiry(held.expected))

    def load(self, record: Record) -> Data:
        """Return the data in the session's record."""
        return self._manager.load(self, record)
