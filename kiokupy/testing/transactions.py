"""Transactions: all of it or nothing of it, in the store and in the objects."""

from __future__ import annotations

import pytest

from kiokupy.directory import Directory
from kiokupy.errors import NotStorable
from kiokupy.scope import Scope
from kiokupy.testing.people import Account, Badge, Person, Stranger


class Transactions:
    """Tests of commit and abort."""

    def test_what_was_committed_is_there_in_the_next_scope(self, directory: Directory) -> None:
        with directory.new_scope() as scope:
            assert scope.store(Person("a", friend=Badge(1)), id="x") == "x"
        with directory.new_scope() as scope:
            scope.get("x").friend.number = 2
            scope.commit()
            scope.get("x").friend.number = 3
            scope.abort()
        with directory.new_scope() as scope:
            assert scope.get("x").friend.number == 2

    def test_a_block_that_raises_writes_nothing(self, directory: Directory) -> None:
        directory.store(Person("a"), id="x")

        def work(scope: Scope) -> None:
            scope.get("x").name = "changed"
            scope.store(Person("b"), id="y")
            raise ZeroDivisionError

        with pytest.raises(ZeroDivisionError):
            directory.txn_do(work)
        assert directory.get("x").name == "a"
        assert not directory.exists("y")

    def test_a_scope_that_is_closed_without_commit_writes_nothing(self, directory: Directory) -> None:
        scope = directory.new_scope()
        scope.store(Person("a"), id="x")
        scope.close()
        assert not directory.exists("x")

    def test_an_abort_takes_back_changes_also_in_the_objects(self, directory: Directory) -> None:
        directory.store(Person("a", tags=["x"], friend=Badge(1)), id="x")
        with directory.new_scope() as scope:
            found = scope.get("x")
            for _ in range(2):
                found.name, found.friend.number = "changed", 2
                found.tags.append("y")
                scope.store(found)
                scope.abort()
                assert scope.get("x") is found
                assert (found.name, found.friend.number, found.tags) == ("a", 1, ["x"])

    def test_an_abort_takes_back_a_deletion_by_id_and_by_object(self, directory: Directory) -> None:
        directory.store(Person("a"), id="a")
        directory.store(Person("b"), id="b")
        with directory.new_scope() as scope:
            found = scope.get("a")
            scope.delete(found, "b")
            assert scope.lookup("a") is scope.lookup("b") is None
            scope.abort()
            assert scope.get("a") is found
            assert scope.get("b").name == "b"
        assert set(directory.lookup_many("ab")) == {"a", "b"}

    def test_insert_abort_and_insert_again_works(self, directory: Directory) -> None:
        with directory.new_scope() as scope:
            person = Person("a", friend=Person("b"))
            for _ in range(2):
                scope.insert(person, id="x")
                scope.abort()
                assert scope.lookup("x") is None
                assert scope.object_to_id(person) is None
            scope.insert(person, id="x")
        assert directory.get("x").friend.name == "b"

    def test_a_commit_that_fails_aborts_everything(self, directory: Directory) -> None:
        directory.store(Person("a", items=[]), id="x")
        with directory.new_scope() as scope:
            found = scope.get("x")
            found.name = "changed"
            found.items.append(Stranger())
            scope.store(Person("b"), id="y")
            with pytest.raises(NotStorable, match=r"items\[0\]"):
                scope.commit()
            assert (found.name, found.items) == ("a", [])
            assert not scope.exists("y")
        assert directory.get("x").name == "a"

    def test_a_scope_sees_one_moment_until_it_commits_or_aborts(self, directory: Directory) -> None:
        directory.store(Person("a"), id="x")
        with directory.new_scope() as scope:
            found = scope.get("x")
            with directory.new_scope() as other:
                other.get("x").name = "b"
                other.store(Person("new"), id="y")
            assert found.name == "a"
            assert scope.lookup("y") is None
            scope.abort()
            assert found.name == "b"
            assert scope.get("x") is found
            assert scope.exists("y")

    def test_each_verb_of_a_directory_is_a_transaction_of_its_own(self, directory: Directory) -> None:
        person = Person("a", friend=Person("b"))
        assert directory.store(person, id="x") == "x"
        assert directory.insert(Person("c"), id="y", root=False) == "y"
        found = directory.get("x")
        found.name = found.friend.name = "changed"
        directory.update(found)
        directory.unset_root("x")
        assert directory.lookup("x").friend.name == "changed"
        assert not directory.is_root(person)
        assert set(directory.lookup_many(key for key in "xyz")) == {"x", "y"}

    def test_a_nested_transaction_that_fails_is_undone_and_the_outer_one_goes_on(self, directory: Directory) -> None:
        directory.store(Account(1), id="x")
        directory.store(Account(2), id="y")

        def inner(scope: Scope) -> None:
            assert scope.get("x").balance == 10  # as the outer one left it
            scope.get("x").balance = 100
            scope.delete("y")
            scope.store(Account(3), id="z")
            assert scope.lookup("y") is None
            raise ZeroDivisionError

        def outer(scope: Scope) -> None:
            scope.get("x").balance = 10
            with pytest.raises(ZeroDivisionError):
                directory.txn_do(inner)
            assert scope.get("x").balance == 10
            assert scope.get("y").balance == 2
            assert not scope.exists("z")
            directory.txn_do(lambda same: same.store(Account(4), id="new"))

        directory.txn_do(outer)
        found = directory.lookup_many(["x", "y", "z", "new"])
        assert {id: account.balance for id, account in found.items()} == {"x": 10, "y": 2, "new": 4}

    def test_a_savepoint_takes_back_what_came_after_it_and_nothing_else(self, directory: Directory) -> None:
        directory.store(Person("a"), id="x")
        with directory.new_scope() as scope:
            found = scope.get("x")
            found.name = "before"
            point = scope.savepoint()
            for _ in range(2):
                found.name = "after"
                scope.store(Person("b"), id="y")
                scope.update(found)
                point.rollback()
                assert found.name == "before"
                assert not scope.exists("y")
        assert directory.get("x").name == "before"
        assert not directory.exists("y")

    def test_a_refresh_shows_what_others_wrote_once_the_transaction_may_see_it(self, directory: Directory) -> None:
        directory.store(Person("a"), id="x")
        held = directory.get("x")
        with directory.new_scope() as scope:
            found = scope.get("x")
            found.name = "mine"
            scope.refresh(found)
            assert found.name == "a"
        directory.txn_do(lambda scope: setattr(scope.get("x"), "name", "theirs"))
        assert held.name == "a"
        directory.refresh(held)
        assert held.name == "theirs"

    def test_a_thousand_objects_in_one_transaction_and_out_again(self, directory: Directory) -> None:
        ids = [str(number) for number in range(1_024)]
        with directory.new_scope() as scope:
            for id in ids:
                scope.insert(Person(id, friend=Badge(int(id))), id=id)
        with directory.new_scope() as scope:
            assert [person.friend.number for person in scope.lookup_many(ids).values()] == list(range(1_024))
            scope.delete(*ids[::2])
        assert list(directory.lookup_many(ids)) == ids[1::2]
