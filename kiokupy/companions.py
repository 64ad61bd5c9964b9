"""Companions: what is written in a scope's transaction beside its objects, as a session."""

from __future__ import annotations

from typing import Protocol

from kiokupy.database import Unit


class Companion(Protocol):
    """What has records of its own in a scope's transaction."""

    def save(self, unit: Unit) -> None:
        """Write them; called when the scope's objects are written, before the commit. What it raises ends that."""

    def settle(self) -> None:
        """Know that what was saved is committed."""

    def drop(self) -> None:
        """Be as the store has it: the transaction was aborted, or the scope has ended."""


class Companions(list[Companion]):
    """All that a scope has of them."""

    def save(self, unit: Unit) -> None:
        """Write them all."""
        with unit.database.translated():
            for companion in self:
                companion.save(unit)

    def settle(self) -> None:
        """Let them all know of the commit."""
        for companion in self:
            companion.settle()

    def drop(self) -> None:
        """Let them all be as the store has them."""
        for companion in self:
            companion.drop()
