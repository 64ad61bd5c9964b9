"""Directory: the application's handle on one database."""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import partial
from typing import Any, TypeVar

from kiokupy.commits import Commits
from kiokupy.database import Database, Unit
from kiokupy.departed import Departed
from kiokupy.errors import ConflictError, StoreReadOnly
from kiokupy.indexes import Index
from kiokupy.joined import JoinedScope
from kiokupy.lanes import Lanes
from kiokupy.moments import Moment, Revision
from kiokupy.reads import Ahead, Reads, nothing
from kiokupy.scope import Scope
from kiokupy.typemap import TypeMap

T = TypeVar("T")

_RETRIES = 10
_LONGEST_PAUSE = 0.5


class Directory:
    """Keeps objects by id in one database. Thread-safe; open one per process, with :func:`kiokupy.connect`.

    Its verbs are one transaction each: what they return is loaded whole and can be used freely; a changed object is
    written back with :meth:`store` or :meth:`update`. Work on more than one object belongs in a :meth:`new_scope` or in
    :meth:`txn_do`.
    """

    def __init__(self, database: Database, typemap: TypeMap, indexes: Mapping[str, Index] | None = None) -> None:
        self._database = database
        self.typemap = typemap
        #: The indexes that :func:`kiokupy.connect` was given, by name.
        self.indexes = dict(indexes or {})
        self._departed = Departed()
        self._lanes = Lanes(database)
        self._reads, self._commits = Reads(database, self._lanes), Commits(database, self._lanes)
        # The scope of the txn_do() that is under way in a thread.
        self._current = threading.local()

    @property
    def location(self) -> str:
        """Where the store is, for people; never with a password."""
        return self._database.location

    @property
    def readonly(self) -> bool:
        """Whether the store was opened for reading only."""
        return self._database.readonly

    def new_scope(
        self,
        *,
        readonly: bool = False,
        track: bool = True,
        at: Moment | None = None,
        transaction_manager: Any = None,
    ) -> Scope:
        """Return a new unit of work; use it in a ``with`` block.

        :param readonly: write nothing; each verb that would raises :class:`~kiokupy.errors.StoreReadOnly`.
        :param track: write live objects that changed without being told to, which costs a look at each loaded object
            at the end; with ``track=False`` what is not given to ``store()`` or ``update()`` is not written.
        :param at: see the store as it was then, read-only: a datetime with a time zone, a revision that
            :meth:`history` gave, or its ``tid``. What was committed at that very moment is seen.
        :raises InvalidMoment: ``at`` is no moment, or in the future.
        :raises NoHistory: the store keeps no history, or not from then; also when an object is touched whose state of
            then was packed away.
        :param transaction_manager: work in the transaction that is under way there, as ``request.tm`` of pyramid_tm:
            its commit writes what the scope has, its abort drops it, and the scope ends with it. For the present only.
        """
        unit = self._database.open(transaction_manager) if at is None else self._database.open_past(at)
        readonly = readonly or self.readonly or at is not None
        kind = Scope if transaction_manager is None else JoinedScope
        return kind(unit, self.typemap, self._departed, indexes=self.indexes, readonly=readonly, track=track)

    def new_unit(self) -> Unit:
        """Return a transaction on the bare records, for the layers that keep records of their own, as sessions do."""
        return self._database.open()

    def read(self, work: Callable[[Unit], T], ahead: Ahead = nothing) -> T:
        """Return what ``work(unit)`` returns of the records that are committed now, for the layers named above.

        As :meth:`Reads.do`, which says what ``work`` and ``ahead`` must be like.
        """
        return self._reads.do(work, ahead)

    def write(self, work: Callable[[Unit], T], *, retries: int = _RETRIES) -> T:
        """Call ``work(unit)``, commit its few writes with those of other threads, and return what it returned.

        As :meth:`Commits.do`, which says what ``work`` must be like; after a conflict it is done again, as in
        :meth:`txn_do`.
        """
        return retried(partial(self._commits.do, work), retries)

    def departed_id(self, obj: object) -> str | None:
        """Return the id of an object that came from a scope which has ended, or from a one-shot verb, else ``None``."""
        origin = self._departed.find(obj)
        return None if origin is None else origin.key

    def txn_do(self, work: Callable[[Scope], T], *, retries: int = _RETRIES, readonly: bool = False) -> T:
        """Call ``work(scope)`` in a transaction, again in a new one after a conflict, and return what it returned.

        Between attempts it waits a random time, up to 2 ms at first and twice that each time, at most half a second.
        Called within ``work`` it nests: what the inner work did is undone if that raises, the rest stays, and conflicts
        are the outer one's.

        :param retries: how many times to try again.
        :raises ConflictError: the last attempt met a conflict as well.
        """
        outer: Scope | None = getattr(self._current, "scope", None)
        if outer is not None:
            return outer.txn_do(work)
        return retried(lambda: self._attempt(work, readonly), retries)

    def store(self, obj: object, *, id: str | None = None, root: bool = True) -> str:
        """As :meth:`Scope.store`, in a transaction of its own."""
        return self._once(lambda scope: scope.store(obj, id=id, root=root))

    def insert(self, obj: object, *, id: str | None = None, root: bool = True) -> str:
        """As :meth:`Scope.insert`, in a transaction of its own."""
        return self._once(lambda scope: scope.insert(obj, id=id, root=root))

    def insert_many(self, objects: Mapping[str, object], *, root: bool = True) -> None:
        """As :meth:`Scope.insert_many`, in a transaction of its own."""
        self._once(lambda scope: scope.insert_many(objects, root=root))

    def update(self, *objects: object) -> None:
        """As :meth:`Scope.update`, in a transaction of its own.

        Objects they refer to that changed as well are written too, as at the end of every scope.
        """
        self._once(lambda scope: scope.update(*objects))

    def deep_update(self, *objects: object) -> None:
        """As :meth:`Scope.deep_update`, in a transaction of its own."""
        self._once(lambda scope: scope.deep_update(*objects))

    def refresh(self, *objects: object) -> None:
        """Let objects be as the store has them now, with all they reach; what was changed in them is lost.

        Raises as :meth:`Scope.refresh`.
        """

        def work(scope: Scope) -> None:
            scope.refresh(*objects)
            scope.load_all()

        self._once(work, retries=_RETRIES, readonly=True)

    def clear(self) -> None:
        """As :meth:`Scope.clear`, in a transaction of its own."""
        self._once(lambda scope: scope.clear(), retries=_RETRIES)

    def delete(self, *objects_or_ids: object) -> None:
        """As :meth:`Scope.delete`, in a transaction of its own."""
        self._once(lambda scope: scope.delete(*objects_or_ids), retries=_RETRIES)

    def lookup(self, id: str, default: Any = None) -> Any:
        """As :meth:`Scope.lookup`; all that the object reaches is loaded."""
        return self._once(lambda scope: _whole(scope, scope.lookup(id, default)), retries=_RETRIES, readonly=True)

    def lookup_many(self, ids: Iterable[str]) -> dict[str, Any]:
        """As :meth:`Scope.lookup_many`; all that the objects reach is loaded."""
        wanted = list(ids)
        return self._once(lambda scope: _whole(scope, scope.lookup_many(wanted)), retries=_RETRIES, readonly=True)

    def get(self, id: str) -> Any:
        """As :meth:`Scope.get`; all that the object reaches is loaded."""
        return self._once(lambda scope: _whole(scope, scope.get(id)), retries=_RETRIES, readonly=True)

    def exists(self, id: str) -> bool:
        """As :meth:`Scope.exists`."""
        return self._once(lambda scope: scope.exists(id), retries=_RETRIES, readonly=True)

    def is_root(self, object_or_id: object) -> bool:
        """As :meth:`Scope.is_root`."""
        return self._once(lambda scope: scope.is_root(object_or_id), retries=_RETRIES, readonly=True)

    def set_root(self, object_or_id: object) -> None:
        """As :meth:`Scope.set_root`, in a transaction of its own."""
        self._once(lambda scope: scope.set_root(object_or_id), retries=_RETRIES)

    def unset_root(self, object_or_id: object) -> None:
        """As :meth:`Scope.unset_root`, in a transaction of its own."""
        self._once(lambda scope: scope.unset_root(object_or_id), retries=_RETRIES)

    def all_objects(self) -> Iterator[Any]:
        """As :meth:`Scope.all_objects`, in a read-only scope that ends with the iteration."""
        return self._stream(lambda scope: scope.all_objects())

    def root_set(self) -> Iterator[Any]:
        """As :meth:`Scope.root_set`, in a read-only scope that ends with the iteration."""
        return self._stream(lambda scope: scope.root_set())

    def grep(self, wanted: Callable[[Any], object]) -> Iterator[Any]:
        """As :meth:`Scope.grep`, in a read-only scope that ends with the iteration."""
        return self._stream(lambda scope: scope.grep(wanted))

    def search(
        self,
        cls: type | None = None,
        /,
        *,
        order_by: str | None = None,
        reverse: bool = False,
        limit: int | None = None,
        **conditions: Any,
    ) -> Iterator[Any]:
        """As :meth:`Scope.search`, in a read-only scope that ends with the iteration; all that is reached is loaded."""

        def found(scope: Scope) -> Iterator[Any]:
            objects = scope.search(cls, order_by=order_by, reverse=reverse, limit=limit, **conditions)
            return (_whole(scope, obj) for obj in objects)

        return self._stream(found)

    def scan(self, work: Callable[[Any], object]) -> None:
        """As :meth:`Scope.scan`, in a transaction of its own; changes that ``work`` makes are written at its end."""
        self._once(lambda scope: scope.scan(work))

    def history(self, id: str, *, limit: int | None = None) -> list[Revision]:
        """As :meth:`Scope.history`."""
        return self._once(lambda scope: scope.history(id, limit=limit), retries=_RETRIES, readonly=True)

    def undo(self, revision: Revision) -> None:
        """Undo the transaction that wrote a revision, in a transaction of its own, which can be undone in its turn.

        That takes back all that it did, to other objects too: what it changed is as it was before, what it inserted is
        gone, what it deleted is back. What refers to an object that is gone is left as it is.

        :param revision: one that :meth:`history` gave.
        :raises CannotUndo: what it wrote was changed since, or was packed away; nothing is undone then. SQL stores also
            refuse where File could merge, as the undoing of an insert beside later inserts.
        :raises NoHistory: the store keeps no history.
        """
        if self.readonly:
            raise StoreReadOnly(self.location)
        self._database.check_history()
        with self._database.open() as unit:
            unit.undo(revision)
            unit.note(f"undo of {revision.time}", "")
            unit.commit()

    def close(self) -> None:
        """Close the store. Scopes that are still open must not be used any more; closing twice is fine."""
        self._database.close(self._lanes.wait)

    def __enter__(self) -> Directory:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"<Directory {self.location}>"

    def _attempt(self, work: Callable[[Scope], T], readonly: bool) -> T:
        with self.new_scope(readonly=readonly) as scope:
            self._current.scope = scope
            try:
                return work(scope)
            finally:
                self._current.scope = None

    def _once(self, work: Callable[[Scope], T], *, retries: int = 0, readonly: bool = False) -> T:
        """Do one verb in a transaction of its own, also within :meth:`txn_do`."""

        def attempt() -> T:
            with self.new_scope(readonly=readonly) as scope:
                return work(scope)

        return retried(attempt, retries)

    def _stream(self, verb: Callable[[Scope], Iterator[Any]]) -> Iterator[Any]:
        with self.new_scope(readonly=True) as scope:
            yield from verb(scope)


def retried(attempt: Callable[[], T], retries: int) -> T:
    """Call ``attempt`` until it meets no conflict, at most ``retries`` times more; see :meth:`Directory.txn_do`."""
    for tried in range(retries):
        try:
            return attempt()
        except ConflictError:
            time.sleep(random.uniform(0, min(0.002 * 2**tried, _LONGEST_PAUSE)))  # noqa: S311  # no secret
    return attempt()


def _whole(scope: Scope, found: T) -> T:
    scope.load_all()
    return found
