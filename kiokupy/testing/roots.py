"""Roots: which objects keep themselves alive."""

from __future__ import annotations

from kiokupy.directory import Directory
from kiokupy.testing.people import Person


def _roots(directory: Directory) -> list[str]:
    with directory.new_unit() as unit:
        return list(unit.root["roots"])


class Roots:
    """Tests of the root flag."""

    def test_only_the_object_that_is_stored_becomes_a_root(self, directory: Directory) -> None:
        with directory.new_scope() as scope:
            person = Person("a", friend=Person("b"))
            scope.store(person, id="x")
            scope.store(Person("c"), id="y", root=False)
            assert scope.is_root(person)
            assert not scope.is_root(person.friend)
        assert _roots(directory) == ["x"]
        assert not directory.is_root("y")

    def test_an_update_keeps_the_root_flag(self, directory: Directory) -> None:
        directory.store(Person("a"), id="x")
        directory.store(Person("b"), id="y", root=False)
        for _ in range(2):
            with directory.new_scope() as scope:
                for person in scope.lookup_many("xy").values():
                    person.name += "!"
                scope.store(scope.get("x"), root=False)
        assert _roots(directory) == ["x"]
        assert directory.get("y").name == "b!!"

    def test_the_root_flag_is_set_and_cleared_with_the_transaction(self, directory: Directory) -> None:
        directory.store(Person("a"), id="x")
        with directory.new_scope() as scope:
            scope.unset_root("x")
            assert not scope.is_root("x")
            scope.abort()
            assert scope.is_root("x")
            scope.unset_root("x")
        assert _roots(directory) == []
        directory.set_root("x")
        assert _roots(directory) == ["x"]
        directory.delete("x")
        assert _roots(directory) == []
