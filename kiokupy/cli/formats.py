"""Formats: rows as a table for people, and as JSON, JSON Lines and YAML for programs. All of them stream."""

from __future__ import annotations

import datetime
import json
import shutil
from collections.abc import Callable, Iterable, Iterator
from typing import Any

from kiokupy.cli.rows import Row
from kiokupy.errors import TargetError

_UNITS = ((86400, "d"), (3600, "h"), (60, "min"), (1, "s"))


def json_array(rows: Iterable[Row]) -> Iterator[str]:
    """Yield the lines of one JSON array."""
    lead = "["
    for row in rows:
        yield f"{lead}\n  {json.dumps(row)}"
        lead = ","
    yield "[]\n" if lead == "[" else "\n]\n"


def json_lines(rows: Iterable[Row]) -> Iterator[str]:
    """Yield a line of JSON for each row."""
    for row in rows:
        yield json.dumps(row) + "\n"


def yaml_documents(rows: Iterable[Row]) -> Iterator[str]:
    """Yield a YAML list, an item for each row.

    :raises TargetError: PyYAML is not installed.
    """
    try:
        import yaml  # noqa: PLC0415  # an extra; the other formats work without it
    except ImportError as error:
        raise TargetError("the format yaml needs PyYAML", fix="Install it with: pip install 'kiokupy[yaml]'") from error
    empty = True
    for row in rows:
        empty = False
        text: str = yaml.safe_dump([row], sort_keys=False)
        yield text
    if empty:
        yield "[]\n"


def blocks(rows: Iterable[Row]) -> Iterator[str]:
    """Yield a block of lines for each row, its content whole."""
    for row in rows:
        for name, value in row.items():
            text = json.dumps(value, indent=2) if isinstance(value, dict | list) else plain(value)
            yield f"{name:11}{text}\n"
        yield "\n"


class Table:
    """A table as wide as the terminal, its content abbreviated; a narrow one leaves columns out."""

    def __init__(self, now: float) -> None:
        self._now = now
        self._width = shutil.get_terminal_size().columns
        self._heading: list[str] = []

    def lines(self, rows: Iterable[Row]) -> Iterator[str]:
        """Yield a heading, where the kind of row changes, and a line for each row."""
        for row in rows:
            columns = self._columns(_SESSION_COLUMNS if "session" in row else _OBJECT_COLUMNS)
            heading = [name.upper() for name, _, _ in columns]
            if heading != self._heading:
                self._heading = heading
                yield self._line([(name, width) for name, (_, width, _) in zip(heading, columns, strict=True)])
            yield self._line([(show(row, self._now), width) for _, width, show in columns])

    def _columns(self, columns: list[_Column]) -> list[tuple[str, int, _Show]]:
        narrow = self._width < _WIDE
        widths = [small if narrow else width for _, width, small, _ in columns]
        return [(name, width, show) for (name, _, _, show), width in zip(columns, widths, strict=True) if width]

    def _line(self, cells: list[tuple[str, int]]) -> str:
        return _fit("  ".join(_fit(text, width).ljust(width) for text, width in cells).rstrip(), self._width) + "\n"


_Show = Callable[[Row, float], str]
#: A column's name, its width, its width in a narrow table (0: left out), and what it shows of a row.
_Column = tuple[str, int, int, _Show]
_WIDE = 100
_REST = 10_000  # the last column has what the others leave


def age(moment: str | None, now: float) -> str:
    """Return a time as people say it: ``5 min ago``, ``in 2 h``, ``never``."""
    if moment is None:
        return "never"
    seconds = round(datetime.datetime.fromisoformat(moment).timestamp() - now)
    size, unit = next(((size, unit) for size, unit in _UNITS if abs(seconds) >= size), (1, "s"))
    text = f"{abs(seconds) // size} {unit}"
    return f"in {text}" if seconds > 0 else f"{text} ago"


def _content(row: Row, now: float) -> str:
    return f"! {plain(row['error'])}" if "error" in row else json.dumps(row["content"])


def _column(name: str) -> _Show:
    return lambda row, now: plain(row.get(name))


def _age_column(name: str) -> _Show:
    return lambda row, now: age(row[name], now) if name in row else "-"


def _size(row: Row, now: float) -> str:
    size = row.get("size")
    return "-" if size is None else f"{size} B" if size < 1000 else f"{size / 1000:.1f} kB"  # noqa: PLR2004  # kilo


_SESSION_COLUMNS: list[_Column] = [
    ("session", 12, 12, lambda row, now: plain(row["session"])[:12]),
    ("principal", 14, 8, _column("principal")),
    ("created", 10, 0, _age_column("created")),
    ("used", 10, 10, _age_column("used")),
    ("expires", 10, 10, _age_column("expires")),
    ("size", 8, 8, _size),
    ("content", _REST, _REST, _content),
]
_OBJECT_COLUMNS: list[_Column] = [
    ("object", 32, 16, _column("object")),
    ("class", 24, 16, _column("class")),
    ("root", 4, 4, lambda row, now: "yes" if row.get("root") else "no"),
    ("size", 8, 8, _size),
    ("content", _REST, _REST, _content),
]


def plain(value: Any) -> str:
    """Return a value as text that leaves the terminal alone: escape sequences in it are escaped."""
    if value is None:
        return "-"
    text = str(value)
    return "".join(char if char.isprintable() else char.encode("unicode_escape").decode() for char in text)


def _fit(text: str, width: int) -> str:
    return text if len(text) <= width else text[: width - 1] + "…"
