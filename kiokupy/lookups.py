"""Lookups: the verbs of a scope that write nothing."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator
from itertools import islice
from typing import Any

from kiokupy import ghosts
from kiokupy import ids as object_ids
from kiokupy.changes import Changes
from kiokupy.database import Unit
from kiokupy.errors import NotFound, NotStored, ScopeClosed, StoreReadOnly
from kiokupy.history import revisions
from kiokupy.live import LiveObjects
from kiokupy.moments import Revision
from kiokupy.queries import Query
from kiokupy.upkeep import Upkeep
from kiokupy.walks import Walk


class Lookups(ABC):
    """Finds objects in one transaction; :class:`~kiokupy.scope.Scope` adds the verbs that write."""

    _unit: Unit
    _live: LiveObjects
    _changes: Changes
    _upkeep: Upkeep
    _open: bool
    _readonly: bool

    @property
    def is_open(self) -> bool:
        """Whether the scope has not ended."""
        return self._open

    @property
    def live(self) -> LiveObjects:
        """The objects that the scope knows, for the layers that keep records of their own which refer to them."""
        return self._live

    @property
    def unit(self) -> Unit:
        """The scope's transaction, for the same layers."""
        return self._unit

    def lookup(self, id: str, default: Any = None) -> Any:
        """Return the object of an id, or ``default``.

        :raises InvalidId: ``id`` cannot be one.
        :raises NotLoadable: the type map refuses its class.
        """
        self._check_open("lookup()")
        found = self._live.get(object_ids.check(id))
        return default if found is None else found

    def get(self, id: str) -> Any:
        """Return the object of an id, as :meth:`lookup`.

        :raises NotFound: no object has it.
        """
        found = self.lookup(id)
        if found is None:
            raise NotFound(id)
        return found

    def lookup_many(self, ids: Iterable[str]) -> dict[str, Any]:
        """Return the objects of many ids, by id; what is not in the store is not in the answer."""
        keys = [object_ids.check(id) for id in ids]
        self._check_open("lookup_many()")
        return self._live.get_many(keys)

    def stored_form(self, id: str) -> tuple[str, str | None]:
        """Return the class's name and version in the record of an id, without loading the object.

        :raises NotFound: no object has the id.
        """
        self._check_open("stored_form()")
        record = self._live.entries[self._stored_key(id)].record
        return record.class_name, record.version

    def is_outdated(self, object_or_id: object) -> bool:
        """Tell whether an object's record is of an earlier version of its class, or uses an earlier name of one.

        :meth:`Scope.rewrite` brings it up to date. Raises as :meth:`get` and :meth:`delete`.
        """
        self._check_open("is_outdated()")
        key = self._stored_key(object_or_id)
        ghosts.load(self._live.get(key))
        return self._live.is_outdated(key)

    def prefetch(self, *objects_or_ids: object) -> None:
        """Load objects at once, in few round trips where the storage can do that; what they refer to stays unloaded.

        :raises NotFound: an id is not in the store.
        :raises NotStored: an object has no id here.
        """
        self._check_open("prefetch()")
        keys = [self._stored_key(item) for item in objects_or_ids]
        self._live.prefetch(keys)
        for key in keys:
            ghosts.load(self._live.get(key))

    def all_objects(self) -> Iterator[Any]:
        """Yield every object in the order of ids, in bounded memory.

        What was changed until then is written first. An object that comes with it and that nobody holds is let go
        again; looked up again it is another one.
        """
        return self._walk("all_objects()", "entries")

    def root_set(self) -> Iterator[Any]:
        """Yield every object that keeps itself alive; as :meth:`all_objects`."""
        return self._walk("root_set()", "roots")

    def grep(self, wanted: Callable[[Any], object]) -> Iterator[Any]:
        """Yield every object of :meth:`root_set` for which ``wanted(object)`` is true; each is looked at."""
        return filter(wanted, self.root_set())

    def scan(self, work: Callable[[Any], object]) -> None:
        """Call ``work(object)`` for every object of :meth:`root_set`."""
        for obj in self.root_set():
            work(obj)

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
        """Yield the objects that meet all conditions, found in indexes: ``search(age=between(18, 30), city="Oslo")``.

        What was changed until then is written first. Memory is bounded as in :meth:`all_objects`. An object that is
        deleted meanwhile is passed over.

        :param cls: only objects of this class and its subclasses.
        :param order_by: the index whose values are the order, by default that of the first condition; equal values come
            in the order of ids. An object that meets the conditions and has no value there comes last.
        :param reverse: the greatest value first.
        :param limit: how many objects at most.
        :param conditions: by the names of indexes: a value, or one of :mod:`kiokupy.conditions`.
        :raises NotIndexed: an index is not declared, or does not have all objects and must be built; or there is
            neither a condition nor an order.
        :raises NotIndexable: a condition is about values that the index cannot have.
        :raises UniqueViolation: as for :meth:`commit`.
        """
        self._check_open("search()")
        self._write_pending()
        query = Query(self._upkeep, conditions, order_by, reverse=reverse)
        found = Walk(self._unit, self._live, self._changes).along(query.ids())
        return islice(found if cls is None else (obj for obj in found if isinstance(obj, cls)), limit)

    def exists(self, id: str) -> bool:
        """Tell whether an object has this id."""
        self._check_open("exists()")
        return self._live.exists(object_ids.check(id))

    def object_to_id(self, obj: object) -> str | None:
        """Return the id of a live object, or ``None``; the store is not asked."""
        self._check_open("object_to_id()")
        return self._live.live_id(obj)

    def id_to_object(self, id: str) -> Any:
        """Return the live object of an id, or ``None``; the store is not asked."""
        self._check_open("id_to_object()")
        return self._live.peek(object_ids.check(id))

    def is_root(self, object_or_id: object) -> bool:
        """Tell whether an object keeps itself alive when garbage is collected; raises as :meth:`delete`."""
        self._check_open("is_root()")
        return self._changes.is_root(self._stored_key(object_or_id))

    def history(self, id: str, *, limit: int | None = None) -> list[Revision]:
        """Return the states that an object had since it was last inserted, as far as they are kept, the newest first.

        Of a Persistent object they are those of its own record; what it keeps in further Persistent objects has a
        history of its own. In a scope of the past they end there, and objects that were deleted since have them too.

        :param limit: how many at most.
        :raises NotFound: no object has this id.
        :raises NoHistory: the store keeps none.
        """
        key = object_ids.check(id)
        self._check_open("history()")
        return revisions(self._unit, key, limit)

    def load_all(self) -> None:
        """Load every object that those in this scope reach, so that they stay usable when it ends."""
        self._check_open("load_all()")
        self._live.load_all()

    def _walk(self, verb: str, tree: str) -> Iterator[Any]:
        self._check_open(verb)
        self._write_pending()
        return Walk(self._unit, self._live, self._changes).over(self._unit.root[tree])

    @abstractmethod
    def _write_pending(self) -> None:
        """Write every live object that changed, and the new ones that they reach, if the scope may write."""

    def _known(self, obj: object) -> str:
        key = self._live.known_id(obj)
        if key is None:
            raise NotStored(obj)
        return key

    def _key(self, object_or_id: object) -> str:
        return object_ids.check(object_or_id) if isinstance(object_or_id, str) else self._known(object_or_id)

    def _stored_key(self, object_or_id: object) -> str:
        key = self._key(object_or_id)
        if not self.exists(key):
            raise NotFound(key)
        return key

    def _check_open(self, verb: str) -> None:
        if not self._open:
            raise ScopeClosed(f"the scope's {verb}")
        self._unit.database.check_usable()

    def _check_writable(self, verb: str = "commit()") -> None:
        self._check_open(verb)
        if self._readonly:
            raise StoreReadOnly(self._unit.database.location)
