"""Lookups: ids that are there, are not, are taken, or lead to what is gone."""

from __future__ import annotations

import pytest

from kiokupy.directory import Directory
from kiokupy.errors import BrokenReference, DuplicateId, InvalidId, NotFound, NotStorable, NotStored
from kiokupy.testing.people import Person, Stranger


class Lookups:
    """Tests of ids."""

    def test_an_unknown_id_is_nothing_to_lookup_and_an_error_to_get(self, directory: Directory) -> None:
        default = object()
        assert directory.lookup("no") is None
        assert directory.lookup("no", default) is default
        assert not directory.exists("no")
        for verb in (directory.get, directory.delete, directory.is_root, directory.set_root):
            with pytest.raises(NotFound):
                verb("no")

    def test_some_of_many_ids_that_are_missing_do_not_hide_the_others(self, directory: Directory) -> None:
        directory.store(Person("a"), id="a")
        directory.store(Person("c"), id="c")
        for live in (False, True):
            with directory.new_scope() as scope:
                if live:
                    scope.get("c").name  # noqa: B018  # loads it
                assert {id: each.name for id, each in scope.lookup_many("abca").items()} == {"a": "a", "c": "c"}

    def test_one_id_gives_one_object(self, directory: Directory) -> None:
        directory.store(Person("a"), id="x")
        with directory.new_scope() as scope:
            assert scope.lookup("x") is scope.get("x") is scope.lookup_many(["x"])["x"]

    def test_what_cannot_be_an_id_is_refused(self, directory: Directory) -> None:
        for id in ("", "x" * 201):
            with pytest.raises(InvalidId):
                directory.store(Person("a"), id=id)
            with pytest.raises(InvalidId):
                directory.lookup(id)
        directory.store(Person("long"), id="x" * 200)
        assert directory.get("x" * 200).name == "long"

    def test_storing_again_overwrites_and_gives_no_second_id(self, directory: Directory) -> None:
        with directory.new_scope() as scope:
            person = Person("a")
            assert scope.store(person, id="x") == scope.store(person) == "x"
            scope.commit()
            person.name = "b"
            assert scope.store(person, id="x") == "x"
            with pytest.raises(DuplicateId):
                scope.store(person, id="y")
        assert directory.get("x").name == "b"
        assert not directory.exists("y")

    def test_another_object_does_not_get_an_id_that_is_taken(self, directory: Directory) -> None:
        directory.store(Person("first"), id="x")
        for verb in (directory.store, directory.insert):
            with pytest.raises(DuplicateId):
                verb(Person("second"), id="x")
        with directory.new_scope() as scope:
            with pytest.raises(DuplicateId):
                scope.store(Person("second"), id="x")
            assert scope.get("x").name == "first"
        assert directory.get("x").name == "first"

    def test_a_failed_store_leaves_nothing_behind(self, directory: Directory) -> None:
        with directory.new_scope() as scope:
            inner = Person("inner")
            outer = Person("outer", items=[inner, Stranger()])
            with pytest.raises(NotStorable, match=r"items\[1\]"):
                scope.store(outer, id="x")
            assert scope.lookup("x") is None
            assert scope.object_to_id(outer) is scope.object_to_id(inner) is None
            outer.__dict__["items"].pop()
            scope.insert(outer, id="x")
        assert directory.get("x").items[0].name == "inner"

    def test_an_update_takes_in_nothing_new(self, directory: Directory) -> None:
        with directory.new_scope() as scope:
            with pytest.raises(NotStored):
                scope.update(Person("unknown"))
            person = Person("a", friend=None)
            scope.store(person, id="x")
            scope.commit()
            person.friend = Person("new")
            with pytest.raises(NotStored, match="friend"):
                scope.update(person)
            scope.abort()
        assert directory.get("x").friend is None

    def test_a_deleted_object_is_gone_and_its_id_is_free(self, directory: Directory) -> None:
        directory.store(Person("a"), id="x")
        directory.store(Person("b"), id="y")
        directory.delete("x", directory.get("y"))
        assert directory.lookup_many("xy") == {}
        with pytest.raises(NotFound):
            directory.delete("x")
        directory.insert(Person("again"), id="x")
        assert directory.get("x").name == "again"

    def test_a_reference_to_a_deleted_object_is_one_named_error_every_time(self, directory: Directory) -> None:
        with directory.new_scope() as scope:
            person = Person("a", friend=Person("b"))
            scope.store(person, id="x")
            key = str(scope.object_to_id(person.friend))
        directory.delete(key)
        with directory.new_scope() as scope:
            for _ in range(2):
                with pytest.raises(BrokenReference) as caught:
                    scope.get("x").friend.name  # noqa: B018  # loads it
                assert (caught.value.referrer, caught.value.target) == ("x", key)
                assert scope.lookup(key) is None
            scope.get("x").name = "changed"
        directory.store(Person("again"), id=key)
        found = directory.get("x")
        assert (found.name, found.friend.name) == ("changed", "again")
