"""Graphs of objects go into a directory and come back with equal structure and sharing."""

import array
import copy
import datetime
import decimal
import pathlib
import threading
import zoneinfo
from collections import Counter, OrderedDict, defaultdict, deque

import pytest
from BTrees.OOBTree import OOBTree
from graph_classes import (
    CLASSES,
    Account,
    Bag,
    Box,
    Colour,
    Employee,
    Frozen,
    FrozenSlots,
    GoodPlugin,
    Group,
    Handy,
    Key,
    Money,
    OldPair,
    OneSlot,
    Ordered,
    OwnNew,
    Pair,
    Person,
    Point,
    PrivateSlots,
    Reduced,
    ReducedByFunction,
    ReducedToString,
    Rights,
    Ring,
    Rows,
    SlotsAndDict,
    Slotted,
    Square,
    Stateful,
    StrictState,
    Thing,
    Trouble,
    WithMeta,
    WithNewArgs,
    WithNewArgsEx,
    Word,
)
from graph_stores import CountingStorage, directory_in, directory_on
from persistent import Persistent
from persistent.list import PersistentList
from persistent.mapping import PersistentMapping
from persistent.wref import WeakRef

import kiokupy
from kiokupy.errors import BrokenReference, NotLoadable, NotStorable, ScopeClosed
from kiokupy.rules import first_class, intrinsic
from kiokupy.typemap import TypeMap

MONEY = first_class(Money, collapse=Money.collapse, expand=Money.expand)
INTRINSIC_MONEY = intrinsic(Money, collapse=Money.collapse, expand=Money.expand)


@pytest.fixture(params=["memory", "file"])
def directory(request, tmp_path):
    if request.param == "memory":
        directory = directory_on(CountingStorage(), [*CLASSES, MONEY])
    else:
        directory = directory_in(tmp_path / "graph.fs", [*CLASSES, MONEY])
    with directory:
        yield directory


def written(directory):
    return directory._database._db.storage.lastTransaction()


def attributes(obj):
    slots = [s for c in type(obj).__mro__ for s in c.__dict__.get("__slots__", ())]
    found = dict(getattr(obj, "__dict__", {}))
    return found | {s: getattr(obj, s) for s in slots if hasattr(obj, s) and not s.startswith("__")}


OBJECTS = [
    Person("ann", age=3), Slotted("ann"), OneSlot(4), SlotsAndDict(1, 2), Point(1, 2, [3]), Frozen("x", (1,)),
    FrozenSlots("x"), WithNewArgs("c"), WithNewArgsEx(code="c"), Reduced("r", [1]), OwnNew("n"), Square(3), Box([1]),
    GoodPlugin("p"), WithMeta("m"), Key("k"), Money(3, "EUR", [1]),
]  # fmt: skip


@pytest.mark.parametrize("obj", OBJECTS, ids=lambda obj: type(obj).__name__)
def test_an_object_comes_back_as_another_of_its_class_with_equal_attributes(directory, obj):
    directory.store(obj, id="x")
    found = directory.get("x")
    assert found is not obj
    assert type(found) is type(obj)
    assert attributes(found) == attributes(obj)


@pytest.mark.parametrize(
    "obj", [Bag(a=1), Rows([1, 2]), Group([1]), Ring([1, 2]), Ordered(b=1, a=2), {"a": [1]}, [1], {1}],
    ids=lambda obj: type(obj).__name__,
)  # fmt: skip
def test_a_container_comes_back_with_its_items_and_attributes(directory, obj):
    if hasattr(obj, "__dict__"):
        obj.title = "t"
    directory.store(obj, id="x")
    found = directory.get("x")
    assert found is not obj
    assert type(found) is type(obj)
    assert found == obj
    assert list(found) == list(obj)
    assert getattr(found, "title", None) == getattr(obj, "title", None)


VALUES = [
    None, True, 3, 2.5, 1j, "text", b"bytes", bytearray(b"x"), (1, (2,)), frozenset([1]), range(3), slice(1, 2),
    datetime.date(2026, 1, 2), datetime.datetime(2026, 1, 2, tzinfo=datetime.UTC), datetime.timedelta(3),
    decimal.Decimal("1.5"), Counter("aab"), OrderedDict(b=1, a=2), defaultdict(list, a=[1]), deque([1], 3),
    pathlib.PurePosixPath("/a/b"), pathlib.Path("/a"), zoneinfo.ZoneInfo("UTC"), array.array("i", [1, 2]),
    Colour.RED, Rights.READ, Rights.READ | Rights.WRITE, Pair(1, [2]), OldPair(1, 2), Word("word"), Person, int,
]  # fmt: skip


@pytest.mark.parametrize("value", VALUES, ids=repr)
def test_a_value_comes_back_equal_and_of_its_class(directory, value):
    directory.store(Person("p", value=value), id="x")
    found = directory.get("x").value
    assert type(found) is type(value)
    assert found == value


@pytest.mark.parametrize("value", VALUES, ids=repr)
def test_a_value_in_a_persistent_mapping_comes_back_equal_and_of_its_class(directory, value):
    directory.store(PersistentMapping(value=value), id="x")
    with directory.new_scope() as scope:
        found = scope.get("x")["value"]
        assert type(found) is type(value)
        assert found == value


def test_private_and_unset_slots_survive(directory):
    directory.store(PrivateSlots([1]), id="x")
    found = directory.get("x")
    assert found.hidden() == [1]
    with pytest.raises(AttributeError):
        found.never_set  # noqa: B018


def test_getstate_and_setstate_are_followed(directory):
    directory.store(Stateful("ann"), id="x")
    found = directory.get("x")
    assert (found.name, found.handle) == ("ann", None)


def test_an_exception_comes_back_with_args_and_attributes(directory):
    trouble = Trouble(7, Person("ann"))
    trouble.when = "now"
    directory.store(trouble, id="x")
    found = directory.get("x")
    assert (found.code, found.args[1].name, found.when) == (7, "ann", "now")
    assert found.args[0] == 7


def test_identity_within_a_graph_survives(directory):
    shared, word = Person("shared"), Word("w")
    directory.store(Person("a", left=shared, right=[shared, {"k": shared}], words=[word, word]), id="x")
    found = directory.get("x")
    assert found.left is found.right[0] is found.right[1]["k"]
    assert found.words[0] is found.words[1]


def test_a_cycle_through_every_kind_of_object_survives(directory):
    end = Person("end")
    chain = end
    for make in (Slotted, FrozenSlots, Frozen, Box, OneSlot):
        chain = make("x", (chain,)) if make is Frozen else make(chain) if make in (Box, OneSlot) else make("x", chain)
    end.bag = Bag(chain=Rows([chain]))
    end.bag.owner = end
    directory.store(end, id="x")
    found = directory.get("x")
    assert found.bag.owner is found
    link = found.bag["chain"][0].only.content
    assert link.tags[0].other.friend is found


def test_an_intrinsic_object_is_written_inside_its_holder_and_copied():
    with directory_on(CountingStorage(), [Person, INTRINSIC_MONEY]) as directory:
        money = Money(3, "EUR", Person("payer"))
        directory.store({"a": Person("a", money=money), "b": Person("b", money=money)}, id="x")
        found = directory.get("x")
        assert found["a"].money == found["a"].money
        assert found["a"].money is not found["b"].money
        assert found["a"].money.note is found["b"].money.note
        with directory.new_scope() as scope:
            assert len(scope._live.entries) == 4


def test_a_first_class_object_shared_by_two_others_comes_back_shared(directory):
    money = Money(3, "EUR")
    directory.store({"a": Person("a", money=money), "b": Person("b", money=money)}, id="x")
    found = directory.get("x")
    assert found["a"].money is found["b"].money


def test_an_intrinsic_object_cannot_have_an_id(directory):
    with pytest.raises(NotStorable, match="Store an object or a dict that holds it"):
        directory.store("text", id="x")
    with pytest.raises(NotStorable, match="kept inside the object that holds it"):
        directory.store(Pair(1, 2))


def test_touching_k_of_n_objects_loads_k_entries():
    storage = CountingStorage()
    with directory_on(storage, CLASSES) as directory:
        people = [Person(str(number)) for number in range(50)]
        directory.store({"people": people}, id="x")
        with directory.new_scope() as scope:
            found = scope.get("x")["people"]
            found[0].name  # noqa: B018  # loads what all loads share
        entries = {e._p_oid for e in scope_entries(directory)}
        for touched in (0, 1, 7):
            directory._database._db.cacheMinimize()
            with directory.new_scope() as scope:
                found = scope.get("x")["people"]
                storage.read.clear()
                for person in found[:touched]:
                    assert person.name
                assert len(set(storage.read) & entries) == touched


def scope_entries(directory):
    with directory.new_scope(readonly=True) as scope:
        entries = list(scope._live.entries.values())
        for entry in entries:
            entry._p_activate()
        return entries


def test_a_lookup_loads_nothing_of_what_the_object_refers_to():
    storage = CountingStorage()
    with directory_on(storage, CLASSES) as directory:
        directory.store(Person("a", friend=StrictState("b")), id="x")
        StrictState.broken = RuntimeError
        try:
            with directory.new_scope() as scope:
                assert scope.get("x").name == "a"
        finally:
            StrictState.broken = None


def test_a_state_that_does_not_fit_names_the_object_and_can_be_tried_again(directory):
    directory.store(StrictState("b"), id="x")
    with directory.new_scope() as scope:
        found = scope.get("x")
        for kind in (RuntimeError, AttributeError):
            StrictState.broken = kind
            with pytest.raises(NotLoadable, match=r"'x'.*does not fit its class") as caught:
                found.name  # noqa: B018
            assert isinstance(caught.value.__cause__, kind)
            assert caught.value.id == "x"
        StrictState.broken = None
        assert found.name == "b"


def test_a_changed_nested_value_is_written_at_commit_without_naming_the_object(directory):
    directory.store(Person("a", tree={"b": [Point(1, 2)]}), id="x")
    with directory.new_scope() as scope:
        scope.get("x").tree["b"].append({"new": 1})
        scope.get("x").tree["b"][0].x = 9
    found = directory.get("x")
    assert found.tree["b"][1] == {"new": 1}
    assert found.tree["b"][0].x == 9


UNCHANGED = [
    *OBJECTS, Bag(a=1), Rows([1]), Group([1]), Ring([1]), Ordered(a=1), Stateful("a"), Trouble(3),
    Person("items", items="name"),  # an attribute's name among the values
    Person("red", colour=Colour.RED),  # an enum's value among the values
    SlotsAndDict("extra", "only"), {"a": {"b"}}, Person("n", point=Word("x")),
]  # fmt: skip


@pytest.mark.parametrize("obj", UNCHANGED, ids=lambda obj: type(obj).__name__)
def test_nothing_is_written_when_nothing_changed(directory, obj):
    directory.store(obj, id="x")
    before = written(directory)
    with directory.new_scope() as scope:
        scope.get("x")
        scope.load_all()
    with directory.new_scope() as scope:
        scope.store(scope.get("x"))
    assert written(directory) == before


def test_the_order_of_a_set_is_no_change(directory):
    shrunk = {str(number) for number in range(2000)}
    for number in range(1990):
        shrunk.discard(str(number))
    directory.store(Person("a", items=shrunk, friends={Key(str(n)) for n in range(9)}), id="x")
    before = written(directory)
    with directory.new_scope() as scope:
        scope.get("x")
        scope.load_all()
    assert written(directory) == before
    with directory.new_scope() as scope:
        scope.get("x").items.add("new")
    assert written(directory) > before
    assert "new" in directory.get("x").items


def test_an_unchanged_object_that_refers_to_a_deleted_one_is_compared_as_it_is(directory):
    directory.store(Person("items", items=Key("b")), id="x")
    with directory.new_scope() as scope:
        found = scope.get("x")
        scope.delete(found.items)
        found.name = "new"
    with directory.new_scope() as scope:
        assert scope.get("x").name == "new"
        with pytest.raises(BrokenReference):
            scope.get("x").items.name  # noqa: B018


def test_an_object_with_a_hash_of_its_own_can_be_in_sets_and_be_a_key(directory):
    everyone = [Key("a"), OwnNew("b"), Frozen("c"), Money(1, "EUR"), Reduced("d")]
    directory.store(Person("p", friends=set(everyone), marks=dict.fromkeys(everyone, 1)), id="x")
    found = directory.get("x")
    assert set(found.marks) == found.friends
    assert found.friends >= set(everyone[:4])
    assert {type(each) for each in found.friends} == {type(each) for each in everyone}


def test_an_object_whose_hash_is_needed_to_load_itself_is_a_named_error(directory):
    one, other = Key("one"), Key("other")
    one.friend, other.friend = {other}, {one}
    directory.store(one, id="x")
    with directory.new_scope() as scope:
        for _ in range(2):
            with pytest.raises(NotLoadable, match="to load itself"):
                scope.get("x").name  # noqa: B018


def test_an_object_whose_constructor_needs_itself_is_a_named_error(directory):
    one = Reduced("one")
    one.held = Reduced("other", one)
    directory.store(one, id="x")
    with directory.new_scope() as scope:
        for _ in range(2):
            with pytest.raises(NotLoadable, match="lead back to it"):
                scope.get("x")


def test_a_failed_load_leaves_objects_that_were_ghosts_before_as_ghosts_again(directory):
    key, bad = Key("key", Person("inner")), Reduced("bad")
    with directory.new_scope() as scope:
        scope.store(Person("holder", key=key), id="holder")
        scope.store(Person("a", keys={key}, bad=bad), id="a")
        scope.commit()
        scope.delete(bad)
    with directory.new_scope() as scope:
        found = scope.get("holder").key
        with pytest.raises(BrokenReference):
            scope.get("a").name  # noqa: B018
        assert found.friend.name == "inner"


@pytest.mark.parametrize(
    "target", [Person("gone"), Reduced("gone"), Bag(), Slotted("gone")], ids=lambda o: type(o).__name__
)
def test_a_dangling_reference_is_a_named_error_every_time_and_never_half_an_object(directory, target):
    directory.store(Person("a", items=[1, target]), id="referrer")
    with directory.new_scope() as scope:
        found = scope.get("referrer").items[1]
        gone = scope.object_to_id(found)
        scope.delete(found)
    ghost = isinstance(target, Person | Slotted)
    with directory.new_scope() as scope:
        for _ in range(2):
            with pytest.raises(BrokenReference) as caught:
                scope.get("referrer").items[1].name  # noqa: B018
            assert (caught.value.referrer, caught.value.target) == ("referrer", gone)
            assert caught.value.path == ("person.items[1]" if ghost else "")
        assert scope.lookup(gone, "default") == "default"
        scope.abort()


def test_a_reference_that_dangles_from_an_object_with_a_length_is_a_named_error(directory):
    directory.store(Person("a", friend=Handy(1)), id="x")
    with directory.new_scope() as scope:
        scope.delete(scope.get("x").friend)
    with directory.new_scope() as scope, pytest.raises(BrokenReference):
        len(scope.get("x").friend)


def test_a_dangling_reference_can_be_removed(directory):
    directory.store(Person("a", friend=Person("b")), id="x")
    with directory.new_scope() as scope:
        scope.delete(scope.get("x").friend)
    with directory.new_scope() as scope:
        scope.get("x").friend = None
    assert directory.get("x").friend is None


def test_an_id_that_now_belongs_to_another_class_gives_the_stored_class(directory):
    for target, other in [(Person("b"), GoodPlugin("new")), (Person("b"), Slotted("new")), (Person("b"), Bag(x=1))]:
        with directory.new_scope() as scope:
            scope.store(Person("a", friend=target), id="x")
            key = scope.object_to_id(target)
            scope.commit()
            scope.delete(target)
            scope.store(other, id=key)
        with directory.new_scope() as scope:
            scope.get("x").friend  # noqa: B018
            assert type(scope.get(key)) is type(other) or scope.get(key).name == "new"
            scope.load_all()
            assert type(scope.get(key)) is type(other)
        with directory.new_scope() as scope:
            found = scope.get("x").friend
            if type(other) is GoodPlugin:
                assert found.name == "new"
                assert type(found) is GoodPlugin
            else:
                with pytest.raises(NotLoadable, match="expects a graph_classes:Person"):
                    found.name  # noqa: B018
            scope.abort()
        with directory.new_scope() as scope:
            scope.delete("x")


# Refusals


@pytest.mark.parametrize(
    ("make", "path"),
    [
        (lambda t: Person("cart", items=[1, 2, Person("x", gadget=t)]), "cart.items[2].gadget"),
        (lambda t: {"items": [t]}, "cart['items'][0]"),
        (lambda t: Slotted("x", {t: 1}), "cart.friend.<key <Thing>>"),
        (lambda t: Bag(a=(t,)), "cart['a'][0]"),
        (lambda t: Person("x", things={t}), "cart.things.<element>"),
        (lambda t: PersistentMapping(a=PersistentList([Person("x", gadget=t)])), "cart.data['a'].data[0].gadget"),
        (lambda t: t, "cart"),
    ],
)
def test_what_the_type_map_does_not_name_is_refused_with_its_path_and_the_line_that_would_allow_it(
    directory, make, path
):
    with pytest.raises(NotStorable) as caught:
        directory.store(make(Thing()), id="cart")
    assert caught.value.path == path
    assert caught.value.class_name == "graph_classes:Thing"
    assert "connect(..., allow_classes=[Thing])" in str(caught.value)
    assert not directory.exists("cart")


class Sealed(Persistent):
    def __getstate__(self):
        raise ValueError("nobody shall know")


def test_a_persistent_object_whose_state_cannot_be_had_is_refused_with_its_path():
    with kiokupy.connect(allow_classes=[Sealed, Person]) as directory:
        with pytest.raises(NotStorable, match="nobody shall know") as caught:
            directory.store(Person("x", at=[Sealed()]), id="cart")
        assert caught.value.path == "cart.at[0]"
        assert not directory.exists("cart")


@pytest.mark.parametrize(
    "hopeless", [lambda: 0, len, threading, threading.Lock(), (n for n in ()), ..., Thing().__init__],
    ids=lambda each: type(each).__name__,
)  # fmt: skip
def test_what_nobody_can_store_is_refused_without_a_line_that_would_not_help(directory, hopeless):
    with pytest.raises(NotStorable) as caught:
        directory.store(Person("x", at=[hopeless]), id="cart")
    assert caught.value.path == "cart.at[0]"
    assert "__getstate__" in str(caught.value)
    assert "allow_classes" not in str(caught.value)


def test_a_class_that_is_not_allowed_is_refused_as_a_value(directory):
    with pytest.raises(NotStorable, match=r"cart.kind cannot be stored: the class graph_classes:Thing"):
        directory.store(Person("x", kind=Thing), id="cart")


@pytest.mark.parametrize("obj", [ReducedByFunction(), ReducedToString()], ids=["function", "string"])
def test_a_reduce_that_calls_anything_but_its_class_is_refused(directory, obj):
    with pytest.raises(NotStorable, match="collapse/expand pair") as caught:
        directory.store(Person("x", at=obj), id="cart")
    assert caught.value.path == "cart.at"


class NoState:
    def __getstate__(self):
        raise TypeError("there is no state")


class NoStateEither(tuple):
    __slots__ = ()

    def __reduce__(self):
        raise TypeError("there is no reduction")


def test_what_an_object_raises_when_it_is_taken_apart_names_its_path(directory):
    directory.typemap.allow(NoState)
    directory.typemap.allow(NoStateEither)
    for obj in (NoState(), NoStateEither()):
        with pytest.raises(NotStorable, match="there is no") as caught:
            directory.store(Person("x", at=[obj]), id="cart")
        assert caught.value.path == "cart.at[0]"
        assert isinstance(caught.value.__cause__, TypeError)


def test_a_class_outside_the_map_is_refused_when_it_is_loaded(tmp_path):
    with directory_in(tmp_path / "graph.fs") as directory:
        directory.store(Person("a", friend=Slotted("b")), id="x")
        directory.store(PersistentMapping(account=Account()), id="m")
    with directory_in(tmp_path / "graph.fs", [Person]) as directory, directory.new_scope() as scope:
        with pytest.raises(NotLoadable, match="allow_classes=\\[Slotted\\]"):
            scope.get("x").name  # noqa: B018
        with pytest.raises(NotLoadable, match="graph_classes:Account"):
            scope.get("m")["account"].balance  # noqa: B018
        scope.abort()


def test_an_alias_loads_objects_of_a_renamed_class(tmp_path):
    with directory_in(tmp_path / "graph.fs") as directory:
        directory.store(Person("a", friend=Person("b")), id="x")
    renamed = first_class(Box, aliases=("graph_classes:Person",))
    with directory_in(tmp_path / "graph.fs", [renamed]) as directory:
        before = written(directory)
        with directory.new_scope() as scope:
            found = scope.get("x")
            assert found.friend.name == "b"
            assert type(found) is type(found.friend) is Box
        assert written(directory) == before
        with directory.new_scope() as scope:
            scope.get("x").name = "new"
    with directory_in(tmp_path / "graph.fs", [Box, first_class(Box, aliases=("graph_classes:Person",))]) as directory:
        assert directory.get("x").name == "new"


def test_a_rule_that_lost_its_pair_is_a_named_error(tmp_path):
    with directory_in(tmp_path / "graph.fs", [Person, MONEY]) as directory:
        directory.store(Money(1, "EUR"), id="x")
        directory.store(Person("a", money=[Money(1, "EUR")]), id="y")
    with directory_in(tmp_path / "graph.fs", [Person, Money]) as directory, directory.new_scope() as scope:
        for _ in range(2):
            with pytest.raises(NotLoadable, match="stored by a collapse/expand pair"):
                scope.get("x").amount  # noqa: B018
            with pytest.raises(NotLoadable, match="stored by a collapse/expand pair"):
                directory.get("y")
    with directory_in(tmp_path / "graph.fs", [Person, INTRINSIC_MONEY]) as directory:
        directory.store(Person("a", money=[Money(1, "EUR")]), id="z")
    for rule in (Money, intrinsic(Money)):
        with directory_in(tmp_path / "graph.fs", [Person, rule]) as directory:
            with pytest.raises(NotLoadable, match="had a collapse/expand pair"):
                directory.get("z")
            with pytest.raises(NotLoadable):
                directory.get("x").amount  # noqa: B018


def test_subclasses_of_a_rule_with_subclasses_are_stored():
    with directory_on(CountingStorage(), [first_class(Person, subclasses=True)]) as directory:
        directory.store(Employee("e"), id="x")
        assert type(directory.get("x")) is Employee


# Persistent objects


def test_persistent_objects_keep_the_identity_of_the_plain_objects_they_hold(directory):
    shared = Person("shared")
    tree = OOBTree({"a": shared})
    mapping = PersistentMapping(s=shared, l=PersistentList([shared]), t=tree)
    shared.back = mapping
    directory.store(Person("top", shared=shared, mapping=mapping), id="x")
    with directory.new_scope() as scope:
        found = scope.get("x")
        assert found.shared is found.mapping["s"] is found.mapping["l"][0] is found.mapping["t"]["a"]
        assert found.shared.back is found.mapping
        found.shared.name = "renamed"
    with directory.new_scope() as scope:
        assert scope.get("x").mapping["t"]["a"].name == "renamed"


def test_a_new_plain_object_in_a_changed_persistent_object_is_stored_at_commit(directory):
    directory.store(PersistentMapping(), id="m")
    with directory.new_scope() as scope:
        scope.get("m")["new"] = PersistentMapping(deep=Person("new", friend=Person("friend")))
    with directory.new_scope() as scope:
        assert scope.get("m")["new"]["deep"].friend.name == "friend"


def test_what_a_persistent_object_holds_is_refused_like_anything(directory):
    with pytest.raises(NotStorable, match=r"m.data\['x'\] cannot be stored"):
        directory.store(PersistentMapping(x=Thing()), id="m")
    directory.store(PersistentMapping(), id="m")
    with directory.new_scope() as scope:
        scope.get("m")["x"] = [lambda: 0]
        with pytest.raises(NotStorable, match=r"persistentmapping.data\['x'\]\[0\]"):
            scope.commit()
    with directory_on(CountingStorage(), []) as other, pytest.raises(NotStorable, match=r"data\['a'\].*Account"):
        other.store(PersistentMapping(a=Account()))


def test_a_persistent_object_from_an_ended_scope_never_writes_into_a_foreign_transaction(directory):
    directory.store(PersistentMapping(inner=PersistentMapping(x=1), x=1), id="m")
    for touch in ("nothing", "load", "change", "delete"):
        scope = directory.new_scope()
        mapping = scope.get("m")
        inner = None
        if touch != "nothing":
            inner = mapping["inner"]
            assert inner["x"] == 1
        if touch == "change":
            mapping["x"] = inner["x"] = 2
        if touch == "delete":
            scope.delete(mapping)
        scope.close()
        if touch == "nothing":
            with pytest.raises(ScopeClosed):
                mapping["x"]
        if touch != "change":
            with pytest.raises(ScopeClosed):
                mapping["x"] = 3
        for value in [mapping] if inner is None else [mapping, inner]:
            for obj in (value, Person("p", friend=value), PersistentMapping(v=value)):
                with directory.new_scope() as other, pytest.raises(ScopeClosed):
                    other.store(obj)
        with directory.new_scope() as other:
            assert other.get("m")["x"] == other.get("m")["inner"]["x"] == 1


def test_a_one_shot_lookup_loads_a_persistent_graph_whole(directory):
    tree = OOBTree({str(number): Person(str(number)) for number in range(500)})
    directory.store(PersistentMapping(tree=tree), id="m")
    found = directory.get("m")
    assert [person.name for person in found["tree"].values()] == sorted(map(str, range(500)))


def test_loading_all_passes_over_persistent_objects_that_are_not_written_yet(directory):
    with directory.new_scope() as scope:
        mapping = PersistentMapping(a=1)
        scope.store(mapping)
        scope.load_all()
        assert mapping["a"] == 1


def test_plain_objects_held_by_persistent_ones_survive_the_cache(directory):
    directory.store(PersistentMapping(p=Person("a")), id="m")
    with directory.new_scope() as scope:
        person = scope.get("m")["p"]
        person.name = "changed"
        scope._unit.connection.cacheMinimize()
        assert scope.get("m")["p"] is person
    with directory.new_scope() as scope:
        assert scope.get("m")["p"].name == "changed"


def test_a_deleted_plain_object_stays_a_dangling_reference_of_a_persistent_one(directory):
    directory.store(PersistentMapping(p=Person("a")), id="m")
    with directory.new_scope() as scope:
        mapping = scope.get("m")
        scope.delete(mapping["p"])
        mapping["other"] = 1
    with directory.new_scope() as scope:
        assert scope.get("m")["other"] == 1
        with pytest.raises(Exception, match="no object has the id"):
            scope.get("m")["p"].name  # noqa: B018
        scope.abort()


def test_zodb_weak_references_still_work(directory):
    directory.typemap.allow(intrinsic(WeakRef))
    target = PersistentMapping(x=1)
    with directory.new_scope() as scope:
        scope.store(PersistentMapping(target=target, weak=WeakRef(target)), id="m")
    with directory.new_scope() as scope:
        found = scope.get("m")
        assert found["weak"]() is found["target"]


def test_a_packed_file_still_has_its_references(tmp_path):
    with directory_in(tmp_path / "graph.fs") as directory:
        directory.store(PersistentMapping(p=Person("a", friend=PersistentList([Person("b")]))), id="m")
        directory._database._db.pack()
    with directory_in(tmp_path / "graph.fs") as directory, directory.new_scope() as scope:
        assert scope.get("m")["p"].friend[0].name == "b"


def test_a_copy_of_a_loaded_object_is_a_new_object(directory):
    directory.store(Person("a"), id="x")
    with directory.new_scope() as scope:
        twin = copy.copy(scope.get("x"))
        scope.store(twin, id="y")
    assert directory.get("y").name == "a"


def test_a_class_may_be_added_to_the_map_while_the_directory_is_open(directory):
    with pytest.raises(NotStorable):
        directory.store(Thing())
    directory.typemap.allow(Thing)
    directory.store(Thing(), id="x")
    assert directory.get("x").name == "thing"
    assert isinstance(directory.typemap, TypeMap)
