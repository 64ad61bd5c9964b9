"""ObjectSet, ObjectMap and ObjectList inside plain objects: ids instead of objects, on every storage."""

import copy
import datetime
import enum
import pickle
import tracemalloc
import zoneinfo

import pytest
from graph_classes import CLASSES, Account, Colour, Pair, Person, Reduced, Slotted, Thing
from graph_stores import CountingStorage, directory_in, directory_on
from persistent.mapping import PersistentMapping

from kiokupy import ObjectList, ObjectMap, ObjectSet
from kiokupy.database import Database
from kiokupy.errors import (
    BrokenReference,
    ConflictError,
    NotFound,
    NotStorable,
    NotStored,
    ScopeClosed,
    StoreReadOnly,
)
from kiokupy.inspection import InertGraph, content, find_inert
from kiokupy.maintenance import fsck, gc

KINDS = [ObjectSet, ObjectMap, ObjectList]


@pytest.fixture
def directory(place):
    with place.connect(allow_classes=CLASSES) as directory:
        yield directory


@pytest.fixture
def storage():
    return CountingStorage()


@pytest.fixture
def memory(storage):
    with directory_on(storage) as directory:
        yield directory


def people(*names):
    return [Person(name) for name in names]


def made(kind, objects):
    """Return a collection of some kind of objects, by their names in a map."""
    return ObjectMap((obj.name, obj) for obj in objects) if kind is ObjectMap else kind(objects)


def objects_in(collection):
    return collection.values() if isinstance(collection, ObjectMap) else collection


def names_in(collection):
    return sorted(obj.name for obj in objects_in(collection))


def put(collection, obj):
    if isinstance(collection, ObjectSet):
        collection.add(obj)
    elif isinstance(collection, ObjectMap):
        collection[obj.name] = obj
    else:
        collection.append(obj)


def store(directory, kind, *names):
    """Store an owner with a collection of people; each has their name for an id."""
    with directory.new_scope() as scope:
        members = people(*names)
        for person in members:
            scope.store(person, id=person.name, root=False)
        scope.store(Person("owner", items=made(kind, members)), id="owner")


def entries(directory):
    with directory.new_unit() as unit:
        return len(unit.root["entries"])


# On every storage


@pytest.mark.parametrize("kind", KINDS)
def test_what_an_application_put_into_a_collection_is_stored_with_it(directory, kind):
    directory.store(Person("owner", items=made(kind, people("a", "b"))), id="owner")
    with directory.new_scope() as scope:
        items = scope.get("owner").items
        assert (type(items), len(items), names_in(items)) == (kind, 2, ["a", "b"])
        put(items, Person("c"))
    with directory.new_scope() as scope:
        assert names_in(scope.get("owner").items) == ["a", "b", "c"]


@pytest.mark.parametrize("kind", [ObjectSet, ObjectMap])
@pytest.mark.parametrize("names", [(), ("m",), tuple("defghijklmnop")])
def test_two_transactions_that_write_different_members_do_not_conflict(directory, kind, names):
    store(directory, kind, *names)
    with directory.new_scope() as one, directory.new_scope() as other:
        for scope, new in ((one, "a"), (other, "z")):
            person = Person(new)
            scope.store(person, id=new)
            put(scope.get("owner").items, person)
    with directory.new_scope() as scope:
        items = scope.get("owner").items
        assert (len(items), names_in(items)) == (len(names) + 2, ["a", *names, "z"])


def test_two_transactions_that_add_and_remove_different_members_do_not_conflict(directory):
    store(directory, ObjectSet, *"abcdef")
    with directory.new_scope() as one, directory.new_scope() as other:
        one.get("owner").items.discard("b")
        other.get("owner").items.discard("e")
        other.get("owner").items.add(other.get("owner"))
    with directory.new_scope() as scope:
        assert (len(scope.get("owner").items), sorted(scope.get("owner").items.ids())) == (5, [*"acdf", "owner"])


def test_two_transactions_that_write_the_same_member_conflict(directory):
    store(directory, ObjectSet, *"abc")
    with directory.new_scope() as one, directory.new_scope() as other:
        for scope in (one, other):
            scope.get("owner").items.discard("b")
        one.commit()
        with pytest.raises(ConflictError):
            other.commit()
    with directory.new_scope() as scope:
        assert len(scope.get("owner").items) == len(list(scope.get("owner").items.ids())) == 2


def test_two_transactions_that_change_the_ends_of_a_list_conflict(directory):
    store(directory, ObjectList, *"abc")
    with directory.new_scope() as one, directory.new_scope() as other:
        one.get("owner").items.append(1)
        other.get("owner").items.pop()
        one.commit()
        with pytest.raises(ConflictError):
            other.commit()
        assert other.get("owner").items[-1] == 1


def test_two_transactions_that_replace_different_items_of_a_list_do_not_conflict(directory):
    store(directory, ObjectList, *"abc")
    with directory.new_scope() as one, directory.new_scope() as other:
        one.get("owner").items[0] = 1
        other.get("owner").items[2] = 2
    with directory.new_scope() as scope:
        assert scope.get("owner").items[::2] == [1, 2]


@pytest.mark.parametrize("kind", KINDS)
def test_a_conflict_leaves_a_new_collection_as_it_was(directory, kind):
    directory.store(Person("x"), id="x")
    owner, scope = Person("owner", items=made(kind, people("a"))), directory.new_scope()
    scope.get("x").friend = owner
    with directory.new_scope() as other:
        other.get("x").friend = 1
    with pytest.raises(ConflictError):
        scope.commit()
    assert names_in(owner.items) == ["a"]
    put(owner.items, Person("b"))
    scope.store(owner, id="owner")
    scope.commit()
    scope.close()
    with directory.new_scope() as scope:
        assert names_in(scope.get("owner").items) == ["a", "b"]


# What is loaded


def reads(storage, work):
    before = len(storage.read)
    work()
    return len(storage.read) - before


@pytest.fixture
def crowd(memory, storage):
    """A scope on a set of 1000 stored people, all trees of which have been read."""
    with memory.new_scope() as scope:
        crowd = [Person(f"{number:04}", number=number) for number in range(1000)]
        for person in crowd:
            scope.store(person, id=person.name, root=False)
        scope.store(Person("owner", items=ObjectSet(crowd), others=ObjectSet(crowd[500:])), id="owner")
    with memory.new_scope() as scope:
        for key in (*scope._live.entries, *scope.get("owner").items.ids(), *scope.get("owner").others.ids()):
            assert key
        assert len(scope.get("owner").others)
        yield scope


def test_what_is_done_by_id_loads_no_member(crowd, storage):
    items, others = crowd.get("owner").items, crowd.get("owner").others
    known = crowd.get("0003")
    assert known.number == 3
    assert len(items) == 1000

    def work():
        assert known in items
        assert "0700" in items
        assert "0700" in others
        assert "nobody" not in items
        assert known not in others
        assert len(items | others) == 1000
        assert sorted((items & others).ids()) == sorted(others.ids())
        assert len(items - others) == 500
        items.discard("0007")
        items.remove(known)
        others.update(items)
        items.__iand__(others)
        items.__isub__(others)
        assert (len(items), len(others)) == (0, 998)
        others.clear()

    assert reads(storage, work) == 0


def test_iteration_gives_ghosts_and_a_touch_loads_one_record(crowd, storage):
    items = crowd.get("owner").items

    assert reads(storage, lambda: [None for _ in items]) == 0
    first = next(iter(items))
    assert reads(storage, lambda: first.number) == 1


def test_a_collection_is_not_loaded_with_its_owner(memory, storage):
    for kind in KINDS:
        store(memory, kind, *"abc")
        with memory.new_scope() as scope:
            owner = scope.get("owner")
            assert owner.name == "owner"
            assert owner.items._p_state == -1  # a ghost of ZODB
        memory.clear()


def test_a_member_of_a_class_without_ghosts_is_loaded_by_iteration(memory):
    directory_items = ObjectSet([Reduced("a"), Account("b")])
    memory.store(Person("owner", items=directory_items), id="owner")
    with memory.new_scope() as scope:
        assert sorted(type(obj).__name__ for obj in scope.get("owner").items) == ["Account", "Reduced"]


@pytest.mark.no_cover
@pytest.mark.parametrize("kind", KINDS)
def test_iterating_over_many_members_takes_little_memory(kind):
    memory = directory_on(CountingStorage(), cache=500)
    with memory.new_scope() as scope:
        owner = Person("owner", items=kind())
        scope.store(owner, id="owner")
        for number in range(6000):
            put(owner.items, Person(f"{number:05}", text="x" * 1000))
    with memory.new_scope() as scope:
        items = objects_in(scope.get("owner").items)
        tracemalloc.start()
        seen = sum(len(person.text) for person in items)
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
    assert seen == 6_000_000
    assert peak < 6_000_000


def test_a_member_that_was_changed_or_is_held_stays_the_same_object_after_an_iteration(crowd):
    items, held = crowd.get("owner").items, []
    for person in items:
        if person.name == "0001":
            person.number = "changed"
        elif person.name == "0002":
            held.append(person)
    assert held[0] is crowd.get("0002")
    held[0].number = "held"
    crowd.commit()

    assert (crowd.get("0001").number, crowd.get("0002").number) == ("changed", "held")


def test_a_set_may_change_while_it_is_iterated_over(crowd):
    items = crowd.get("owner").items
    for person in items:
        items.discard(person)
    assert len(items) == 0


# Sets


@pytest.mark.parametrize(
    "value", ["a", 1, None, 2.5, (1, 2), [], {}, set(), frozenset(), datetime.datetime(2026, 1, 1), b"x"]
)
def test_a_set_refuses_plain_values(memory, value):
    with pytest.raises(NotStorable, match="its members are objects with ids of their own"):
        ObjectSet([value])
    store(memory, ObjectSet, "a")
    with memory.new_scope() as scope:
        with pytest.raises(NotStorable, match=r"Keep plain values in a set\(\), or as the keys of an ObjectMap"):
            scope.get("owner").items.add(value)
        assert len(scope.get("owner").items) == 1


def test_a_set_refuses_what_is_kept_inside_its_holder_by_a_rule(memory):
    with pytest.raises(NotStorable, match="graph_classes:Pair has none"):
        memory.store(Person("owner", items=ObjectSet([Pair(1, 2)])))
    store(memory, ObjectSet)
    with memory.new_scope() as scope, pytest.raises(NotStorable, match="graph_classes:Colour has none"):
        scope.get("owner").items.add(Colour.RED)
    assert entries(memory) == 2


def test_a_member_that_the_type_map_refuses_is_refused_with_the_path_to_it(memory):
    with pytest.raises(NotStorable, match=r"owner.items.<member>.friend cannot be stored: graph_classes:Thing"):
        memory.store(Person("owner", items=ObjectSet([Person("a", friend=Thing())])), id="owner")
    with pytest.raises(NotStorable, match=r"owner.items\['k'\] cannot be stored"):
        memory.store(Person("owner", items=ObjectMap({"k": Thing()})), id="owner")
    with pytest.raises(NotStorable, match=r"owner.items\[1\] cannot be stored"):
        memory.store(Person("owner", items=ObjectList([0, Thing()])), id="owner")
    with pytest.raises(NotStorable, match=r"owner.items\[0\]\['x'\]\[0\] cannot be stored"):
        memory.store(Person("owner", items=ObjectList([{"x": [Thing()]}])), id="owner")
    assert entries(memory) == 0


def test_what_is_added_and_taken_out_with_an_operator_stays_so(memory):
    store(memory, ObjectSet, "a", "b")
    with memory.new_scope() as scope:
        owner = scope.get("owner")
        owner.items |= {scope.get("a"), Person("c")}
        owner.items.discard("b")
        owner.items.discard("b")
    with memory.new_scope() as scope:
        assert names_in(scope.get("owner").items) == ["a", "c"]


def test_a_collection_is_changed_in_every_way_before_it_is_stored(memory):
    ann, bob, cyd = people("ann", "bob", "cyd")
    row, crowd = ObjectList([ann, cyd]), ObjectSet([ann])
    row.insert(1, bob)
    crowd.clear()
    crowd.add(cyd)
    with memory.new_scope() as scope:
        scope.store(Person("row", items=row), id="row")
        scope.store(Person("crowd", items=crowd), id="crowd")
    with memory.new_scope() as scope:
        assert [person.name for person in scope.get("row").items] == ["ann", "bob", "cyd"]
        assert names_in(scope.get("crowd").items) == ["cyd"]


def test_items_at_either_end_of_a_list_are_taken_out(memory):
    store(memory, ObjectList, *"abcdef")
    with memory.new_scope() as scope:
        items = scope.get("owner").items
        del items[4]
        del items[1]
    with memory.new_scope() as scope:
        assert [person.name for person in scope.get("owner").items] == ["a", "c", "d", "f"]


@pytest.mark.parametrize("kind", KINDS)
def test_a_refused_object_is_not_added_to_a_stored_collection(memory, kind):
    store(memory, kind, "a")
    with memory.new_scope() as scope:
        items = scope.get("owner").items
        thing = Thing("b")
        with pytest.raises(NotStorable, match="allow_classes"):
            put(items, Person("b", friend=thing))
        assert (len(items), names_in(items)) == (1, ["a"])
    assert entries(memory) == 3


@pytest.mark.parametrize("kind", KINDS)
def test_an_object_that_is_added_to_a_stored_collection_has_an_id_at_once_and_an_abort_takes_both_back(memory, kind):
    store(memory, kind, "a")
    with memory.new_scope() as scope:
        items, new = scope.get("owner").items, Person("b")
        put(items, new)
        assert scope.object_to_id(new) is not None
        assert not scope.is_root(new)
        scope.abort()
        assert scope.object_to_id(new) is None
        assert names_in(items) == ["a"]
        put(items, new)
    with memory.new_scope() as scope:
        assert names_in(scope.get("owner").items) == ["a", "b"]
    assert entries(memory) == 4


@pytest.mark.parametrize("kind", KINDS)
def test_update_refuses_a_collection_with_unknown_objects(memory, kind):
    store(memory, kind, "a")
    with memory.new_scope() as scope:
        owner = scope.get("owner")
        collection = made(kind, people("new"))
        scope.store(collection)
        owner.items = made(kind, people("new"))
        with pytest.raises(NotStored):
            scope.update(owner)


def test_a_set_tells_objects_apart_by_identity():
    twins = [Slotted("a"), Slotted("a")]
    members = ObjectSet([*twins, twins[0]])

    assert len(members) == 2
    assert all(twin in members for twin in twins)
    assert Slotted("a") not in members


def test_a_set_that_was_never_stored_is_a_set():
    a, b, c = people("a", "b", "c")
    one, other = ObjectSet([a, b]), ObjectSet([b, c])

    assert set(one | other) == {a, b, c}
    assert set(one & other) == set(one & [b]) == {b}
    assert set(one - other) == {a}
    assert set(one ^ other) == {a, c}
    assert set({a} | other) == {a, b, c}
    assert one == {a, b}
    assert one != 3
    assert one.isdisjoint([c])
    for operation in (one.__or__, one.__and__, one.__sub__):
        assert operation(3) is NotImplemented
    one &= other
    assert set(one) == {b}
    one -= other
    assert (len(one), one.prune(), list(one.ids()), "x" in one) == (0, 0, [], False)


def test_a_set_of_ids_and_one_of_objects_go_together(memory):
    store(memory, ObjectSet, *"abc")
    with memory.new_scope() as scope:
        items, b, new = scope.get("owner").items, scope.get("b"), Person("new")
        others = ObjectSet([b, new])

        assert names_in(items & others) == names_in(others & items) == ["b"]
        assert names_in(items - others) == ["a", "c"]
        assert names_in(others - items) == ["new"]
        assert names_in(items | others) == ["a", "b", "c", "new"]
        assert scope.object_to_id(new) is None
        items -= others
        assert names_in(items) == ["a", "c"]


def test_a_set_of_ids_that_an_operator_made_can_be_stored(memory):
    store(memory, ObjectSet, *"abc")
    with memory.new_scope() as scope:
        owner = scope.get("owner")
        both = owner.items | owner.items
        less = owner.items - ObjectSet([scope.get("a")])
        assert both.ids() is not None
        assert (type(both), sorted(less.ids())) == (ObjectSet, ["b", "c"])
        less.add(Person("d"))
        owner.less = less
        scope.savepoint()
        assert names_in(less) == ["b", "c", "d"]
        scope.abort()
        with pytest.raises(AttributeError):
            assert owner.less
        assert len(less) == 3
        less.discard("c")
    with memory.new_scope() as scope:
        scope.get("owner").less = scope.get("owner").items & ObjectSet([scope.get("b")])
        scope.commit()
        scope.get("owner").less.add(scope.get("c"))
    with memory.new_scope() as scope:
        assert names_in(scope.get("owner").less) == ["b", "c"]
    for use in (lambda: less.add(Person("x")), lambda: list(less), less.clear):
        with pytest.raises(ScopeClosed, match="ObjectSet was used after its scope ended"):
            use()
    with memory.new_scope() as scope, memory.new_scope() as third:
        for unstored in (both, third.get("owner").items - ObjectSet()):
            scope.get("owner").more = unstored
            with pytest.raises(ScopeClosed):
                scope.commit()


def test_ids_of_a_new_set_are_those_of_members_that_are_stored(memory):
    with memory.new_scope() as scope:
        a, b = people("a", "b")
        scope.store(a, id="a")
        members = ObjectSet([a])
        scope.store(members)
        members.add(b)
        assert list(members.ids()) == ["a"]
        assert "a" in members
        assert "b" not in members
        members.discard("a")
        assert list(members) == [b]


def test_pop_takes_a_member_out(memory):
    store(memory, ObjectSet, "a")
    with memory.new_scope() as scope:
        items = scope.get("owner").items
        assert items.pop() is scope.get("a")
        with pytest.raises(KeyError):
            items.remove("a")
        assert len(items) == 0


def test_a_member_that_was_deleted_raises_when_it_is_touched_and_can_be_discarded(memory):
    store(memory, ObjectSet, *"ab")
    memory.delete("b")
    with memory.new_scope() as scope:
        items = scope.get("owner").items
        assert (len(items), "b" in items) == (2, True)
        with pytest.raises(BrokenReference) as broken:
            names_in(items)
        assert (broken.value.referrer, broken.value.target) == (scope.object_to_id(items), "b")
        items.discard("b")
        assert names_in(items) == ["a"]


def test_a_deleted_member_of_a_class_without_ghosts_raises_at_once(memory):
    with memory.new_scope() as scope:
        scope.store(Reduced("gone"), id="gone")
        scope.store(Person("owner", items=ObjectSet([scope.get("gone")])), id="owner")
    memory.delete("gone")
    with memory.new_scope() as scope:
        items = scope.get("owner").items
        with pytest.raises(BrokenReference) as broken:
            next(iter(items))
        assert (broken.value.referrer, broken.value.target) == (scope.object_to_id(items), "gone")
        assert items.prune() == 1
        assert list(items) == []


def test_a_set_inside_a_persistent_object_has_no_id_to_name(memory):
    with memory.new_scope() as scope:
        person = Person("a")
        scope.store(person, id="a")
        scope.store(PersistentMapping(items=ObjectSet([person])), id="m")
    memory.delete("a")
    with memory.new_scope() as scope:
        items = scope.get("m")["items"]
        with pytest.raises(NotFound):
            names_in(items)
        items.add(Person("b"))
        assert len(items) == 2
    with memory.new_scope() as scope:
        assert scope.get("m")["items"].prune() == 1
        assert names_in(scope.get("m")["items"]) == ["b"]


def test_an_object_deleted_in_this_scope_is_found_in_a_set_and_discarded(memory):
    store(memory, ObjectSet, *"ab")
    with memory.new_scope() as scope:
        items, b = scope.get("owner").items, scope.get("b")
        scope.delete(b)
        assert b in items
        items.discard(b)
        assert b not in items
        items.add(b)  # it is a new object from now on
        assert (len(items), scope.object_to_id(b) == "b") == (2, False)


def test_a_weak_set_passes_over_members_that_are_gone(memory):
    with memory.new_scope() as scope:
        crowd = people(*"abc")
        for person in crowd:
            scope.store(person, id=person.name, root=person.name == "a")
        scope.store(Person("owner", items=ObjectSet(crowd, weak=True)), id="owner")
    memory.delete("c")
    with memory.new_scope() as scope:
        items = scope.get("owner").items
        assert (items.weak, names_in(items), len(items)) == (True, ["a", "b"], 3)
        assert items.prune() == 1
        assert len(items) == 2


def test_garbage_is_what_only_weak_sets_refer_to(tmp_path):
    with directory_in(tmp_path / "a.fs") as directory:
        with directory.new_scope() as scope:
            a, b, c, d = people(*"abcd")
            for person in (a, b, c, d):
                scope.store(person, id=person.name, root=False)
            kept = {"set": ObjectSet([a]), "map": ObjectMap({"b": b}), "list": ObjectList([c])}
            scope.store(Person("owner", weak=ObjectSet([d], weak=True), lists=ObjectList([[1]]), **kept), id="owner")
        before = entries(directory)

        gc(directory)

        assert entries(directory) == before - 1
        assert fsck(directory) is not None
        with directory.new_scope() as scope:
            owner = scope.get("owner")
            assert ([*owner.weak], owner.lists[0], owner.map["b"].name) == ([], [1], "b")


# Maps and lists


class Level(enum.IntEnum):
    LOW = 1


VALUES = [
    None, True, 1, 1.5, 2j, "text", b"bytes", (1, (2, "x")), (), frozenset({1}), ("id", "class:name"), (3,),
    datetime.datetime(2026, 1, 1, tzinfo=zoneinfo.ZoneInfo("Europe/Berlin")), datetime.date(2026, 1, 1), datetime.time(1),
    [1, [2]], {"a": {"b": 1}}, {1, 2}, bytearray(b"x"), ([],), Pair([1], 2), Colour.RED,
]  # fmt: skip


def test_values_of_every_kind_come_back(memory):
    values = copy.deepcopy(VALUES)
    with memory.new_scope() as scope:
        owner = Person("owner", map=ObjectMap(enumerate(values)), list=ObjectList(values))
        scope.store(owner, id="owner")
        scope.commit()
        owner.map[99] = {"late": 1}
        owner.list.extend(copy.deepcopy(VALUES))
    with memory.new_scope() as scope:
        owner = scope.get("owner")
        assert [*owner.map.values()] == [*VALUES, {"late": 1}]
        assert [*owner.list] == [*VALUES, *VALUES]
        assert [*map(type, owner.list)] == [*map(type, VALUES)] * 2


def test_changes_in_values_are_noticed(memory):
    with memory.new_scope() as scope:
        scope.store(Person("owner", map=ObjectMap({"k": [1], "t": ([],)}), list=ObjectList([{"n": [0]}])), id="owner")
        scope.commit()
        scope.get("owner").map["k"].append(2)
    with memory.new_scope() as scope:
        scope.get("owner").map["t"][0].append("in")
        scope.get("owner").list[0]["n"].append(1)
    with memory.new_scope() as scope:
        owner = scope.get("owner")
        assert (owner.map["k"], owner.map["t"], owner.list[0]) == ([1, 2], (["in"],), {"n": [0, 1]})


def test_changes_in_values_that_an_iteration_gave_are_noticed(memory):
    with memory.new_scope() as scope:
        scope.store(Person("owner", items=ObjectList([n] for n in range(2000))), id="owner")
    with memory.new_scope() as scope:
        first = next(iter(scope.get("owner").items))
        lists = [*scope.get("owner").items]
        assert first is lists[0]
        lists[0].append("first")
        lists[1999].append("last")
    with memory.new_scope() as scope:
        assert scope.get("owner").items[::1999] == [[0, "first"], [1999, "last"]]


@pytest.mark.parametrize("commit", [True, False])
@pytest.mark.parametrize("verb", ["store", "update"])
def test_changes_in_values_after_the_scope_ended_are_stored_with_the_owner(memory, verb, commit):
    with memory.new_scope() as scope:
        scope.store(Person("owner", items=ObjectMap({"k": [1]})), id="owner")
        if commit:
            scope.commit()
        owner = scope.get("owner")
        owner.items["new"] = [5]
        new, old = owner.items["new"], owner.items["k"]
    new.append(6)
    old.append(2)
    getattr(memory, verb)(owner)
    with memory.new_scope() as scope:
        loaded = scope.get("owner")
        value = loaded.items["k"]
        assert (value, loaded.items["new"]) == ([1, 2], [5, 6])
    value.append(3)
    getattr(memory, verb)(loaded)
    with memory.new_scope() as scope:
        assert scope.get("owner").items["k"] == [1, 2, 3]


def test_a_value_that_is_replaced_keeps_its_entry(memory):
    with memory.new_scope() as scope:
        scope.store(Person("owner", map=ObjectMap({"k": [1]}), list=ObjectList([[1]])), id="owner")
    before = entries(memory)
    with memory.new_scope() as scope:
        owner = scope.get("owner")
        owner.map["k"] = [2]
        owner.list[0] = [2]
        owner.map["k"] += [3]
    with memory.new_scope() as scope:
        assert (scope.get("owner").map["k"], scope.get("owner").list[0]) == ([2, 3], [2])
    assert entries(memory) == before


def test_a_scope_that_does_not_track_writes_values_that_are_assigned(memory):
    memory.store(Person("owner", items=ObjectMap({"k": [1], "l": [1]})), id="owner")
    with memory.new_scope(track=False) as scope:
        items = scope.get("owner").items
        items["k"].append(2)
        items["k"] = items["k"]
        items["l"] = [3]
    with memory.new_scope() as scope:
        assert [*scope.get("owner").items.values()] == [[1, 2], [3]]


def test_keys_come_in_order_and_in_ranges(memory):
    numbers = ObjectMap((n, str(n)) for n in (5, 1, 3, 9, 7))
    memory.store(Person("owner", items=numbers), id="owner")
    with memory.new_scope() as scope:
        for items in (numbers, scope.get("owner").items):
            assert [*items] == [*items.keys()] == [1, 3, 5, 7, 9]
            assert [*items.keys(2, 7)] == [3, 5, 7]
            assert [*items.values(max=3)] == ["1", "3"]
            assert [*items.items(7)] == [(7, "7"), (9, "9")]
            assert (len(items), len(items.keys()), len(items.values(4, 8))) == (5, 5, 2)
            assert (3 in items.keys(2, 7), 9 in items.keys(2, 7), 1 in items.keys(2), 4 in items) == (
                True, False, False, False,
            )  # fmt: skip
            assert ((3, "3") in items.items(2), "9" in items.values(2, 7)) == (True, False)


@pytest.mark.parametrize("stored", [True, False])
def test_items_of_maps_and_lists_are_taken_out(memory, stored):
    with memory.new_scope() as scope:
        map_, list_ = ObjectMap({1: "a", 2: "b", 3: "c"}), ObjectList("abc")
        scope.store([map_, list_], id="both")
        if stored:
            scope.commit()
        assert (map_.pop(2), list_.pop(), list_.pop(0)) == ("b", "c", "a")
        del map_[3]
        assert (len(map_), [*map_.items()], len(list_), [*list_]) == (1, [(1, "a")], 1, ["b"])
        for emptied in (map_, list_):
            emptied.clear()
            assert (len(emptied), [*emptied]) == (0, [])
        list_.append("new")
    with memory.new_scope() as scope:
        assert [len(items) for items in scope.get("both")] == [0, 1]


def test_a_key_of_another_kind_is_not_in_a_map(memory):
    store(memory, ObjectMap, "a")
    with memory.new_scope() as scope:
        for items in (ObjectMap({"a": 1}), scope.get("owner").items):
            assert 1 not in items
            for use in (lambda items=items: items[1], lambda items=items: items.pop(1), lambda items=items: items["b"]):
                with pytest.raises(KeyError):
                    use()
            with pytest.raises(TypeError):
                items[1] = 2
            assert len(items) == 1


@pytest.mark.parametrize("key", [None, float("nan"), Level.LOW, Thing(), [], ("a", None), 1j, Colour.RED])
def test_a_map_refuses_a_key_without_a_lasting_place(memory, key):
    with pytest.raises(NotStorable, match=r"a map keeps its keys in order\. Use strings, numbers"):
        ObjectMap({"x": 1}).__setitem__(key, 1)
    store(memory, ObjectMap)
    with memory.new_scope() as scope, pytest.raises(NotStorable):
        scope.get("owner").items[key] = 1


@pytest.mark.parametrize("key", ["s", 1, 1.5, b"b", (1, "x"), datetime.datetime(2026, 1, 1), datetime.date(2026, 1, 1)])
def test_a_map_takes_keys_of_every_ordered_kind(memory, key):
    memory.store(ObjectMap({key: "value"}), id="m")
    with memory.new_scope() as scope:
        assert [*scope.get("m").items()] == [(key, "value")]


def test_a_list_inserts_and_deletes_on_the_shorter_side(memory):
    store(memory, ObjectList)
    model = []
    with memory.new_scope() as scope:
        items = scope.get("owner").items
        for index in (0, 0, 1, 0, 3, -1, 99, -99, 4, 1, 2):
            items.insert(index, index)
            model.insert(index, index)
            assert [*items] == model
        for index in (1, -2, 0, -1, 2):
            del items[index]
            del model[index]
            assert [*items] == model
        items.reverse()
        model.reverse()
        items += items
        model += model
        items.remove(model[-1])
        model.remove(model[-1])
    with memory.new_scope() as scope:
        assert [*scope.get("owner").items] == model


def test_an_index_that_is_not_there_is_an_error(memory):
    store(memory, ObjectList, "a")
    with memory.new_scope() as scope:
        for items in (ObjectList(["a"]), scope.get("owner").items):
            for use in (items.__getitem__, items.__delitem__, lambda index, items=items: items.__setitem__(index, 1)):
                for index in (1, -2):
                    with pytest.raises(IndexError):
                        use(index)
                with (
                    pytest.raises(TypeError, match="single items")
                    if use != items.__getitem__
                    else pytest.raises(TypeError)
                ):
                    use(slice(0, 1) if use != items.__getitem__ else "x")
            with pytest.raises(ValueError, match="not in the list"):
                items.index("nothing")
            assert len(items) == 1


def test_objects_in_a_list_are_found_by_identity_and_not_loaded(memory, storage):
    store(memory, ObjectList, *"abc")
    with memory.new_scope() as scope:
        items, b = scope.get("owner").items, scope.get("b")
        assert (len(items[:]), b.name) == (3, "b")
        items.append("b")

        def work():
            assert (items.index(b), items.count(b), b in items, Person("b") in items) == (1, 1, True, False)
            assert items.index("b") == 3

        assert reads(storage, work) == 0


def test_a_list_stays_in_order_over_many_leaves(memory):
    with memory.new_scope() as scope:
        scope.store(Person("owner", items=ObjectList()), id="owner")
        scope.commit()
        items = scope.get("owner").items
        items.extend(range(2000))
        items.insert(1000, "middle")
    with memory.new_scope() as scope:
        items = scope.get("owner").items
        assert [*items] == [*range(1000), "middle", *range(1000, 2000)]
        assert (items[1500], items[700:702], items.index(1999)) == (1499, [700, 701], 2000)


# Scopes, transactions and copies


@pytest.mark.parametrize("kind", KINDS)
def test_a_collection_that_was_just_stored_can_be_read_after_its_scope(memory, kind):
    owner = Person("owner", items=made(kind, people("a", "b")))
    memory.store(owner, id="owner")
    items = owner.items

    assert (len(items), names_in(items)) == (2, ["a", "b"])
    for change in (lambda: put(items, Person("c")), items.clear):
        with pytest.raises(ScopeClosed, match=rf"a kiokupy.collections.\w+:{kind.__name__} was used after its scope"):
            change()
    assert names_in(items) == ["a", "b"]


@pytest.mark.parametrize("kind", KINDS)
def test_members_changed_after_the_scope_are_stored_with_the_owner_of_a_collection_just_stored(memory, kind):
    members = people("a", "b")
    owner = Person("owner", items=made(kind, members))
    memory.store(owner, id="owner")
    members[0].name = "changed"
    owner.other = 1
    memory.store(owner)
    with memory.new_scope() as scope:
        assert names_in(scope.get("owner").items) == ["b", "changed"]
        assert scope.get("owner").other == 1


@pytest.mark.parametrize("kind", KINDS)
def test_one_shot_verbs_leave_a_collection_unloaded_and_do_not_lose_it(memory, kind):
    store(memory, kind, "a", "b")
    owner = memory.get("owner")
    for use in (lambda: len(owner.items), lambda: names_in(owner.items), lambda: put(owner.items, Person("c"))):
        with pytest.raises(ScopeClosed):
            use()
    owner.name = "changed"
    memory.update(owner)
    owner.name = "changed again"
    memory.store(owner)
    with memory.new_scope() as scope:
        assert scope.get("owner").name == "changed again"
        assert names_in(scope.get("owner").items) == ["a", "b"]


@pytest.mark.parametrize("kind", KINDS)
def test_what_was_loaded_of_a_collection_stays_and_the_rest_raises(memory, kind):
    store(memory, kind, "a", "b")
    with memory.new_scope() as scope:
        items = scope.get("owner").items
        assert (len(items), names_in(items)) == (2, ["a", "b"])
    with memory.new_scope():  # on the same connection
        assert len(items) == 2
        for use in (lambda: names_in(items), lambda: put(items, Person("c")), items.clear):
            with pytest.raises(ScopeClosed):
                use()
    with memory.new_scope() as scope:
        assert names_in(scope.get("owner").items) == ["a", "b"]


def test_load_all_leaves_collections_inside_persistent_objects_too(memory):
    with memory.new_scope() as scope:
        scope.store(PersistentMapping(items=ObjectSet(people("a")), deep=PersistentMapping(x=1)), id="m")
    mapping = memory.get("m")
    assert mapping["deep"]["x"] == 1
    with pytest.raises(ScopeClosed):
        len(mapping["items"])


def test_a_reference_to_a_collection_that_was_deleted_since_is_a_conflict(memory):
    store(memory, ObjectSet, "a")
    owner = memory.get("owner")
    with memory.new_scope() as scope:
        scope.delete(scope.get("owner").items)
    owner.name = "changed"
    with pytest.raises(ConflictError, match="was deleted since it was loaded"):
        memory.store(owner)


def test_a_collection_from_nowhere_known_raises(memory):
    with memory.new_scope() as scope:
        inner = ObjectSet(people("a"))
        scope.store(PersistentMapping(items=inner), id="m")
    with pytest.raises(ScopeClosed, match="ObjectSet"):
        memory.store(Person("x", items=inner))


@pytest.mark.parametrize("kind", KINDS)
def test_a_read_only_scope_adds_nothing(memory, kind):
    store(memory, kind, "a")
    with memory.new_scope(readonly=True) as scope:
        with pytest.raises(StoreReadOnly):
            put(scope.get("owner").items, Person("b"))
        put(scope.get("owner").items, scope.get("owner"))
        with pytest.raises(StoreReadOnly):
            scope.commit()
    with memory.new_scope() as scope:
        assert names_in(scope.get("owner").items) == ["a"]


@pytest.mark.parametrize("kind", KINDS)
def test_others_changes_are_seen_in_the_next_transaction(memory, kind):
    store(memory, kind, "a")
    with memory.new_scope() as scope:
        items = scope.get("owner").items
        assert len(items) == 1
        with memory.new_scope() as other:
            put(other.get("owner").items, Person("b"))
        assert len(items) == 1
        scope.commit()
        assert names_in(items) == ["a", "b"]


@pytest.mark.parametrize("kind", KINDS)
def test_a_new_collection_goes_back_to_a_savepoint(memory, kind):
    with memory.new_scope() as scope:
        items = made(kind, people("a"))
        scope.store(Person("owner", items=items), id="owner")
        point = scope.savepoint()
        scope._unit.connection.cacheMinimize()
        assert names_in(items) == ["a"]
        for name in "bc":
            put(items, Person(name))
            late = made(kind, people("late"))
            scope.store(late, id="late")
            scope.savepoint()
            point.rollback()
            assert (names_in(items), names_in(late)) == (["a"], ["late"])
        scope.refresh(items)
        put(items, Person("d"))
        scope.store(late, id="later")
    with memory.new_scope() as scope:
        assert names_in(scope.get("owner").items) == ["a", "d"]
        assert names_in(scope.get("later")) == ["late"]


@pytest.mark.parametrize("kind", KINDS)
def test_copies_and_pickles_are_collections_of_their_own(memory, kind):
    store(memory, kind, "a", "b")
    fresh = made(kind, people("a", "b"))
    with memory.new_scope() as scope:
        for items in (fresh, scope.get("owner").items):
            copies = [copy.copy(items), copy.deepcopy(items), pickle.loads(pickle.dumps(items))]
            for made_of_it in copies:
                assert (type(made_of_it), names_in(made_of_it)) == (kind, ["a", "b"])
                put(made_of_it, Person("c"))
            assert {*objects_in(items)} < {*objects_in(copies[0])}
            assert names_in(items) == ["a", "b"]


def test_collections_hold_collections_and_cycles(memory):
    with memory.new_scope() as scope:
        outer = ObjectMap({"inner": ObjectList([ObjectSet()])})
        outer["inner"][0].add(outer)
        scope.store(outer, id="outer")
    memory.store(Person("x", items=outer), id="x")
    with memory.new_scope() as scope:
        loaded = scope.get("outer")
        assert next(iter(loaded["inner"][0])) is loaded
        assert scope.get("x").items is loaded


def test_collections_are_shown_without_any_class_of_their_members(storage, memory):
    with memory.new_scope() as scope:
        a = Person("a")
        scope.store(a, id="a")
        scope.store(ObjectSet([a], weak=True), id="set")
        scope.store(ObjectMap({"x": a, "y": (1, 2)}), id="map")
        scope.store(ObjectList([a, 1]), id="list")
    database = Database(storage, "here", find_inert, create=False, readonly=True, cache_size=100)
    with database.open() as unit:
        unit.connection.graph = InertGraph()
        shown = {key: content(unit.root["entries"][key].record) for key in ("set", "map", "list")}
    assert shown == {
        "set": {"$class": "kiokupy.collections.sets:ObjectSet", "$items": [{"$ref": "a"}]},
        "map": {"$class": "kiokupy.collections.maps:ObjectMap", "$pairs": {"x": {"$ref": "a"}, "y": [1, 2]}},
        "list": {"$class": "kiokupy.collections.lists:ObjectList", "$items": [{"$ref": "a"}, 1]},
    }


def test_the_stored_form_is_ids_and_plain_values_in_trees(tmp_path):
    with directory_in(tmp_path / "a.fs") as directory, directory.new_scope() as scope:
        a = Person("a")
        scope.store(a, id="a")
        scope.store(ObjectSet([a], weak=True), id="set")
        scope.store(ObjectMap({1: a, 2: (1, 2), 3: "x", 4: True}), id="map")
        scope.store(ObjectList([a, (1, 2), "x", True]), id="list")
    with directory_in(tmp_path / "a.fs", []) as directory, directory.new_unit() as unit:  # none of the classes
        states = {key: unit.root["entries"][key].record.state for key in ("set", "map", "list")}
        reference = ("a", "graph_classes:Person")
        assert [*states["set"].__getstate__()] == ["_tree", "_size", "weak"]
        assert [*states["set"]._tree.items()] == [reference]
        plain = [("", "(1, 2)", (1, 2)), ("", "str", "x"), ("", "True", True)]
        assert [*states["map"]._tree.values()] == [reference, *plain]
        assert {**states["list"].__getstate__(), "_tree": None} == {"_tree": None, "_first": 0, "_end": 4}
        assert [*states["list"]._tree.items()] == [*enumerate([reference, *plain])]
        assert {key: [*state.member_ids()] for key, state in states.items()} == {k: ["a"] for k in states}
        assert {key: state.weak for key, state in states.items()} == {"set": True, "map": False, "list": False}


def test_a_value_of_a_stored_map_is_replaced_by_another(memory):
    with memory.new_scope() as scope:
        scope.store(Person("owner", items=ObjectMap({"a": 1, "b": Person("b")})), id="owner")
    with memory.new_scope() as scope:
        items = scope.get("owner").items
        items["a"], items["b"] = 2, Person("c")
        items["a"] = 2
    with memory.new_scope() as scope:
        items = scope.get("owner").items
        assert (items["a"], items["b"].name, len(items)) == (2, "c", 2)
