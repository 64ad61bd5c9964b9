"""Editing: objects as the text of a dump, changed by a person or a program, and put back."""

from __future__ import annotations

import io
import os
import shlex
import subprocess
import tempfile
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import NamedTuple

from kiokupy.database import Unit
from kiokupy.directory import Directory
from kiokupy.errors import ConflictError
from kiokupy.maintenance import bare
from kiokupy.maintenance.intake import Intake, explained, kind_of
from kiokupy.maintenance.lines import END, Form, Lines, header, opened, text_of
from kiokupy.maintenance.streams import chosen_entries

#: Takes the text of a dump, returns it changed.
Editor = Callable[[str], str]

#: What a line is about: its kind, and the id or number.
Name = tuple[str, str | int]

_INDENT = 2


class Edited(NamedTuple):
    """What an edit changed; ids in order."""

    inserted: tuple[str, ...] = ()
    updated: tuple[str, ...] = ()
    deleted: tuple[str, ...] = ()
    #: how many records of Persistent objects were written
    records: int = 0
    #: whether the store has indexes, which know nothing of these changes and must be rebuilt
    stale: bool = False


class _Seen(NamedTuple):
    """What was given to the editor."""

    oid: bytes
    serial: bytes | None
    form: Form


def edit(directory: Directory, ids: Iterable[str], editor: Editor, *, dry_run: bool = False) -> Edited:
    """Give objects to an editor as text, and write what it changed, in one transaction.

    What is missing in the answer is deleted, new ids are inserted, the rest is updated. References to what was deleted
    are left as they are. No transaction is held while the editor works.

    :param editor: takes the text of a dump, with an indent, and returns it changed; :func:`external` makes one of a
        command. Lines of records that Persistent objects consist of can be changed and added.
    :param dry_run: check everything and write nothing.
    :raises NotFound: an id is not in the store.
    :raises StreamError: a line of the answer is malformed; nothing is written.
    :raises DuplicateId: a new id is in the store; nothing is written.
    :raises ConflictError: an object was changed or deleted while the editor worked; nothing is written.
    """
    wanted = list(ids)
    with bare.bare_unit(directory, write=not dry_run) as unit:
        before = _seen(unit, wanted)
    text = _text(found.form for found in before.values())
    after = _parsed(editor(text))
    changed = {
        name: (line, form)
        for name, (line, form) in after.items()
        if name not in before or not _same(line, form, before[name].form)
    }
    deleted = [name for name in before if name not in after and name[0] == "entry"]
    if not changed and not deleted:
        return Edited()
    with bare.bare_unit(directory, write=not dry_run) as unit:
        _check_unchanged(unit, {name: before[name] for name in [*changed, *deleted] if name in before})
        edited = _write(unit, before, changed, [str(key) for _, key in deleted])
        if not dry_run:
            unit.commit()
        return edited


def external(command: str = "") -> Editor:
    """Return an editor that runs a command on a file that only its owner can read, and waits for it to end.

    It raises :class:`subprocess.CalledProcessError` if the command fails; nothing is written then.

    :param command: ``$VISUAL`` or ``$EDITOR`` by default, or ``vi``.
    """
    words = shlex.split(command or os.environ.get("VISUAL") or os.environ.get("EDITOR") or "") or ["vi"]

    def run(text: str) -> str:
        with tempfile.TemporaryDirectory(prefix="kiokupy-") as folder:  # its mode is 0700, for what an editor adds
            path = Path(folder) / "objects.json"
            path.touch(mode=0o600)
            path.write_text(text, encoding="utf-8")
            subprocess.run([*words, str(path)], check=True)  # noqa: S603  # the user's own command
            return path.read_text(encoding="utf-8")

    return run


def _seen(unit: Unit, ids: Iterable[str]) -> dict[Name, _Seen]:
    lines, found = Lines(unit), dict[Name, _Seen]()
    for key, entry in chosen_entries(unit.root["entries"], ids):
        form = lines.entry(key, entry)
        found["entry", key] = _Seen(entry._p_oid, entry._p_serial, form)
        for oid, serial, record in lines.records():
            found["record", record["record"]] = _Seen(oid, serial, record)
    return found


def _text(forms: Iterable[Form]) -> str:
    body = [text_of(form, indent=_INDENT) for form in forms]
    return "".join([text_of(header(sessions=False)), *body, text_of(END)])


def _parsed(text: str) -> dict[Name, tuple[int, Form]]:
    found: dict[Name, tuple[int, Form]] = {}
    for line, form in opened(io.StringIO(text))[1]:
        with explained(line):
            kind = kind_of(form)
            name = kind, form[kind]
            if kind == "session":
                raise ValueError("sessions are not edited")
            if name in found:
                raise ValueError(f"there is a line for {kind} {form[kind]!r} already")
            found[name] = line, form
    return found


def _same(line: int, one: Form, other: Form) -> bool:
    with explained(line):  # JSON can have a number that is too big for a float
        return text_of(one) == text_of(other)  # in Python 1 == True, and dicts in another order are equal


def _check_unchanged(unit: Unit, touched: dict[Name, _Seen]) -> None:
    for (kind, key), seen in touched.items():
        if kind == "entry":
            entry = unit.root["entries"].get(key)
            if entry is not None:
                entry._p_activate()
            same = entry is not None and (entry._p_oid, entry._p_serial) == (seen.oid, seen.serial)
        else:
            same = unit.connection.serial(seen.oid) == seen.serial
        if not same:
            raise ConflictError(f"{kind} {key!r} was changed while it was edited")


def _write(unit: Unit, before: dict[Name, _Seen], changed: dict[Name, tuple[int, Form]], deleted: list[str]) -> Edited:
    known = {int(number): (seen.oid, seen.serial) for (kind, number), seen in before.items() if kind == "record"}
    intake, inserted, updated = Intake(unit, known), list[str](), list[str]()
    for name, (line, form) in changed.items():
        if name in before and name[0] == "entry":
            intake.take(line, form, replace=True)
            updated.append(str(name[1]))
        else:
            intake.take(line, form)
            inserted += [str(name[1])] if name[0] == "entry" else []
    intake.finish()
    for key in deleted:
        bare.remove(unit, key)
    return Edited(tuple(sorted(inserted)), tuple(sorted(updated)), tuple(deleted), intake.records, bare.stale(unit))
