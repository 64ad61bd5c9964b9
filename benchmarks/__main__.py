"""The command: scripts/bench."""

from __future__ import annotations

import argparse
import shlex
import signal
import sys
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from types import FrameType

from benchmarks import bounds, graphs, growth, large, report, rounds, services, startup, weights
from benchmarks.field import Field
from benchmarks.figures import Figures, Part, load, new_part, save
from benchmarks.payloads import LINES
from benchmarks.stores import CONTESTANTS, Contestant, Durability

_PARTS = ("sessions", weights.PART, "large", growth.PART, bounds.PART, "graphs", "startup")
#: Those for which contestants open stores.
_IN_STORES = {"sessions", weights.PART, "large"}
#: Parts that are measured together, and what measures them.
_Work = tuple[list[str], Callable[[list[Part]], None]]
_OUT = Path("var/bench")
#: What a quick run does, and who is in its larger parts.
_FEW_GRAPHS, _FEW = (1, 100), {"kiokupy Hash", "kiokupy File", "diskcache", "Django locmem"}


def main(arguments: list[str]) -> int:
    """Measure, and write what was found; return the exit status."""
    options = _parser().parse_args(arguments)
    if options.quick:
        options.rounds, options.seconds = 1, 0.02
        options.bytes, options.sessions, options.cold_rounds = [1_000], [1_000], 1
        options.changed, options.changes, options.reads = 100, 1_000, 1_000
    if not options.redraw:
        options.out.mkdir(parents=True, exist_ok=True)
        signal.signal(signal.SIGTERM, _exit)
        with ExitStack() as stack:
            if _IN_STORES & set(options.parts) and any("PostgreSQL" in c.name for c in _chosen(options)):
                services.start_postgresql(stack)
            figures = _measure(options, shlex.join(["scripts/bench", *arguments]))
        print(report.text(figures), end="")
        (options.out / "figures.txt").write_text(report.text(figures))
        for name, picture in report.pictures(figures).items():
            (options.out / name).write_text(picture)
        if options.publish:
            save(figures, report.PUBLISHED)
    if options.publish or options.redraw:
        report.publish(load(report.PUBLISHED))
    return 0


def _measure(options: argparse.Namespace, command: str) -> Figures:
    """Measure part by part; what is measured is written at once, for whoever loses patience."""
    figures: Figures = {}
    for names, work in _works(options):
        parts = {name: new_part(command) for name in names}
        figures |= parts
        try:
            work(list(parts.values()))
        except (KeyboardInterrupt, SystemExit) as end:
            for part in parts.values():
                part["skipped"]["all that is missing"] = "the run was ended"
            if isinstance(end, SystemExit):
                raise
        finally:
            save(parts, options.out / "figures.json")
    return figures


def _works(options: argparse.Namespace) -> list[_Work]:
    """Return the parts to be measured by name, each with what measures it."""
    contestants, seconds = _chosen(options), options.seconds
    some = [c for c in contestants if not options.quick or c.name in _FEW]
    weighed = [c for c in some if c.is_large or c.durable is Durability.MEMORY]
    numbers = _FEW_GRAPHS if options.quick else graphs.COUNTS

    def small(size: int) -> Callable[[Field], None]:
        return lambda field: rounds.measure(field, rounds=options.rounds, seconds=seconds, size=size)

    def among(fields: list[Field]) -> None:
        large.measure(fields, options.sessions, rounds=options.cold_rounds, seconds=seconds)

    def grow(field: Field) -> None:
        growth.measure(field, seconds=seconds, sessions=options.changed, changes=options.changes)

    works: dict[str, list[_Work]] = {
        "sessions": [_in_field(f"sessions {size}", contestants, small(size)) for size in options.bytes],
        weights.PART: [
            _in_field(weights.PART, weighed, lambda field: weights.measure(field, count=min(options.sessions)))
        ],
        "large": [_in_fields([f"large {count}" for count in options.sessions], [c for c in some if c.is_large], among)],
        growth.PART: [_in_field(growth.PART, [c for c in contestants if c.name in growth.CONTESTANTS], grow)],
        bounds.PART: [
            _in_field(
                bounds.PART,
                [c for c in contestants if c.name in bounds.CONTESTANTS],
                lambda field: bounds.measure(field, count=options.reads),
            )
        ],
        "graphs": [(["graphs"], lambda parts: graphs.measure(parts[0], _say, rounds=options.rounds, counts=numbers))],
        "startup": [(["startup"], lambda parts: startup.measure(parts[0], rounds=options.rounds))],
    }
    return [found for part in options.parts for found in works[part]]


def _in_fields(names: list[str], chosen: list[Contestant], work: Callable[[list[Field]], None]) -> _Work:
    def run(parts: list[Part]) -> None:
        with ExitStack() as stack:
            work([stack.enter_context(Field(chosen, part, _say)) for part in parts])

    return names, run


def _in_field(name: str, chosen: list[Contestant], work: Callable[[Field], None]) -> _Work:
    return _in_fields([name], chosen, lambda fields: work(*fields))


def _exit(number: int, frame: FrameType | None) -> None:
    """End by unwinding, so that the servers that were started end as well."""
    sys.exit(128 + number)


def _chosen(options: argparse.Namespace) -> list[Contestant]:
    return [c for c in CONTESTANTS.values() if not options.only or any(part in c.name for part in options.only)]


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="scripts/bench", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="tiny sizes, one round: a minute or two, rough figures")
    parser.add_argument("--parts", nargs="*", choices=_PARTS, default=_PARTS, help="what to measure (all)")
    parser.add_argument("--only", nargs="*", metavar="NAME", help="contestants whose names have one of these in them")
    parser.add_argument("--rounds", type=int, default=5, help="(%(default)s)")
    parser.add_argument("--seconds", type=float, default=0.25, help="for a work in a round (%(default)s)")
    parser.add_argument("--bytes", type=int, nargs="*", choices=LINES, default=list(LINES), help="payloads (both)")
    parser.add_argument("--sessions", type=int, nargs="*", default=[10_000, 100_000], help="in large stores")
    parser.add_argument("--cold-rounds", type=int, default=5, help="in large stores (%(default)s)")
    parser.add_argument("--changed", type=int, default=10_000, help="sessions that grow by being changed (%(default)s)")
    parser.add_argument("--changes", type=int, default=100_000, help="of these (%(default)s)")
    parser.add_argument("--reads", type=int, default=100_000, help="of sessions, with bounded memory (%(default)s)")
    parser.add_argument("--out", type=Path, default=_OUT, help="folder for text, JSON and pictures (%(default)s)")
    parser.add_argument("--publish", action="store_true", help="put what is measured into docs/performance.rst")
    parser.add_argument("--redraw", action="store_true", help="measure nothing, make docs/performance.rst anew")
    return parser


def _say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
