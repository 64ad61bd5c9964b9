"""Session manager: creates, opens, saves, moves and ends sessions in a directory."""

from __future__ import annotations

import enum
from collections.abc import Mapping
from os import PathLike
from typing import Any

from kiokupy.directory import Directory, retried
from kiokupy.entry import Entry, EntryTree, Record
from kiokupy.errors import ConflictError, SessionGone, SettingsError
from kiokupy.sessions import settings as setting
from kiokupy.sessions.merge import merge
from kiokupy.sessions.policy import SessionPolicy
from kiokupy.sessions.record import Facts, SessionCodec, key_of, new_id
from kiokupy.sessions.session import Held, Session
from kiokupy.typemap import Allowed

_RETRIES = 20


class CookieAction(enum.Enum):
    """What a web adapter does with the session's cookie at the end of a request."""

    KEEP = "send nothing"
    SEND = "send the session's id"
    DELETE = "have the client drop it"


class SessionManager:
    """Keeps web sessions in a directory. Thread-safe; one per application.

    Every verb is a transaction of its own, durable when it returns. The store holds only the SHA-256 of a session's id;
    an id that a client brings along is looked up and never adopted.
    """

    def __init__(self, directory: Directory, policy: SessionPolicy | None = None) -> None:
        if not isinstance(directory, Directory):
            fix = "For example: SessionManager(kiokupy.connect('Hash'))"
            raise SettingsError(f"sessions are kept in a directory, not in a {type(directory).__name__}", fix=fix)
        self.directory = directory
        self.policy = policy if policy is not None else SessionPolicy()
        self._codec = SessionCodec(directory.typemap)

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

    def open(self, id: str | None = None, *, lazy: bool = False, kind: type[Session] = Session) -> Session:
        """Return the stored session of an id, else a new one that is not stored yet.

        :param lazy: decide that when the session is first touched; until then the store is not asked.
        :param kind: the session's class, for web adapters that have one of their own.
        """
        return kind(self, id, None if lazy else self.begin(id))

    def retrieve(self, id: object) -> Session | None:
        """Return the stored session of an id; ``None`` if it is unknown, malformed or expired. Nothing is written."""
        held = self._read(id)
        return None if held is None else Session(self, str(id), held)

    def flush(self, session: Session) -> None:
        """Save a session: what changed in it since it was read, merged by key with what others saved meanwhile.

        Of a key that both changed, this session's value stays. If nothing changed, the session's use is noted, at most
        once in the policy's ``resolution``, and otherwise nothing is written.

        :raises SessionGone: the session was destroyed, moved to another id or has expired.
        :raises NotStorable: the type map refuses something in it; nothing is saved.
        """
        held = self._alive(session)
        state = self._dump(held)
        if self._is_due(held, state):
            retried(lambda: self._save(held, state, held.id), _RETRIES)

    def destroy(self, session_or_id: Session | str) -> bool:
        """End a session and take it out of the store; tell whether it was there. Doing it twice is fine."""
        if isinstance(session_or_id, Session):
            session_or_id.destroyed = True
            key = key_of(session_or_id.held.id)
        else:
            key = key_of(session_or_id)
        return key is not None and retried(lambda: self._remove(key), _RETRIES)

    def regenerate(self, session: Session) -> str:
        """Save a session under a new id and return that; the old id is dead in the same transaction.

        To be called when someone logs in or gains rights, so that an id planted before is worth nothing.

        :raises SessionGone: as for :meth:`flush`.
        """
        held = self._alive(session)
        state = self._dump(held)
        if held.record is None:
            held.id = new_id()
        else:
            retried(lambda: self._save(held, state, new_id()), _RETRIES)
        return held.id

    def conclude(self, session: Session) -> CookieAction:
        """End a request: save the session if there is anything to save, and tell what to do about the cookie.

        An untouched session, and a new one that stayed empty, are not stored. Raises as :meth:`flush`.
        """
        if not session.accessed or self._is_ended(session):
            return self.abandon(session)
        before = session.held.record
        self.flush(session)
        return CookieAction.SEND if session.held.record is not before else self.abandon(session)

    def abandon(self, session: Session) -> CookieAction:
        """End a request that failed: nothing is saved, and the cookie follows what was done to the store already."""
        if not session.accessed:
            return CookieAction.KEEP
        if session.destroyed or session.is_new:
            return CookieAction.KEEP if session.client_id is None else CookieAction.DELETE
        return CookieAction.KEEP if session.id == session.client_id else CookieAction.SEND

    def close(self) -> None:
        """Close the directory."""
        self.directory.close()

    def begin(self, client_id: str | None) -> Held:
        """Return what is known of the stored session of an id, else of a new one; called by :class:`Session`."""
        known = self._read(client_id)
        if known is not None:
            return known
        now = self.policy.clock()
        return Held(new_id(), Facts(now, now, self.policy.expiry(now, now)), None, {})

    def load(self, record: Record) -> dict[str, Any]:
        """Return the data in a session's record; called by :class:`Session`."""
        return self._codec.load(record)

    def _is_ended(self, session: Session) -> bool:
        return session.destroyed or (session.is_new and not session and session.principal is None)

    def _alive(self, session: Session) -> Held:
        if session.destroyed:
            raise SessionGone
        return session.held

    def _read(self, id: object) -> Held | None:
        key = key_of(id)
        if key is None:
            return None
        with self.directory.new_unit() as unit:
            entry = unit.root["sessions"].get(key)
            record = None if entry is None else entry.record
        if record is None:
            return None
        facts = self._codec.facts(record)
        if facts.expires <= self.policy.clock():
            return None
        return Held(str(id), facts, record, None, facts.principal)

    def _dump(self, held: Held) -> bytes:
        """Return the state to write; if nothing changed, the very bytes that are stored."""
        if held.record is None:
            return self._codec.dump(held.data or {})
        stored = _state(held.record)
        if held.data is None:
            return stored
        state = self._codec.dump(held.data)
        # Bytes can differ where nothing changed: a set comes in another order in another process.
        if state != stored and state == self._codec.dump(self._codec.load(held.record)):
            return stored
        return state

    def _is_due(self, held: Held, state: bytes) -> bool:
        if held.record is None or state != held.record.state or held.principal != held.facts.principal:
            return True
        return self.policy.clock() - held.facts.used >= self.policy.resolution

    def _save(self, held: Held, state: bytes, id: str) -> None:
        """Write a session under an id, which is the one it has or the one it moves to."""
        now = self.policy.clock()
        with self.directory.new_unit() as unit:
            tree = unit.root["sessions"]
            if held.record is None:
                current, data = held.facts, held.data
                principal = held.principal
            else:
                stored = self._stored(tree, held, now)
                current = self._codec.facts(stored)
                state, data = self._merged(held, state, stored)
                principal = held.principal if held.principal != held.facts.principal else current.principal
            facts = Facts(current.created, now, self.policy.expiry(current.created, now), principal)
            record = self._codec.record(facts, state)
            self._put(tree, held, id, record)
            unit.commit()
        held.id, held.facts, held.record, held.data, held.principal = id, facts, record, data, principal

    def _stored(self, tree: EntryTree, held: Held, now: float) -> Record:
        entry = tree.get(key_of(held.id))
        if entry is None or self._codec.facts(entry.record).expires <= now:
            raise SessionGone
        record: Record = entry.record
        return record

    def _merged(self, held: Held, state: bytes, stored: Record) -> tuple[bytes, dict[str, Any] | None]:
        assert held.record is not None
        if stored.state == held.record.state:
            return state, held.data
        if state == held.record.state:
            return _state(stored), None
        base, theirs = self._codec.load(held.record), self._codec.load(stored)
        data = merge(base, held.data or {}, theirs, self._codec.dump)
        return self._codec.dump(data), data

    def _put(self, tree: EntryTree, held: Held, id: str, record: Record) -> None:
        if held.record is not None and id == held.id:
            tree[key_of(id)].record = record
            return
        if held.record is not None:
            del tree[key_of(held.id)]
        if not tree.insert(key_of(id), Entry(record)):
            # It is somebody else's: the next attempt goes under another one.
            if held.record is None:
                held.id = new_id()
            raise ConflictError("a new session's id is taken")

    def _remove(self, key: bytes) -> bool:
        with self.directory.new_unit() as unit:
            found = unit.root["sessions"].pop(key, None) is not None
            if found:
                unit.commit()
        return found


def _state(record: Record) -> bytes:
    assert isinstance(record.state, bytes)
    return record.state
