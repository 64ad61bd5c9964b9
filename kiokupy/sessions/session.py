"""Session: a visitor's data, as a mapping, and whose they are."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Protocol

from kiokupy.database import Unit
from kiokupy.entry import Record
from kiokupy.errors import SettingsError
from kiokupy.scope import Scope
from kiokupy.sessions.facts import Device
from kiokupy.sessions.held import Held
from kiokupy.sessions.joint import Joint
from kiokupy.sessions.merging import Data
from kiokupy.sessions.policy import SessionPolicy
from kiokupy.sessions.terms import SessionTerms


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


class Session(SessionTerms):
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
        # How it was committed last, if it is in a scope that may take it back, and whether it was ended.
        self._kept: tuple[Held | None, bool] = None, False
        if joint is not None:
            joint.bind(partial(manager.write, self), self.reset, self._mark)

    @property
    def policy(self) -> SessionPolicy:
        """The manager's policy."""
        return self._manager.policy

    @property
    def held(self) -> Held:
        """What the manager knows of the session; opens a lazy one."""
        self.accessed = True
        if self._held is None:
            self.open()
            assert self._held is not None
        return self._held

    @property
    def is_known(self) -> bool:
        """Whether the session was read or begun, and that was not dropped since."""
        return self._held is not None or self._kept[0] is not None

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

    def login(self, principal: str, *, remember: bool = False) -> str:
        """Note that a principal has proved who it is, and save; return the new id.

        The id changes in the same transaction, so that one that was planted before is worth nothing, and the clocks
        begin anew. Where the session belonged to another principal, its data and its own limits are dropped. To be
        called at each authentication, also at one of a principal that is logged in already.

        :param remember: let the session outlive the browser, with the policy's ``remember_idle`` and
            ``remember_absolute``.
        :raises SettingsError: a principal is a string, and not an empty one.
        :raises TooManySessions: the principal has as many as the policy allows.
        :raises SessionGone: the session was ended meanwhile.
        """
        if not principal:
            fix = "Call invalidate() where somebody logs out"
            raise SettingsError(f"nobody logs in as {principal!r}", target="principal", fix=fix)
        known = self.held.copy()
        try:
            before = self.principal
            self.principal = principal
            if before not in (None, principal):
                changes = {"idle": None, "absolute": None} | self.held.changes
                self._held = replace(self.held, data={}, replaces=True, changes=changes)
            self.held.changes["lasting"] = remember
            self._manager.regenerate(self)
            if self.is_new:
                self.flush()
        except BaseException:
            self._held = known  # whoever goes on with it is not logged in
            raise
        return self.id

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
        self.destroyed = self.saved = False

    def revert(self) -> None:
        """Drop what changed in the data and was not saved; a login and a new id stay."""
        held = self.held
        held.data = {} if held.record is None or held.replaces else None
        held.is_touched = False
        held.merges.clear()

    def settle(self) -> None:
        """Know that the session is committed as it is."""
        if self.joint is not None:
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

    def load(self, record: Record) -> Data:
        """Return the data in the session's record."""
        return self._manager.load(self, record)
