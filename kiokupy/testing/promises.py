"""Promises of ZODB's storages that kiokupy stands on, held against the backend's storage itself."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any, ClassVar

import pytest
import transaction
import ZODB
from BTrees.OOBTree import OOBTree
from persistent.mapping import PersistentMapping
from ZODB.POSException import ConflictError, ReadConflictError

from kiokupy import backends
from kiokupy.testing.capabilities import Capability, needs


@contextmanager
def _opened(database: Any, **options: Any) -> Iterator[tuple[Any, Any]]:
    """Give a transaction manager and the root object of a connection."""
    manager = transaction.TransactionManager()
    manager.begin()
    connection = database.open(manager, **options)
    try:
        yield manager, connection.root()
    finally:
        manager.abort()
        connection.close()


class Promises:
    """Tests of the storage, with ZODB alone above it."""

    capabilities: ClassVar[Collection[str]]

    @pytest.fixture
    def open_database(self, target: Any) -> Iterator[Callable[[], Any]]:
        """What opens the store, each time as another process would where the backend allows that."""
        with ExitStack() as stack:
            databases: list[Any] = []

            def open_database() -> Any:
                if not databases or Capability.SHARED in self.capabilities:
                    backend = backends.resolve(target).backend()
                    databases.append(ZODB.DB(backend.open(create=True, readonly=False)))
                    stack.callback(databases[-1].close)
                return databases[-1]

            yield open_database

    @pytest.fixture
    def database(self, open_database: Callable[[], Any]) -> Any:
        """A database of ZODB on the store, with a few records."""
        database = open_database()
        with _opened(database) as (manager, root):
            root.update(
                {name: PersistentMapping(value="old") for name in "ABC"}, tree=OOBTree({"a": 1, "b": 1, "c": 1})
            )
            manager.commit()
        return database

    def test_a_failed_transactions_rows_are_not_published_by_the_next_commit(
        self, database: Any, open_database: Callable[[], Any]
    ) -> None:
        """The conflict is found at vote, where the other process's commit is not in the first one's cache."""
        with _opened(database) as (manager, root), _opened(open_database()) as (other_manager, other_root):
            root["A"]["value"]  # loads it
            root._p_jar.readCurrent(root["A"])
            root["B"]["value"] = "of the failed transaction"
            other_root["A"]["value"] = "new"
            other_manager.commit()
            with pytest.raises(ReadConflictError):
                manager.commit()
            manager.abort()
            manager.begin()
            root["C"]["value"] = "new"
            manager.commit()
        with _opened(open_database()) as (_, root):
            assert {name: root[name]["value"] for name in "ABC"} == {"A": "new", "B": "old", "C": "new"}

    def test_writes_of_different_keys_into_one_leaf_are_merged(self, database: Any) -> None:
        with _opened(database) as (manager, root), _opened(database) as (other_manager, other_root):
            root["tree"]["a"] = 2
            other_root["tree"]["c"] = 2
            manager.commit()
            other_manager.commit()
        with _opened(database) as (_, root):
            assert dict(root["tree"]) == {"a": 2, "b": 1, "c": 2}

    def test_writes_of_one_key_collide(self, database: Any) -> None:
        with _opened(database) as (manager, root), _opened(database) as (other_manager, other_root):
            root["tree"]["a"] = 2
            other_root["tree"]["a"] = 3
            manager.commit()
            with pytest.raises(ConflictError):
                other_manager.commit()
        with _opened(database) as (_, root):
            assert dict(root["tree"]) == {"a": 2, "b": 1, "c": 1}

    @needs(Capability.HISTORY)
    def test_what_an_object_was_before_can_be_read_until_it_is_packed(self, database: Any) -> None:
        moments = []
        for number in range(3):
            with _opened(database) as (manager, root):
                root["A"]["value"] = number
                manager.commit()
                moments.append(root["A"]._p_serial)
        for number, moment in enumerate(moments):
            with _opened(database, at=moment) as (_, root):
                assert root["A"]["value"] == number
