"""Keeping: how a manager reads its sessions, saves them and ends them, each in a transaction."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from functools import partial
from typing import TypeVar

from kiokupy.database import Unit
from kiokupy.directory import Directory, retried
from kiokupy.entry import Record
from kiokupy.errors import SessionGone, SettingsError
from kiokupy.scope import Scope
from kiokupy.sessions.content import Content, DirectoryObjects, Objects, SessionCodec, content_of
from kiokupy.sessions.events import Event, EventKind, Events, Listener
from kiokupy.sessions.facts import Facts
from kiokupy.sessions.held import Held
from kiokupy.sessions.ids import key_of
from kiokupy.sessions.joint import Joint
from kiokupy.sessions.merging import Data, Merge, check_merges
from kiokupy.sessions.policy import SessionPolicy
from kiokupy.sessions.roster import Roster
from kiokupy.sessions.saving import Attempt, Rules, Saved
from kiokupy.sessions.session import Session
from kiokupy.sessions.shelf import Shelf

T = TypeVar("T")

_RETRIES = 20


class Keeper:
    """Keeps sessions in a directory; :class:`~kiokupy.sessions.manager.SessionManager` adds what is done with many."""

    def __init__(
        self,
        directory: Directory,
        policy: SessionPolicy | None = None,
        *,
        merges: Mapping[str, Merge] | None = None,
        listeners: Iterable[Listener] = (),
    ) -> None:
        if not isinstance(directory, Directory):
            fix = "For example: SessionManager(kiokupy.connect('Hash'))"
            raise SettingsError(f"sessions are kept in a directory, not in a {type(directory).__name__}", fix=fix)
        if not isinstance(policy, SessionPolicy | None):
            fix = "For example: SessionManager(directory, SessionPolicy(idle=3600))"
            raise SettingsError(f"the policy is a SessionPolicy, not a {type(policy).__name__}", fix=fix)
        self.directory = directory
        self.policy = policy if policy is not None else SessionPolicy()
        self.events = Events(listeners, self.policy.clock)
        self._codec = SessionCodec(directory.typemap)
        self._rules = Rules(self.policy, self._codec, self.events, check_merges(merges))

    def flush(self, session: Session) -> None:
        """Save a session: what changed in it since it was read, merged by key with what others saved meanwhile.

        Of a key that both changed, this session's value stays, unless there is a merge function for it. If nothing
        changed, the session's use is noted, at most once in the policy's ``resolution``, and otherwise nothing is
        written. A session in a scope is saved when that is committed, and this does nothing until then.

        :raises SessionGone: the session was destroyed, moved to another id or has expired.
        :raises NotStorable: the type map refuses something in it; nothing is saved.
        :raises SessionTooLarge: it takes more bytes than the policy allows; nothing is saved.
        :raises BrokenReference: it refers to an object that was deleted; nothing is saved.
        """
        if session.destroyed:
            raise SessionGone
        held = session.held
        if not session.is_joined:
            try:
                content = self._dump(session)
                if self._is_due(held, content):
                    self._settle(session, self.transact(lambda unit: self._attempt(unit, session, content)))
            except BaseException:
                held.next_id = None  # nothing is stored under it: no cookie may have it
                raise

    def destroy(self, session_or_id: Session | str) -> bool:
        """End a session and take it out of the store; tell whether it was there. Doing it twice is fine."""
        if not isinstance(session_or_id, Session):
            key = key_of(session_or_id)
            return key is not None and self.ending(lambda roster: roster.remove(key, "destroyed")) > 0
        session, held = session_or_id, session_or_id.held
        if session.joint is not None and session.is_joined:
            done = held.record is not None and not session.destroyed
            session.joint.ended.append(held)
            session.destroyed = True
        else:
            done = self.ending(lambda roster: roster.remove(held.key, "destroyed")) > 0
            session.destroyed = True
            session.settle()
        return done

    def regenerate(self, session: Session) -> str:
        """Save a session under a new id and return that; the old id is dead in the same transaction.

        To be called when someone gains rights; :meth:`Session.login` does it. With the policy's ``overlap`` the old id
        leads to the session for a while.

        :raises SessionGone: as for :meth:`flush`, and so are the others.
        """
        if session.destroyed:
            raise SessionGone
        session.held.rotate()
        if not session.is_new:
            self.flush(session)
        return session.id

    def begin(self, session: Session, client_id: str | None) -> Held:
        """Return what is known of the stored session of an id, else of a new one; called by :class:`Session`."""
        found = self._read(client_id, session.joint)
        return Held.fresh(self.policy.clock()) if found is None else found

    def load(self, session: Session, record: Record) -> Data:
        """Return the data in a session's record; called by :class:`Session`."""
        return self._codec.load(record, self._objects_of(session) if record.refs or record.weak else None)

    def copy(self, session: Session) -> Callable[[], Data]:
        """Return what makes a session's data as they are now; called by :class:`Session`.

        :raises NotStorable: the type map refuses something in them.
        """
        held, objects = session.held, self._objects_of(session)
        record = self._codec.dump(held.data or {}, objects).record(held.facts)
        return lambda: self._codec.load(record, objects)

    def is_changed(self, session: Session) -> bool:
        """Tell whether a session differs from what is stored; called by :class:`Session`."""
        held = session.held
        return held.is_pending or not held.is_stored(self._dump(session))

    def is_worth_saving(self, session: Session) -> bool:
        """Tell whether a session is to be stored, if it is not: an empty one is not, and an ended one never."""
        held = session.held
        return not session.destroyed and (not session.is_new or held.wanted or held.is_changed or bool(session))

    def write(self, session: Session, unit: Unit, ended: list[Held]) -> Callable[[], None]:
        """Write a session in a scope's transaction; called by :class:`~kiokupy.sessions.joint.Joint`."""
        roster = self.roster(unit)
        events = [event for held in ended for event in roster.remove(held.key, "destroyed")]
        saved = None
        if session.accessed and self.is_worth_saving(session):
            content = self._dump(session)
            saved = self._attempt(unit, session, content) if self._is_due(session.held, content) else None
        return partial(self._settle, session, saved, events)

    def transact(self, work: Callable[[Unit], T]) -> T:
        """Do something small, together with what other threads do, again after a conflict; return what it returned."""
        return self.directory.write(work, retries=_RETRIES)

    def transact_alone(self, work: Callable[[Unit], T]) -> T:
        """Do something big in a transaction of its own, again after a conflict, and return what it returned."""

        def attempt() -> T:
            with self.directory.new_unit() as unit:
                with unit.database.translated():
                    done = work(unit)
                unit.commit()
            return done

        return retried(attempt, _RETRIES)

    def roster(self, unit: Unit) -> Roster:
        """Return the sessions that a transaction sees now."""
        return Roster(unit, self.events, self.policy.clock())

    def ending(self, work: Callable[[Roster], list[Event]]) -> int:
        """End sessions in a transaction of its own, and return how many they were."""
        events = self.transact(lambda unit: work(self.roster(unit)))
        self.events.tell(events)
        return len(events)

    def _read(self, id: object, joint: Joint | None = None) -> Held | None:
        key = key_of(id)
        if key is None and id:
            self._reject(None, "it cannot be an id")
        scope = None
        if joint is not None and joint.is_usable and (key is not None or not joint.is_owner):
            scope = joint.scope  # the session is in it from now on
        if key is None:
            return None
        found = self._look_up(key, scope)
        if isinstance(found, str):
            self._reject(key, found)
            return None
        key, record, facts = found
        self.events.happened(EventKind.LOADED, key, facts.principal)
        return Held(str(id), key, facts, record, None)

    def _look_up(self, key: bytes, scope: Scope | None) -> tuple[bytes, Record, Facts] | str:
        find = partial(_find, key=key, now=self.policy.clock())
        if scope is None:
            return self.directory.read(find, lambda unit: Shelf(unit.root).find(key))
        with scope.unit.database.translated():
            return find(scope.unit)

    def _reject(self, key: bytes | None, why: str) -> None:
        self.events.happened(EventKind.REJECTED, key, None, why)

    def _objects_of(self, session: Session) -> Objects:
        joint = session.joint
        return joint.objects if joint is not None and joint.is_usable else self._outside(session.held)

    def _outside(self, held: Held) -> DirectoryObjects:
        if held.objects is None:
            held.objects = DirectoryObjects(self.directory)
        return held.objects

    def _attempt(self, unit: Unit, session: Session, content: Content) -> Saved:
        objects = self._objects_of(session)
        return Attempt(self._rules, unit, session.held, content, objects=objects, device=session.seen_at).run()

    def _settle(self, session: Session, saved: Saved | None, events: Iterable[Event] = ()) -> None:
        """Know that what was saved is committed, and tell."""
        if saved is not None:
            session.held.settle(*saved[:-1])
            session.saved = True
            if session.joint is not None and session.is_joined:  # for when the scope has ended
                self._outside(session.held).learn(session.joint.objects.among(saved.record.refs))
        session.settle()
        self.events.tell([*events, *(saved.events if saved is not None else ())])

    def _is_due(self, held: Held, content: Content) -> bool:
        return held.is_pending or not held.is_stored(content) or self.policy.is_renewal_due(held.facts)

    def _dump(self, session: Session) -> Content:
        """Return the content to write; if nothing changed, that which is stored."""
        held, record, objects = session.held, session.held.record, self._objects_of(session)
        if held.data is None and record is not None:
            return content_of(record)
        content = self._codec.dump(held.data or {}, objects)
        if record is None or held.is_touched or content.is_in(record):
            return content
        # Bytes can differ where nothing changed: a set comes in another order in another process.
        is_same = content == self._codec.dump(self._codec.load(record, objects), objects)
        return content_of(record) if is_same else content


def _find(unit: Unit, key: bytes, now: float) -> tuple[bytes, Record, Facts] | str:
    """Return the key, the record and the facts of a session, or why there is none."""
    shelf = Shelf(unit.root)
    found = shelf.alive(key, now)
    if found is None:
        return "it is unknown" if shelf.find(key) is None else "it has expired"
    key, entry, facts = found
    return key, entry.record, facts
