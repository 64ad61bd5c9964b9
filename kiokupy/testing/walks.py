"""Walks: all that is in the store, the roots of it, and an empty store again."""

from __future__ import annotations

from kiokupy.directory import Directory
from kiokupy.scope import Scope
from kiokupy.testing.people import Person


def _fill(directory: Directory) -> None:
    with directory.new_scope() as scope:
        for id in "bac":
            scope.store(Person(id, friend=Person(f"friend of {id}")), id=id)
        scope.unset_root("c")


def _names(scope: Scope | Directory) -> tuple[list[str], list[str]]:
    return sorted(each.name for each in scope.all_objects()), [each.name for each in scope.root_set()]


class Walks:
    """Tests of the verbs that visit every object."""

    def test_all_objects_and_the_root_set_agree_with_the_store(self, directory: Directory) -> None:
        assert _names(directory) == ([], [])
        _fill(directory)
        assert _names(directory) == (["a", "b", "c", "friend of a", "friend of b", "friend of c"], ["a", "b"])
        assert [person.name for person in directory.grep(lambda person: person.name > "a")] == ["b"]
        seen: list[str] = []
        directory.scan(lambda person: seen.append(person.name))
        assert seen == ["a", "b"]

    def test_a_walk_sees_what_its_transaction_did_and_not_what_it_took_back(self, directory: Directory) -> None:
        _fill(directory)
        before = _names(directory)
        with directory.new_scope() as scope:
            scope.delete("a")
            scope.store(Person("new"), id="new")
            scope.get("b").name = "changed"
            assert _names(scope) == (
                ["c", "changed", "friend of a", "friend of b", "friend of c", "new"],
                ["changed", "new"],
            )
            assert _names(directory) == before
            scope.abort()
            assert _names(scope) == before

    def test_clear_empties_the_store_with_the_transaction(self, directory: Directory) -> None:
        _fill(directory)
        before = _names(directory)
        with directory.new_scope() as scope:
            scope.clear()
            assert _names(scope) == ([], [])
            assert scope.lookup("a") is None
            scope.abort()
            assert _names(scope) == before
        directory.clear()
        assert _names(directory) == ([], [])
        directory.insert(Person("again"), id="a")
        assert _names(directory) == (["again"], ["again"])
