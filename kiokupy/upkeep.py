"""Upkeep: the declared indexes follow what a transaction writes."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

from kiokupy import indexing, suggestion
from kiokupy.database import Unit
from kiokupy.errors import ConflictError, NotIndexed, UniqueViolation
from kiokupy.indexes import Index
from kiokupy.indexing import FOLLOWS, Shift, State, StoredIndex

#: What mends an index; ``name`` is to be filled in.
REINDEX = "Build it: kiokupy.maintenance.reindex(directory, {name!r})"

_PROBLEMS = {
    State.UNBUILT: "the index {name!r} was declared when the store had objects already, and is not built yet",
    State.BUILDING: "the index {name!r} is being built",
    State.FOLLOWING: "the index {name!r} is being built",
    State.STALE: "objects were written without the index {name!r}, by a directory that did not declare it like this",
}


class Upkeep:
    """Keeps the indexes of a store in step with its objects, in one transaction after the other.

    :param declared: the indexes of the directory, by name.
    """

    def __init__(self, unit: Unit, declared: Mapping[str, Index]) -> None:
        self._unit, self._declared = unit, declared

    def plan(self, written: Mapping[str, object]) -> list[Callable[[], None]]:
        """Return the steps that let the indexes follow objects which are about to be written; nothing is done yet.

        An index that is stored and not declared like this cannot follow, and becomes stale.

        :raises UniqueViolation: two objects would have one value.
        :raises NotIndexable: an object has a value that has no place in an index.
        """
        steps: list[Callable[[], None]] = []
        if not written:
            return steps
        for name, stored in indexing.held(self._unit.root).items():
            index = self._declared.get(name)
            if stored.state is State.BUILDING:
                steps.append(partial(stored.log, written))
            elif stored.state in FOLLOWS and (index is None or index.definition != stored.definition):
                steps.append(partial(indexing.change_state, self._unit.root, name, State.STALE))
            elif stored.state in FOLLOWS and index is not None:
                steps.append(_shift(stored, index, written).apply)
        return steps

    def drop(self, id: str) -> None:
        """Take an object that is deleted out of every index."""
        indexing.drop(self._unit.root, id)

    def clear(self) -> None:
        """All objects are deleted."""
        indexing.clear(self._unit.root)

    def find(self, name: str) -> StoredIndex:
        """Return an index to search in.

        :raises NotIndexed: it is not declared, or it does not have all objects.
        """
        index, stored = self._declared.get(name), self._unit.root["indexes"].get(name)
        if index is None:
            raise _unknown(name, self._declared)
        found = StoredIndex(name, stored) if stored is not None else None
        if found is None:
            problem = f"the index {name!r} was declared by a read-only directory, and the store has none"
        elif found.definition != index.definition:
            problem = f"the store has the index {name!r} {found.definition}, and here it is {index.definition}"
        elif found.state is not State.READY:
            problem = _PROBLEMS[found.state].format(name=name)
        else:
            return found
        raise NotIndexed(name, problem=problem, fix=REINDEX.format(name=name))


def _shift(stored: StoredIndex, index: Index, written: Mapping[str, object]) -> Shift:
    values = {id: index.values(id, obj) for id, obj in written.items()}
    try:
        return Shift(stored, values)
    except UniqueViolation as error:
        if error.other in stored.record["log"]:  # what the index has of that one may be old
            raise ConflictError(f"the index {stored.name!r} is being built") from error
        raise


def _unknown(name: str, declared: Mapping[str, Any]) -> NotIndexed:
    near = suggestion.nearest(name, declared)
    if not near:
        return NotIndexed(name)
    meant = " or ".join(map(repr, near))
    return NotIndexed(name, problem=f"there is no index {name!r}", fix=f"Did you mean {meant}?")


def declare(unit: Unit, declared: Mapping[str, Index]) -> None:
    """Let the store have the declared indexes that it has not; where it has no objects they are ready at once."""
    root = unit.root
    empty = not root["entries"]
    for name, index in declared.items():
        stored = root["indexes"].get(name)
        if stored is not None and not (empty and _is_different(StoredIndex(name, stored), index)):
            continue
        state = State.READY if empty else State.UNBUILT
        root["indexes"][name] = indexing.new_record(index.definition, unique=index.unique, state=state)
        if empty:  # who stores the first object at this moment gets a conflict: a tree that both wrote cannot be merged
            root["entries"]._p_changed = True


def _is_different(stored: StoredIndex, index: Index) -> bool:
    return stored.definition != index.definition or stored.state is not State.READY
