"""The field: who takes part in a part of a run, in which folders; who cannot is left out, with the reason."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import ExitStack
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from benchmarks import services
from benchmarks.figures import Part, add
from benchmarks.stores import Contestant
from benchmarks.stores.contract import Missing
from benchmarks.workers import Worker, WorkFailed

Say = Callable[[str], None]


class Field:
    """A context manager; the stores are gone at its end."""

    def __init__(self, contestants: Sequence[Contestant], part: Part, say: Say) -> None:
        self.part, self.say = part, say
        self._stack = ExitStack()
        place = Path(self._stack.enter_context(TemporaryDirectory()))
        self._folders = {contestant: place / str(number) for number, contestant in enumerate(contestants)}
        for folder in self._folders.values():
            self._stack.callback(services.drop, folder)

    def starting(self, shift: int = 0) -> list[Contestant]:
        """Return those that are not left out, beginning with another one for each number."""
        there = list(self._folders)
        shift %= max(1, len(there))
        return [*there[shift:], *there[:shift]]

    def folder(self, contestant: Contestant) -> Path:
        """Return where its store is."""
        return self._folders[contestant]

    def worker(self, contestant: Contestant, **options: Any) -> Worker:
        """Return a new worker for its store; raises as :class:`~benchmarks.workers.Worker`."""
        return Worker(contestant, self._folders[contestant], **options)

    def add(self, work: str, contestant: Contestant, figure: float) -> None:
        """Note what one round found."""
        add(self.part, work, contestant.name, figure)

    def attempt(self, action: Callable[..., object], contestant: Contestant, *arguments: Any, **options: Any) -> None:
        """Do something with a contestant. What it cannot do is not done; if it fails it is left out from then on."""
        try:
            action(self, contestant, *arguments, **options)
        except NotImplementedError:
            return
        except (Missing, WorkFailed) as problem:
            reason = str(problem).strip().splitlines()[-1]
            self.part["skipped"][contestant.name] = reason
            self.say(f"{contestant.name} is left out: {reason}")
            services.drop(self._folders.pop(contestant))

    def __enter__(self) -> Field:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self._stack.close()
