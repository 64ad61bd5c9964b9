"""Session manager: creates, opens, saves, moves and ends sessions in a directory."""

from __future__ import annotations

import enum
from collections.abc import Callable, Generator, Mapping
from functools import partial
from os import PathLike
from typing import Any

from kiokupy.errors import ConflictError, SessionGone
from kiokupy.scope import Scope
from kiokupy.sessions import settings as setting
from kiokupy.sessions.events import Event
from kiokupy.sessions.facts import Device
from kiokupy.sessions.joint import Joint
from kiokupy.sessions.keeping import Keeper
from kiokupy.sessions.policy import SessionPolicy
from kiokupy.sessions.roster import Roster, SessionInfo, Stats
from kiokupy.sessions.session import Session
from kiokupy.sessions.shelf import Shelf
from kiokupy.sessions.sweeping import BATCH, Sweeper, sweep_some
from kiokupy.typemap import Allowed


class CookieAction(enum.Enum):
    """What a web adapter does with the session's cookie at the end of a request."""

    KEEP = "send nothing"
    SEND = "send the session's id"
    DELETE = "have the client drop it"


class SessionManager(Keeper):
    """Keeps web sessions in a directory. Thread-safe; one per application.

    Every verb is a transaction of its own, durable when it returns, except for sessions in a scope, which are saved
    with that. After a conflict it is tried again, after a random pause, up to 20 times. The store holds only the
    SHA-256 of a session's id; an id that a client brings along is looked up and never adopted.

    :param policy: clocks and limits.
    :param merges: by key of the sessions, what merges values that two requests gave it at the same time; see
        :data:`kiokupy.sessions.merging.Merge`. Of other keys the later writer's value stays.
    :param listeners: called with each :class:`~kiokupy.sessions.events.Event`.
    :raises SettingsError: an argument makes no sense.
    """

    _sweeper: Sweeper | None = None

    @classmethod
    def from_settings(
        cls,
        settings: Mapping[str, Any] | str | PathLike[str],
        *,
        allow_classes: tuple[Allowed, ...] = (),
        policy: SessionPolicy | None = None,
    ) -> SessionManager:
        """Connect with the settings of Dancer::Session::KiokuDB.

        :param settings: a mapping, or the path of a ``.toml`` or ``.yaml`` file that holds one: ``session``
            (``"KiokuDB"``, if it is given), ``kiokudb_backend`` (``"Hash"`` by default) and ``kiokudb_backend_opts``
            (the backend's options; ``create`` is 1 by default). Other settings are left to others.
        :raises SettingsError: a setting is wrong.
        :raises TargetError: the backend is unknown, or one of its options is.
        :raises StoreError: the store cannot be opened.
        """
        return cls(setting.connect(settings, allow_classes), policy)

    def create(self) -> Session:
        """Return a new session, stored."""
        session = Session(self, None)
        self.flush(session)
        return session

    def open(
        self,
        id: str | None = None,
        *,
        lazy: bool = False,
        device: Device | None = None,
        scope: Scope | Callable[[], Scope] | None = None,
        kind: type[Session] = Session,
    ) -> Session:
        """Return the stored session of an id, else a new one that is not stored yet.

        :param lazy: decide that when the session is first touched; until then the store is not asked.
        :param device: where it is used now; noted when the session is saved.
        :param scope: read and save it in the transaction of this scope, whose commit saves it. Or what opens one when
            it is needed, as ``directory.new_scope``: :meth:`conclude` commits that, and :meth:`abandon` drops it. What
            is done to the session follows the transaction, also back to a savepoint; after a rollback the session's
            own objects are other ones. When the scope has ended, each save is a transaction of its own again.
        :param kind: the session's class, for web adapters that have one of their own.
        """
        session = kind(self, id, device=device, joint=None if scope is None else Joint(scope))
        if not lazy:
            session.open()
        return session

    def retrieve(self, id: object) -> Session | None:
        """Return the stored session of an id; ``None`` if it is unknown, malformed or expired. Nothing is written."""
        held = self._read(id)
        return None if held is None else Session(self, str(id), held)

    def conclude(self, session: Session) -> CookieAction:
        """End a request: save the session if there is anything to save, and tell what to do about the cookie.

        An untouched session, and a new one that stayed empty, are not stored. The scope that it opened is committed
        and closed; of a scope that somebody else opened the transaction must be over. Raises as :meth:`flush`.
        """
        try:
            if session.accessed and session.joint is not None and session.joint.is_owner and session.is_joined:
                self._commit(session, session.joint)
            elif session.accessed and self.is_worth_saving(session):
                self.flush(session)
        finally:
            self._end_scope(session)
        if session.saved and not session.destroyed and not session.held.was_moved:
            return CookieAction.SEND
        return self._cookie(session)

    def abandon(self, session: Session) -> CookieAction:
        """End a request that failed: nothing is saved, and the cookie follows what was done to the store already."""
        self._end_scope(session)
        return self._cookie(session) if session.is_known else CookieAction.KEEP

    def sessions(self, principal: str | None = None) -> Generator[SessionInfo, None, None]:
        """Yield the sessions of a principal, or all, that have not expired, in no order.

        They are those of one moment. The transaction ends with the iteration; close what is not iterated to its end.
        """
        with self.directory.new_unit() as unit, unit.database.translated():
            yield from self.roster(unit).sessions(principal)

    def destroy_all(self, principal: str, *, keep: Session | None = None) -> int:
        """End all sessions of a principal, in every process at once, and return how many there were.

        To be called when its password changes or its account is closed.

        :param keep: a session that is spared: that of who asks for it.
        """
        kept = None if keep is None else keep.held.key
        return self._revoke(principal, lambda roster: roster.end_all(principal, keep=kept))

    def end(self, principal: str, handle: str) -> bool:
        """End one of a principal's sessions, by the handle that :meth:`sessions` gave; tell whether it was there."""
        return self._revoke(principal, lambda roster: roster.end(principal, handle)) > 0

    def destroy_everyone(self) -> int:
        """End all sessions, of everybody, in many transactions, and return how many there were."""
        total, left = 0, True
        while left:
            ended, left = self.transact_alone(lambda unit: self.roster(unit).clear(BATCH))
            self.events.tell(ended)
            total += len(ended)
        return total

    def sweep(self, limit: int | None = None) -> int:
        """Take expired sessions out of the store, in many transactions, and return how many.

        It may run beside requests and other sweeps. Its cost grows with what has expired; a session that is in use is
        looked at once in an idle time.

        :param limit: how many at most.
        """
        done, after = 0, b""
        while limit is None or done < limit:
            most = BATCH if limit is None else limit - done
            swept = self.transact_alone(
                partial(sweep_some, events=self.events, now=self.policy.clock(), after=after, most=most)
            )
            self.events.tell(swept.events)
            done += len(swept.events)
            if swept.after is None:
                break
            after = swept.after
        return done

    def start_sweeper(self, every: float = 300) -> None:
        """Sweep time and again in a thread, until :meth:`close` or the end of the process.

        :param every: seconds between two sweeps, give or take a fifth.
        """
        sweeper = Sweeper(self.sweep, every)
        self._stop_sweeper()
        self._sweeper = sweeper
        sweeper.start()

    def stats(self) -> Stats:
        """Count the sessions; each is looked at."""
        with self.directory.new_unit() as unit, unit.database.translated():
            alive, expired = self.roster(unit).count()
        return Stats(alive, expired, {str(kind): count for kind, count in dict(self.events.counts).items()})

    def close(self) -> None:
        """Stop sweeping, and close the directory."""
        self._stop_sweeper()
        self.directory.close()

    def _commit(self, session: Session, joint: Joint) -> None:
        """Commit the scope that was opened for a session, or is opened now since there is something to save."""
        was_stored = not session.is_new
        if self.is_worth_saving(session):
            joint.scope  # noqa: B018  # a new session takes part as well
        try:
            joint.end(commit=True)
        except ConflictError as error:
            if was_stored and session.is_new:  # it is as the store has it now
                raise SessionGone from error
            raise

    def _end_scope(self, session: Session) -> None:
        if session.joint is not None and session.joint.is_owner:
            session.joint.end(commit=False)

    def _revoke(self, principal: str, work: Callable[[Roster], list[Event]]) -> int:
        ended = self.ending(work)
        if not ended:  # of a principal without sessions nothing else would take the claim back
            self.transact(lambda unit: Shelf(unit.root).release(principal))
        return ended

    def _cookie(self, session: Session) -> CookieAction:
        if not session.accessed:
            return CookieAction.KEEP
        if session.destroyed or session.is_new:
            return CookieAction.KEEP if session.client_id is None else CookieAction.DELETE
        return CookieAction.KEEP if session.id == session.client_id else CookieAction.SEND

    def _stop_sweeper(self) -> None:
        if self._sweeper is not None:
            self._sweeper.stop()
