"""Garbage: objects that neither a root nor a session reaches are found and deleted, beside writers.

Why nothing is lost that a writer brings back to life: what is alive now and was not in the snapshot that was marked
hangs from a record that was written since. So before and within each transaction that deletes, all that was written
since is marked as well, with all it reaches. Within means: when the transaction is all but committed. From there on no
scope's commit can come in between, since each checks the root record (:meth:`Unit.guard`), which this transaction
writes. One that comes later fails that check, and its next attempt sees what is gone.

The price: each transaction of a collection makes the scopes that are just open and write conflict once.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import partial
from itertools import islice

from kiokupy import indexing
from kiokupy.database import Unit
from kiokupy.directory import Directory, retried
from kiokupy.errors import ConflictError, StoreReadOnly
from kiokupy.maintenance.progress import Progress, Step, silent
from kiokupy.maintenance.reach import Reach
from kiokupy.sessions.shelf import Shelf

_RETRIES = 20
_BETWEEN_COLLECTIONS = 500


@dataclass(frozen=True)
class Garbage:
    """What a collection found and did."""

    #: the ids of the objects that nothing keeps alive, in order; unless :attr:`dry_run`, they are deleted
    ids: list[str]
    #: how many objects there were when it began
    total: int
    #: ids that a living object, a session or the tree of roots names and that are not there, in order; fsck() tells
    #: who does
    dangling: list[str]
    #: whether nothing was deleted
    dry_run: bool


def gc(directory: Directory, *, dry_run: bool = False, batch: int = 1000, progress: Progress = silent) -> Garbage:
    """Delete the objects that neither a root nor a session reaches. Sessions themselves are left alone.

    It may run beside writers, and be interrupted: what is deleted by then is garbage, and the next call finds the rest.
    An object that is written while it runs is kept, with all it reaches.

    :param dry_run: only find them.
    :param batch: how many are deleted in one transaction.
    :raises StoreUnreadable: a record is damaged, so that nobody knows what it keeps alive; nothing more is deleted.
    :raises StoreError: the storage lost track of what others wrote meanwhile; call it again.
    :raises ConflictError: writers came first many times over. Call it again, or with a smaller ``batch``.
    """
    if batch < 1:
        raise ValueError(f"batch is {batch!r}; it is a number of objects, from 1 up")
    if directory.readonly and not dry_run:
        raise StoreReadOnly(directory.location)
    with directory.new_unit() as unit:
        with unit.database.translated():
            reach = Reach(unit, progress)
            if dry_run:
                ids = [id for id, _ in _unreached(unit, reach, None)]
            else:
                ids = list(_sweep(directory, reach, batch, progress))
        return Garbage(ids, reach.total, list(reach.dangling), dry_run)


def drop(unit: Unit, id: str) -> None:
    """Take an object that is no root out of the store: the one way in which garbage goes."""
    indexing.drop(unit.root, id)
    del unit.root["entries"][id]


def remove(directory: Directory, *names: str, session: bool = False) -> None:
    """Take objects, or sessions, out of the store, whether or not their records can be read, and roots without objects.

    :param names: ids of objects, or with ``session`` the hashes of sessions in hex, as fsck() reports them. What is
        not there is passed over.
    """
    with directory.new_unit() as unit:
        for name in names:
            if session:
                Shelf(unit.root).discard(bytes.fromhex(name))
            else:
                indexing.drop(unit.root, name)
                unit.root["entries"].pop(name, None)
                unit.root["roots"].discard(name)
        unit.commit()


def _unreached(unit: Unit, reach: Reach, after: str | None) -> Iterator[tuple[str, bytes]]:
    """Yield the ids and oids of entries that are not alive."""
    items: Iterable[tuple[str, object]] = unit.root["entries"].items(after, None, after is not None)
    for number, (id, entry) in enumerate(items, start=1):
        oid: bytes = entry._p_oid  # type: ignore[attr-defined]  # an Entry
        if not reach.has(oid):
            yield id, oid
        if number % _BETWEEN_COLLECTIONS == 0:
            unit.connection.cacheGC()


def _sweep(directory: Directory, reach: Reach, batch: int, progress: Progress) -> Iterator[str]:
    """Delete what is not alive, and yield the ids."""
    after, done = None, 0
    while gone := retried(partial(_delete_some, directory, reach, batch, after), _RETRIES):
        yield from gone
        after = gone[-1]
        done += len(gone)
        progress(Step("delete", done, None))


def _delete_some(directory: Directory, reach: Reach, batch: int, after: str | None) -> list[str]:
    with directory.new_unit() as unit:
        reach.catch_up()  # only here: whatever the unit sees has been judged
        doomed = dict(islice(_unreached(unit, reach, after), batch))
        for id in doomed:
            drop(unit, id)
        if doomed:
            unit.collect(lambda: _check(reach, doomed.values()))
            unit.commit()
    return list(doomed)


def _check(reach: Reach, doomed: Iterable[bytes]) -> None:
    reach.catch_up()
    if any(map(reach.has, doomed)):
        raise ConflictError("an object that was garbage is in use again")
