"""Saving: what one transaction writes to save one session. It may have to be tried again after a conflict.

Two requests about one session meet in its entry, also when one of them moves it: the entry keeps its oid. So the later
one conflicts, and its next attempt merges what the other one wrote, or finds the session gone.
"""

from __future__ import annotations

from typing import NamedTuple

from kiokupy.database import Unit
from kiokupy.entry import Entry, Record
from kiokupy.errors import BrokenReference, ConflictError, SessionGone, SessionTooLarge, TooManySessions
from kiokupy.sessions import ids
from kiokupy.sessions.content import OWNER, Content, Objects, SessionCodec, content_of
from kiokupy.sessions.events import Event, EventKind, Events
from kiokupy.sessions.facts import Device, Facts
from kiokupy.sessions.held import Held
from kiokupy.sessions.ids import handle_of, key_of
from kiokupy.sessions.merging import Data, Merge, merged
from kiokupy.sessions.policy import SessionPolicy
from kiokupy.sessions.shelf import Shelf

#: A client says what it likes of its device, so what is kept of it has a limit.
_LONGEST_TEXT = 500


class Saved(NamedTuple):
    """A session as it was saved, if the transaction is committed."""

    id: str
    key: bytes
    facts: Facts
    record: Record
    data: Data | None
    events: list[Event]


class Rules(NamedTuple):
    """What a manager saves all its sessions by."""

    policy: SessionPolicy
    codec: SessionCodec
    events: Events
    merges: dict[str, Merge]


class Attempt:
    """One attempt to save a session.

    :param content: the session's data as they are now.
    :param device: where the session is used, if that is known.
    """

    def __init__(
        self, rules: Rules, unit: Unit, held: Held, content: Content, *, objects: Objects, device: Device | None
    ) -> None:
        self._rules, self._unit, self._held = rules, unit, held
        self._content, self._objects, self._device = content, objects, device
        self._shelf, self._now = Shelf(unit.root), rules.policy.clock()
        self._data = held.data
        self._events: list[Event] = []

    def run(self) -> Saved:
        """Write the session; the commit is the caller's.

        :raises SessionGone: it is not there any more.
        :raises SessionTooLarge: it takes more bytes than the policy allows, with what others put in meanwhile.
        :raises TooManySessions: its principal has as many as the policy allows.
        :raises BrokenReference: it refers to an object that is not in the directory.
        :raises ConflictError: its new id is taken.
        """
        return self._first() if self._held.record is None else self._again()

    def _first(self) -> Saved:
        held, facts = self._held, self._as_of_now(self._held.expected)
        self._check_size()
        if facts.principal is not None:
            self._admit(facts.principal, held.key)
        record = self._record(facts)
        if not self._shelf.add(held.key, Entry(record), facts):
            held.rename(ids.new_id())
            raise ConflictError("a new session's id is taken")
        self._note(EventKind.CREATED, held.key, facts)
        return Saved(held.id, held.key, facts, record, self._data, self._events)

    def _again(self) -> Saved:
        held = self._held
        found = self._shelf.alive(held.key, self._now)
        if found is None:
            raise SessionGone
        key, entry, current = found
        changed = self._merge(key, entry.record)
        if changed:
            self._check_size()
        facts = self._as_of_now(current._replace(**held.changes) if held.changes else current)
        stays = "authenticated" not in held.changes
        if facts.principal is not None and not stays:
            self._admit(facts.principal, key)
        if held.next_id is None and facts.principal != current.principal and not held.rotated:
            held.next_id = ids.new_id()
        record = self._record(facts, entry.record)
        if held.next_id is not None:
            return self._move(key, record, current, facts, overlap=self._rules.policy.overlap if stays else 0)
        self._shelf.write(key, entry, record, current, facts)
        self._note(EventKind.SAVED if changed or held.is_changed else EventKind.RENEWED, key, facts)
        return Saved(held.id, key, facts, record, self._data, self._events)

    def _move(self, key: bytes, record: Record, before: Facts, facts: Facts, *, overlap: float) -> Saved:
        id = self._held.next_id or ""
        next_key = key_of(id) or b""
        entry = self._shelf.remove(key, before)
        entry.record = record
        if not self._shelf.add(next_key, entry, facts):
            self._held.next_id = ids.new_id()
            raise ConflictError("a session's next id is taken")
        if overlap:
            way = Facts(self._now, self._now, self._now + overlap, successor=next_key)
            self._shelf.add(key, Entry(self._rules.codec.dump({}, self._objects).record(way)), way)
        self._note(EventKind.ROTATED, key, facts, f"now {handle_of(next_key)}")
        return Saved(id, next_key, facts, record, self._data, self._events)

    def _as_of_now(self, facts: Facts) -> Facts:
        if self._device is not None:
            user_agent, address = (text if text is None else text[:_LONGEST_TEXT] for text in self._device)
            facts = facts._replace(user_agent=user_agent, address=address)
        return facts._replace(used=self._now, expires=self._rules.policy.expiry(facts, self._now))

    def _record(self, facts: Facts, before: Record | None = None) -> Record:
        """Return the session's record, once what it refers to is known to be there, and to stay until the commit."""
        known = () if before is None else before.refs
        for id in self._content.refs:
            if id not in known and id not in self._unit.root["entries"]:
                raise BrokenReference(referrer=OWNER, target=id)
        if self._content.refs:
            self._unit.guard()
        return self._content.record(facts)

    def _merge(self, key: bytes, stored: Record) -> bool:
        """Take in what others saved since the session was read, and tell whether there is anything to write."""
        held, mine = self._held, self._content
        read = held.record
        assert read is not None
        if stored is read or held.replaces or content_of(stored).is_in(read):
            return not mine.is_in(stored)
        if mine.is_in(read):
            self._content, self._data = content_of(stored), None
            return False
        codec, objects = self._rules.codec, self._objects
        self._data = merged(
            codec.load(read, objects),
            held.data or {},
            codec.load(stored, objects),
            dump=lambda data: codec.dump(data, objects),
            merges=self._rules.merges | held.merges,
        )
        self._content = codec.dump(self._data, objects)
        self._note(EventKind.MERGED, key, held.facts)
        return True

    def _check_size(self) -> None:
        policy = self._rules.policy
        if policy.max_value_bytes is not None:
            for key, value in (self._data or {}).items():
                size = self._rules.codec.dump({key: value}, self._objects).size
                if size > policy.max_value_bytes:
                    raise SessionTooLarge(size, policy.max_value_bytes, key=key)
        if policy.max_bytes is not None and self._content.size > policy.max_bytes:
            raise SessionTooLarge(self._content.size, policy.max_bytes)

    def _admit(self, principal: str, key: bytes) -> None:
        """Let a principal begin a session, within the limit; what others do about its sessions meanwhile conflicts."""
        self._shelf.claim(principal)
        limit = self._rules.policy.parallel
        if limit is None:
            return
        keys = [other for other in self._shelf.of_principal(principal) if other != key]
        found = [(other, self._shelf.readable(other)) for other in keys]
        alive = [(other, facts) for other, facts in found if facts is not None and facts.expires > self._now]
        others = sorted(alive, key=lambda one: one[1].used)
        if len(others) >= limit and self._rules.policy.refuses:
            raise TooManySessions(principal, limit)
        for other, facts in others[: max(0, len(others) - limit + 1)]:
            self._shelf.remove(other, facts)
            self._note(EventKind.DESTROYED, other, facts, "its principal has too many")

    def _note(self, kind: EventKind, key: bytes, facts: Facts, detail: str = "") -> None:
        self._events.append(self._rules.events.event(kind, key, facts.principal, detail))
