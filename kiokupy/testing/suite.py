"""The suite: what its tests are given, and the tests by theme."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from typing import Any

import pytest

from kiokupy.directory import Directory
from kiokupy.errors import StoreNotFound, StoreTooNew
from kiokupy.opening import connect
from kiokupy.testing import leaks
from kiokupy.testing.capabilities import Capability, Declaring
from kiokupy.testing.conflicts import Conflicts
from kiokupy.testing.graphs import Graphs
from kiokupy.testing.lookups import Lookups
from kiokupy.testing.opening import Connect, Opening
from kiokupy.testing.people import CLASSES
from kiokupy.testing.processes import Processes
from kiokupy.testing.promises import Promises
from kiokupy.testing.roots import Roots
from kiokupy.testing.transactions import Transactions
from kiokupy.testing.values import Values
from kiokupy.testing.walks import Walks


class BackendSuite(
    Opening, Values, Graphs, Lookups, Roots, Walks, Transactions, Conflicts, Processes, Promises, Declaring
):
    """What a backend must pass; see :mod:`kiokupy.testing`.

    A subclass has a fixture ``target``: what :func:`kiokupy.connect` takes for a store that is not there yet, another
    one in each test. With ``SHARED`` it is pickled and goes to other processes, where the backend is found by its entry
    point.
    """

    known = Capability

    @pytest.fixture
    def connect(self, target: Any) -> Iterator[Connect]:
        """What opens the store, with the options that it is given; the test need not close it."""
        with leaks.watched() as watch:
            yield lambda **options: watch.add(connect(target, **{"allow_classes": CLASSES, **options}))
        if Capability.LASTING in self.capabilities:
            with suppress(StoreNotFound, StoreTooNew):  # where that was the test
                connect(target, create=0).close()

    @pytest.fixture
    def directory(self, connect: Connect) -> Directory:
        """The store, open and empty."""
        return connect()
