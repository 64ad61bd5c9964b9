"""Plots: bars, as SVG."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from xml.sax.saxutils import escape

_BAR, _GAP, _LABEL, _WIDTH, _FIGURE, _HEAD = 16, 6, 260, 420, 80, 34
_OURS, _DURABLE, _NOT_DURABLE = "#1b5e9e", "#6b6b6b", "#c4c4c4"


@dataclass(frozen=True)
class Bar:
    """A figure and whose it is."""

    name: str
    value: float
    is_ours: bool
    is_durable: bool


def bars(title: str, found: Sequence[Bar]) -> str:
    """Return a picture of bars, the longest above. Ours are blue; of the others those that are durable are dark."""
    ordered = sorted(found, key=lambda bar: -bar.value)
    most = max((bar.value for bar in ordered), default=1) or 1
    height = _HEAD + len(ordered) * (_BAR + _GAP)
    lines = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{_LABEL + _WIDTH + _FIGURE}" height="{height}"'
        ' font-family="sans-serif" font-size="12">',
        '<rect width="100%" height="100%" fill="white"/>',
        f'<text x="8" y="20" font-size="14">{escape(title)}</text>',
    ]
    for number, bar in enumerate(ordered):
        lines += _bar(bar, _HEAD + number * (_BAR + _GAP), most)
    return "\n".join([*lines, "</svg>", ""])


def _bar(bar: Bar, top: int, most: float) -> list[str]:
    color = _OURS if bar.is_ours else _DURABLE if bar.is_durable else _NOT_DURABLE
    length = max(1, round(bar.value / most * _WIDTH))
    base, weight = top + _BAR - 4, ' font-weight="bold"' if bar.is_ours else ""
    return [
        f'<text x="{_LABEL - 8}" y="{base}" text-anchor="end"{weight}>{escape(bar.name)}</text>',
        f'<rect x="{_LABEL}" y="{top}" width="{length}" height="{_BAR}" fill="{color}"/>',
        f'<text x="{_LABEL + length + 6}" y="{base}"{weight}>{bar.value:,.0f}</text>',
    ]
