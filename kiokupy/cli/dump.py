"""kiokupy-dump: show the sessions and objects in a store.

It opens the store for reading only, needs none of the application's classes and runs nothing that is in the store.
The forms that stored values are shown in are described in :mod:`kiokupy.inspection`.

Exit status: 0 all is well; 1 an id was not found, or a record could not be read; 2 wrong arguments, or a store that
cannot be opened.
"""

from __future__ import annotations

import argparse
import contextlib
import logging
import os
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator
from importlib import metadata
from itertools import islice
from pathlib import Path
from typing import TextIO

from kiokupy import backends, inspection
from kiokupy.cli import formats
from kiokupy.cli.rows import Row, Rows
from kiokupy.database import Database
from kiokupy.errors import KiokuError, TargetError
from kiokupy.sessions.record import key_of

_EXAMPLES = """examples:
  kiokupy-dump var/shop.fs                               the sessions in a file
  kiokupy-dump sqlite:///app.sqlite --format json        as one JSON array
  kiokupy-dump postgresql://me@db/app 3fa9c2d1e0b1       one session, by the beginning of its hash
  kiokupy-dump var/shop.fs --all --class '*.Order'       objects, by class
"""
_CLOSED_PIPE, _INTERRUPTED = 141, 130


def main(arguments: list[str] | None = None) -> int:
    """Run the command and return its exit status."""
    given = sys.argv[1:] if arguments is None else arguments
    # One session id in 64 begins with a dash; argparse would take it for an option.
    dashed = [word for word in given if word.startswith("-") and key_of(word) is not None]
    options = _parser().parse_args([word for word in given if word not in dashed])
    options.ids += dashed
    logging.getLogger("ZODB").addHandler(logging.NullHandler())  # a missing index is no news to whoever dumps
    try:
        return _dump(options)
    except KiokuError as error:
        print(f"kiokupy-dump: {error}", file=sys.stderr)  # noqa: T201  # a command speaks
        return 2
    except BrokenPipeError:
        # Python flushes standard output at exit once more; let it go nowhere.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return _CLOSED_PIPE
    except KeyboardInterrupt:
        return _INTERRUPTED


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
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
    add("--version", action="version", version=f"kiokupy {metadata.version('kiokupy')}")
    return parser


def _count(text: str) -> int:
    number = int(text)
    if number < 0:
        raise ValueError(text)
    return number


def _dump(options: argparse.Namespace) -> int:
    if options.output is not None and options.output.exists() and not options.force:
        raise TargetError(f"{options.output} is there already", fix="Use --force to overwrite it")
    with contextlib.closing(_open(options.target)) as database, database.open() as unit, database.translated():
        now = time.time()
        chosen = _Chosen(Rows(unit, now=now, reveal=options.reveal), options)
        stream_format = options.format or ("table" if options.output is None and sys.stdout.isatty() else "jsonl")
        writer = _writer(stream_format, whole=bool(options.ids), now=now)
        with _output(options.output) as stream:
            for text in writer(islice(chosen.rows(), options.limit)):
                stream.write(text)
            stream.flush()
        if not chosen.shown and not chosen.failed and stream_format == "table":
            print("kiokupy-dump: the store holds nothing of that kind", file=sys.stderr)  # noqa: T201  # as above
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
                print(f"kiokupy-dump: {name} is not in the store", file=sys.stderr)  # noqa: T201  # as above


def _open(target: str) -> Database:
    is_path = ":" not in target and target not in backends.names() and not target.endswith((".toml", ".yaml", ".yml"))
    store = {"backend": "File", "path": target} if is_path else target
    resolved = backends.resolve(store, readonly=True, create=False)
    backend = resolved.backend()
    storage = backend.open(create=False, readonly=True)
    return Database(storage, backend.location, inspection.find_inert, create=False, readonly=True, cache_size=1000)


def _writer(name: str, *, whole: bool, now: float) -> Callable[[Iterable[Row]], Iterator[str]]:
    if name == "table":
        return formats.blocks if whole else formats.Table(now).lines
    return {"json": formats.json_array, "jsonl": formats.json_lines, "yaml": formats.yaml_documents}[name]


@contextlib.contextmanager
def _output(path: Path | None) -> Iterator[TextIO]:
    """Give standard output, or a new file that replaces ``path`` when all is written."""
    if path is None:
        yield sys.stdout
        return
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
