"""Sharing: a list, a dict or the like that two objects hold is one for both; and nothing is too deep."""

import collections
import itertools
import types
from array import array

import pytest
from graph_classes import Account, Bag, Key, Money, OwnNew, Person, Reduced, Rows, Slotted
from graph_stores import CountingStorage, directory_on

from kiokupy import ghosts
from kiokupy.errors import ConflictError, DuplicateId, NotStorable
from kiokupy.rules import intrinsic

CLASSES = [Account, Bag, Key, OwnNew, Person, Reduced, Rows, Slotted]
PAIR = intrinsic(Money, collapse=Money.collapse, expand=Money.expand)


@pytest.fixture
def directory():
    with directory_on(CountingStorage(), [*CLASSES, PAIR]) as directory:
        yield directory


def count(directory):
    with directory.new_unit() as unit:
        return len(unit.root["entries"])


CONTAINERS = {
    "list": lambda: [1],
    "dict": lambda: {"a": 1},
    "set": lambda: {1},
    "deque": lambda: collections.deque([1], maxlen=3),
    "OrderedDict": lambda: collections.OrderedDict(a=1),
    "defaultdict": lambda: collections.defaultdict(list, a=[1]),
    "Counter": lambda: collections.Counter("aab"),
    "ChainMap": lambda: collections.ChainMap({"a": 1}),
    "UserDict": lambda: collections.UserDict(a=1),
    "UserList": lambda: collections.UserList([1]),
    "SimpleNamespace": lambda: types.SimpleNamespace(a=1),
    "bytearray": lambda: bytearray(b"a"),
    "array": lambda: array("i", [1]),
}


@pytest.mark.parametrize("make", CONTAINERS.values(), ids=CONTAINERS)
def test_a_container_that_two_objects_hold_comes_back_as_one(directory, make):
    shared = make()
    directory.store([Person("a", items=shared), Slotted("b", {"deep": (shared,)})], id="x")
    with directory.new_scope() as scope:
        one, other = scope.get("x")
        assert one.items is other.friend["deep"][0]
        assert one.items == shared
        assert type(one.items) is type(shared)
    assert directory.get("x")[0].items == shared


@pytest.mark.parametrize("make", CONTAINERS.values(), ids=CONTAINERS)
def test_a_container_that_one_object_holds_stays_inside_it(directory, make):
    own = make()
    directory.store(Person("a", items=[own, own]), id="x")
    assert count(directory) == 1
    with directory.new_scope() as scope:
        first, second = scope.get("x").items
        assert first is second


def test_nothing_is_written_when_nothing_changed_in_what_is_shared(directory):
    shared = [{"a": {1, 2}}]
    directory.store([Person("a", items=shared), Person("b", items=shared)], id="x")
    before = directory._database._db.lastTransaction()
    with directory.new_scope() as scope:
        one, other = scope.get("x")
        assert one.items is other.items
    assert directory._database._db.lastTransaction() == before


def test_a_change_in_what_is_shared_is_seen_by_both(directory):
    shared = []
    directory.store([Person("a", items=shared), Person("b", items=shared)], id="x")
    with directory.new_scope() as scope:
        scope.get("x")[0].items.append({"deep": 1})
    with directory.new_scope() as scope:
        scope.get("x")[1].items[0]["deep"] = 2
    assert directory.get("x")[0].items == [{"deep": 2}]


def test_sharing_that_begins_later_is_kept_too(directory):
    directory.store([Person("a", items=[1]), Person("b", items=None)], id="x")
    with directory.new_scope() as scope:
        one, other = scope.get("x")
        other.items = one.items
    with directory.new_scope() as scope:
        one, other = scope.get("x")
        assert one.items is other.items
        one.items.append(2)
        third = Person("c", items=one.items)
        scope.store(third, id="third")
    with directory.new_scope() as scope:
        assert scope.get("third").items is scope.get("x")[1].items
        assert scope.get("third").items == [1, 2]


def test_only_the_outermost_shared_container_gets_an_entry(directory):
    shared = {"a": [1], "b": {"c": [2]}, "d": ({"e": [3]},)}
    directory.store([Person("a", items=shared), Person("b", items=shared), Person("c", items=[shared])], id="x")
    assert count(directory) == 5
    assert directory.get("x")[2].items[0]["d"] == ({"e": [3]},)


def test_many_containers_that_two_objects_share_come_back_as_one_each(directory):
    shared = [[number] for number in range(30)]
    directory.store([Person("a", items=list(shared)), Person("b", items=list(shared))], id="x")
    with directory.new_scope() as scope:
        one, other = scope.get("x")
        assert one.items == other.items == shared
        assert all(mine is theirs for mine, theirs in zip(one.items, other.items, strict=True))


def test_what_an_intrinsic_object_shares_is_seen(directory):
    shared = []
    directory.store([Person("a", items=Money(1, "EUR", shared)), Person("b", items=shared)], id="x")
    with directory.new_scope() as scope:
        one, other = scope.get("x")
        assert one.items.note is other.items


def test_what_is_shared_does_not_depend_on_where_it_is_in_memory(directory):
    for number in range(60):
        inner, other = [], []
        holder = types.SimpleNamespace(first=other, inner=inner)
        inner.append(holder)
        directory.store({"all": [inner, Person("a", items=inner)], "other": other}, id=str(number))
        with directory.new_scope() as scope:
            found = scope.get(str(number))
            assert found["all"][0] is found["all"][1].items
            assert found["all"][0][0].inner is found["all"][0]
            assert found["all"][0][0].first is found["other"]


def test_containers_that_hold_each_other_across_objects(directory):
    ring, cycle = [], {}
    ring.append(cycle)
    cycle["ring"] = ring
    ring.append(ring)
    directory.store([Person("a", items=ring), Person("b", items=cycle)], id="x")
    with directory.new_scope() as scope:
        one, other = scope.get("x")
        assert one.items[0] is other.items
        assert one.items[0]["ring"] is one.items
        assert one.items[1] is one.items


def test_a_dict_that_is_an_object_of_its_own_is_that_object_wherever_it_is_held(directory):
    with directory.new_scope() as scope:
        config = {"colour": "red"}
        scope.store(config, id="config")
        scope.store(Person("a", items=config), id="x")
    with directory.new_scope() as scope:
        assert scope.get("x").items is scope.get("config")
        assert scope.object_to_id(scope.get("x").items) == "config"
    assert count(directory) == 2


def test_an_abort_takes_sharing_back(directory):
    directory.store([Person("a", items=[1]), Person("b", items=[2])], id="x")
    with directory.new_scope() as scope:
        one, other = scope.get("x")
        other.items = one.items
        scope.savepoint()
        scope.abort()
        assert other.items == [2]
        assert one.items == [1]
        assert one.items is not other.items
    assert count(directory) == 3


def test_what_is_shared_stays_so_past_its_scope(directory):
    shared = ["first"]
    directory.store([Person("a", items=shared), Person("b", items=shared)], id="x")
    held = directory.get("x")[0]
    held.items.append("later")
    with directory.new_scope() as scope:
        scope.store(held)
    with directory.new_scope() as scope:
        one, other = scope.get("x")
        assert one.items is other.items
        assert other.items == ["first", "later"]


def test_a_shared_container_that_was_changed_meanwhile_is_not_written_over(directory):
    shared = []
    directory.store([Person("a", items=shared), Person("b", items=shared)], id="x")
    held = directory.get("x")[0]
    directory.txn_do(lambda scope: scope.get("x")[1].items.append("theirs"))
    held.items.append("mine")
    with pytest.raises(ConflictError):
        directory.store(held)
    with directory.new_scope() as scope:
        assert scope.get("x")[1].items == ["theirs"]
        with pytest.raises(DuplicateId, match="its own copy"):
            scope.store(held)
    held.items = ["own"]
    directory.store(held)
    assert [person.items for person in directory.get("x")] == [["own"], ["theirs"]]


def test_an_update_of_one_object_leaves_sharing_to_the_commit(directory):
    directory.store([Person("a", items=[1]), Person("b", items=None)], id="x")
    with directory.new_scope() as scope:
        one, other = scope.get("x")
        other.items = one.items
        scope.update(other)
        scope.deep_update(one)
    with directory.new_scope() as scope:
        one, other = scope.get("x")
        assert one.items is other.items


def test_shared_containers_are_walked_over_and_refreshed_like_any_object(directory):
    shared = [1]
    directory.store([Person("a", items=shared), Person("b", items=shared)], id="x")
    with directory.new_scope() as scope:
        assert sum(type(obj) is list for obj in scope.all_objects()) == 2
        items = scope.get("x")[0].items
        items.append(2)
        scope.refresh(items)
        assert items == [1]


# Depth

DEPTH = 10_000


def test_lists_and_dicts_nested_deeply_come_back(directory):
    deep = bottom = []
    for number in range(DEPTH):
        deep = [deep] if number % 2 else {"in": (deep,)}
    directory.store(Person("a", items=deep), id="x")
    with directory.new_scope() as scope:
        found, levels = scope.get("x").items, 0
        while found:
            found = found[0] if isinstance(found, list) else found["in"][0]
            levels += 1
        assert (levels, found) == (DEPTH, bottom)
        found.append("changed")
    with directory.new_scope() as scope:
        found = scope.get("x").items
        while found not in ([], ["changed"]):
            found = found[0] if isinstance(found, list) else found["in"][0]
        assert found == ["changed"]


@pytest.mark.no_cover
def test_lists_that_are_near_the_top_and_still_lead_far_come_back(directory):
    """The shortest way to each is short; the way that a pickler goes is not."""
    nodes = [["node", number] for number in range(3000)]
    for one, other in itertools.pairwise(nodes):
        one.append(other)
    directory.store(Person("a", items=nodes), id="x")
    with directory.new_scope() as scope:
        found = scope.get("x").items
        assert len(found) == 3000
        assert all(found[number][2] is found[number + 1] for number in range(2999))


def test_tuples_nested_too_deeply_are_refused(directory):
    deep = ()
    for _ in range(DEPTH):
        deep = (deep,)
    with pytest.raises(NotStorable, match="nested too deeply"):
        directory.store(Person("a", items=deep))
    with directory.new_scope() as scope:
        person = Person("a", items=None)
        scope.store(person)
        person.items = deep
        with pytest.raises(NotStorable, match="nested too deeply"):
            scope.update(person)
        person.items = None


CHAINS = {
    "plain": lambda inner: Person("a", friend=inner),
    "in dicts": lambda inner: Person("a", friend={"in": [inner]}),
    "slots": lambda inner: Slotted("a", inner),
    "list subclass": lambda inner: Rows([inner]),
    "constructor": lambda inner: Reduced("a", inner),
    "own hash": lambda inner: OwnNew("a", inner),
    "persistent": Account,
}


@pytest.mark.no_cover
@pytest.mark.parametrize("link", CHAINS.values(), ids=CHAINS)
def test_a_chain_of_ten_thousand_objects_comes_back(directory, link):
    chain = None
    for _ in range(DEPTH):
        chain = link(chain)
    directory.store(chain, id="x")
    with directory.new_scope() as scope:
        found, links = scope.get("x"), 0
        while found is not None:
            ghosts.load(found)
            found = _inner(found)
            links += 1
        assert links == DEPTH
    assert directory.get("x") is not None
    unlinked = None if isinstance(chain, Account) else chain
    while unlinked is not None:  # or Python recurses when it lets the chain go
        unlinked, last = _inner(unlinked), unlinked
        vars(last).clear() if hasattr(last, "__dict__") else None


def _inner(obj):
    if isinstance(obj, Rows):
        return obj.pop()
    for name in ("friend", "held", "other", "owner"):
        if hasattr(obj, name):
            inner = getattr(obj, name)
            return inner["in"][0] if isinstance(inner, dict) else inner
    return None


def test_a_long_chain_that_leads_to_other_objects_leaves_those_unloaded(directory):
    chain = None
    for number in range(100):
        chain = Reduced([Person(str(number)), Bag(key=number)], chain)
    with directory.new_scope() as scope:
        scope.store(chain, id="x")
        bag = scope.object_to_id(chain.name[1])
        scope.commit()
        scope.delete(bag)
        chain.name.pop()
    with directory.new_scope() as scope:
        found = scope.get("x")
        assert ghosts.is_ghost(found.held.name[0])
        assert found.held.name[1] == {"key": 98}


def test_what_goes_wrong_deep_inside_is_told_and_leaves_nothing_half_loaded(directory):
    chain = bottom = Reduced("bottom")
    for _ in range(100):
        chain = Reduced("a", chain)
    with directory.new_scope() as scope:
        scope.store(chain, id="x")
        key = scope.object_to_id(bottom)
    directory.delete(key)
    with directory.new_scope() as scope:
        for _ in range(2):
            with pytest.raises(Exception, match=key):
                scope.get("x")
        assert scope._live.live_keys() == []
