"""Paths to an object, as Python would write them."""

from collections import deque

import graph_classes
import pytest
from graph_classes import OneSlot, Person, PrivateSlots, Slotted
from graph_stores import CountingStorage, directory_on

from kiokupy import paths

WANTED = object()


@pytest.mark.parametrize(
    ("root", "path"),
    [
        (WANTED, "object"),
        (Person("a", gadget=WANTED), "person.gadget"),
        ({"items": [1, 2, Person("a", gadget=WANTED)]}, "dict['items'][2].gadget"),
        ([(0, WANTED)], "list[0][1]"),
        (deque([WANTED]), "deque[0]"),
        ({7: {b"x": {None: WANTED}}}, "dict[7][b'x'][None]"),
        ({Person("a"): WANTED}, "dict[<Person>]"),
        ({WANTED: 1}, "dict.<key <object>>"),
        ({WANTED}, "set.<element>"),
        (frozenset([WANTED]), "frozenset.<element>"),
        (Slotted("a", WANTED), "slotted.friend"),
        (OneSlot(WANTED), "oneslot.only"),
        (PrivateSlots(WANTED), "privateslots._PrivateSlots__hidden"),
        (Person("a", far=[[WANTED]], near=[WANTED]), "person.near[0]"),
        (Person("a", other=1), "person"),
        (Person("a", cls=Person, module=graph_classes, function=lambda: WANTED), "person"),
    ],
)
def test_a_path_is_the_shortest_way(root, path):
    assert paths.find(root, WANTED) == path


def test_a_cycle_has_an_end():
    person = Person("a")
    person.friend = person
    assert paths.find(person, WANTED) == "person"


@pytest.mark.parametrize(("name", "path"), [("cart", "cart.x"), ("not a name", "person.x"), ("", "person.x")])
def test_the_root_is_called_by_its_name_if_that_is_one(name, path):
    assert paths.find(Person("a", x=WANTED), WANTED, name=name) == path


class Guarded:
    def __init__(self):
        self.__dict__["x"] = WANTED

    @property
    def x(self):
        raise RuntimeError("a path calls no code of the application")


def test_a_property_is_not_called():
    assert paths.find(Guarded(), WANTED) == "guarded.x"


def test_what_is_not_loaded_is_not_entered():
    with directory_on(CountingStorage()) as directory:
        directory.store(Person("a", friend=Person("b", word="there")), id="x")
        with directory.new_scope() as scope:
            found = scope.get("x")
            assert found.name == "a"
            assert paths.find(found, WANTED) == "person"
            friend = found.friend
            assert paths.find(found, friend) == "person.friend"
            assert scope._live.record(scope.object_to_id(friend)) is None


def test_a_very_long_way_is_shown_with_its_two_ends():
    bottom = Person("bottom")
    top = bottom
    for _ in range(500):
        top = Person("above", friend=top)

    found = paths.find(top, bottom)

    assert found.startswith("person.friend.friend")
    assert found.endswith(".friend.friend")
    assert len(found) < 420
