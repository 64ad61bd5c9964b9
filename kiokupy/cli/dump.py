"""kiokupy-dump: show the sessions and objects in a store.

It opens the store for reading only, needs none of the application's classes and runs nothing that is in the store.
On a terminal it shows a table, elsewhere JSON Lines. The fields of a row, in JSON, JSON Lines and YAML::

    session     the SHA-256 of the session's id, in hex     object      the object's id
    created, used, expires   ISO 8601 in UTC, null: never   class       "module:qualname"
    expired     true or false                               root        true or false
    principal   who is logged in, or null                   references  the ids it refers to
    size        bytes of the record                         size        as there
    content     what it holds                               content     as there
    error       why the rest is missing                     error       as there

The forms that stored values are shown in are described in :mod:`kiokupy.inspection`.

Exit status: 0 all is well; 1 an id was not found, or a record could not be read; 2 wrong arguments, or a store that
cannot be opened.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import logging
import os
import re
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator
from itertools import islice
from pathlib import Path
from typing import NoReturn, TextIO

from kiokupy import backends, inspection
from kiokupy.cli import formats
from kiokupy.cli.rows import Row, Rows
from kiokupy.cli.targets import target_of
from kiokupy.cli.version import Version
from kiokupy.database import Database
from kiokupy.errors import KiokuError, TargetError
from kiokupy.sessions.ids import key_of

_EXAMPLES = """examples:
  kiokupy-dump var/shop.fs                               the sessions in a file
  kiokupy-dump sqlite:///app.sqlite --format json        as one JSON array
  kiokupy-dump postgresql://me@db/app 3fa9c2d1e0b1       one session, by the beginning of its hash
  kiokupy-dump var/shop.fs --class Order                 objects, by class
"""
_CLOSED_PIPE, _INTERRUPTED = 141, 130
_PIECE = 1 << 16
# What has the syntax of a session's id may be one, also when a character of it is missing.
_SESSION_ID = re.compile(r"(?<![\w-])[\w-]{40,46}(?![\w-])", re.ASCII)


def main(arguments: list[str] | None = None) -> int:
    """Run the command and return its exit status."""
    options = _parse(sys.argv[1:] if arguments is None else arguments)
    logging.getLogger("ZODB").addHandler(logging.NullHandler())  # a missing index is no news to whoever dumps
    try:
        return _dump(options)
    except BrokenPipeError:
        return _CLOSED_PIPE
    except (KiokuError, OSError) as error:
        _say(str(error))
        return 2
    except KeyboardInterrupt:
        return _INTERRUPTED


def _say(message: str) -> None:
    print(f"kiokupy-dump: {formats.plain(_without_ids(' '.join(message.split())))}", file=sys.stderr)  # noqa: T201  # a command speaks


def _without_ids(text: str) -> str:
    return _SESSION_ID.sub("(not shown, it may be the id of a session)", text)


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        """Keep a cookie in the wrong place to itself."""
        super().error(_without_ids(message))


def _parse(arguments: list[str]) -> argparse.Namespace:
    dashed = [text for text in arguments if text.startswith("-") and key_of(text) is not None]  # one id in 64
    options = _parser().parse_intermixed_args([text for text in arguments if text not in dashed])
    options.ids = [*options.ids, *dashed]
    return options


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(
        prog="kiokupy-dump",
        description="Show the sessions (and, with --all, the objects) in a store. Nothing is written, and nothing run.",
        epilog=_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = parser.add_argument
    add("target", metavar="TARGET", help="a FileStorage's path, a DSN, a URL, or a .toml or .yaml file")
    add("ids", metavar="ID", nargs="*", help="a session's id in the cookie, the start of its hash, or an object's id")
    add("--all", action="store_true", help="objects too, not only sessions")
    add(
        "--class", dest="pattern", metavar="NAME", help="only objects of a class: 'module:Name' or 'Name', with * and ?"
    )
    add("--format", choices=["table", "json", "jsonl", "yaml"], help="default: table on a terminal, jsonl elsewhere")
    add("--limit", type=_count, metavar="N", help="at most N of them")
    add("--output", type=Path, metavar="FILE", help="write to a file, readable by its owner only")
    add("--force", action="store_true", help="let --output overwrite a file")
    add("--reveal", action="store_true", help="show values that look like secrets")
    add("--version", action=Version)
    return parser


def _count(text: str) -> int:
    if not text.isdecimal():
        raise argparse.ArgumentTypeError(f"a number from 0 up, not {text!r}")
    return int(text)


def _dump(options: argparse.Namespace) -> int:
    _check_output(options.output, options.force)
    with contextlib.closing(_open(options.target)) as database, database.open() as unit, database.translated():
        now = time.time()
        chosen = _Chosen(Rows(unit, now=now, reveal=options.reveal), options)
        stream_format = options.format or ("table" if options.output is None and sys.stdout.isatty() else "jsonl")
        writer = _writer(stream_format, whole=bool(options.ids), now=now)
        with _output(options.output) as stream:
            for text in writer(islice(chosen.rows(), options.limit)):
                # An unbuffered standard output forgets what a closing pipe did not take of one write.
                for start in range(0, len(text), _PIECE):
                    stream.write(text[start : start + _PIECE])
            stream.flush()
        if not chosen.shown and not chosen.failed and stream_format == "table":
            _say("the store holds nothing of that kind")
        return 1 if chosen.failed else 0


class _Chosen:
    """The rows that were asked for; remembers whether all is well with them."""

    def __init__(self, rows: Rows, options: argparse.Namespace) -> None:
        self._rows, self._options = rows, options
        self.shown, self.failed = 0, False

    def rows(self) -> Iterator[Row]:
        for row in self._found():
            self.shown += 1
            self.failed = self.failed or "error" in row
            yield row

    def _found(self) -> Iterator[Row]:
        options = self._options
        if not options.ids:
            if options.pattern is None:
                yield from self._rows.sessions()
            if options.all or options.pattern is not None:
                yield from self._rows.objects(options.pattern)
        for id in options.ids:
            before = self.shown
            yield from self._rows.named(id)
            if self.shown == before:
                self.failed = True
                # A cookie's id is a secret even when it is wrong: it may be right elsewhere.
                name = "the session of that cookie" if key_of(id) is not None else repr(id)
                _say(f"{name} is not in the store")


def _open(target: str) -> Database:
    resolved = backends.resolve(target_of(target), readonly=True, create=False)
    backend = resolved.backend()
    storage = backend.open(create=False, readonly=True)
    return Database(storage, backend.location, inspection.find_inert, create=False, readonly=True, cache_size=1000)


def _writer(name: str, *, whole: bool, now: float) -> Callable[[Iterable[Row]], Iterator[str]]:
    if name == "table":
        return formats.blocks if whole else formats.Table(now).lines
    return {"json": formats.json_array, "jsonl": formats.json_lines, "yaml": formats.yaml_documents}[name]


def _check_output(path: Path | None, force: bool) -> None:
    if path is None or not path.exists():
        return
    if not path.is_file():
        raise TargetError(f"{path} is no regular file", fix="Without --output it writes to standard output")
    if not force:
        raise TargetError(f"{path} is there already", fix="Use --force to overwrite it")


@contextlib.contextmanager
def _standard_output() -> Iterator[TextIO]:
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")
    try:
        yield sys.stdout
    except OSError:
        # Python flushes standard output at exit once more; let it go nowhere.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        raise


@contextlib.contextmanager
def _output(path: Path | None) -> Iterator[TextIO]:
    """Give standard output, or a new file that replaces ``path`` when all is written."""
    if path is None:
        with _standard_output() as stream:
            yield stream
        return
    path = path.resolve()  # through a link, not over it
    try:
        handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    except OSError as error:
        raise TargetError(f"{path} cannot be written ({error.strerror})") from error
    try:
        with os.fdopen(handle, "w", encoding="utf-8") as stream:
            yield stream
        os.replace(name, path)
    except BaseException:
        os.unlink(name)
        raise


if __name__ == "__main__":
    sys.exit(main())
