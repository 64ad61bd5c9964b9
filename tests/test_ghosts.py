"""Ghosts: an object that is not loaded yet looks like one that is, and becomes it at the first touch."""

import copy
import dataclasses
import gc
import pickle
import types
import weakref

import pytest
from graph_classes import (
    Box,
    Dynamic,
    Finalized,
    Frozen,
    FrozenSlots,
    GoodPlugin,
    Handy,
    Key,
    Meta,
    OwnNew,
    Person,
    Plugin,
    Point,
    Shape,
    Slotted,
    SlottedPlugin,
    Square,
    Stateful,
    WithMeta,
)
from graph_stores import CountingStorage, directory_on

from kiokupy import ghosts
from kiokupy.errors import ScopeClosed
from kiokupy.rules import first_class


@pytest.fixture
def ghost():
    """Store an object and give it back not loaded."""
    with directory_on(CountingStorage()) as directory, directory.new_scope() as scope:
        number = 0

        def make(obj):
            nonlocal number
            number += 1
            directory.store(obj, id=f"x{number}")
            scope.abort()
            found = scope.get(f"x{number}")
            assert ghosts.is_ghost(found)
            assert ghosts.real_class(found) is type(obj)
            return found

        yield make


def test_it_is_an_instance_of_its_class_without_being_loaded(ghost):
    found = ghost(Square(3))
    assert isinstance(found, Square)
    assert isinstance(found, Shape)
    assert found.__class__ is Square
    assert ghosts.is_ghost(found)


TOUCHES = {
    "getattr": lambda obj: obj.name,
    "setattr": lambda obj: setattr(obj, "friend", 1),
    "delattr": lambda obj: delattr(obj, "name"),
    "hasattr": lambda obj: hasattr(obj, "missing"),
    "vars": vars,
    "dir": dir,
    "==": lambda obj: obj == 3,
    "hash": hash,
    "repr": repr,
    "copy": copy.copy,
    "deepcopy": copy.deepcopy,
    "pickle": pickle.dumps,
}


@pytest.mark.parametrize("touch", TOUCHES.values(), ids=TOUCHES)
def test_every_touch_turns_it_into_the_real_thing(ghost, touch):
    found = ghost(Key("a", [1]))
    kept = weakref.ref(found)
    touch(found)
    assert type(found) is Key
    assert kept() is found
    assert found.friend in ([1], 1)


def test_an_unset_attribute_is_missing_after_loading(ghost):
    for found in (ghost(Person("a")), ghost(Slotted("a"))):
        with pytest.raises(AttributeError, match="missing"):
            found.missing  # noqa: B018


def test_it_can_be_deleted_from_and_set_like_any_object(ghost):
    found = ghost(Person("a", age=3))
    del found.age
    assert vars(found) == {"name": "a"}
    found = ghost(Person("a", age=3))
    found.age = 4
    assert vars(found) == {"name": "a", "age": 4}


def test_it_equals_what_it_equals_when_it_is_loaded_from_either_side(ghost):
    for make in (lambda: Key("a"), lambda: Frozen("a", (1,)), lambda: Point(1, 2), lambda: FrozenSlots("a")):
        assert make() == ghost(make())
        assert ghost(make()) == make()
        assert ghost(make()) == ghost(make())
        assert ghost(make()) != ghost(Person("a"))
    assert Person("a") != ghost(Person("a"))


def test_its_hash_is_that_of_the_loaded_object(ghost):
    assert hash(ghost(Key("a"))) == hash(Key("a"))
    assert {ghost(Key("a"))} == {Key("a")}
    found = ghost(Person("a"))
    before = hash(found)
    assert ghosts.is_ghost(found)
    assert found.name == "a"
    assert hash(found) == before
    with pytest.raises(TypeError, match="unhashable"):
        hash(ghost(Point(1, 2)))


def test_the_syntax_that_calls_special_methods_loads_it(ghost):
    def new():
        return ghost(Handy(1, 2))

    assert len(new()) == 2
    assert list(new()) == [1, 2]
    assert 2 in new()
    assert new()[1] == 2
    assert new()(3) == 5
    assert new() < Handy(5)
    assert Handy(0) < new()
    with new() as handy:
        assert handy.log == ["enter"]
    assert handy.log == ["enter", "exit"]


def test_properties_work_both_ways(ghost):
    assert ghost(Handy(1)).first == 1
    found = ghost(Handy(1))
    found.first = 2
    assert found.items == [2]


def test_a_class_with_attribute_hooks_of_its_own(ghost):
    found = ghost(Dynamic({"a": 1}))
    assert found.a == 1
    found = ghost(Dynamic({"a": 1}))
    found.b = 2
    assert found.values == {"a": 1, "b": 2}
    found = ghost(Dynamic({"a": 1}))
    del found.a
    assert found.values == {}
    with pytest.raises(AttributeError):
        ghost(Dynamic({})).a  # noqa: B018


def test_a_frozen_dataclass_stays_frozen(ghost):
    for found in (ghost(Frozen("a")), ghost(FrozenSlots("a"))):
        with pytest.raises(dataclasses.FrozenInstanceError):
            found.name = "b"
    assert dataclasses.replace(ghost(Frozen("a")), name="b") == Frozen("b")


def test_copies_and_pickles_of_it_are_real(ghost):
    assert type(copy.copy(ghost(Person("a")))) is Person
    assert type(copy.deepcopy(ghost(Slotted("a", [1])))) is Slotted
    found = pickle.loads(pickle.dumps(ghost(Person("a"))))
    assert type(found) is Person
    assert found.name == "a"


def test_generics_state_methods_and_metaclasses(ghost):
    assert ghost(Box([1])).content == [1]
    assert ghost(Stateful("a")).handle is None
    assert ghost(WithMeta("a")).name == "a"
    assert Meta.made == ["WithMeta"]


def test_a_registry_of_subclasses_never_sees_a_ghost_class(ghost):
    before = list(Plugin.registry)
    assert ghost(GoodPlugin("a")).name == "a"
    assert ghosts.ghost_class(first_class(SlottedPlugin)) is not None
    assert Plugin.registry == before


def test_the_finalizer_of_a_class_runs_for_loaded_objects_only(ghost):
    original = Finalized("a")
    found = ghost(original)
    Finalized.ended.clear()
    cls = type(found)
    unloaded = ghosts.make(cls)
    del unloaded
    gc.collect()
    assert Finalized.ended == []
    assert found.name == "a"
    assert type(found) is Finalized


def test_a_class_that_makes_its_objects_itself_has_no_ghosts():
    for cls in (OwnNew, dict, Exception):
        assert ghosts.ghost_class(first_class(cls)) is None


class Sealed:
    def __init_subclass__(cls, **options):
        raise TypeError("sealed")


def test_a_class_that_refuses_subclasses_has_ghosts_nevertheless():
    assert ghosts.ghost_class(first_class(Sealed)) is not None


def test_a_class_that_cannot_be_derived_from_has_none():
    assert ghosts.ghost_class(first_class(types.GeneratorType)) is None


def test_a_touch_after_its_scope_ended_raises_and_a_type_check_still_works():
    with directory_on(CountingStorage()) as directory:
        directory.store(Person("a"), id="x")
        with directory.new_scope() as scope:
            found = scope.get("x")
        for touch in (TOUCHES["getattr"], TOUCHES["setattr"], TOUCHES["delattr"], vars, copy.copy, pickle.dumps):
            with pytest.raises(ScopeClosed, match="an unloaded graph_classes:Person"):
                touch(found)
        assert isinstance(found, Person)


def test_loading_what_is_no_ghost_does_nothing():
    person = Person("Ann")
    ghosts.load(person)
    ghosts.unregister(person)

    assert vars(person) == {"name": "Ann"}


def test_the_slots_of_a_class_are_found_by_the_names_they_have_on_objects():
    class _Hidden:
        __slots__ = ("__a", "__b__", "__weakref__", "c")

    class Dict(_Hidden):
        __slots__ = ("__dict__",)

    assert ghosts.slots_of(Dict) == ["_Hidden__a", "__b__", "c"]
