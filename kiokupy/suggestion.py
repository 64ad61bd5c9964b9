"""Suggestion: which of the known names somebody may have meant."""

from __future__ import annotations

from collections.abc import Iterable


def nearest(word: str, known: Iterable[str], most: int = 3) -> list[str]:
    """Return the known names that are most like a word, the likest first; none if none is like it."""
    import difflib  # noqa: PLC0415  # only a mistake needs it, and it takes 2 ms of every start

    return difflib.get_close_matches(word, list(known), most)
