"""The verbs on many objects at once, savepoints and nested transactions, on every storage."""

import gc
import weakref

import pytest
from graph_classes import CLASSES, Account, Bag, Person, PrivateSlots, Reduced, Rows, Slotted, Thing
from graph_stores import CountingStorage, directory_on
from persistent.mapping import PersistentMapping

from kiokupy import ghosts, walks
from kiokupy.errors import ConflictError, NotFound, NotStorable, NotStored, ScopeClosed, StoreReadOnly


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


# Savepoints


def test_a_rollback_takes_back_what_was_done_since_the_savepoint_and_nothing_else(memory):
    memory.store(Person("stored", items=[]), id="stored")
    memory.store(Person("doomed"), id="doomed")
    with memory.new_scope() as scope:
        stored, early, late = scope.get("stored"), Person("early"), Person("late")
        stored.name = "before"
        scope.store(early, id="early")
        point = scope.savepoint()
        stored.name, early.name = "after", "changed"
        stored.items.append(late)
        scope.store(late, id="late")
        scope.store(stored)
        scope.delete("doomed")
        point.rollback()
        assert (stored.name, stored.items, early.name) == ("before", [], "early")
        assert scope.get("early") is early
        assert not scope.exists("late")
        assert scope.object_to_id(late) is None
        assert scope.get("doomed").name == "doomed"
        assert scope.store(late, id="late2") == "late2"
    assert (memory.get("stored").name, memory.get("early").name) == ("before", "early")
    assert not memory.exists("late")
    assert memory.get("late2").name == "late"


def test_a_savepoint_can_be_rolled_back_to_again_and_again(directory):
    with directory.new_scope() as scope:
        person = Person("a")
        scope.store(person, id="x")
        point = scope.savepoint()
        for name in "bcd":
            person.name = name
            scope.store(Person(name), id=name)
            point.rollback()
            assert person.name == "a"
            assert not scope.exists(name)
    assert [found.name for found in directory.all_objects()] == ["a"]


def test_inner_savepoints_are_over_after_a_rollback_to_an_outer_one(memory):
    with memory.new_scope() as scope:
        scope.store(Person("a"), id="x")
        outer = scope.savepoint()
        scope.get("x").name = "b"
        inner = scope.savepoint()
        scope.get("x").name = "c"
        inner.rollback()
        assert scope.get("x").name == "b"
        outer.rollback()
        assert scope.get("x").name == "a"
        with pytest.raises(ScopeClosed, match="a savepoint, which ends"):
            inner.rollback()
        scope.commit()
        with pytest.raises(ScopeClosed):
            outer.rollback()
        last = scope.savepoint()
    with pytest.raises(ScopeClosed):
        last.rollback()


def test_an_abort_after_a_savepoint_takes_all_of_it_back(directory):
    directory.store(Person("a"), id="x")
    with directory.new_scope() as scope:
        found, new = scope.get("x"), Person("new")
        found.name = "b"
        scope.store(new, id="new")
        scope.savepoint()
        found.name = "c"
        scope.delete(new)
        scope.abort()
        assert found.name == "a"
        assert not scope.exists("new")
        assert scope.insert(new, id="new") == "new"
    assert directory.get("new").name == "new"


def test_a_new_object_survives_a_rollback_and_an_abort_after_it(memory):
    with memory.new_scope() as scope:
        person = Person("Ada")
        scope.store(person, id="x")
        scope.savepoint().rollback()
        scope.abort()

        assert person.name == "Ada"
        scope.store(person, id="x")
    assert memory.get("x").name == "Ada"


def test_what_was_deleted_before_a_savepoint_stays_deleted_after_a_rollback(memory):
    with memory.new_scope() as scope:
        friend = Person("friend")
        scope.store(Person("a", friend=friend), id="x")
        scope.delete(friend)
        point = scope.savepoint()
        scope.store(friend, id="again")
        point.rollback()
        with pytest.raises(NotStored):
            scope.update(friend)
        scope.get("x").friend = None
    assert [found.name for found in memory.all_objects()] == ["a"]


def test_an_id_that_another_object_got_since_is_the_first_ones_again(memory):
    with memory.new_scope() as scope:
        old, new = Person("old"), Slotted("new")
        scope.store(old, id="x")
        point = scope.savepoint()
        scope.delete(old)
        scope.store(new, id="x")
        point.rollback()
        assert scope.get("x") is old
        assert scope.object_to_id(new) is None
        old.name = "OLD"
    assert memory.get("x").name == "OLD"


def test_what_was_loaded_since_a_savepoint_stays_known(memory):
    memory.store(Person("a", friend=Reduced("b")), id="x")
    with memory.new_scope() as scope:
        point = scope.savepoint()
        found = scope.get("x")
        found.name, found.friend.name = "changed", "changed"
        point.rollback()
        assert scope.get("x") is found
        assert (found.name, found.friend.name) == ("a", "b")


def test_persistent_objects_roll_back_too(directory):
    with directory.new_scope() as scope:
        account = Account(Person("Ada"))
        scope.store(account, id="x")
        account.balance = 5
        point = scope.savepoint()
        account.balance = 7
        late = Account(Person("late"))
        scope.store(late, id="late")
        point.rollback()
        assert account.balance == 5
        assert not scope.exists("late")
        assert late.owner.name == "late"
        assert scope.store(late, id="later") == "later"
    with directory.new_scope() as scope:
        assert scope.get("x").balance == 5
        assert scope.get("later").owner.name == "late"


def test_a_savepoint_of_what_cannot_be_stored_fails_and_leaves_the_scope_as_it_was(memory):
    memory.store(Person("a"), id="x")
    with memory.new_scope() as scope:
        scope.get("x").friend = Thing()
        with pytest.raises(NotStorable, match=r"person\.friend"):
            scope.savepoint()
        scope.get("x").friend = "fine"
        scope.savepoint()
    assert memory.get("x").friend == "fine"


# Nested transactions


def test_a_nested_transaction_that_fails_is_undone_and_the_outer_one_goes_on(memory):
    memory.store(Person("a"), id="x")

    def inner(scope):
        scope.get("x").name = "inner"
        scope.store(Person("y"), id="y")
        raise ZeroDivisionError

    def outer(scope):
        found = scope.get("x")
        found.friend = "outer"
        for nested in (scope.txn_do, memory.txn_do):
            with pytest.raises(ZeroDivisionError):
                nested(inner)
            assert (found.name, found.friend) == ("a", "outer")
            assert not scope.exists("y")
        assert memory.txn_do(lambda same: same is scope)
        memory.txn_do(lambda same: same.store(Person("z"), id="z"))
        return found.name

    assert memory.txn_do(outer) == "a"
    assert memory.get("x").friend == "outer"
    assert memory.get("z").name == "z"
    assert not memory.exists("y")


def test_a_conflict_in_a_nested_transaction_is_the_outer_ones_to_retry(memory):
    memory.store(Person("a"), id="x")
    attempts = []

    def inner(scope):
        if len(attempts) < 3:
            raise ConflictError

    def outer(scope):
        attempts.append(1)
        memory.txn_do(inner)

    memory.txn_do(outer)
    assert len(attempts) == 3


def test_a_nested_transaction_that_ended_the_outer_one_has_nothing_to_undo(memory):
    def inner(scope):
        scope.store(Person("a"), id="x")
        scope.commit()
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        memory.txn_do(lambda scope: scope.txn_do(inner))
    assert memory.exists("x")


def test_one_shot_verbs_within_a_transaction_are_transactions_of_their_own(memory):
    def work(scope):
        memory.store(Person("apart"), id="apart")
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        memory.txn_do(work)
    assert memory.exists("apart")


def test_a_nested_transaction_in_a_readonly_scope_only_reads(memory):
    memory.store(Person("a"), id="x")
    with memory.new_scope(readonly=True) as scope:
        assert scope.txn_do(lambda same: same.get("x").name) == "a"
        with pytest.raises(StoreReadOnly):
            scope.txn_do(lambda same: same.store(Person("b")))
        with pytest.raises(StoreReadOnly):
            scope.savepoint()


# deep_update, refresh


def test_deep_update_writes_all_it_reaches_and_update_only_what_it_is_given(memory):
    with memory.new_scope(track=False) as scope:
        friend = Person("friend")
        person = Person("a", friend=friend)
        scope.store(person, id="x")
        person.name, friend.name = "A", "FRIEND"
        scope.update(person)
        scope.commit()
        assert (memory.get("x").name, memory.get("x").friend.name) == ("A", "friend")
        scope.deep_update(person)
    assert memory.get("x").friend.name == "FRIEND"


def test_deep_update_writes_what_refers_to_itself(memory):
    with memory.new_scope(track=False) as scope:
        person = Person("a")
        person.friend = person
        scope.store(person, id="x")
        person.name = "A"
        scope.deep_update(person, person)
    found = memory.get("x")
    assert (found.name, found.friend) == ("A", found)


def test_deep_update_of_what_reaches_something_unknown_is_refused(memory):
    with memory.new_scope(track=False) as scope:
        person = Person("a", friend=Person("friend"))
        scope.store(person, id="x")
        with pytest.raises(NotStored):
            scope.deep_update(person, Person("unknown"))
        person.friend.friend = Person("new")
        with pytest.raises(NotStored, match=r"at person\.friend\.friend") as caught:
            scope.deep_update(person)
        assert caught.value.object is person.friend.friend
        deleted = person.friend
        scope.delete(deleted)
        with pytest.raises(NotStored, match=r"at person\.friend "):
            scope.deep_update(person)
    for unknown in (Person("unknown"), deleted):
        with pytest.raises(NotStored):
            memory.deep_update(unknown)


def test_refresh_drops_what_was_changed_and_not_written(memory):
    memory.store(Person("a", friend=Reduced("b")), id="x")
    with memory.new_scope() as scope:
        found = scope.get("x")
        friend = found.friend
        found.name, friend.name = "changed", "changed"
        found.extra = 1
        scope.refresh(found, friend)
        assert (found.name, friend.name, hasattr(found, "extra")) == ("a", "b", False)
        found.name = "written"
        scope.update(found)
        found.name = "not written"
        scope.refresh(found)
        assert found.name == "written"


def test_a_persistent_object_is_refreshed_too(memory):
    memory.store(Account("Ada"), id="x")
    with memory.new_scope() as scope:
        account = scope.get("x")
        account.balance = 7
        scope.refresh(account)
        assert account.balance == 0
    with memory.new_scope() as scope:
        assert scope.get("x").balance == 0


def test_what_cannot_be_refreshed_is_refused(memory):
    memory.store(Person("a"), id="x")
    with memory.new_scope() as scope:
        found = scope.get("x")
        with pytest.raises(NotStored):
            scope.refresh(found, Person("unknown"))
        scope.delete(found)
        with pytest.raises(NotStored):
            scope.refresh(found)
    with pytest.raises(NotFound):
        memory.refresh("x")


def test_an_object_that_is_held_past_its_scope_is_refreshed_by_the_directory(memory):
    memory.store(Person("a", friend=Person("b")), id="x")
    held = memory.get("x")
    memory.txn_do(lambda scope: setattr(scope.get("x"), "name", "changed"))
    held.name = "stale"
    memory.refresh(held)
    assert (held.name, held.friend.name) == ("changed", "b")
    held.name = "mine"
    memory.update(held)
    assert memory.get("x").name == "mine"


# clear


def test_clear_deletes_every_object_and_leaves_sessions(memory):
    from kiokupy.sessions.manager import SessionManager  # this test alone has to do with sessions

    session = SessionManager(memory).create()
    memory.store(Person("a", friend=Person("b")), id="x")
    with memory.new_scope() as scope:
        found = scope.get("x")
        scope.clear()
        assert scope.lookup("x") is None
        assert list(scope.all_objects()) == list(scope.root_set()) == []
        scope.abort()
        assert scope.get("x") is found
        scope.clear()
        assert scope.store(found, id="x") == "x"
        assert found.name == "a"
    assert [obj.name for obj in memory.root_set()] == ["a"]
    memory.clear()
    assert list(memory.all_objects()) == []
    assert SessionManager(memory).retrieve(session.id) is not None


# Walks


def test_all_objects_come_in_the_order_of_ids_and_the_root_set_has_the_roots_only(memory):
    for id in ("b", "a", "c"):
        memory.store(Person(id, friend=Person(f"friend of {id}")), id=id)
    memory.unset_root("c")
    names = [obj.name for obj in memory.all_objects()]
    assert sorted(names) == ["a", "b", "c", "friend of a", "friend of b", "friend of c"]
    assert [name for name in names if len(name) == 1] == ["a", "b", "c"]
    assert [obj.name for obj in memory.root_set()] == ["a", "b"]
    assert [obj.name for obj in memory.grep(lambda obj: obj.name > "a")] == ["b"]
    seen = []
    memory.scan(lambda obj: seen.append(obj.name))
    assert seen == ["a", "b"]


def test_a_walk_sees_what_its_scope_changed(memory):
    memory.store(Person("a"), id="x")
    with memory.new_scope() as scope:
        scope.get("x").friend = Person("new")
        scope.store(Person("b"), id="y")
        assert sorted(obj.name for obj in scope.all_objects()) == ["a", "b", "new"]
        scope.delete("y")
        assert sorted(obj.name for obj in scope.all_objects()) == ["a", "new"]


def test_what_a_walk_changes_is_written(directory):
    with directory.new_scope() as scope:
        for number in range(1100):
            scope.store(Person(str(number)), id=f"{number:04}")
    with directory.new_scope() as scope:
        for person in scope.all_objects():
            person.name += "!"
    assert all(person.name == f"{number}!" for number, person in enumerate(directory.all_objects()))


def test_what_a_scan_changes_is_written(memory):
    memory.store(Person("a"), id="x")
    memory.scan(lambda person: setattr(person, "name", "b"))
    assert memory.get("x").name == "b"


def test_objects_may_be_deleted_and_stored_during_a_walk(memory):
    with memory.new_scope() as scope:
        for number in range(1200):
            scope.store(Person(str(number)), id=f"{number:04}")
    with memory.new_scope() as scope:
        seen = []
        for person in scope.all_objects():
            seen.append(person.name)
            scope.delete(scope.object_to_id(person))
            if len(seen) == 3:
                scope.delete("0007")
                scope.store(Person("late"), id="9")
        assert len(seen) == 1200
        assert seen[-1] == "late"
    assert list(memory.all_objects()) == []


def _knot(number):
    one, other = Person(str(number)), Person("other")
    one.friend, other.friend = other, one
    return one


#: How many, and how one is made. Where only Python's collector parts from objects, it is asked when 5,000 are left.
KINDS = {
    "plain": (4_000, lambda number: Person(str(number), items=[number])),
    "in cycles": (12_000, _knot),
    "no ghosts": (4_000, lambda number: Bag(number=number)),
    "no weak references": (4_000, PrivateSlots),
    "persistent": (12_000, lambda number: PersistentMapping(number=number)),
}


@pytest.mark.parametrize(
    "make", [_knot, lambda number: PersistentMapping(number=number)], ids=["in cycles", "persistent"]
)
def test_a_walk_has_python_collect_what_nobody_holds_when_many_objects_are_left(memory, monkeypatch, make):
    monkeypatch.setattr(walks, "_MANY", 700)
    with memory.new_scope(track=False) as scope:
        for number in range(2_000):
            scope.store(make(number), id=f"{number:06}")
    memory._database._db.setCacheSize(100)
    most = 0
    gc.disable()  # what Python collects by itself is luck
    try:
        with memory.new_scope(readonly=True) as scope:
            for number, obj in enumerate(scope.root_set()):
                vars(obj)
                if number % 100 == 0:
                    most = max(most, len(scope._live.live_keys()))
    finally:
        gc.enable()
    assert most < 1_800


@pytest.mark.no_cover
@pytest.mark.parametrize("readonly", [True, False])
@pytest.mark.parametrize(("count", "make"), KINDS.values(), ids=KINDS)
def test_a_walk_holds_few_objects_however_many_there_are(memory, count, make, readonly):
    with memory.new_scope(track=False) as scope:
        for number in range(count):
            scope.store(make(number), id=f"{number:06}")
    memory._database._db.setCacheSize(500)
    most = 0
    with memory.new_scope(readonly=readonly) as scope:
        for number, obj in enumerate(scope.root_set(), start=1):
            vars(obj) if hasattr(obj, "__dict__") else obj.hidden()
            if number % 1000 == 0:
                most = max(most, len(scope._live.live_keys()))
        assert number == count
    assert most < count // 2
    assert len(ghosts._waiting) == 0


@pytest.mark.no_cover
def test_what_somebody_holds_stays_the_same_object_through_a_walk(memory):
    with memory.new_scope() as scope:
        for number in range(7000):
            scope.store(_knot(number) if number % 2 else Slotted(str(number)), id=f"{number:06}")
    with memory.new_scope() as scope:
        held = {}
        for obj in scope.root_set():
            key = scope.object_to_id(obj)
            if int(key) % 10 < 2:
                held[key] = obj, obj.name, getattr(obj, "friend", None)
        assert len(held) == 1400
        assert all(scope.get(key) is obj for key, (obj, _, _) in held.items())
        assert all(obj.name == name for obj, name, _ in held.values())
        friend = held["000001"][2]
        friend.name = "changed"
    assert memory.get("000001").friend.name == "changed"
    assert all(obj.name == name for obj, name, _ in held.values())


def test_an_unloaded_friend_that_is_held_through_a_walk_still_loads_or_says_what_is_broken(memory):
    with memory.new_scope() as scope:
        for number in range(600):
            scope.store(Person(str(number), friend=Person("friend")), id=f"{number:04}")
    with memory.new_scope() as scope:
        friend = scope.get("0000").friend
        broken = scope.object_to_id(friend)
        scope.delete(friend)
    with memory.new_scope() as scope:
        held = [person.friend for person in scope.root_set()]
        with pytest.raises(Exception, match=f"refers.*'{broken}'"):
            held[0].name  # noqa: B018
        assert held[1].name == "friend"


def test_what_a_walk_let_go_is_gone_from_memory(memory):
    with memory.new_scope() as scope:
        for number in range(1200):
            scope.store(Person(str(number)), id=f"{number:04}")
    with memory.new_scope() as scope:
        walk = scope.root_set()
        first = weakref.ref(next(walk))
        for _ in range(700):
            next(walk)
        gc.collect()
        assert first() is None
        assert scope.get("0000").name == "0"


def test_verbs_on_many_objects_are_refused_after_the_scope(memory):
    scope = memory.new_scope()
    scope.close()
    for verb in (
        scope.all_objects,
        scope.root_set,
        scope.clear,
        scope.savepoint,
        scope.prefetch,
        lambda: scope.refresh(Person("a")),
        lambda: scope.deep_update(Person("a")),
        lambda: scope.lookup_many(["x"]),
        lambda: scope.grep(bool),
        lambda: scope.scan(bool),
    ):
        with pytest.raises(ScopeClosed):
            verb()


# prefetch


def test_prefetch_loads_the_named_objects_and_no_others(directory):
    for number in range(20):
        directory.store(Person(str(number), friend=Person("friend")), id=str(number))
    with directory.new_scope() as scope:
        scope.prefetch(*map(str, range(10)), scope.get("15"))
        loaded = [key for key in scope._live.live_keys() if not ghosts.is_ghost(scope._live.peek(key))]
        assert sorted(loaded) == sorted([*map(str, range(10)), "15"])
        with pytest.raises(NotFound):
            scope.prefetch("0", "missing")
        with pytest.raises(NotStored):
            scope.prefetch(Person("unknown"))


# track=False


def test_without_tracking_only_what_is_named_is_written(memory, storage):
    memory.store([Person("a"), Rows([1]), Account()], id="x")
    with memory.new_scope(track=False) as scope:
        person, rows, _ = scope.get("x")
        person.name = "changed"
        rows.append(2)
        scope.update(rows)
    person, rows, _ = memory.get("x")
    assert (person.name, list(rows)) == ("a", [1, 2])
    with memory.new_scope(track=False) as scope:
        scope.get("x")[2].balance = 5  # a Persistent object tells ZODB itself
    assert memory.get("x")[2].balance == 5


def test_what_a_walk_meets_half_changed_is_kept_until_the_end_says_what_is_wrong(memory):
    memory.store(Person("a"), id="x")
    with pytest.raises(NotStorable, match=r"person\.friend"), memory.new_scope() as scope:  # noqa: PT012  # it ends there
        for person in scope.all_objects():
            person.friend = Thing()
        del person
        gc.collect()
        assert scope.id_to_object("x") is not None


def test_clear_passes_over_a_reference_to_what_is_gone(memory):
    with memory.new_scope() as scope:
        friend = Person("friend")
        scope.store(Person("a", friend=friend), id="x")
        key = scope.object_to_id(friend)
    memory.delete(key)
    with memory.new_scope() as scope:
        assert isinstance(scope.get("x").friend, Person)
        scope.clear()
    assert list(memory.all_objects()) == []


def test_an_unloaded_object_is_as_fresh_as_can_be(memory, storage):
    memory.store(Person("a"), id="x")
    with memory.new_scope() as scope:
        found = scope.get("x")
        scope.refresh(found)
        assert ghosts.is_ghost(found)
