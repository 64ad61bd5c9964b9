"""Promises of ZODB's storages that kiokupy stands on, held against each backend's storage."""

import random
import threading

import pytest
import transaction
import ZODB
from BTrees.OOBTree import OOBTree
from persistent.mapping import PersistentMapping
from ZODB.POSException import ConflictError, ReadConflictError

from kiokupy import backends


@pytest.fixture
def open_database(place):
    """Opens the store, each time as another process would where the storage allows that."""
    databases = []

    def open_database():
        if databases and place.name in ("Hash", "File"):
            return databases[0]
        resolved = backends.resolve(place.target, **place.options)
        databases.append(ZODB.DB(resolved.backend().open(create=resolved.create, readonly=resolved.readonly)))
        return databases[-1]

    yield open_database
    for database in databases:
        database.close()


@pytest.fixture
def database(open_database):
    return open_database()


def opened(database):
    manager = transaction.TransactionManager()
    manager.begin()
    return manager, database.open(manager)


def shut(*pairs):
    for manager, connection in pairs:
        manager.abort()
        connection.close()


def test_a_failed_transactions_rows_are_not_published_by_the_next_commit(database, open_database):
    """The conflict is found at vote: the other process's commit is not in the first one's cache."""
    manager, connection = opened(database)
    for name in "ABC":
        connection.root()[name] = PersistentMapping(value="old")
    manager.commit()
    shut((manager, connection))
    first_manager, first = opened(database)
    second_manager, second = opened(open_database())

    first.root()["A"]["value"]  # loads it
    first.readCurrent(first.root()["A"])
    first.root()["B"]["value"] = "of the failed transaction"
    second.root()["A"]["value"] = "new"
    second_manager.commit()
    with pytest.raises(ReadConflictError):
        first_manager.commit()
    first_manager.abort()
    first_manager.begin()
    first.root()["C"]["value"] = "new"
    first_manager.commit()

    second_manager.begin()
    manager, connection = opened(database)
    assert {name: connection.root()[name]["value"] for name in "ABC"} == {"A": "new", "B": "old", "C": "new"}
    shut((manager, connection), (first_manager, first), (second_manager, second))


def test_eight_threads_insert_and_no_key_of_a_failed_transaction_is_there(database):
    manager, connection = opened(database)
    connection.root()["tree"] = OOBTree()
    manager.commit()
    shut((manager, connection))
    written, failures = [], []

    def insert(seed):
        source = random.Random(seed)
        manager = transaction.TransactionManager()
        for number in range(15):
            for attempt in range(200):
                key = f"{source.random()}-{seed}-{number}-{attempt}"
                manager.begin()
                connection = database.open(manager)
                try:
                    connection.root()["tree"][key] = number
                    manager.commit()
                    written.append(key)
                    break
                except ConflictError:
                    manager.abort()
                except Exception as error:
                    failures.append(error)
                    manager.abort()
                finally:
                    connection.close()

    threads = [threading.Thread(target=insert, args=(seed,)) for seed in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    manager, connection = opened(database)
    found = list(connection.root()["tree"])
    shut((manager, connection))

    assert failures == []
    assert len(written) == 8 * 15
    assert found == sorted(written)


def test_writes_of_different_keys_into_one_leaf_are_merged(database):
    manager, connection = opened(database)
    connection.root()["tree"] = OOBTree({"a": 1, "b": 1, "c": 1})
    manager.commit()
    shut((manager, connection))
    first_manager, first = opened(database)
    second_manager, second = opened(database)

    first.root()["tree"]["a"] = 2
    second.root()["tree"]["c"] = 2
    first_manager.commit()
    second_manager.commit()

    second_manager.begin()
    assert dict(second.root()["tree"]) == {"a": 2, "b": 1, "c": 2}
    shut((first_manager, first), (second_manager, second))


def test_writes_of_one_key_collide(database):
    manager, connection = opened(database)
    connection.root()["tree"] = OOBTree({"a": 1, "b": 1})
    manager.commit()
    shut((manager, connection))
    first_manager, first = opened(database)
    second_manager, second = opened(database)

    first.root()["tree"]["a"] = 2
    second.root()["tree"]["a"] = 3
    first_manager.commit()
    with pytest.raises(ConflictError):
        second_manager.commit()

    shut((first_manager, first), (second_manager, second))
