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

from benchmarks import graphs, large, report, rounds, services, startup
from benchmarks.field import Field
from benchmarks.figures import Figures, Part, load, new_part, save
from benchmarks.payloads import LINES
from benchmarks.stores import CONTESTANTS, Contestant, Durability

_PARTS = ("sessions", "memory", "large", "graphs", "startup")
#: Those for which contestants open stores.
_IN_STORES = {"sessions", "memory", "large"}
_OUT = Path("var/bench")
#: What a quick run does, and who is in its larger parts.
_FEW_GRAPHS, _FEW = (1, 100), {"kiokupy Hash", "kiokupy File", "diskcache", "Django locmem"}
#: Beside those in memory, whose memory is weighed.
_WEIGHED = "redis-py, AOF always"


def main(arguments: list[str]) -> int:
    """Measure, and write what was found; return the exit status."""
    options = _parser().parse_args(arguments)
    if options.quick:
        options.rounds, options.seconds = 1, 0.02
        options.bytes, options.sessions, options.cold_rounds = [1_000], [1_000], 1
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
    for name, work in _works(options):
        part = figures[name] = new_part(command)
        try:
            work(part)
        except (KeyboardInterrupt, SystemExit) as end:
            part["skipped"]["all that is missing"] = "the run was ended"
            if isinstance(end, SystemExit):
                raise
        finally:
            save({name: part}, options.out / "figures.json")
    return figures


def _works(options: argparse.Namespace) -> list[tuple[str, Callable[[Part], None]]]:
    """Return the parts to be measured by name, each with what measures it."""
    contestants = _chosen(options)
    some = [c for c in contestants if not options.quick or c.name in _FEW]
    weighed = [c for c in some if c.is_ours or c.durable is Durability.MEMORY or c.name == _WEIGHED]

    def in_field(chosen: list[Contestant], work: Callable[[Field], None]) -> Callable[[Part], None]:
        def run(part: Part) -> None:
            with Field(chosen, part, _say) as field:
                work(field)

        return run

    def small(size: int) -> Callable[[Field], None]:
        return lambda field: rounds.measure(field, rounds=options.rounds, seconds=options.seconds, size=size)

    def among(count: int) -> Callable[[Field], None]:
        return lambda field: large.measure(field, rounds=options.cold_rounds, seconds=options.seconds, count=count)

    counts = _FEW_GRAPHS if options.quick else graphs.COUNTS
    filled = min(options.sessions)
    works = {
        "sessions": [(f"sessions {size}", in_field(contestants, small(size))) for size in options.bytes],
        "memory": [("memory", in_field(weighed, lambda field: rounds.weigh(field, count=filled)))],
        "large": [
            (f"large {count}", in_field([c for c in some if c.is_large], among(count))) for count in options.sessions
        ],
        "graphs": [("graphs", lambda part: graphs.measure(part, _say, rounds=options.rounds, counts=counts))],
        "startup": [("startup", lambda part: startup.measure(part, rounds=options.rounds))],
    }
    return [found for part in options.parts for found in works[part]]


def _exit(number: int, frame: FrameType | None) -> None:
    """End by unwinding, so that the servers that were started end as well."""
    sys.exit(128 + number)


def _chosen(options: argparse.Namespace) -> list[Contestant]:
    return [c for c in CONTESTANTS.values() if not options.only or any(part in c.name for part in options.only)]


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="scripts/bench", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="tiny sizes, one round: about a minute, rough figures")
    parser.add_argument("--parts", nargs="*", choices=_PARTS, default=_PARTS, help="what to measure (all)")
    parser.add_argument("--only", nargs="*", metavar="NAME", help="contestants whose names have one of these in them")
    parser.add_argument("--rounds", type=int, default=5, help="(%(default)s)")
    parser.add_argument("--seconds", type=float, default=0.25, help="for a work in a round (%(default)s)")
    parser.add_argument("--bytes", type=int, nargs="*", choices=LINES, default=list(LINES), help="payloads (both)")
    parser.add_argument("--sessions", type=int, nargs="*", default=[10_000, 100_000], help="in large stores")
    parser.add_argument("--cold-rounds", type=int, default=5, help="in large stores (%(default)s)")
    parser.add_argument("--out", type=Path, default=_OUT, help="folder for text, JSON and pictures (%(default)s)")
    parser.add_argument("--publish", action="store_true", help="put what is measured into docs/performance.rst")
    parser.add_argument("--redraw", action="store_true", help="measure nothing, make docs/performance.rst anew")
    return parser


def _say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
