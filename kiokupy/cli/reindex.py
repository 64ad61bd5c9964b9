"""kiokupy-reindex: build or check the indexes of an application's directory.

The application declares its indexes where it connects, so the command is told where that is: ``shop.store:connect``, a
module and in it a directory, or a function that returns one. What it finds goes to standard output, a line each;
progress, on a terminal, to standard error.

Exit status: 0 all is well; 1 ``--check`` found something, or an index could not be built; 2 wrong arguments, or a store
that cannot be opened.
"""

from __future__ import annotations

import argparse
import importlib
import sys
from contextlib import closing

from kiokupy.cli.version import Version
from kiokupy.directory import Directory
from kiokupy.errors import KiokuError, NotIndexed, StoreError, TargetError
from kiokupy.maintenance.progress import Progress, Step, silent
from kiokupy.maintenance.reindexing import check_indexes, reindex

_INTERRUPTED = 130


def main(arguments: list[str] | None = None) -> int:
    """Run the command and return its exit status."""
    options = _parser().parse_args(arguments)
    progress: Progress = _tell if sys.stderr.isatty() else silent
    try:
        with closing(_directory(options.application)) as directory:
            return _work(directory, options, progress)
    except (TargetError, StoreError, NotIndexed) as error:
        return _failed(error, 2)
    except KiokuError as error:
        return _failed(error, 1)
    except KeyboardInterrupt:
        return _INTERRUPTED


def _work(directory: Directory, options: argparse.Namespace, progress: Progress) -> int:
    if options.check:
        findings = check_indexes(directory, *options.names, progress=progress)
        for finding in findings:
            print(f"{finding.subject}: {finding.detail}. {finding.fix}")  # noqa: T201  # a command speaks
        return 1 if findings else 0
    reindex(directory, *options.names, progress=progress)
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="kiokupy-reindex",
        description="Build the indexes of an application's directory anew, beside running programs.",
        epilog="example: kiokupy-reindex shop.store:connect email --check",
    )
    add = parser.add_argument
    add("application", metavar="MODULE:NAME", help="where the directory is, or a function that returns it")
    add("names", metavar="INDEX", nargs="*", help="which indexes; all that are declared by default")
    add("--check", action="store_true", help="only compare them with the objects, and print what is wrong")
    add("--version", action=Version)
    return parser


def _directory(place: str) -> Directory:
    module, _, name = place.partition(":")
    sys.path.insert(0, "")  # as for python -m: the application is where the command is given
    try:
        found = importlib.import_module(module)
        for part in name.split("."):
            found = getattr(found, part)
    except (ImportError, AttributeError, ValueError) as error:
        fix = "Give a module and a name in it, such as shop.store:connect"
        raise TargetError(f"{place!r} cannot be imported ({error})", target=place, fix=fix) from error
    directory = found if isinstance(found, Directory) else found() if callable(found) else None
    if not isinstance(directory, Directory):
        raise TargetError(f"{place!r} is no directory, nor does it return one", target=place)
    return directory


def _failed(error: KiokuError, status: int) -> int:
    print(f"kiokupy-reindex: {error}", file=sys.stderr)  # noqa: T201  # as above
    return status


def _tell(step: Step) -> None:
    print(f"{step.task}: {step.done}", end="\r", file=sys.stderr)  # noqa: T201  # as above


if __name__ == "__main__":
    sys.exit(main())
