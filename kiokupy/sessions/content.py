"""Content: a session's data on its way into a record and out of it.

What has an id in the directory is referred to; all other objects belong to the session and are kept inside it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from functools import partial
from typing import NamedTuple, NoReturn, Protocol

from kiokupy import entry
from kiokupy.collapse import CONTAINERS, Collapser, Found, IdOf
from kiokupy.directory import Directory
from kiokupy.entry import Record
from kiokupy.errors import BrokenReference, NotStorable
from kiokupy.expand import Expander, Resolve, explained
from kiokupy.refusal import Refusal
from kiokupy.scope import Scope
from kiokupy.sessions.facts import CLASS_NAME, Facts, head_of
from kiokupy.sessions.merging import Data
from kiokupy.typemap import TypeMap

OWNER = "a session"  # what errors call it: a session's key is nobody's business


class Content(NamedTuple):
    """A session's data as a record has them; compared to see whether they changed."""

    state: bytes
    refs: tuple[str, ...] = ()
    weak: tuple[str, ...] = ()

    def record(self, facts: Facts) -> Record:
        """Return the record of a session."""
        return Record(CLASS_NAME, head_of(facts), self.state, self.refs, entry.NEW, None, self.weak)

    def is_in(self, record: Record) -> bool:
        """Tell whether this is what a record has."""
        return self == (record.state, record.refs, record.weak)

    @property
    def size(self) -> int:
        """How many bytes the data take."""
        return len(self.state)


def content_of(record: Record) -> Content:
    """Return a record's content, still pickled."""
    assert isinstance(record.state, bytes)
    return Content(record.state, record.refs, record.weak)


class Objects(Protocol):
    """What a session's data refer to."""

    @property
    def id_of(self) -> IdOf:
        """Answers an object's id in the directory."""

    @property
    def shared(self) -> IdOf | None:
        """Answers the id of a plain container; ``None``: none has one."""

    def finder(self, ids: Iterable[str]) -> tuple[Resolve, Callable[[str], bool]]:
        """Return what gives the object of one of these ids, and what tells whether it is there."""


class SessionCodec:
    """Turns the data of sessions into content and back, by the rules of a type map."""

    def __init__(self, typemap: TypeMap) -> None:
        self._typemap = typemap
        self._alone = Expander(typemap, _missing, ().__contains__)

    def dump(self, data: Data, objects: Objects) -> Content:
        """Pickle a session's data.

        :raises NotStorable: the type map refuses something in it; its path begins with ``session``.
        """
        found = Found({}, {})
        try:
            collapser = Collapser(self._typemap, objects.id_of, shared=objects.shared)
            state = collapser.dump(data, found, data)
        except Refusal as refusal:
            raise refusal.error(data, "session") from refusal.__cause__
        return Content(state, tuple(found.refs), tuple(found.weak))

    def load(self, record: Record, objects: Objects | None) -> Data:
        """Return a session's data, without the values that refer to an object which is there no more.

        :param objects: ``None``: the record refers to none.
        :raises NotLoadable: the type map refuses something in it, or it does not fit its class.
        """
        try:
            if objects is not None:
                return self._load_referring(record, objects)
            data: Data = self._alone.load(record.state, record)
        except Exception:  # what raises nothing need not enter and leave a context
            with explained(OWNER, record):
                raise
        return data

    def _load_referring(self, record: Record, objects: Objects) -> Data:
        gone: list[str] = []
        find, exists = objects.finder((*record.refs, *record.weak))
        data: Data = Expander(self._typemap, partial(_found, find, gone), exists).load(record.state, record)
        if gone:
            data = {key: value for key, value in data.items() if self._is_whole({key: value}, objects)}
        return data

    def _is_whole(self, data: Data, objects: Objects) -> bool:
        try:
            self.dump(data, objects)
        except NotStorable:
            return False
        return True


def _found(resolve: Resolve, gone: list[str], key: str, class_name: str) -> object:
    try:
        return resolve(key, class_name)
    except BrokenReference:
        gone.append(key)
        return _Gone()


def _missing(key: str, class_name: str) -> NoReturn:
    raise BrokenReference(referrer=OWNER, target=key)


class _Gone:
    """Stands for an object that is not in the directory any more; no type map names it."""


class DirectoryObjects:
    """The objects of a directory, for one session that is in no scope: loaded whole, each time anew."""

    def __init__(self, directory: Directory) -> None:
        self._directory = directory
        # By number. The directory forgets those that cannot be weakly referenced, which would become copies then.
        self._known: dict[int, tuple[object, str]] = {}
        self._has_containers = False

    @property
    def shared(self) -> IdOf | None:
        """Answers the id of a plain container, if the session has met one that has an id."""
        return self.id_of if self._has_containers else None

    def id_of(self, obj: object) -> str | None:
        """Return an object's id in the directory."""
        found = self._known.get(id(obj))
        return self._directory.departed_id(obj) if found is None else found[1]

    def learn(self, found: Mapping[str, object]) -> None:
        """Know the ids of objects that the session refers to."""
        for key, obj in found.items():
            self._known[id(obj)] = obj, key
            self._has_containers = self._has_containers or type(obj) in CONTAINERS

    def finder(self, ids: Iterable[str]) -> tuple[Resolve, Callable[[str], bool]]:
        """Return what finds an object among those of these ids, which are loaded now."""
        found = self._directory.lookup_many(ids)
        self.learn(found)

        def resolve(key: str, class_name: str) -> object:
            return found[key] if key in found else _missing(key, class_name)

        return resolve, found.__contains__


class ScopeObjects:
    """The objects of a scope: the very ones that the application has in hand there."""

    def __init__(self, scope: Scope) -> None:
        self._live = scope.live
        self.id_of = self._live.id_of

    @property
    def shared(self) -> IdOf | None:
        """Answers the id of a plain container, if the scope knows one that has an id."""
        return self._live.id_of if self._live.has_containers() else None

    def finder(self, ids: Iterable[str]) -> tuple[Resolve, Callable[[str], bool]]:
        """Return what finds live objects; they load when they are touched."""
        return self._resolve, self._live.exists

    def among(self, ids: Iterable[str]) -> dict[str, object]:
        """Return the live objects of ids."""
        found = {key: self._live.peek(key) for key in ids}
        return {key: obj for key, obj in found.items() if obj is not None}

    def _resolve(self, key: str, class_name: str) -> object:
        return self._live.resolve(key, class_name) if self._live.exists(key) else _missing(key, class_name)
