"""Figures: what a run found, as JSON: each part with when and how it was measured, and every round's figure."""

from __future__ import annotations

import datetime
import importlib.metadata
import json
import os
import platform
import sqlite3
import statistics
from contextlib import suppress
from pathlib import Path
from typing import Any

#: ``command``, ``taken``, ``machine``, ``versions``; ``skipped``: why who is not in it; ``works``: by name of a work
#: and of a contestant, a figure for each round.
Part = dict[str, Any]
#: Parts by name.
Figures = dict[str, Part]

_PACKAGES = ("ZODB", "RelStorage", "ZEO", "redis", "Flask-Session", "SQLAlchemy", "Django", "diskcache", "Beaker")


def new_part(command: str) -> Part:
    """Return a part without figures."""
    versions = {"Python": platform.python_version(), "SQLite": sqlite3.sqlite_version}
    for name in _PACKAGES:
        with suppress(importlib.metadata.PackageNotFoundError):
            versions[name] = importlib.metadata.version(name)
    return {
        "command": command,
        "taken": datetime.datetime.now(datetime.UTC).strftime("%Y-%m-%d %H:%M UTC"),
        "machine": f"{platform.system()} {platform.machine()}, {os.cpu_count()} processors",
        "versions": versions,
        "skipped": {},
        "works": {},
    }


def add(part: Part, work: str, name: str, figure: float) -> None:
    """Add what one round found."""
    part["works"].setdefault(work, {}).setdefault(name, []).append(round(figure, 7 if figure < 1 else 3))


def median(figures: Figures, part: str, work: str, name: str) -> float | None:
    """Return the median of all rounds; ``None``: it was not measured."""
    found = _rounds(figures, part, work, name)
    return statistics.median(found) if found else None


def ratio(
    figures: Figures, part: str, ours: tuple[str, str], theirs: tuple[str, str], *, beside: str = ""
) -> float | None:
    """Return the median over rounds of how many times one figure is the other; each is a work and a contestant.

    :param beside: the part of the other one, if it is another one; measured in the same rounds.
    """
    pairs = zip(_rounds(figures, part, *ours), _rounds(figures, beside or part, *theirs), strict=False)
    found = [mine / other for mine, other in pairs if other]
    return statistics.median(found) if found else None


def load(path: Path) -> Figures:
    """Return the figures in a file; none if there is no such file."""
    if not path.exists():
        return {}
    found: Figures = json.loads(path.read_text())
    return found


def save(figures: Figures, path: Path) -> None:
    """Write figures to a file; the parts that it has and these have not stay."""
    merged = {**load(path), **figures}
    path.write_text(json.dumps(merged, indent=1, sort_keys=True) + "\n")


def _rounds(figures: Figures, part: str, work: str, name: str) -> list[float]:
    found: list[float] = figures.get(part, {}).get("works", {}).get(work, {}).get(name, [])
    return found
