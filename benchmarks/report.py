"""Report: the figures as text, and as docs/performance.rst with its pictures, which is made from figures.json."""

from __future__ import annotations

from pathlib import Path

from benchmarks import plots, tables
from benchmarks.figures import Figures, median
from benchmarks.goals import goals
from benchmarks.payloads import LINES, pickled_bytes
from benchmarks.rounds import WORKS
from benchmarks.stores import CONTESTANTS, Durability

HOME = Path(__file__).parent
#: The figures that the document shows.
PUBLISHED = HOME / "figures.json"
DOCS = HOME.parent / "docs"
#: The document, with names in braces where figures stand.
_TEMPLATE = HOME / "performance.txt"
_PICTURES, _NOT_MEASURED = "performance", "Not measured."
#: Parts with a table of their own; and those with one work, whose rows are the contestants.
_OTHERS, _BY_CONTESTANT = ("growth", "bounds", "memory", "startup", "graphs"), {"memory", "startup"}


def text(figures: Figures) -> str:
    """Return all that was found, to be read in a terminal."""
    pieces = []
    for part, content in sorted(figures.items()):
        pieces.append(f"{part}: {content['command']}, {content['taken']}, {content['machine']}")
        if part.startswith("sessions"):
            size = int(part.split()[1])
            pieces += [tables.small(figures, size), tables.ratios(figures, size), tables.latencies(figures, size)]
        else:
            pieces.append(_table(figures, part))
    pieces += [tables.goals_table(figures), tables.summary(goals(figures)), tables.skipped(figures)]
    return "\n\n".join(filter(None, pieces)) + "\n"


def pictures(figures: Figures) -> dict[str, str]:
    """Return bars for each small work, by the name of their file."""
    found = {}
    for size in LINES:
        part = f"sessions {size}"
        for work in WORKS:
            values = {name: median(figures, part, work, name) for name in CONTESTANTS}
            bars = [
                plots.Bar(name, value, CONTESTANTS[name].is_ours, CONTESTANTS[name].durable is Durability.NOW)
                for name, value in values.items()
                if value is not None
            ]
            if bars:
                name = f"{work}-{size}".replace(",", "").replace("/", "-").replace(" ", "-")
                found[f"{name}.svg"] = plots.bars(f"{work}, {size:,} bytes: operations a second", bars)
    return found


def document(figures: Figures) -> str:
    """Return docs/performance.rst."""
    newest = max(figures.values(), key=lambda content: str(content["taken"]))
    large = sorted((part for part in figures if part.startswith("large")), key=lambda part: int(part.split()[1]))
    return _TEMPLATE.read_text().format(
        versions=", ".join(f"{name} {version}" for name, version in newest["versions"].items()),
        goals=tables.goals_table(figures),
        fsync=_milliseconds(median(figures, "sessions 1000", "change", "raw append + fsync")),
        summary=tables.summary(goals(figures)),
        small=_measured(figures, "sessions 1000", tables.small(figures, 1_000)),
        ratios=_measured(figures, "sessions 1000", tables.ratios(figures, 1_000)),
        latencies=_measured(figures, "sessions 1000", tables.latencies(figures, 1_000)),
        bigger=_measured(figures, "sessions 20000", tables.small(figures, 20_000)),
        pickled=pickled_bytes(1_000),
        images="\n".join(f".. image:: {_PICTURES}/{name}\n" for name in pictures(figures) if "-1000." in name),
        large="\n\n".join(f"{_count(part)} sessions. {_shown(figures, part)}" for part in large) or _NOT_MEASURED,
        opening=_measured(figures, "sessions 1000", tables.opening(figures, 1_000)),
        skipped=tables.skipped(figures),
        **{part: _shown(figures, part) for part in _OTHERS},
    )


def _measured(figures: Figures, part: str, table: str) -> str:
    """Return a table with how and when it was measured; only that it was not, if there is nothing in it."""
    if not table:
        return _NOT_MEASURED
    command, taken, machine = (figures[part][key] for key in ("command", "taken", "machine"))
    return f"Measured {taken} on {machine}, with ``{command}``:\n\n{table}"


def _shown(figures: Figures, part: str) -> str:
    return _measured(figures, part, _table(figures, part))


def _table(figures: Figures, part: str) -> str:
    return tables.any_part(figures, part) if part in _BY_CONTESTANT else tables.by_work(figures, part)


def publish(figures: Figures, folder: Path = DOCS) -> None:
    """Write the document and its pictures."""
    (folder / "performance.rst").write_text(document(figures))
    (folder / _PICTURES).mkdir(exist_ok=True)
    for old in (folder / _PICTURES).glob("*.svg"):
        old.unlink()
    for name, picture in pictures(figures).items():
        (folder / _PICTURES / name).write_text(picture)


def _milliseconds(rate: float | None) -> str:
    return tables.number(1_000 / rate if rate else None)


def _count(part: str) -> str:
    return f"{int(part.split()[1]):,}"
