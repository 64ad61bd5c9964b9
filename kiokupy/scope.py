"""Scope: a unit of work on live objects."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import suppress
from functools import partial
from typing import Any, TypeVar

from kiokupy import ids as object_ids
from kiokupy.changes import Changes, Mark
from kiokupy.companions import Companion, Companions
from kiokupy.database import Unit
from kiokupy.departed import Departed
from kiokupy.drafts import Draft
from kiokupy.errors import NotFound, ScopeClosed, UniqueViolation
from kiokupy.indexes import Index
from kiokupy.live import LiveObjects
from kiokupy.lookups import Lookups
from kiokupy.membership import Membership
from kiokupy.savepoints import Savepoint
from kiokupy.typemap import TypeMap
from kiokupy.upkeep import Upkeep

T = TypeVar("T")


class Scope(Lookups):
    """One connection, one transaction, one identity map; used by one thread or task at a time.

    ``with directory.new_scope() as scope:`` commits when the block succeeds and aborts when it raises. Until then
    nobody else sees its changes. Objects that were loaded here stay usable afterwards; one that was not raises
    :class:`~kiokupy.errors.ScopeClosed` when it is touched.
    """

    def __init__(
        self,
        unit: Unit,
        typemap: TypeMap,
        departed: Departed,
        *,
        indexes: Mapping[str, Index],
        readonly: bool = False,
        track: bool = True,
    ) -> None:
        self._unit, self._typemap, self._readonly, self._track = unit, typemap, readonly, track
        self._live = LiveObjects(unit, typemap, departed)
        self._upkeep = Upkeep(unit, indexes)
        self._changes = Changes(
            unit, self._live, self._upkeep, tracks=track, readonly=readonly, check_writable=self._check_writable
        )
        self._live.host = Membership(unit, typemap, self._live, self._changes)
        self._companions, self._open = Companions(), True

    def join(self, companion: Companion) -> None:
        """Let what has records of its own be written with each commit of this scope, and dropped with each abort."""
        self._check_writable("join()")
        self._companions.append(companion)

    def store(self, obj: object, *, id: str | None = None, root: bool = True) -> str:
        """Insert or update an object and all it reaches; return its id.

        Storing the same object under the same id again is fine. If anything reached is refused, nothing is stored.

        :param id: 1 to 200 characters; a fresh one by default.
        :param root: whether the object keeps itself alive when garbage is collected. It is only ever set here;
            :meth:`unset_root` clears it.
        :raises InvalidId: ``id`` cannot be one.
        :raises DuplicateId: another object has this id, or this object has another.
        :raises NotStorable: the type map refuses something that is reached; the error has the path to it.
        :raises UniqueViolation: another object has a value that an index keeps unique.
        :raises NotIndexable: an object has a value that has no place in an index.
        """
        return self._put(obj, id, root=root, is_new=False)

    def insert(self, obj: object, *, id: str | None = None, root: bool = True) -> str:
        """Store a new object; known objects that it reaches are referred to and not written. Else as :meth:`store`.

        :raises DuplicateId: also if the object is in the store already.
        """
        return self._put(obj, id, root=root, is_new=True)

    def insert_many(self, objects: Mapping[str, object], *, root: bool = True) -> None:
        """Store new objects under their ids: all of them or, if one is refused, none. Else as :meth:`insert`."""
        self._check_writable("insert_many()")
        draft = self._draft(revive=True)
        with self._live.adopting():
            draft.put_new({object_ids.check(id): obj for id, obj in objects.items()}, root=root)
            draft.run(objects, name="objects")
            self._write(draft)

    def update(self, *objects: object) -> None:
        """Write the state of known objects; what they refer to must be known, and is not written.

        :raises NotStored: an object, or one that it refers to, has no id here. :meth:`store` takes them all in.
        :raises NotStorable: as for :meth:`store`.
        """
        self._check_writable("update()")
        self._update(self._draft(deep=False, grow=False, revive=False), objects)

    def deep_update(self, *objects: object) -> None:
        """Write the state of known objects and of all they reach, which must be known too; raises as :meth:`update`."""
        self._check_writable("deep_update()")
        self._update(self._draft(deep=True, grow=False, revive=True), objects)

    def rewrite(self, *objects: object) -> None:
        """Write the records of known objects anew, also if they did not change; raises as :meth:`update`.

        So they get the form that today's classes give them, and the names that today's type map has.
        """
        self._check_writable("rewrite()")
        self._update(self._draft(deep=False, grow=False, revive=False), objects, unchanged=True)

    def delete(self, *objects_or_ids: object) -> None:
        """Take objects out of the store. What refers to them is left as it is.

        :raises NotFound: an id is not in the store; then nothing is deleted.
        :raises NotStored: an object has no id here; then nothing is deleted.
        """
        self._check_writable("delete()")
        with self._unit.database.translated(), self._live.adopting():
            keys = dict.fromkeys(self._key(item) for item in objects_or_ids)
            for key in keys:
                if key not in self._live.entries:
                    raise NotFound(key)
            for key in keys:
                self._changes.delete(key)

    def clear(self) -> None:
        """Delete every object. Sessions, which are kept apart, stay."""
        self._check_writable("clear()")
        with self._unit.database.translated():
            self._changes.clear()

    def refresh(self, *objects: object) -> None:
        """Let objects be as the store has them in this transaction; what was changed in them and not written is lost.

        What others committed since the transaction began is seen after :meth:`commit` or :meth:`abort`.

        :raises NotStored: an object has no id here.
        :raises NotFound: an object is not in the store any more.
        """
        self._check_open("refresh()")
        with self._live.adopting():
            for key in [self._stored_key(obj) for obj in objects]:
                self._live.reset(key)

    def set_root(self, object_or_id: object) -> None:
        """Let an object keep itself alive; raises as :meth:`delete`."""
        self._check_writable("set_root()")
        self._changes.set_root(self._stored_key(object_or_id), True)

    def unset_root(self, object_or_id: object) -> None:
        """Let an object live only as long as a root reaches it; raises as :meth:`delete`."""
        self._check_writable("unset_root()")
        self._changes.set_root(self._stored_key(object_or_id), False)

    def note(self, text: str, *, user: str = "") -> None:
        """Say what this transaction is for, and who did it, for :meth:`history` to tell; it holds until it is over."""
        self._check_writable("note()")
        self._unit.note(text, user)

    def savepoint(self) -> Savepoint:
        """Write what changed, without committing it, and return a point to roll back to.

        :raises NotStorable: as for :meth:`commit`; nothing is written then.
        """
        self._check_writable("savepoint()")
        self._flush()
        return Savepoint(self._unit.savepoint(), partial(self._recall, self._changes.mark(), self._companions.mark()))

    def _recall(self, mark: Mark, recall: Callable[[], None], point: Any) -> None:
        self._check_open("savepoint's rollback()")
        with self._unit.database.translated():
            point.rollback()
            self._changes.roll_back(mark)
            recall()

    def txn_do(self, work: Callable[[Scope], T]) -> T:
        """Call ``work(scope)`` in a nested transaction: what it did is undone if it raises. Return what it returned."""
        if self._readonly:
            return work(self)
        point = self.savepoint()
        try:
            return work(self)
        except BaseException:
            with suppress(ScopeClosed):  # it ended the transaction itself, and nothing is left to undo
                point.rollback()
            raise

    def commit(self) -> None:
        """Write what changed and begin a new transaction; if that fails, everything is aborted.

        :raises ConflictError: another transaction changed the same objects first; trying the whole unit again may work.
        :raises NotStorable: a changed object holds something that the type map refuses.
        """
        self._check_open("commit()")
        try:
            self._commit()
        except BaseException:
            self.abort()
            raise
        self._unit.begin()
        self._changes.refresh()

    def abort(self) -> None:
        """Drop all changes: live objects are again as the store has them, new ones are unknown again."""
        self._check_open("abort()")
        self._unit.abort()
        self._unit.begin()
        self._changes.undo()
        self._companions.drop()

    def close(self) -> None:
        """End the scope; what was not committed is dropped. Closing twice is fine."""
        self._end()
        self._unit.close()

    def _end(self) -> None:
        if self._open:
            self._open = False
            self._companions.drop()
            self._changes.forget()
            self._live.depart()

    def __enter__(self) -> Scope:
        return self

    def __exit__(self, kind: type[BaseException] | None, *exc_info: object) -> None:
        try:
            if kind is None and self._open and not self._readonly:
                self._commit()
                self._companions.clear()
        finally:
            self.close()

    def _commit(self) -> None:
        self._prepare()
        self._unit.commit()
        self._settle()

    def _prepare(self) -> None:
        self._unit.database.check_usable()
        self._flush()
        self._companions.save(self._unit, self._live, self._flush)
        self._unit.guard()

    def _settle(self) -> None:
        self._changes.settle()
        self._companions.settle()

    def _put(self, obj: object, id: str | None, *, root: bool, is_new: bool) -> str:
        self._check_writable("insert()" if is_new else "store()")
        # A deleted object is not known any more, so that it goes in again as a new one.
        draft = self._draft(deep=not is_new, grow=True, revive=True)
        with self._live.adopting():
            key = draft.put(obj, None if id is None else object_ids.check(id), root=root, is_new=is_new)
            draft.run(obj, name=id or "")
            self._write(draft)
        if root and key not in draft.new:
            self._changes.set_root(key, True)
        return key

    def _draft(self, *, deep: bool = False, grow: bool = True, revive: bool = False) -> Draft:
        return Draft(self._typemap, self._live, deep=deep, grow=grow, revive=revive)

    def _update(self, draft: Draft, objects: tuple[object, ...], *, unchanged: bool = False) -> None:
        with self._live.adopting():
            for obj in objects:
                draft.revisit(self._known(obj), obj)
                draft.run(obj)
            self._write(draft, unchanged=unchanged)

    def _write(self, draft: Draft, *, unchanged: bool = False) -> None:
        self._changes.check_current(draft)
        with self._unit.database.translated():
            try:
                self._changes.write(draft, unchanged=unchanged)
            except UniqueViolation:
                if not self._track:
                    raise
                # Who has the value may have given it up in memory.
                self._changes.flush(self._draft(), draft, unchanged=unchanged)

    def _write_pending(self) -> None:
        if not self._readonly:
            self._flush()

    def _flush(self) -> None:
        with self._unit.database.translated():
            self._changes.flush(self._draft())
