"""Progress: how far a long call of maintenance has come."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple


class Step(NamedTuple):
    """What is being done, and how much of it is."""

    task: str
    done: int
    #: ``None``: not known before the end
    total: int | None


#: Called now and then, at least at the end of each task. What it raises ends the call, as Ctrl-C would.
Progress = Callable[[Step], None]


def silent(step: Step) -> None:
    """Tell nobody."""
