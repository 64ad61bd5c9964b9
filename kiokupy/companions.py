"""Companions: what is written in a scope's transaction beside its objects, as a session."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from kiokupy.database import Unit
from kiokupy.live import LiveObjects


class Companion(Protocol):
    """What has records of its own in a scope's transaction."""

    def save(self, unit: Unit) -> None:
        """Write them; called when the scope's objects are written, before the commit. What it raises ends that."""

    def settle(self) -> None:
        """Know that what was saved is committed."""

    def drop(self) -> None:
        """Be as the store has it: the transaction was aborted, or the scope has ended."""

    def mark(self) -> Callable[[], None]:
        """At a savepoint: return what lets it be again as it is now. What it raises, there is no savepoint then."""


class Companions(list[Companion]):
    """All that a scope has of them."""

    def save(self, unit: Unit, live: LiveObjects, flush: Callable[[], None]) -> None:
        """Write them all.

        :param flush: writes live objects that changed, which some may have that came in from ended scopes just now.
        """
        with unit.database.translated(), live.watching() as arrived:
            for companion in self:
                companion.save(unit)
        if arrived:
            flush()

    def settle(self) -> None:
        """Let them all know of the commit."""
        for companion in self:
            companion.settle()

    def drop(self) -> None:
        """Let them all be as the store has them."""
        for companion in self:
            companion.drop()

    def mark(self) -> Callable[[], None]:
        """Return what lets them all be as they are now, and those that join later be as the store has them."""
        marks = {companion: companion.mark() for companion in self}

        def recall() -> None:
            for companion in self:
                marks.get(companion, companion.drop)()

        return recall
