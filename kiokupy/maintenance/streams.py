"""Streams: the objects of a store as text, a line each, and back. The lines: :mod:`kiokupy.maintenance.lines`."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, NamedTuple, TextIO

from kiokupy import ids as object_ids
from kiokupy.database import Unit
from kiokupy.directory import Directory
from kiokupy.entry import Entry
from kiokupy.errors import NotFound
from kiokupy.maintenance import bare
from kiokupy.maintenance.intake import Intake
from kiokupy.maintenance.lines import END, Form, Lines, header, opened, text_of
from kiokupy.maintenance.progress import Progress, Step, silent

_OFTEN = 1000


class Dumped(NamedTuple):
    """What a dump has."""

    entries: int
    #: records of Persistent objects
    records: int
    sessions: int


class Loaded(NamedTuple):
    """What was loaded."""

    entries: int
    #: records of Persistent objects
    records: int
    sessions: int
    #: whether the store has indexes, which know nothing of what was loaded and must be rebuilt
    stale: bool


def dump(
    directory: Directory,
    stream: TextIO,
    *,
    ids: Iterable[str] | None = None,
    sessions: bool = False,
    progress: Progress = silent,
) -> Dumped:
    """Write objects as lines of JSON, all as they are at one moment, in the order of their ids.

    Nothing is lost, and stores with the same records give the same text. No class of the application is imported. The
    whole store never is in memory at once.

    :param stream: where to; it must take any text: ``open(path, "w", encoding="utf-8")``.
    :param ids: of the objects to write; all of them by default. What these refer to is not written with them.
    :param sessions: write the sessions too. They hold what visitors trust an application with: mind who reads them.
    :raises NotFound: an id is not in the store; nothing is written then.
    :raises StoreUnreadable: a record is damaged.
    """
    with bare.bare_unit(directory) as unit:
        dumping = _Dumping(unit, stream, progress)
        entries = unit.root["entries"]
        chosen = entries.items() if ids is None else chosen_entries(entries, ids)
        dumping.write(header(sessions=sessions))
        for key, entry in chosen:
            dumping.entry(dumping.lines.entry(key, entry))
        for key, entry in unit.root["sessions"].items() if sessions else ():
            dumping.session(dumping.lines.session(key, entry))
        dumping.write(END)
        dumped = Dumped(**dumping.counts)
    progress(Step("dump", sum(dumped), sum(dumped)))
    return dumped


def chosen_entries(entries: Any, ids: Iterable[str]) -> list[tuple[str, Entry]]:
    """Return the entries of some ids in their order.

    :raises InvalidId: one of them cannot be an id.
    :raises NotFound: one of them is not in the store.
    """
    keys = sorted({object_ids.check(id) for id in ids})
    for key in keys:
        if key not in entries:
            raise NotFound(key)
    return [(key, entries[key]) for key in keys]


class _Dumping:
    def __init__(self, unit: Unit, stream: TextIO, progress: Progress) -> None:
        self._unit, self._stream, self._progress = unit, stream, progress
        self.lines = Lines(unit)
        self.counts = dict.fromkeys(Dumped._fields, 0)

    def entry(self, form: Form) -> None:
        self._count("entries", form)
        for _, _, record in self.lines.records():
            self._count("records", record)

    def session(self, form: Form) -> None:
        self._count("sessions", form)

    def write(self, form: Form) -> None:
        self._stream.write(text_of(form))

    def _count(self, kind: str, form: Form) -> None:
        self.write(form)
        self.counts[kind] += 1
        done = sum(self.counts.values())
        if done % _OFTEN == 0:
            self._unit.connection.cacheGC()  # ZODB keeps what it loaded until the transaction ends, unless it is asked
            self._progress(Step("dump", done, None))


def load(directory: Directory, stream: Iterable[str], *, clear: bool = False, progress: Progress = silent) -> Loaded:
    """Put the objects of a dump into a store, in one transaction: all of them or, if anything is wrong, none.

    No class of the application is imported and nothing in the dump is run. What the type map does not name goes in as
    it came, and is refused when it is looked up. Now and then what was loaded is written aside, so that a long dump
    does not fill the memory.

    :param stream: the lines, as a file opened for reading gives them.
    :param clear: take all objects out first, and all sessions if there are any in the dump.
    :raises StreamError: a line is malformed; the error has its number.
    :raises DuplicateId: the store has an object of the same id, or the dump has two.
    :raises ConflictError: another transaction changed the same part of the store meanwhile.
    """
    with bare.bare_unit(directory, write=True) as unit:
        head, lines = opened(stream)
        intake, done = Intake(unit), 0
        if clear:
            bare.clear(unit, sessions=head.get("sessions") is True)
        for done, (line, form) in enumerate(lines, start=1):
            intake.take(line, form)
            if done % _OFTEN == 0:
                unit.savepoint()
                unit.connection.cacheGC()
                progress(Step("load", done, None))
        intake.finish()
        loaded = Loaded(intake.entries, intake.records, intake.sessions, bare.stale(unit))
        unit.commit()
    progress(Step("load", done, done))
    return loaded
