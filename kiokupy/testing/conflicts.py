"""Conflicts: of two transactions that cannot both be, one is told and writes nothing."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import pytest

from kiokupy.directory import Directory
from kiokupy.errors import ConflictError, DuplicateId
from kiokupy.scope import Scope
from kiokupy.testing.people import Account, Person


def _together(count: int, work: Callable[[], None]) -> None:
    """Run work in so many threads at once; raise what one of them raised."""
    with ThreadPoolExecutor(count) as pool:
        for running in [pool.submit(work) for _ in range(count)]:
            running.result()


class Conflicts:
    """Tests of transactions at the same time in one process."""

    def test_two_writers_of_one_object_conflict(self, directory: Directory) -> None:
        directory.store(Person("a"), id="x")
        with directory.new_scope() as one, directory.new_scope() as other:
            one.get("x").name = "one"
            other.get("x").name = "other"
            other.store(Person("new"), id="new")
            one.commit()
            with pytest.raises(ConflictError):
                other.commit()
            assert other.get("x").name == "one"
            assert not other.exists("new")
            other.get("x").name = "other, again"
        assert directory.get("x").name == "other, again"
        assert not directory.exists("new")

    def test_two_writers_of_different_objects_do_not_conflict(self, directory: Directory) -> None:
        directory.store([Person("a"), Person("b")], id="x")
        with directory.new_scope() as one, directory.new_scope() as other:
            one.get("x")[0].name = "A"
            other.get("x")[1].name = "B"
        assert [person.name for person in directory.get("x")] == ["A", "B"]

    def test_two_inserts_of_one_id_conflict_and_the_second_is_not_written(self, directory: Directory) -> None:
        with directory.new_scope() as one, directory.new_scope() as other:
            one.store(Person("one"), id="x")
            other.store(Person("other"), id="x")
            one.commit()
            with pytest.raises(ConflictError):
                other.commit()
            with pytest.raises(DuplicateId):
                other.store(Person("other"), id="x")
        assert directory.get("x").name == "one"

    def test_two_inserts_of_different_ids_do_not_conflict(self, directory: Directory) -> None:
        with directory.new_scope() as one, directory.new_scope() as other:
            one.store(Person("one"), id="a")
            other.store(Person("other"), id="b")
        assert set(directory.lookup_many("ab")) == {"a", "b"}

    def test_a_change_and_a_deletion_of_one_object_conflict(self, directory: Directory) -> None:
        for id, first_deletes in (("x", True), ("y", False)):
            directory.store(Person("a"), id=id)
            with directory.new_scope() as one, directory.new_scope() as other:
                changer, deleter = (other, one) if first_deletes else (one, other)
                changer.get(id).name = "changed"
                deleter.delete(id)
                one.commit()
                with pytest.raises(ConflictError):
                    other.commit()
            assert directory.exists(id) is not first_deletes

    def test_a_copy_that_is_out_of_date_is_not_stored(self, directory: Directory) -> None:
        directory.store(Person("a"), id="x")
        one, other = directory.get("x"), directory.get("x")
        one.name, other.name = "one", "other"
        directory.store(one)
        with pytest.raises(ConflictError):
            directory.store(other)
        assert directory.get("x").name == "one"

    def test_txn_do_tries_again_after_a_conflict(self, directory: Directory) -> None:
        directory.store(Account(0), id="x")
        attempts = []

        def work(scope: Scope) -> str:
            found = scope.get("x")
            found.balance += 1
            attempts.append(found)
            if len(attempts) < 3:
                theirs = directory.get("x")
                theirs.balance += 10
                directory.store(theirs)
            return "done"

        assert directory.txn_do(work) == "done"
        assert len(attempts) == 3
        assert directory.get("x").balance == 21

    def test_eight_threads_that_count_lose_no_increment(self, directory: Directory) -> None:
        directory.store(Account(0), id="x")

        def increment(scope: Scope) -> None:
            scope.get("x").balance += 1

        def work() -> None:
            for _ in range(5):
                directory.txn_do(increment, retries=100)

        _together(8, work)
        assert directory.get("x").balance == 40

    def test_eight_threads_that_insert_lose_nothing_and_publish_nothing_of_failed_attempts(
        self, directory: Directory
    ) -> None:
        stored = []

        def insert(scope: Scope) -> str:
            return scope.store(Person("new"))  # each attempt under an id of its own

        def work() -> None:
            for _ in range(15):
                stored.append(directory.txn_do(insert, retries=100))

        _together(8, work)
        with directory.new_unit() as unit:
            assert list(unit.root["entries"]) == list(unit.root["roots"]) == sorted(stored)
        assert len(stored) == 8 * 15
