"""kiokupy-sessions: list, count, sweep and end the sessions in a store.

What it finds goes to standard output, a line each: handle, principal, when it was created, when it was used, when it
ends, and from where it is used. No line has a session's id.

Exit status: 0 all is well; 1 there was no such session to end; 2 wrong arguments, or a store that cannot be opened.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Callable, Iterable
from contextlib import closing

from kiokupy.cli.targets import target_of
from kiokupy.cli.version import Version
from kiokupy.errors import KiokuError
from kiokupy.opening import connect
from kiokupy.sessions.manager import SessionManager

_INTERRUPTED = 130


def main(arguments: list[str] | None = None) -> int:
    """Run the command and return its exit status."""
    options = _parser().parse_args(arguments)
    try:
        # Expired sessions are told by what they say of themselves, whatever policy they were saved by.
        directory = connect(target_of(options.target), create=0, readonly=options.verb in _READING)
        with closing(SessionManager(directory)) as manager:
            return _VERBS[options.verb](manager, options)
    except KiokuError as error:
        print(f"kiokupy-sessions: {error}", file=sys.stderr)  # noqa: T201  # a command speaks
        return 2
    except BrokenPipeError:  # whoever reads has seen enough; Python would complain at its end
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except KeyboardInterrupt:
        return _INTERRUPTED


def _list(manager: SessionManager, options: argparse.Namespace) -> int:
    with closing(manager.sessions(options.principal)) as found:
        return _say(found)


def _stats(manager: SessionManager, options: argparse.Namespace) -> int:
    found = manager.stats()
    return _say([f"{found.alive} alive", f"{found.expired} expired, for the next sweep"])


def _sweep(manager: SessionManager, options: argparse.Namespace) -> int:
    return _say([f"{manager.sweep(options.limit)} expired sessions taken out"])


def _revoke(manager: SessionManager, options: argparse.Namespace) -> int:
    return _say([f"{manager.destroy_all(options.principal)} sessions ended"])


def _revoke_all(manager: SessionManager, options: argparse.Namespace) -> int:
    return _say([f"{manager.destroy_everyone()} sessions ended"])


def _end(manager: SessionManager, options: argparse.Namespace) -> int:
    ended = manager.end(options.principal, options.handle)
    _say(["the session is ended" if ended else "there is no such session"])
    return 0 if ended else 1


_VERBS: dict[str, Callable[[SessionManager, argparse.Namespace], int]] = {
    "list": _list,
    "stats": _stats,
    "sweep": _sweep,
    "revoke": _revoke,
    "revoke-all": _revoke_all,
    "end": _end,
}


# They work beside the process that has a FileStorage open.
_READING = ("list", "stats")


def _say(lines: Iterable[object]) -> int:
    for line in lines:
        print(line)  # noqa: T201  # as above
    sys.stdout.flush()
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="kiokupy-sessions",
        description="List, count, sweep and end the sessions in a store, beside running programs.",
        epilog="One process at a time writes to a FileStorage: beside a running application only list and stats work.",
    )
    parser.add_argument("target", metavar="TARGET", help="a FileStorage's path, a DSN, a URL, or a .toml or .yaml file")
    parser.add_argument("--version", action=Version)
    verbs = parser.add_subparsers(dest="verb", required=True, metavar="VERB")
    listing = verbs.add_parser("list", help="show the sessions that have not expired")
    listing.add_argument("--principal", help="only those of this one")
    verbs.add_parser("stats", help="count the sessions")
    sweeping = verbs.add_parser("sweep", help="take expired sessions out of the store")
    sweeping.add_argument("--limit", type=_count, metavar="N", help="so many at most")
    revoking = verbs.add_parser("revoke", help="end all sessions of a principal")
    revoking.add_argument("principal")
    verbs.add_parser("revoke-all", help="end all sessions, of everybody")
    ending = verbs.add_parser("end", help="end one session of a principal")
    ending.add_argument("principal")
    ending.add_argument("handle", help="as the list shows it")
    return parser


def _count(text: str) -> int:
    if not text.isdecimal():
        raise argparse.ArgumentTypeError(f"a number from 0 up, not {text!r}")
    return int(text)


if __name__ == "__main__":
    sys.exit(main())
