"""Graphs: identity, cycles and classes are kept, and what is not touched is not loaded."""

from __future__ import annotations

from BTrees.OOBTree import OOBTree
from persistent.mapping import PersistentMapping

from kiokupy import ghosts
from kiokupy.directory import Directory
from kiokupy.scope import Scope
from kiokupy.testing.people import Badge, Employee, Ledger, Person


def _family(size: int) -> list[Person]:
    """Return people each of whom knows both neighbours, in a ring, and has a badge that knows its owner."""
    people = [Employee(str(number)) if number % 3 else Person(str(number)) for number in range(size)]
    for number, person in enumerate(people):
        person.friends = [people[number - 1], people[(number + 1) % size]]
        person.badge = Badge(number, person)
    return people


class Graphs:
    """Tests of objects that refer to each other."""

    def test_a_small_graph_comes_back_with_its_classes(self, directory: Directory) -> None:
        directory.store(Person("joe", friend=Employee("oscar", friend=Badge(7))), id="joe")
        with directory.new_scope() as scope:
            joe = scope.get("joe")
            assert joe.name == "joe"
            assert type(joe) is Person
            assert joe.friend.name == "oscar"
            assert type(joe.friend) is Employee
            assert joe.friend.friend.number == 7
            assert scope.id_to_object("joe") is joe
            assert scope.object_to_id(joe) == "joe"
            assert scope.get(str(scope.object_to_id(joe.friend))) is joe.friend

    def test_cycles_come_back_as_the_same_objects(self, directory: Directory) -> None:
        directory.store(_family(22)[0], id="x")
        with directory.new_scope() as scope:
            start = person = scope.get("x")
            for number in range(22):
                assert person.name == str(number)
                assert isinstance(person, Employee) is bool(number % 3)
                assert person.badge.owner is person
                assert person.friends[1].friends[0] is person
                person = person.friends[1]
            assert person is start

    def test_what_is_not_touched_is_not_loaded(self, directory: Directory) -> None:
        directory.store(_family(22)[0], id="x")
        with directory.new_scope() as scope:
            previous, following = scope.get("x").friends
            assert following.name == "1"
            assert ghosts.is_ghost(previous)
            assert ghosts.is_ghost(following.friends[1])
            assert not ghosts.is_ghost(following)

    def test_a_link_that_is_removed_is_gone_and_its_target_stays(self, directory: Directory) -> None:
        with directory.new_scope() as scope:
            people = _family(5)
            scope.store(people[0], id="x")
            key = str(scope.object_to_id(people[1]))
        with directory.new_scope() as scope:
            del scope.get("x").friends[1]
        with directory.new_scope() as scope:
            assert [friend.name for friend in scope.get("x").friends] == ["4"]
            assert scope.get(key).friends[0] is scope.get("x")

    def test_changes_all_over_a_graph_are_written_without_being_named(self, directory: Directory) -> None:
        directory.store(_family(22)[0], id="x")

        def walk(scope: Scope) -> list[Person]:
            found = [scope.get("x")]
            while len(found) < 22:
                found.append(found[-1].friends[1])
            return found

        for round in ("first", "second", "third"):
            with directory.new_scope() as scope:
                for person in walk(scope):
                    person.name = round
                    person.badge.number += 1
            with directory.new_scope() as scope:
                assert {person.name for person in walk(scope)} == {round}
        with directory.new_scope() as scope:
            assert [person.badge.number for person in walk(scope)] == list(range(3, 25))

    def test_an_object_reached_in_two_ways_is_one_object(self, directory: Directory) -> None:
        shared = Person("shared")
        directory.store(Person("a", friend=shared), id="a")
        with directory.new_scope() as scope:
            scope.store({"people": (scope.get("a").friend, [scope.get("a").friend])}, id="b")
        with directory.new_scope() as scope:
            one, (other,) = scope.get("b")["people"]
            assert one is other is scope.get("a").friend

    def test_persistent_objects_and_trees_are_records_in_the_graph(self, directory: Directory) -> None:
        person = Person("a")
        tree = OOBTree({str(number): Person(str(number)) for number in range(100)})
        person.__dict__.update(tree=tree, mapping=PersistentMapping(p=person), ledger=Ledger(person))
        directory.store(person, id="x")
        with directory.new_scope() as scope:
            found = scope.get("x")
            assert found.mapping["p"] is found
            assert found.ledger.owners == [found]
            assert found.tree["42"].name == "42"
            found.tree["42"].name = "changed"
            found.tree["new"] = found
            found.ledger.owners = []
        with directory.new_scope() as scope:
            found = scope.get("x")
            assert len(found.tree) == 101
            assert found.tree["42"].name == "changed"
            assert found.tree["new"] is found
            assert found.ledger.owners == []

    def test_a_long_chain_comes_back_whole(self, directory: Directory) -> None:
        chain = None
        for number in range(2_000):
            chain = Person(str(number), friend=chain)
        directory.store(chain, id="x")
        found, length = directory.get("x"), 0
        while found is not None:
            found, length = found.friend, length + 1
        assert length == 2_000
