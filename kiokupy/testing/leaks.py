"""Leaks: what a test left behind that should have gone with its scopes and directories."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from kiokupy import ghosts
from kiokupy.directory import Directory


class Watch:
    """The directories that are looked after until a test ends."""

    def __init__(self) -> None:
        self._opened: list[tuple[Directory, Any]] = []

    def add(self, directory: Directory) -> Directory:
        """Look after a directory, and return it."""
        with directory.new_unit() as unit:
            self._opened.append((directory, unit.connection.db()))
        return directory

    def close(self) -> list[str]:
        """Close all directories; return in words which connections were open."""
        found = []
        for directory, database in self._opened:
            connections = [info["opened"] for info in database.connectionDebugInfo() if info["opened"]]
            found += [f"{directory!r} has a connection that was opened at {opened}" for opened in connections]
            directory.close()
        self._opened.clear()
        return found


@contextmanager
def watched() -> Iterator[Watch]:
    """Close the directories at the end of the block, and fail if something of them is left.

    :raises AssertionError: connections are open, ghosts wait to be loaded, or threads run that were not there before.
    """
    ghosts_before, threads_before = ghosts.waiting(), set(threading.enumerate())
    watch = Watch()
    try:
        yield watch
    finally:
        left = watch.close()
    left += [f"the thread {thread.name!r} runs" for thread in set(threading.enumerate()) - threads_before]
    assert left == [], "the test left something behind"
    assert ghosts.waiting() <= ghosts_before, "the test left unloaded objects behind"
