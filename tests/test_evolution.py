"""Classes change: objects that an earlier version stored load as objects of today's."""

import collections
import copy
import dataclasses
import sys
import types

import pytest
from graph_classes import Bag, Money, Person, Reduced, Slotted
from graph_stores import CountingStorage, directory_on

from kiokupy import ghosts
from kiokupy.broken import Broken
from kiokupy.entry import Entry
from kiokupy.errors import BrokenObject, DuplicateId, InvalidId, NotFound, NotLoadable, TargetError, UpgradeMissing
from kiokupy.rules import first_class, intrinsic


@pytest.fixture
def storage():
    return CountingStorage()


def opened(storage, *allowed):
    """Open the store as a program does whose classes are these; the storage stays open."""
    return directory_on(storage, allowed, create=True)


@dataclasses.dataclass
class Point:
    x: int
    y: int = 7
    tags: list = dataclasses.field(default_factory=lambda: ["fresh"])


@dataclasses.dataclass(slots=True)
class SlotPoint:
    x: int
    y: int = 7
    tags: list = dataclasses.field(default_factory=list)


class OldSlots:
    __slots__ = ("kept", "removed")

    def __init__(self):
        self.kept, self.removed = 1, 2


class Counting:
    """Counts what a handler is given."""


def put(directory, obj, **changes):
    """Store an object as one of another version would have been."""
    directory.store(obj, id="x")
    with directory.new_unit() as unit:
        entry = unit.root["entries"]["x"]
        entry.record = entry.record._replace(**changes)
        unit.commit()


def writes_nothing(directory, work):
    before = directory._database._db.lastTransaction()
    with directory.new_scope() as scope:
        work(scope)
    return directory._database._db.lastTransaction() == before


# Attributes that come and go


def test_an_attribute_that_a_record_has_not_gets_its_default(storage):
    directory = opened(storage, Person)
    directory.store(Person("a"), id="x")
    rule = first_class(Person, defaults={"nick": "none", "items": list})
    directory = opened(storage, rule)

    def work(scope):
        assert (scope.get("x").nick, scope.get("x").items) == ("none", [])

    assert writes_nothing(directory, work)
    one, other = directory.get("x"), directory.get("x")
    assert one.items is not other.items
    one.items.append(1)
    directory.store(one)
    assert opened(storage, Person).get("x").items == [1]


@pytest.mark.parametrize("cls", [Point, SlotPoint])
def test_a_dataclass_needs_no_defaults_beside_its_own(storage, cls):
    directory = opened(storage, cls)
    old = cls(1)
    for name in ("y", "tags"):
        object.__delattr__(old, name)
    directory.store(old, id="x")

    def work(scope):
        found = scope.get("x")
        assert (found.x, found.y) == (1, 7)
        assert found.tags in (["fresh"], [])

    assert writes_nothing(directory, work)
    with directory.new_scope() as scope:
        scope.get("x").tags.append("more")
    assert directory.get("x").tags[-1] == "more"


def test_an_attribute_that_the_class_has_no_more_is_kept(storage):
    directory = opened(storage, Person)
    directory.store(Person("a", old=[1]), id="x")
    with directory.new_scope() as scope:
        scope.get("x").name = "changed"
    assert directory.get("x").old == [1]


def test_an_attribute_that_is_not_to_be_stored_is_left_out_and_not_loaded_from_older_records(storage):
    directory = opened(storage, Person, Slotted)
    directory.store(Person("a", handle="old"), id="x")
    directory = opened(
        storage, first_class(Person, do_not_serialize=["handle"]), first_class(Slotted, do_not_serialize=("friend",))
    )
    assert writes_nothing(directory, lambda scope: scope.get("x").name)
    assert not hasattr(directory.get("x"), "handle")
    with directory.new_scope() as scope:
        person = Person("b", handle=lambda: None)
        scope.store(person, id="y")
        scope.store(Slotted("c", lambda: None), id="z")
        assert person.handle is not None
        scope.commit()
        person.handle = object()
    assert vars(directory.get("y")) == {"name": "b"}
    assert not hasattr(directory.get("z"), "friend")


def test_what_is_not_to_be_stored_may_have_a_default(storage):
    rule = first_class(Person, do_not_serialize=["handle"], defaults={"handle": "made anew"})
    directory = opened(storage, rule)
    directory.store(Person("a", handle=object()), id="x")
    assert writes_nothing(directory, lambda scope: scope.get("x").handle)
    assert directory.get("x").handle == "made anew"


def test_attributes_of_a_list_or_dict_with_attributes_follow_the_same_rules(storage):
    directory = opened(storage, Bag)
    bag = Bag(key=1)
    bag.handle = "old"
    directory.store(bag, id="x")
    directory = opened(storage, first_class(Bag, do_not_serialize=["handle"], defaults={"label": "none"}))

    def work(scope):
        assert (dict(scope.get("x")), vars(scope.get("x"))) == ({"key": 1}, {"label": "none"})

    assert writes_nothing(directory, work)


def test_a_slot_that_the_class_has_no_more_is_not_lost_without_a_word(storage):
    module = types.ModuleType("evolving")
    sys.modules["evolving"] = module
    OldSlots.__module__, OldSlots.__qualname__ = "evolving", "OldSlots"
    module.OldSlots = OldSlots
    try:
        opened(storage, OldSlots).store(OldSlots(), id="x")
        new = type("OldSlots", (), {"__slots__": ("kept",), "__module__": "evolving"})
        module.OldSlots = new
        with pytest.raises(NotLoadable, match="removed"):
            opened(storage, new).get("x").kept  # noqa: B018
        assert opened(storage, first_class(new, do_not_serialize=["removed"])).get("x").kept == 1
    finally:
        del sys.modules["evolving"]


# Versions

CHAIN = {
    "1": "2",
    "2": ("3", {"age": 0}),
    "3": ("4", lambda attributes: {**attributes, "name": attributes["name"].upper()}),
}


@pytest.mark.parametrize(
    ("version", "expected"),
    [("4", {"name": "a"}), ("3", {"name": "A"}), ("2", {"name": "A", "age": 0}), ("1", {"name": "A", "age": 0})],
)
def test_handlers_lead_from_any_version_to_todays(storage, version, expected):
    directory = opened(storage, first_class(Person, version="4", upgrades=CHAIN))
    put(directory, Person("a"), version=version)

    def work(scope):
        assert vars(scope.get("x")) == expected
        assert ghosts.is_ghost(scope.get("x")) is False

    assert writes_nothing(directory, work)
    with directory.new_scope() as scope:
        scope.get("x").seen = True
    with directory.new_unit() as unit:
        assert unit.root["entries"]["x"].record.version == "4"
    assert vars(directory.get("x")) == {**expected, "seen": True}


def test_a_record_without_a_version_is_upgraded_from_none(storage):
    opened(storage, Person).store(Person("a"), id="x")
    directory = opened(storage, first_class(Person, version="1", upgrades={None: ("1", {"age": 3})}))
    assert directory.get("x").age == 3


def test_a_handler_may_change_the_attributes_in_place(storage):
    def handler(attributes):
        attributes["name"] = "changed"
        return attributes

    rule = first_class(Slotted, version="2", upgrades={"1": ("2", handler)})
    directory = opened(storage, rule)
    put(directory, Slotted("a"), version="1")
    assert directory.get("x").name == "changed"


def test_a_pair_is_given_the_data_of_the_older_version(storage):
    rule = first_class(
        Money, collapse=Money.collapse, expand=Money.expand, version="2",
        upgrades={"1": ("2", lambda data: (data[0] * 100, *data[1:]))},
    )  # fmt: skip
    directory = opened(storage, rule)
    put(directory, Money(3, "EUR"), version="1")
    assert directory.get("x").amount == 300


def test_a_version_that_no_handler_takes_further_is_an_error_every_time(storage):
    rule = first_class(Person, version="9", upgrades={"1": "2", "a": "b", "b": "a"})
    directory = opened(storage, rule)
    for version, last in (("1", "2"), ("0", "0"), ("a", "a")):
        directory.clear()
        put(directory, Person("a"), version=version)
        for _ in range(2):
            with pytest.raises(UpgradeMissing) as caught:
                directory.get("x").name  # noqa: B018
            error = caught.value
            assert (error.class_name, error.version, error.wanted, error.id) == ("graph_classes:Person", last, "9", "x")


def test_a_handler_that_fails_is_told_with_the_object(storage):
    rule = first_class(Person, version="2", upgrades={"1": ("2", lambda attributes: attributes["missing"])})
    directory = opened(storage, rule)
    put(directory, Person("a"), version="1")
    with pytest.raises(NotLoadable, match=r"in the record of 'x'.*KeyError") as caught:
        directory.get("x")
    assert isinstance(caught.value.__cause__, KeyError)


def test_a_class_that_has_no_version_any_more_loads_every_record(storage):
    directory = opened(storage, Person)
    put(directory, Person("a"), version="7")
    assert directory.get("x").name == "a"


def test_the_version_is_part_of_the_record_and_so_the_entry_of_the_second_format(storage):
    directory = opened(storage, first_class(Person, version="1"))
    directory.store(Person("a"), id="x")
    with directory.new_unit() as unit:
        state = unit.root["entries"]["x"].__getstate__()
        assert (state[0], state[6:]) == (2, ("1", ()))
        entry = Entry.__new__(Entry)
        entry.__setstate__(state)
        assert entry.record.version == "1"


def test_subclasses_follow_the_rule_that_covers_them(storage):
    class_rule = first_class(Person, subclasses=True, defaults={"nick": "none"}, version="1")
    directory = opened(storage, class_rule)
    directory.store(Person("a"), id="x")
    assert directory.get("x").nick == "none"


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"do_not_serialize": "handle"}, "do_not_serialize of the rule for graph_classes:Person is one string"),
        ({"aliases": "a:B"}, "aliases of the rule"),
    ],
)
def test_one_string_where_a_list_is_wanted_is_refused(options, message):
    with pytest.raises(TargetError, match=message):
        first_class(Person, **options)


def test_an_intrinsic_object_has_no_version():
    with pytest.raises(TargetError, match="has a version"):
        intrinsic(Person, version="1")


# Ids that a class gives


def test_a_rule_may_give_objects_their_ids(storage):
    directory = opened(storage, first_class(Person, id=lambda person: f"person:{person.name}"))
    directory.store([Person("ada", friend=Person("bob"))], id="all")
    assert directory.get("person:ada").friend.name == "bob"
    assert directory.store(Person("cay")) == "person:cay"
    assert directory.store(Person("dan"), id="explicit") == "explicit"


def test_two_objects_with_one_id_are_refused_and_nothing_is_stored(storage):
    directory = opened(storage, first_class(Person, id=lambda person: person.name))
    with pytest.raises(DuplicateId, match="'ada'"):
        directory.store([Person("ada"), Person("ada")], id="x")
    with pytest.raises(DuplicateId):
        directory.store(Person("ada", friend=Person("ada")))
    directory.store(Person("ada"))
    with pytest.raises(DuplicateId):
        directory.store([Person("ada")], id="x")
    with pytest.raises(DuplicateId):
        directory.store(Person("ada"))
    with pytest.raises(InvalidId):
        directory.store([Person("")], id="x")
    assert [obj.name for obj in directory.all_objects()] == ["ada"]


# Classes that are gone


@pytest.fixture
def gone(storage):
    """Store an object whose class is gone since, among others."""
    module = types.ModuleType("vanishing")
    sys.modules["vanishing"] = module
    cls = type("Cart", (), {"__module__": "vanishing", "total": 0})
    module.Cart = cls
    cart, owner = cls(), Person("owner")
    with opened(storage, Person, cls).new_scope() as scope:
        scope.store(cart, id="cart")
        scope.store(owner, id="owner")
        cart.total, cart.owner, owner.cart = 5, owner, cart
    del sys.modules["vanishing"]
    return storage


@pytest.mark.parametrize("name", ["vanishing", "vanishing:Cart"])
def test_an_object_whose_class_is_gone_can_be_looked_at(gone, name):
    with opened(gone, Person, name).new_scope() as scope:
        cart = scope.get("cart")
        assert isinstance(cart, Broken)
        assert scope.get("owner").cart is cart
        assert cart.class_name == "vanishing:Cart"
        assert cart.content == {"$class": "vanishing:Cart", "total": 5, "owner": {"$ref": "owner"}}
        assert repr(cart) == "<broken vanishing:Cart>"
        assert copy.copy(cart) is copy.deepcopy(cart) is cart


def test_it_cannot_be_changed_nor_stored_elsewhere(gone):
    with opened(gone, Person, "vanishing").new_scope() as scope:
        cart = scope.get("cart")
        with pytest.raises(BrokenObject, match="the class vanishing:Cart is gone"):
            cart.total = 6
        with pytest.raises(BrokenObject):
            del cart.total
        with pytest.raises(AttributeError):
            cart.total  # noqa: B018
        with opened(CountingStorage(), "vanishing").new_scope() as other, pytest.raises(BrokenObject):
            other.store(cart)


def test_what_refers_to_it_can_be_changed_and_it_stays_as_it_was(gone):
    directory = opened(gone, Person, "vanishing")
    with directory.new_unit() as unit:
        before = unit.root["entries"]["cart"].record
    with directory.new_scope() as scope:
        owner = scope.get("owner")
        owner.name = "changed"
        scope.store(owner.cart)
        scope.update(owner.cart)
        assert list(scope.all_objects())
        scope.savepoint().rollback()
        assert owner.cart is scope.get("cart")
        owner.name = "changed"
    with directory.new_unit() as unit:
        assert unit.root["entries"]["cart"].record == before
    assert directory.get("owner").name == "changed"
    assert directory.get("owner").cart.class_name == "vanishing:Cart"


def test_a_walk_comes_by_it(gone):
    with opened(gone, Person, "vanishing").new_scope() as scope:
        assert [type(obj).__name__ for obj in scope.all_objects()] == ["Cart", "Person"]
        assert scope.is_outdated("cart") is False


def test_it_can_be_deleted_and_refreshed(gone):
    directory = opened(gone, Person, "vanishing")
    with directory.new_scope() as scope:
        cart = scope.get("cart")
        scope.refresh(cart)
        assert cart.content["total"] == 5
        owner = scope.get("owner")
        owner.cart = None
        scope.delete(cart)
    with pytest.raises(NotFound):
        directory.get("cart")


def test_an_object_of_a_class_that_came_back_loads_as_what_it_is(gone):
    successor = type("Basket", (), {"__module__": __name__})
    directory = opened(gone, Person, first_class(successor, aliases=["vanishing:Cart"]))
    assert directory.get("cart").total == 5
    assert type(directory.get("owner").cart) is successor


def test_a_class_that_the_type_map_does_not_name_is_refused_and_not_broken(gone):
    with pytest.raises(NotLoadable, match="is not in the type map") as caught:
        opened(gone, Person).get("cart")
    assert not caught.value.gone


def test_a_class_named_by_a_string_can_be_stored_when_it_is_there(storage):
    directory = opened(storage, "graph_classes:Reduced", "graph_classes:Person")
    directory.store(Reduced("a", [Person("b")]), id="x")
    assert directory.get("x").held[0].name == "b"
    with pytest.raises(NotLoadable):
        opened(storage, "graph_classes:Person").get("x")


def test_an_intrinsic_object_whose_class_is_gone_keeps_its_holder_from_loading(storage):
    module = types.ModuleType("vanishing")
    sys.modules["vanishing"] = module
    pair = collections.namedtuple("pair", "a b")
    pair.__module__, module.pair = "vanishing", pair
    opened(storage, Person, pair).store(Person("a", friend=pair(1, 2)), id="x")
    del sys.modules["vanishing"]
    with pytest.raises(NotLoadable, match="cannot be imported") as caught:
        opened(storage, Person, "vanishing").get("x")
    assert caught.value.gone
