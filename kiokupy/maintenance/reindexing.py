"""Reindexing: indexes are built anew from the objects, and checked against them. Both load objects."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from functools import partial
from itertools import islice
from typing import Any, TypeVar

from kiokupy import ghosts, ids, indexing, upkeep
from kiokupy.conditions import Span
from kiokupy.database import Unit
from kiokupy.departed import Departed
from kiokupy.directory import Directory, retried
from kiokupy.errors import KiokuError, NotIndexed, UniqueViolation
from kiokupy.indexes import Index
from kiokupy.indexing import Shift, State, StoredIndex
from kiokupy.live import LiveObjects
from kiokupy.maintenance.findings import Finding, Kind
from kiokupy.maintenance.progress import Progress, Step, silent

T = TypeVar("T")

_BLOCK = 500
# Beside writers: a larger transaction would meet them again and again.
_SMALL_BLOCK = 20
_RETRIES = 100


def reindex(directory: Directory, *names: str, progress: Progress = silent) -> None:
    """Build indexes anew, in bounded memory, while others write.

    At first its trees belong to the rebuild alone, which fills them block by block and meets no writer there. Writers
    leave the ids of what they write in the index's log. Then they write the index themselves, and the rebuild looks at
    the objects of the log, in small transactions that conflict with whoever writes one of these objects at that moment.
    When the log is empty the index is ready.

    :param names: declared indexes; without any, all that are declared.
    :raises NotIndexed: an index is not declared, or another rebuild of it began.
    :raises UniqueViolation: two objects have one value. The index is not built then, nor after any other error.
    :raises NotLoadable: an object's class is not in the type map, so that it cannot be told whether it is in the index.
    """
    for index in _chosen(directory, names):
        _Rebuild(directory, index, progress).run()


def check_indexes(directory: Directory, *names: str, progress: Progress = silent) -> list[Finding]:
    """Compare indexes with the objects, at one moment, and return what is wrong; :func:`reindex` mends it.

    :param names: declared indexes; without any, all that are declared.
    :raises NotIndexed: an index is not declared.
    """
    with directory.new_unit() as unit:
        indexes = _chosen(directory, names)
        return [finding for index in indexes for finding in _Check(unit, directory, index).findings(progress)]


def remove_indexes(directory: Directory, *names: str) -> None:
    """Let the store have some indexes no more, declared or not; until they are declared again nobody can search them.

    :raises NotIndexed: the store has no such index.
    """

    def attempt() -> None:
        with directory.new_unit() as unit:
            stored = unit.root["indexes"]
            for name in names:
                if name not in stored:
                    raise NotIndexed(name, problem=f"the store has no index {name!r}", fix="Check the name")
                del stored[name]
            unit.commit()

    retried(attempt, _RETRIES)


def _chosen(directory: Directory, names: Iterable[str]) -> list[Index]:
    for name in names:
        if name not in directory.indexes:
            raise NotIndexed(name)
    return [directory.indexes[name] for name in names or directory.indexes]


@contextmanager
def _values(unit: Unit, directory: Directory, index: Index) -> Iterator[Callable[[str], tuple[Any, ...]]]:
    """Give a function that tells by which values an object should be found; one that is gone has none.

    The objects it loads are let go at the end.
    """
    live = LiveObjects(unit, directory.typemap, Departed())

    def values(id: str) -> tuple[Any, ...]:
        entry = live.entries.get(id)
        if entry is None or not index.covers(directory.typemap.class_named(entry.record.class_name)):
            return ()
        obj = live.get(id)
        ghosts.load(obj)
        return index.values(id, obj)

    try:
        yield values
    finally:
        live.depart(unit_ends=False)


class _Rebuild:
    def __init__(self, directory: Directory, index: Index, progress: Progress) -> None:
        self._directory, self._index, self._progress = directory, index, progress
        self._token = ids.fresh()

    def run(self) -> None:
        """Build the index."""
        self._do(self._begin)
        try:
            done, last = 0, ""
            while block := self._do(partial(self._add, last=last)):
                done, last = done + len(block), block[-1]
                self._tell(done, None)
            self._do(partial(self._enter, State.FOLLOWING))
            while self._do(self._catch_up):
                self._tell(done, None)
            self._do(partial(self._enter, State.READY))
            self._tell(done, done)
        except BaseException:
            self._do(self._give_up)
            raise

    def _do(self, work: Callable[[Unit], T]) -> T:
        def attempt() -> T:
            with self._directory.new_unit() as unit:
                result = work(unit)
                unit.commit()
                return result

        return retried(attempt, _RETRIES)

    def _begin(self, unit: Unit) -> None:
        record = indexing.new_record(self._index.definition, unique=self._index.unique, state=State.BUILDING)
        record["rebuild"] = self._token
        unit.root["indexes"][self._index.name] = record

    def _stored(self, unit: Unit) -> StoredIndex:
        stored = indexing.stored_indexes(unit.root).get(self._index.name)
        if stored is None or stored.record.get("rebuild") != self._token or stored.state is State.STALE:
            name = self._index.name
            problem = f"the rebuild of the index {name!r} was overtaken by another one, or by writers without indexes"
            raise NotIndexed(name, problem=problem, fix="Let one rebuild run at a time, and none beside a load")
        return stored

    def _add(self, unit: Unit, last: str) -> list[str]:
        block = list(islice(unit.root["entries"].keys(last, None, True), _BLOCK))
        self._revise(unit, block)
        return block

    def _revise(self, unit: Unit, block: Iterable[str]) -> None:
        """Let the index follow some objects.

        The trees have each object as of another moment, so who seems to have a unique value may have it no more.
        """
        stored = self._stored(unit)
        with _values(unit, self._directory, self._index) as values:
            wanted = {id: values(id) for id in block}
            while True:
                try:
                    Shift(stored, wanted).apply()
                    return
                except UniqueViolation as error:
                    if error.other in wanted:
                        raise
                    wanted[error.other] = values(error.other)

    def _enter(self, state: State, unit: Unit) -> None:
        self._stored(unit)
        indexing.change_state(unit.root, self._index.name, state)

    def _catch_up(self, unit: Unit) -> list[str]:
        block = list(islice(self._stored(unit).record["log"].keys(), _SMALL_BLOCK))
        self._revise(unit, block)
        return block

    def _give_up(self, unit: Unit) -> None:
        stored = unit.root["indexes"].get(self._index.name)
        if stored is not None and stored.get("rebuild") == self._token:
            record = indexing.new_record(self._index.definition, unique=self._index.unique, state=State.UNBUILT)
            unit.root["indexes"][self._index.name] = record

    def _tell(self, done: int, total: int | None) -> None:
        self._progress(Step(f"index {self._index.name}", done, total))


class _Check:
    def __init__(self, unit: Unit, directory: Directory, index: Index) -> None:
        self._unit, self._directory, self._index = unit, directory, index

    def findings(self, progress: Progress) -> Iterator[Finding]:
        """Yield what is wrong with the index, with its objects, and with its two trees towards each other."""
        name = self._index.name
        record = self._unit.root["indexes"].get(name)
        stored = StoredIndex(name, record) if record is not None else None
        if stored is None or stored.definition != self._index.definition or stored.state is not State.READY:
            state = "the store has none" if stored is None else f"it is {stored.state}, {stored.definition}"
            yield _finding(name, f"{state}; it must be built")
            return
        done, last = 0, ""
        while block := list(islice(self._unit.root["entries"].keys(last, None, True), _BLOCK)):
            done, last = done + len(block), block[-1]
            with _values(self._unit, self._directory, self._index) as values:
                yield from (finding for id in block for finding in _of_object(stored, id, values))
            progress(Step(f"check index {name}", done, None))
        yield from self._of_trees(stored)

    def _of_trees(self, stored: StoredIndex) -> Iterator[Finding]:
        entries = self._unit.root["entries"]
        for id in stored.ids():
            if id not in entries:
                yield _finding(stored.name, "the index has an object that is not in the store", id)
        for value, id in stored.walk(Span()):
            if value not in stored.values(id):
                yield _finding(stored.name, f"it can be found by {value!r:.80}, which it does not have", id)


def _of_object(stored: StoredIndex, id: str, values: Callable[[str], tuple[Any, ...]]) -> Iterator[Finding]:
    try:
        wanted = values(id)
    except KiokuError as error:
        yield _finding(stored.name, f"its values cannot be told ({error})", id)
        return
    has = stored.values(id)
    if has != wanted:
        yield _finding(stored.name, f"the index has {has!r:.80}, the object {wanted!r:.80}", id)
    for value in has:
        if stored.holder(stored.key(value, id)) != id:
            yield _finding(stored.name, f"it cannot be found by {value!r:.80}", id)


def _finding(name: str, problem: str, id: str | None = None) -> Finding:
    detail = problem if id is None else f"object {id!r}: {problem}"
    return Finding(Kind.INDEX, name, detail, upkeep.REINDEX.format(name=name))
