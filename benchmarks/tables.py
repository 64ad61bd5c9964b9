"""Tables: figures by contestant and work, in reStructuredText, which is read as text as well."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

from benchmarks import bounds, growth, large
from benchmarks.figures import Figures, median, ratio
from benchmarks.goals import Goal, Reached, goals, verdict
from benchmarks.rounds import FSYNCS, LATENCY, OPEN, TERMS, TIMED, WORKS
from benchmarks.stores import CONTESTANTS

_NONE = "–"  # noqa: RUF001  # a dash, as tables have it where there is nothing
#: By the first word of a part: the head of its rows, and their order.
_ROWS: dict[str, tuple[str, Sequence[str]]] = {
    "graphs": ("microseconds an object", ()),
    "large": ("operations a second", large.ORDER),
    growth.PART: ("work", growth.ORDER),
    bounds.PART: ("what", bounds.ORDER),
}
_MARKS = {True: "✓", False: "✗", None: "?"}


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Return a simple table; nothing if it has no rows."""
    rows = list(rows)
    if not rows:
        return ""
    every = [list(head), *map(list, rows)]
    widths = [max(len(row[column]) for row in every) for column in range(len(head))]
    rule = "  ".join("=" * width for width in widths)
    lines = ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in every]
    return "\n".join([rule, lines[0], rule, *lines[1:], rule])


def number(value: float | None) -> str:
    """Return a figure with as many digits as say something."""
    if value is None:
        return _NONE
    for least, digits in ((100, 0), (10, 1), (0.095, 2)):
        if value >= least:
            return f"{value:,.{digits}f}"
    return f"{value:.4f}" if value else "0"


def small(figures: Figures, size: int) -> str:
    """Return operations a second of small works, with the durability and the fsyncs of a change."""
    part = f"sessions {size}"
    rows = [
        [name, str(CONTESTANTS[name].durable), number(median(figures, part, FSYNCS.format("change"), name)), *cells]
        for name, cells in _cells(figures, part, list(WORKS), lambda work, name: median(figures, part, work, name))
    ]
    return table(["contestant", "durable", "fsyncs", *WORKS], rows)


def ratios(figures: Figures, size: int, ours: str = "kiokupy File") -> str:
    """Return how many times as often one of us does each work as the others do."""
    part = f"sessions {size}"

    def beside(work: str, name: str) -> float | None:
        return ratio(figures, part, (work, ours), (work, name))

    rows = [[name, *cells] for name, cells in _cells(figures, part, list(WORKS), beside)]
    return table([f"{ours} beside", *WORKS], rows)


def latencies(figures: Figures, size: int) -> str:
    """Return how many milliseconds an operation takes: half of them, 99 of 100, and all of them at most."""
    part = f"sessions {size}"
    rows = []
    for name in CONTESTANTS:
        found = [[median(figures, part, LATENCY.format(work, term), name) for term in TERMS] for work in TIMED]
        if any(found[0]):
            rows.append([name, *(" / ".join(map(number, terms)) if any(terms) else _NONE for terms in found)])
    return table(["contestant", *TIMED], rows)


def opening(figures: Figures, size: int) -> str:
    """Return what importing and opening took."""
    part = f"sessions {size}"
    cells = _cells(figures, part, [OPEN], lambda work, name: median(figures, part, work, name))
    return table(["contestant", "seconds"], [[name, *found] for name, found in cells])


def any_part(figures: Figures, part: str) -> str:
    """Return the medians of all works of a part, a row for each contestant."""
    works = figures.get(part, {}).get("works", {})
    names = list(dict.fromkeys(name for found in works.values() for name in found))
    rows = [[name, *(number(median(figures, part, work, name)) for work in works)] for name in names]
    return table(["contestant", *works], rows)


def by_work(figures: Figures, part: str) -> str:
    """Return the medians of a part, a row for each work."""
    works = figures.get(part, {}).get("works", {})
    names = list(dict.fromkeys(name for found in works.values() for name in found))
    head, order = _ROWS.get(part.split(maxsplit=1)[0], ("", ()))
    ordered = [*(work for work in order if work in works), *(work for work in works if work not in order)]
    rows = [[work, *(number(median(figures, part, work, name)) for name in names)] for work in ordered]
    return table([head, *names], rows)


def goals_table(figures: Figures) -> str:
    """Return all goals and what was reached."""
    rows = []
    for goal in goals(figures):
        for index, reached in enumerate(goal.reached):
            # In a simple table a row without its first cell would go on with the one above.
            first = [goal.number, goal.text, verdict(goal)] if index == 0 else ["\\", "", ""]
            rows.append([first[0], first[1], reached.what, _asked(reached), _found(reached), first[2]])
    return table(["goal", "what", "measured", "asked", "found", "verdict"], rows)


def summary(found: Sequence[Goal]) -> str:
    """Return how many goals are reached, in a sentence."""
    verdicts = [verdict(goal) for goal in found]
    words = [
        f"{verdicts.count(word)} {word}"
        for word in ("reached", "in part", "not yet", "not measured")
        if word in verdicts
    ]
    return f"Of {len(found)} goals: {', '.join(words)}."


def skipped(figures: Figures) -> str:
    """Return who was left out of which part, and why."""
    lines = [
        f"- {part}: {name}: {reason}"
        for part, content in sorted(figures.items())
        for name, reason in sorted(content["skipped"].items())
    ]
    return "\n".join(lines) or "Nobody was left out."


def _asked(reached: Reached) -> str:
    return f"{'≤' if reached.is_most else '≥'} {number(reached.bound)} {reached.unit}"


def _found(reached: Reached) -> str:
    unit = "" if reached.value is None else f" {reached.unit}"
    return f"{number(reached.value)}{unit} {_MARKS[reached.is_reached]}"


def _cells(
    figures: Figures, part: str, works: Sequence[str], value: Callable[[str, str], float | None]
) -> Iterable[tuple[str, list[str]]]:
    for name in CONTESTANTS:
        if any(name in found for found in figures.get(part, {}).get("works", {}).values()):
            yield name, [number(value(work, name)) for work in works]
