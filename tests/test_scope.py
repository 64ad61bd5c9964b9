"""A scope's verbs: what they do, and the error that each raises. What depends on the backend is in kiokupy.testing."""

import pytest
from graph_classes import (
    CLASSES,
    Bag,
    Frozen,
    FrozenSlots,
    Key,
    Money,
    Ordered,
    OwnNew,
    Person,
    PrivateSlots,
    Reduced,
    Ring,
    Rows,
    Slotted,
    SlottedNew,
    StrictState,
    Thing,
    WithNewArgs,
)
from graph_stores import CountingStorage, directory_on
from persistent.mapping import PersistentMapping

from kiokupy.errors import (
    BrokenReference,
    ConflictError,
    DuplicateId,
    InvalidId,
    NotFound,
    NotStorable,
    NotStored,
    ScopeClosed,
    StoreReadOnly,
)
from kiokupy.rules import first_class

MONEY = first_class(Money, collapse=Money.collapse, expand=Money.expand)


@pytest.fixture
def memory():
    with directory_on(CountingStorage(), [*CLASSES, MONEY]) as directory:
        yield directory


def count(scope):
    return len(scope._live.entries)


# Ids


@pytest.mark.parametrize("id", ["", "x" * 201, 7, b"x", ["x"], "\ud800"], ids=repr)
def test_what_cannot_be_an_id_is_refused_by_every_verb(memory, id):
    with memory.new_scope() as scope:
        known = Person("known")
        scope.store(known)
        for call in (scope.lookup, scope.get, scope.exists, scope.id_to_object):
            with pytest.raises(InvalidId):
                call(id)
        for call in (scope.store, scope.insert):
            with pytest.raises(InvalidId):
                call(Person("a"), id=id)
        with pytest.raises(InvalidId):
            scope.store(known, id=id)
        with pytest.raises(InvalidId):
            scope.lookup_many([id])
        for call in (scope.delete, scope.is_root, scope.set_root, scope.unset_root):
            with pytest.raises(InvalidId if isinstance(id, str) else NotStored):
                call(id)
        assert count(scope) == 1


@pytest.mark.parametrize("id", ["0", "x" * 200, " ", "é\n", "a/b"])
def test_any_other_string_can_be_an_id(memory, id):
    memory.store(Person(id), id=id)
    assert memory.get(id).name == id


def test_a_string_of_a_subclass_is_taken_as_the_string_it_is(memory):
    class Id(str):
        __slots__ = ()

        def __str__(self):
            return "other"

    memory.store(Person("a"), id=Id("x"))
    assert memory.get("x").name == "a"
    with memory.new_scope() as scope:
        assert {type(key) for key in scope._live.entries} == {str}


def test_a_fresh_id_is_given_by_default(memory):
    with memory.new_scope() as scope:
        one, other = scope.store(Person("a")), scope.store(Person("a"))
    assert len({one, other, ""}) == 3


# store, insert


def test_storing_is_idempotent(memory):
    with memory.new_scope() as scope:
        person = Person("a")
        assert scope.store(person, id="x") == scope.store(person, id="x") == scope.store(person) == "x"
        assert count(scope) == 1


def test_storing_under_a_taken_id_or_a_second_id_is_refused(memory):
    memory.store(Person("stored"), id="x")
    with memory.new_scope() as scope:
        for verb in (scope.store, scope.insert):
            with pytest.raises(DuplicateId, match="another object has the id 'x'") as caught:
                verb(Person("other"), id="x")
            assert caught.value.id == "x"
        assert scope.get("x").name == "stored"
        with pytest.raises(DuplicateId, match="already, as 'x', not as 'y'"):
            scope.store(scope.get("x"), id="y")
        with pytest.raises(DuplicateId, match="Use store"):
            scope.insert(scope.get("x"))
    assert not memory.exists("y")


def test_a_failed_store_leaves_nothing_behind(memory):
    memory.store(Person("stored"), id="x")
    with memory.new_scope() as scope:
        inner, outer = Person("inner"), Person("outer")
        outer.items = [inner, PersistentMapping(p=inner), Thing()]
        with pytest.raises(NotStorable):
            scope.store(outer, id="y")
        with pytest.raises(DuplicateId):
            scope.store(inner, id="x")
        assert scope.lookup("y") is None
        assert scope.object_to_id(inner) is scope.object_to_id(outer) is None
        assert scope.get("x").name == "stored"
        assert count(scope) == 1
        outer.items.pop()
        assert scope.store(outer, id="y") == "y"
    assert memory.get("y").items[0].name == "inner"


def test_a_failed_store_takes_over_nothing_from_an_ended_scope(memory):
    held = Person("stored")
    memory.store(held, id="x")
    held.name = "changed"
    with memory.new_scope() as scope:
        for verb in (scope.store, scope.insert):
            with pytest.raises(NotStorable):
                verb([held, Thing()])
        with pytest.raises(DuplicateId):
            scope.insert(held)
        with pytest.raises(NotStored):
            scope.update(held, Person("unknown"))
        with pytest.raises(NotStored):
            scope.delete(held, Person("unknown"))
        assert scope.get("x") is not held
    assert memory.get("x").name == "stored"


def test_store_writes_all_it_reaches_and_insert_only_what_is_new(memory):
    known = Person("known")
    with memory.new_scope() as scope:
        scope.store(known, id="known")
        known.name = "changed"
        scope.insert(Person("new", friend=known), id="new")
        assert b"changed" not in scope._live.entries["known"].record.state
        scope.store(scope.get("new"))
        assert b"changed" in scope._live.entries["known"].record.state


def test_a_store_within_a_scope_passes_unloaded_objects_over(memory):
    memory.store(Person("a", friend=StrictState("b")), id="x")
    with memory.new_scope() as scope:
        found = scope.get("x")
        found.name = "changed"
        StrictState.broken = RuntimeError
        try:
            scope.store(found)
            scope.store(found.friend)
            scope.update(found.friend)
        finally:
            StrictState.broken = None
    assert memory.get("x").name == "changed"


# update


def test_update_writes_the_named_objects_only(memory):
    with memory.new_scope() as scope:
        one = Person("one", friend=Person("friend"))
        scope.store(one, id="x")
        one.name, one.friend.name = "ONE", "FRIEND"
        scope.update(one)
        key = scope.object_to_id(one.friend)
        assert b"ONE" in scope._live.entries["x"].record.state
        assert b"FRIEND" not in scope._live.entries[key].record.state


def test_update_of_an_unknown_object_or_of_one_that_reaches_an_unknown_one_is_refused(memory):
    with memory.new_scope() as scope:
        with pytest.raises(NotStored, match="Store it first") as caught:
            scope.update(Person("a"))
        assert caught.value.path == ""
        cart = Person("cart")
        scope.store(cart)
        cart.items = [Person("new")]
        with pytest.raises(NotStored, match=r"at person.items\[0\]") as caught:
            scope.update(cart)
        assert caught.value.object is cart.items[0]
        cart.items = [Thing()]
        with pytest.raises(NotStorable, match=r"person.items\[0\]"):
            scope.update(cart)
        cart.items = []


# delete


def test_delete_takes_objects_and_ids_or_deletes_nothing(memory):
    with memory.new_scope() as scope:
        one, other = Person("one"), Person("other")
        scope.store(one, id="one")
        scope.store(other, id="other")
        with pytest.raises(NotFound) as caught:
            scope.delete(one, "missing")
        assert caught.value.id == "missing"
        with pytest.raises(NotStored):
            scope.delete("one", Person("unknown"))
        assert scope.exists("one")
        scope.delete(one, "one", "other")
        assert not scope.exists("one")
        assert scope.lookup("other") is None
        assert scope.object_to_id(one) is None
        assert one.name == "one"
        with pytest.raises(NotFound):
            scope.delete("one")
        with pytest.raises(NotStored):
            scope.delete(one)


def test_an_unloaded_object_stays_usable_when_it_is_deleted(memory):
    memory.store(Person("a"), id="x")
    with memory.new_scope() as scope:
        found = scope.get("x")
        scope.delete("x")
    assert found.name == "a"
    assert memory.store(found) != "x"


def test_what_cannot_be_loaded_can_be_deleted_and_an_abort_takes_that_back(memory):
    memory.store(StrictState("a"), id="x")
    with memory.new_scope() as scope:
        found = scope.get("x")
        StrictState.broken = RuntimeError
        try:
            scope.delete(found)
            scope.abort()
            StrictState.broken = None
            assert scope.get("x") is found
            assert found.name == "a"
            scope.abort()
            StrictState.broken = RuntimeError
            scope.delete(found)
        finally:
            StrictState.broken = None
        with pytest.raises(ScopeClosed):
            found.name  # noqa: B018
    assert not memory.exists("x")


def test_a_deleted_object_can_be_stored_again_and_others_do_not_bring_it_back_at_commit(memory):
    with memory.new_scope() as scope:
        friend = Person("friend")
        person = Person("a", friend=friend)
        scope.store(person, id="x")
        key = scope.object_to_id(friend)
        scope.commit()
        scope.delete(friend)
        with pytest.raises(NotStorable):
            scope.store([friend, Thing()])
        person.name = "changed"
        scope.update(person)
        scope.commit()
        assert count(scope) == 1
        assert scope.store(person) == "x"
        assert scope.object_to_id(friend) not in (None, key)
    assert memory.get("x").friend.name == "friend"


def test_the_id_of_a_deleted_object_is_free_in_the_same_scope(memory):
    with memory.new_scope() as scope:
        old, new = Person("old"), Slotted("new")
        scope.store(old, id="x")
        scope.delete(old)
        scope.store(new, id="x")
        assert scope.get("x") is new
    assert memory.get("x").name == "new"


# lookups


def test_lookup_get_and_lookup_many_find_the_same(memory):
    memory.store(Person("a"), id="x")
    with memory.new_scope() as scope:
        assert scope.lookup("x") is scope.get("x") is scope.lookup_many(["x", "no", "x"])["x"]
        assert scope.lookup("no") is None
        assert scope.lookup("no", 7) == 7
        assert list(scope.lookup_many(["x", "no"])) == ["x"]
        with pytest.raises(NotFound, match=r"no object has the id 'no'\. Use lookup") as caught:
            scope.get("no")
        assert caught.value.id == "no"
        assert scope.exists("x")
        assert not scope.exists("no")


def test_object_to_id_and_id_to_object_know_live_objects_only(memory):
    held = Person("a")
    memory.store(held, id="x")
    with memory.new_scope() as scope:
        assert scope.id_to_object("x") is None
        assert scope.object_to_id(held) is None
        found = scope.get("x")
        assert scope.id_to_object("x") is found
        assert scope.object_to_id(found) == "x"
        assert scope.object_to_id(held) is None


def test_an_answer_does_not_depend_on_a_reference_seen_before(memory):
    with memory.new_scope() as scope:
        friend = Person("b")
        scope.store(Person("a", friend=friend), id="x")
        key = scope.object_to_id(friend)
    memory.delete(key)
    for look_first in (False, True):
        with memory.new_scope() as scope:
            if look_first:
                scope.get("x").friend  # noqa: B018
            assert scope.lookup(key) is None
            with pytest.raises(NotFound):
                scope.get(key)
            with pytest.raises(NotFound):
                scope.delete(key)
            assert scope.lookup_many([key]) == {}


# Roots


def test_the_root_flag_is_set_by_store_and_cleared_by_unset_root_only(memory):
    with memory.new_scope() as scope:
        friend = Person("b")
        person = Person("a", friend=friend)
        scope.store(person, id="x")
        scope.store(Person("c"), id="y", root=False)
        assert scope.is_root("x")
        assert scope.is_root(person)
        assert not scope.is_root("y")
        assert not scope.is_root(friend)
        scope.store(person, root=False)
        assert scope.is_root(person)
        scope.set_root("y")
        scope.set_root("y")
        scope.unset_root(person)
        scope.commit()
        assert list(scope._unit.root["roots"]) == ["y"]
        person.name = "changed"
        scope.commit()
        assert not scope.is_root(person)
        scope.delete("y")
        assert list(scope._unit.root["roots"]) == []
        for verb in (scope.is_root, scope.set_root, scope.unset_root):
            with pytest.raises(NotFound):
                verb("y")
            with pytest.raises(NotStored):
                verb(Person("unknown"))


# Abort


ABORTED = [
    Person("a", tree=[1]), Slotted("a", [1]), Frozen("a", ([1],)), FrozenSlots("a", [1]), Bag(a=1), Rows([1]), {1}, {"a": [1]},
    [1], Ring([1]), Ordered(a=1, b=2), WithNewArgs("c"), Reduced("r", [1]), OwnNew("n", [1]), Money(1, "EUR", [1]),
    PrivateSlots([1]), SlottedNew("a"),
]  # fmt: skip


def spoil(obj):
    """Change everything about an object."""
    if hasattr(obj, "clear"):
        obj.clear()
    for name in [*getattr(obj, "__dict__", ()), *getattr(type(obj), "__slots__", ())]:
        if not name.startswith("__"):
            object.__setattr__(obj, name, "spoilt")
    if isinstance(obj, PrivateSlots):
        obj.__init__("spoilt")
    if hasattr(obj, "__dict__"):
        obj.__dict__["more"] = "spoilt"


@pytest.mark.parametrize("obj", ABORTED, ids=lambda obj: type(obj).__name__)
def test_an_abort_restores_an_object(memory, obj):
    with memory.new_scope() as scope:
        scope.store(obj, id="x")
        scope.commit()
        before = memory.get("x")
        for _ in range(2):
            spoil(obj)
            scope.abort()
            assert scope.get("x") is obj
            assert "spoilt" not in repr(getattr(obj, "__dict__", ()))
            if isinstance(obj, PrivateSlots):
                assert obj.hidden() == [1]
            elif isinstance(obj, dict | list | set | Ring | Money | OwnNew | Frozen | FrozenSlots):
                assert obj == before
                assert not isinstance(obj, Ordered) or list(obj) == ["a", "b"]
            else:
                assert obj.__getstate__() == before.__getstate__()
        stored = scope._live.entries["x"].record
    with memory.new_scope() as scope:
        assert scope._live.entries["x"].record == stored


def test_insert_abort_insert_again_works(memory):
    with memory.new_scope() as scope:
        person = Person("a", friend=Person("b"), mapping=PersistentMapping(x=1))
        for _ in range(2):
            scope.insert(person, id="x")
            scope.abort()
            assert scope.lookup("x") is None
            assert scope.object_to_id(person) is scope.object_to_id(person.friend) is None
            assert person.name == "a"
        scope.insert(person, id="x")
    assert memory.get("x").mapping["x"] == 1


def test_insert_many_stores_objects_that_refer_to_each_other_under_their_ids(memory):
    a, b = Person("a"), Person("b")
    a.friend, b.friend = b, a
    with memory.new_scope() as scope:
        scope.insert_many({"a": a, "b": b})
        scope.insert_many({"c": Person("c", friend=Person("reached"))}, root=False)
        assert scope.object_to_id(b) == "b"
    with memory.new_scope() as scope:
        assert count(scope) == 4
        assert scope.get("a").friend is scope.get("b")
        assert [scope.is_root(id) for id in "abc"] == [True, True, False]
        assert [obj.name for obj in scope.root_set()] == ["a", "b"]


def test_insert_many_stores_nothing_if_one_is_refused(memory):
    with memory.new_scope() as scope:
        with pytest.raises(NotStorable) as refused:
            scope.insert_many({"a": Person("a"), "b": Person("b", items=[object()])})
        assert refused.value.path == "objects['b'].items[0]"
        assert count(scope) == 0


def test_insert_many_takes_new_objects_under_new_ids_only(memory):
    taken, other = Person("taken"), Person("other")
    with memory.new_scope() as scope:
        scope.store(taken, id="taken")
        for objects in ({"new": taken}, {"taken": other}, {"x": other, "y": other}):
            with pytest.raises(DuplicateId):
                scope.insert_many(objects)
        assert count(scope) == 1
    with pytest.raises(ScopeClosed, match="insert_many"):
        scope.insert_many({})


def test_a_delete_that_was_aborted_did_not_happen(memory):
    with memory.new_scope() as scope:
        person = Person("a")
        scope.store(person, id="x")
        scope.commit()
        person.name = "changed"
        scope.store(person)
        scope.delete(person)
        scope.abort()
        assert scope.get("x") is person
        assert person.name == "a"
        assert scope.is_root(person)


def test_an_abort_keeps_objects_apart_that_had_the_same_id_in_turn(memory):
    memory.store(Person("old"), id="x")
    with memory.new_scope() as scope:
        old, new, newer = scope.get("x"), Slotted("new"), Bag(a=1)
        scope.delete(old)
        scope.store(new, id="x")
        scope.delete(new)
        scope.store(newer, id="x")
        scope.abort()
        assert scope.get("x") is old
        assert (old.name, new.name, newer) == ("old", "new", {"a": 1})
        scope.store([new, newer], id="y")
        assert scope.object_to_id(new) != "x"
    assert memory.get("y")[0].name == "new"


def test_an_abort_takes_what_others_deleted_meanwhile_out_of_the_scope(memory):
    memory.store([Person("a"), Bag(x=1), Person("b")], id="x")
    with memory.new_scope() as scope:
        person, bag, _ = scope.get("x")
        keys = [scope.object_to_id(obj) for obj in (person, bag)]
        assert person.name == "a"
        memory.delete(*keys)
        scope.abort()
        assert scope.lookup(keys[0]) is scope.lookup(keys[1]) is None
        assert person.name == "a"


def test_a_commit_takes_in_what_others_changed_and_deleted_meanwhile(memory):
    memory.store([Person("a"), Bag(x=1), Person("b"), Bag(x=2), Bag(x=3)], id="x")
    with memory.new_scope() as scope:
        found = scope.get("x")
        scope.load_all()
        deleted, replaced = (scope.object_to_id(found[index]) for index in (2, 4))
        with memory.new_scope() as other:
            theirs = other.get("x")
            theirs[0].name = "changed"
            theirs[1]["x"] = "changed"
            other.delete(theirs[2], theirs[4])
            other.store(Rows([1]), id=replaced)
        assert found[0].name == "a"
        scope.commit()
        assert found[0].name == found[1]["x"] == "changed"
        assert found[3] == {"x": 2}
        assert scope.lookup(deleted) is None
        assert scope.get(replaced) == [1]
        assert found[4] == {"x": 3}


def test_a_commit_that_fails_aborts_everything(memory):
    with memory.new_scope() as scope:
        person = Person("a")
        scope.store(person, id="x")
        scope.commit()
        person.name = "changed"
        scope.store(Person("new"), id="y")
        person.bad = [Thing()]
        with pytest.raises(NotStorable, match=r"person.bad\[0\]"):
            scope.commit()
        assert person.name == "a"
        assert not scope.exists("y")


# Objects held past their scope


def test_an_object_held_past_its_scope_works_if_it_was_loaded(memory):
    memory.store(Person("a", friend=Person("b"), other=Slotted("c")), id="x")
    with memory.new_scope() as scope:
        person = scope.get("x")
        assert person.name == "a"
    assert person.name == "a"
    for unloaded in (person.friend, person.other):
        with pytest.raises(ScopeClosed, match=r"an unloaded graph_classes:\w+ was used after its scope ended"):
            unloaded.name  # noqa: B018


def test_an_object_held_past_its_scope_keeps_its_id_and_its_unloaded_references(memory):
    memory.store(Person("a", friend=Person("b", friend=Person("c"))), id="x")
    with memory.new_scope() as scope:
        held = scope.get("x")
        assert held.friend.name == "b"
        keys = [scope.object_to_id(held.friend), scope.object_to_id(held.friend.friend)]
    held.name = "changed"
    with memory.new_scope() as scope:
        assert scope.store(held) == "x"
        assert [scope.object_to_id(held.friend), scope.object_to_id(held.friend.friend)] == keys
        assert held.friend.friend.name == "c"
        assert count(scope) == 3
    assert memory.get("x").name == "changed"
    assert memory.get("x").friend.friend.name == "c"


def test_a_held_object_whose_reference_was_deleted_keeps_the_dangling_id(memory):
    memory.store(Person("a", friend=Person("b")), id="x")
    with memory.new_scope() as scope:
        held = scope.get("x")
        held.name = "changed"
        key = scope.object_to_id(held.friend)
    memory.delete(key)
    memory.store(held)
    with memory.new_scope() as scope:
        found = scope.get("x")
        assert found.name == "changed"
        with pytest.raises(BrokenReference, match=key):
            found.friend.name  # noqa: B018


def test_a_stale_copy_conflicts_with_what_others_wrote_meanwhile(memory):
    memory.store(Person("a"), id="x")
    held = memory.get("x")
    with memory.new_scope() as scope:
        scope.get("x").name = "theirs"
    held.name = "mine"
    with memory.new_scope() as scope, pytest.raises(ConflictError, match="changed since it was loaded"):
        scope.store(held)
    memory.delete("x")
    with memory.new_scope() as scope, pytest.raises(ConflictError, match="deleted since it was loaded"):
        scope.store(held)
    assert not memory.exists("x")


def test_a_copy_from_an_ended_scope_cannot_stand_beside_the_live_object(memory):
    memory.store(Person("a"), id="x")
    one, other = memory.get("x"), memory.get("x")
    with memory.new_scope() as scope:
        scope.get("x")
        with pytest.raises(DuplicateId, match="has loaded its own copy"):
            scope.store(one)
    with memory.new_scope() as scope, pytest.raises(DuplicateId, match="its own copy"):
        scope.store([one, other])


@pytest.mark.parametrize("end", ["raise", "close"])
def test_after_a_failed_block_the_objects_are_what_they_were_to_the_store(memory, end):
    new, changed, deleted = Person("new"), Person("changed"), Person("deleted")
    memory.store(changed, id="changed")
    memory.store(deleted, id="deleted")
    with pytest.raises(ZeroDivisionError), memory.new_scope() as scope:  # noqa: PT012  # what follows is the point
        scope.store(new, id="new")
        changed.name = "CHANGED"
        scope.store(changed)
        deleted.name = "DELETED"
        scope.delete(deleted)
        if end == "close":
            scope.close()
        raise ZeroDivisionError
    with memory.new_scope() as scope:
        assert scope.store(new, id="new") == "new"
        assert scope.store(changed) == "changed"
        assert scope.store(deleted) == "deleted"
    assert [obj.name for obj in memory.lookup_many(["new", "changed", "deleted"]).values()] == [
        "new",
        "CHANGED",
        "DELETED",
    ]


def test_an_object_that_cannot_be_weakly_referenced_is_new_to_the_next_scope(memory):
    held = PrivateSlots(1)
    memory.store(held, id="x")
    assert memory.store(held) != "x"


# Read-only and closed scopes


def test_a_readonly_scope_refuses_to_write(memory):
    memory.store(Person("a"), id="x")
    memory.store(PersistentMapping(), id="m")
    with memory.new_scope(readonly=True) as scope:
        found = scope.get("x")
        for call in (
            lambda: scope.store(Person("b")),
            lambda: scope.insert(Person("b")),
            lambda: scope.update(found),
            lambda: scope.delete(found),
            lambda: scope.set_root(found),
            lambda: scope.unset_root(found),
        ):
            with pytest.raises(StoreReadOnly, match="Open it without readonly"):
                call()
        scope.commit()
        found.name = "changed"
        with pytest.raises(StoreReadOnly):
            scope.commit()
        assert found.name == "a"
        scope.get("m")["x"] = 1
        with pytest.raises(StoreReadOnly):
            scope.commit()
        found.name = "changed"
    assert memory.get("x").name == "a"
    with memory.new_scope() as scope:
        assert len(scope.get("m")) == 0


@pytest.mark.parametrize(
    ("verb", "arguments"),
    [
        ("store", [Key("a")]), ("insert", [Key("a")]), ("update", [Key("a")]), ("delete", ["x"]), ("lookup", ["x"]),
        ("get", ["x"]), ("lookup_many", [["x"]]), ("exists", ["x"]), ("object_to_id", [Key("a")]),
        ("id_to_object", ["x"]), ("is_root", ["x"]), ("history", ["x"]), ("note", ["x"]), ("set_root", ["x"]), ("unset_root", ["x"]), ("load_all", []),
        ("commit", []), ("abort", []),
    ],
)  # fmt: skip
def test_every_verb_of_a_closed_scope_says_so(memory, verb, arguments):
    with memory.new_scope() as scope:
        pass
    scope.close()
    with pytest.raises(ScopeClosed, match=r"the scope's \w+\(\) was used after its scope ended"):
        getattr(scope, verb)(*arguments)


def test_a_scope_closed_within_its_block_ends_quietly(memory):
    with memory.new_scope() as scope:
        scope.store(Person("a"), id="x")
        scope.close()
    assert not memory.exists("x")


def test_objects_of_a_scope_that_could_not_commit_at_its_end_stay_as_they_are(memory):
    memory.store(Person("a"), id="x")
    held = memory.get("x")
    memory.txn_do(lambda scope: setattr(scope.get("x"), "name", "theirs"))
    held.name = "mine"
    with pytest.raises(ConflictError):
        memory.update(held)
    assert held.name == "mine"
    scope = memory.new_scope()
    found = scope.get("x")
    with pytest.raises(ConflictError), scope:  # noqa: PT012  # both ends are the point
        found.name = "mine"
        memory.txn_do(lambda other: setattr(other.get("x"), "name", "theirs again"))
    assert found.name == "mine"
    memory.refresh(found)
    assert found.name == "theirs again"
