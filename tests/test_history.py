"""The past: what it looks like, what the history tells, what an undo takes back, and who has no past."""

import copy
import os
import pickle
import shutil
import struct
import threading
from datetime import UTC, datetime, timedelta, timezone

import pytest
from conftest import KINDS, new_place
from graph_classes import CLASSES, Account, Money, Person, Reduced
from graph_stores import directory_in
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from persistent.mapping import PersistentMapping
from ZODB.utils import p64, u64

import kiokupy
from kiokupy import moments
from kiokupy.errors import (
    CannotUndo,
    ConflictError,
    InvalidMoment,
    NoHistory,
    NotFound,
    ScopeClosed,
    StoreReadOnly,
)
from kiokupy.rules import first_class

MONEY = first_class(Money, collapse=Money.collapse, expand=Money.expand)
WITH_HISTORY = ["File", "SQLite-history", "PostgreSQL-history", "ZEO"]


@pytest.fixture(params=WITH_HISTORY)
def keeping_place(request, tmp_path):
    """A place for a store that keeps history, of every kind in turn."""
    with new_place(request.param, tmp_path) as place:
        yield place


@pytest.fixture
def directory(keeping_place):
    with keeping_place.connect(allow_classes=[*CLASSES, MONEY]) as directory:
        yield directory


@pytest.fixture
def on_file(tmp_path):
    with directory_in(tmp_path / "store.fs", [*CLASSES, MONEY]) as directory:
        yield directory


def rename(directory, id, name):
    """Change an object in a transaction of its own, and return its newest revision."""
    with directory.new_scope() as scope:
        scope.get(id).name = name
    return directory.history(id)[0]


def pack(directory):
    directory._database._db.pack()


# The past


def test_a_scope_of_the_past_sees_every_object_as_it_was(directory):
    account = Account(Person("owner"))
    directory.store(Person("one", friend=Person("friend"), items=[Reduced("r"), Money(1, "EUR")]), id="x")
    directory.store(account, id="account")
    directory.store(Person("later deleted"), id="deleted")
    directory.store(Person("not a root"), id="plain", root=False)
    moment = directory.history("plain")[0]
    with directory.new_scope() as scope:
        found, account = scope.get("x"), scope.get("account")
        found.name, found.friend.name, found.items = "two", "changed", []
        account.balance, account.owner.name = 5, "changed"
        scope.delete("deleted")
        scope.set_root("plain")
        scope.store(Person("new"), id="new")

    with directory.new_scope(at=moment) as past:
        found, account = past.get("x"), past.get("account")
        assert (found.name, found.friend.name) == ("one", "friend")
        assert (found.items[0].name, found.items[1].amount) == ("r", 1)
        assert (account.balance, account.owner.name) == (0, "owner")
        assert past.get("deleted").name == "later deleted"
        assert past.lookup("new") is None
        assert not past.is_root("plain")
        assert sum(isinstance(obj, Person) for obj in past.all_objects()) == 5
        assert len(list(past.root_set())) == 3
        assert past.lookup_many(["new", "deleted"]).keys() == {"deleted"}
    assert (directory.get("x").name, directory.get("account").balance) == ("two", 5)


def test_a_moment_includes_the_transaction_that_was_committed_then_however_it_is_named(directory):
    directory.store(Person("0"), id="x")
    for name in "12":
        rename(directory, "x", name)
    history = directory.history("x")

    for revision, name in zip(history, "210", strict=True):
        for at in (revision, revision.tid, revision.time, revision.time.astimezone(timezone(timedelta(hours=-9)))):
            with directory.new_scope(at=at) as past:
                assert past.get("x").name == name
    with directory.new_scope(at=datetime.now(UTC)) as past:
        assert past.get("x").name == "2"
    with directory.new_scope(at=p64(u64(history[0].tid) - 1)) as past:
        assert past.get("x").name == "1"


def test_the_past_is_not_moved_by_what_others_commit_and_ghosts_load_from_it_later(directory):
    directory.store(Person("one", friend=Person("friend")), id="x")
    with directory.new_scope(at=datetime.now(UTC)) as past:
        found = past.get("x")
        with directory.new_scope() as scope:
            scope.get("x").name = "two"
            scope.get("x").friend.name = "changed"
            scope.store(Person("new"), id="new")
        past.commit()
        past.abort()
        assert (found.name, found.friend.name, past.exists("new")) == ("one", "friend", False)


def test_a_moment_before_the_store_was_made_is_no_history_and_one_to_come_is_no_moment(directory):
    directory.store(Person("one"), id="x")
    with directory.new_unit() as unit:
        made = unit.connection.revisions(unit.connection.root()._p_oid, None)[-1]["tid"]
    first = datetime.min.replace(tzinfo=timezone(timedelta(hours=9)))
    for before in (made, first, bytes(8), datetime.now(UTC) - timedelta(days=1)):
        with pytest.raises(NoHistory, match="the store was made later"):
            directory.new_scope(at=before)
    last = datetime.max.replace(tzinfo=timezone(timedelta(hours=-9)))
    for after in (datetime.now(UTC) + timedelta(minutes=1), last, b"\xff" * 8):
        with pytest.raises(InvalidMoment, match="is in the future"):
            directory.new_scope(at=after)


@pytest.mark.parametrize(
    ("at", "problem"),
    [(datetime(2026, 1, 1), "has no time zone"), *((at, "is no moment") for at in ("2026-01-01", 0, b"short", 1.5))],
)
def test_what_is_no_moment_is_refused_with_the_fix(on_file, at, problem):
    with pytest.raises(InvalidMoment, match=rf"{problem}\. Give a datetime with a time zone"):
        on_file.new_scope(at=at)


def test_the_past_cannot_be_written(directory):
    directory.store(Person("one"), id="x")
    directory.store(PersistentMapping(), id="m")
    with directory.new_scope(at=directory.history("m")[0]) as past:
        found = past.get("x")
        for write in (
            lambda: past.store(Person("b")),
            lambda: past.insert(Person("b")),
            lambda: past.update(found),
            lambda: past.deep_update(found),
            lambda: past.delete("x"),
            past.clear,
            lambda: past.set_root("x"),
            lambda: past.unset_root("x"),
            past.savepoint,
            lambda: past.note("why"),
        ):
            with pytest.raises(StoreReadOnly, match="the past, at=, never changes"):
                write()
        found.name = "changed"
        with pytest.raises(StoreReadOnly):
            past.commit()
        past.get("m")["a"] = 1
        with pytest.raises(StoreReadOnly):
            past.commit()
        assert (found.name, dict(past.get("m"))) == ("one", {})
        found.name = "changed"
    assert directory.get("x").name == "one"


def test_a_ghost_of_the_past_cannot_be_loaded_when_its_scope_has_ended(on_file):
    on_file.store(Person("one", friend=Account()), id="x")
    with on_file.new_scope(at=datetime.now(UTC)) as past:
        found = past.get("x")
        assert found.name == "one"
        account = found.friend
        ghost = past.get("x").friend
    with pytest.raises(ScopeClosed):
        account.balance  # noqa: B018
    assert ghost is account


def test_a_scope_of_the_past_leaves_no_connection_to_the_database_open(tmp_path):
    with new_place("PostgreSQL-history", tmp_path) as place, place.connect(allow_classes=CLASSES) as directory:
        directory.store(Person("one"), id="x")
        directory.new_scope(at=datetime.now(UTC)).close()
        before = len(os.listdir("/dev/fd"))
        scopes = [directory.new_scope(at=datetime.now(UTC)) for _ in range(3)]
        assert [past.get("x").name for past in scopes] == ["one"] * 3
        assert len(os.listdir("/dev/fd")) > before
        for past in scopes:
            past.close()
        assert len(os.listdir("/dev/fd")) == before


def test_a_readonly_directory_sees_the_past(tmp_path):
    with directory_in(tmp_path / "store.fs") as directory:
        directory.store(Person("one"), id="x")
        first = rename(directory, "x", "two")
        rename(directory, "x", "three")
    with directory_in(tmp_path / "store.fs", readonly=True) as directory:
        with directory.new_scope(at=first) as past:
            assert past.get("x").name == "two"
        with pytest.raises(StoreReadOnly):
            directory.undo(first)


def test_threads_look_at_the_past_while_others_write(directory):
    directory.store(Person(0, friend=Person(0)), id="x")
    seen, stop = [], threading.Event()

    def look():
        while not stop.is_set():
            with directory.new_scope(at=datetime.now(UTC)) as past:
                seen.append((past.get("x").name, past.get("x").friend.name))

    thread = threading.Thread(target=look)
    thread.start()
    try:
        for count in range(1, 21):
            with directory.new_scope() as scope:
                scope.get("x").name = scope.get("x").friend.name = count
    finally:
        stop.set()
        thread.join()
    assert all(name == friend for name, friend in seen)
    assert seen == sorted(seen)


# Objects from the past


def test_an_object_from_the_past_that_did_not_change_since_can_be_changed_and_stored(directory):
    directory.store(Person("one", friend=Person("friend")), id="x")
    directory.store(Person("other"), id="y")
    with directory.new_scope(at=directory.history("y")[0]) as past:
        held = past.get("x")
        past.load_all()
    rename(directory, "y", "changed")

    assert directory.store(held) == "x"
    held.name = "two"
    directory.store(held)
    assert (directory.get("x").name, len(directory.history("x"))) == ("two", 2)


@pytest.mark.parametrize("change", [lambda held: None, lambda held: setattr(held, "name", "mine")])
def test_an_object_from_the_past_never_overwrites_what_was_written_since(directory, change):
    directory.store(Person("one"), id="x")
    with directory.new_scope(at=directory.history("x")[0]) as past:
        held = past.get("x")
        past.load_all()
    rename(directory, "x", "two")
    change(held)

    for _ in range(2):
        for verb in (directory.store, directory.update, directory.deep_update):
            with pytest.raises(ConflictError, match="'x' was changed since the moment that it was loaded from"):
                verb(held)
    assert directory.get("x").name == "two"
    directory.delete("x")
    with pytest.raises(ConflictError, match="deleted since it was loaded"):
        directory.store(held)
    assert not directory.exists("x")


def test_an_object_from_the_past_can_be_referred_to_and_refreshed(on_file):
    on_file.store(Person("one"), id="x")
    with on_file.new_scope(at=on_file.history("x")[0]) as past:
        held = past.get("x")
        past.load_all()
    rename(on_file, "x", "two")

    on_file.insert(Person("new", friend=held), id="new")
    assert on_file.get("new").friend.name == "two"
    with pytest.raises(ConflictError, match="the moment that it was loaded from"):
        on_file.store(held)
    on_file.refresh(held)
    assert on_file.store(held) == "x"
    assert held.name == "two"
    held.name = "three"
    on_file.store(held)
    assert on_file.get("x").name == "three"


def test_a_deleted_object_is_brought_back_by_a_copy_of_what_it_was(directory):
    friend = Person("friend")
    directory.store(friend, id="friend")
    directory.store(Person("one", friend=friend, items=[Person("not loaded")]), id="x")
    revision = directory.history("x")[0]
    rename(directory, "friend", "changed")
    directory.delete("x")

    with directory.new_scope(at=revision) as past:
        copied = copy.copy(past.get("x"))
        assert copied.friend.name == "friend"
    directory.insert(copied, id="x")

    found = directory.get("x")
    assert (found.name, found.friend.name, found.items[0].name) == ("one", "changed", "not loaded")
    assert len(list(directory.all_objects())) == 3


def test_another_object_can_take_the_id_of_one_from_the_past_that_is_deleted(on_file):
    on_file.store(Person("one"), id="x")
    with on_file.new_scope(at=on_file.history("x")[0]) as past:
        held = past.get("x")
        past.load_all()
    with on_file.new_scope() as scope:
        scope.update(held)
        scope.delete(held)
        scope.store(Person("two"), id="x")
    assert on_file.get("x").name == "two"


# The history


def test_the_history_tells_every_state_with_who_and_why_the_newest_first(directory):
    before = datetime.now(UTC) - timedelta(microseconds=1)
    directory.store(Person("0"), id="x")
    directory.store(Person("other"), id="y")
    with directory.new_scope() as scope:
        scope.note("renamed")
        scope.note("as asked, ü", user="ann")
        scope.get("x").name = "1"
        scope.commit()
        scope.get("x").name = "2"

    newest, noted, first = directory.history("x")
    assert before <= first.time < noted.time < newest.time <= datetime.now(UTC)
    assert {revision.id for revision in (newest, noted, first)} == {"x"}
    assert (noted.user, noted.description) == ("ann", "renamed\nas asked, ü")
    assert (newest.user, newest.description) == ("", "")
    assert newest.size == first.size > 0
    assert directory.history("x", limit=2) == [newest, noted]
    assert len(directory.history("y")) == 1
    assert pickle.loads(pickle.dumps(newest)) == newest


def test_the_history_of_a_persistent_object_is_that_of_its_own_record(directory):
    directory.store(Account(), id="account")
    with directory.new_scope() as scope:
        scope.get("account").balance = 1
    with directory.new_scope() as scope:
        scope.unset_root("account")

    history = directory.history("account")
    with directory.new_scope(at=history[2]) as past:
        assert past.get("account").balance == 0
    with directory.new_scope(at=history[1]) as past:
        assert (past.get("account").balance, past.is_root("account")) == (1, True)
    assert history[2].size > history[1].size
    assert directory.history("account", limit=1) == history[:1]


def test_the_history_of_what_is_not_there_is_told_where_it_was(directory):
    directory.store(Person("one"), id="x", root=False)
    revision = rename(directory, "x", "two")
    directory.store(Person("other"), id="y")
    history = directory.history("x")
    directory.delete("x")

    for id in ("x", "never"):
        with pytest.raises(NotFound):
            directory.history(id)
    with directory.new_scope(at=revision) as past:
        assert past.history("x") == history
        assert past.history("x", limit=1) == history[:1]
    with directory.new_scope(at=history[1]) as past:
        assert past.history("x") == history[1:]
    directory.store(Person("again"), id="x")
    assert len(directory.history("x")) == 1


def test_what_is_not_committed_has_no_history(directory):
    with directory.new_scope() as scope:
        scope.store(Person("one"), id="x")
        assert scope.history("x") == []
        scope.savepoint()
        assert scope.history("x") == []
        scope.commit()
        assert len(scope.history("x")) == 1


def test_what_was_packed_away_is_no_history_and_the_rest_is_as_it_was(keeping_place):
    with keeping_place.connect(allow_classes=CLASSES) as directory:
        directory.store(Person("one", friend=Person("friend")), id="x")
        directory.store(Person("later deleted"), id="deleted", root=False)
        moment = directory.history("deleted")[0]
        renamed = rename(directory, "x", "two")
        directory.delete("deleted")
        pack(directory)
        after = rename(directory, "x", "three")

        assert [revision.tid for revision in directory.history("x")] in ([after.tid, renamed.tid], [after.tid])
        with pytest.raises(CannotUndo, match="or packed away"):
            directory.undo(renamed)
    with keeping_place.connect(allow_classes=CLASSES) as directory:  # ZEO's client may still remember
        with directory.new_scope(at=after) as past:
            assert past.get("x").name == "three"
        with pytest.raises(NoHistory, match="packed away"), directory.new_scope(at=moment) as past:
            past.get("deleted")
        with pytest.raises(NoHistory, match="packed away"), directory.new_scope(at=moment) as past:
            past.exists("x")


def test_what_a_persistent_object_held_and_was_packed_away_is_no_history_when_all_is_loaded(on_file):
    on_file.store(PersistentMapping(inner=PersistentMapping(count=1)), id="m")
    revision = on_file.history("m")[0]
    with on_file.new_scope() as scope:
        scope.get("m")["inner"]["count"] = 2
    pack(on_file)
    with on_file.new_scope(at=revision) as past:
        past.get("m")
        with pytest.raises(NoHistory, match="packed away"):
            past.load_all()


def test_an_object_that_was_packed_still_tells_the_state_it_has(directory):
    directory.store(Person("one"), id="x")
    newest = rename(directory, "x", "two")
    pack(directory)

    history = directory.history("x")
    assert [(revision.tid, revision.size) for revision in history] == [(newest.tid, newest.size)]


# Undo


def test_an_undo_takes_a_whole_transaction_back_and_can_be_undone(directory):
    directory.store(Person("one", friend=Person("friend")), id="x")
    directory.store(Person("later deleted"), id="deleted")
    with directory.new_scope() as scope:
        found = scope.get("x")
        found.name, found.friend.name = "two", "changed"
        scope.delete("deleted")
        scope.unset_root("x")
        scope.store(Person("new"), id="new")
    revision = directory.history("x")[0]
    with directory.new_scope() as other:
        assert other.get("x").name == "two"

        directory.undo(revision)

        assert other.get("x").name == "two"
        other.commit()
        assert (other.get("x").name, other.get("x").friend.name) == ("one", "friend")
        assert (other.exists("deleted"), other.exists("new")) == (True, False)
        assert (other.is_root("x"), other.is_root("deleted")) == (True, True)
        assert {obj.name for obj in other.root_set()} == {"one", "later deleted"}
    undone = directory.history("x")[0]
    assert undone.description == f"undo of {revision.time}"
    directory.undo(undone)
    assert (directory.get("x").name, directory.exists("deleted"), directory.is_root("x")) == ("two", False, False)


def test_what_was_changed_since_cannot_be_undone_and_nothing_is(directory):
    directory.store(Person("one", friend=Person("friend")), id="x")
    with directory.new_scope() as scope:
        scope.get("x").name = "two"
        scope.get("x").friend.name = "changed"
    revision = directory.history("x")[0]
    rename(directory, "x", "three")

    with pytest.raises(CannotUndo, match="was changed since"):
        directory.undo(revision)
    assert (directory.get("x").name, directory.get("x").friend.name) == ("three", "changed")
    assert len(directory.history("x")) == 3
    with pytest.raises(CannotUndo):
        directory.undo(revision._replace(tid=p64(u64(revision.tid) - 1)))
    rename(directory, "x", "four")
    assert directory.get("x").name == "four"


def test_an_insert_can_be_undone_and_so_can_a_change_of_a_persistent_object(directory):
    directory.store(Account(), id="account")
    with directory.new_scope() as scope:
        scope.get("account").balance = 1
    directory.undo(directory.history("account")[0])
    assert directory.get("account").balance == 0
    directory.store(Person("new"), id="new")

    directory.undo(directory.history("new")[0])

    assert directory.lookup("new") is None
    directory.store(Person("again"), id="new")
    assert directory.get("new").name == "again"


# Stores without a past


@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind not in WITH_HISTORY])
def test_a_store_without_history_says_so(kind, tmp_path):
    with new_place(kind, tmp_path) as place, place.connect(allow_classes=CLASSES) as directory:
        directory.store(Person("one"), id="x")
        made_up = moments.Revision("x", bytes(8), datetime.now(UTC), 0, "", "")
        for ask in (
            lambda: directory.new_scope(at=datetime.now(UTC)),
            lambda: directory.history("x"),
            lambda: directory.undo(made_up),
        ):
            with pytest.raises(NoHistory, match=r"keeps no history\. File keeps it until it is packed"):
                ask()
        assert directory.get("x").name == "one"


# Every remembered moment

NAMES = st.sampled_from(["a", "b", "c", "d"])
STEPS = st.lists(
    st.tuples(st.sampled_from(["store", "refer", "delete", "undo"]), NAMES, NAMES), min_size=1, max_size=12
)


@pytest.mark.no_cover
@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(STEPS)
def test_every_remembered_moment_reads_back_exactly(tmp_path, steps):
    folder = tmp_path / "store"
    folder.mkdir()
    try:
        with directory_in(folder / "store.fs") as directory:
            check_moments(directory, steps)
    finally:
        shutil.rmtree(folder)


def check_moments(directory, steps):
    directory.store(Person("first"), id="clock")
    remembered = []
    for number, step in enumerate(steps):
        do_step(directory, number, step)
        moment = rename(directory, "clock", str(number))
        with directory.new_scope() as scope:
            remembered.append((moment, picture(scope)))
    for revision, seen in reversed(remembered):
        for at in (revision.tid, revision.time):
            with directory.new_scope(at=at) as past:
                assert picture(past) == seen


def do_step(directory, number, step):
    verb, key, other = step
    with directory.new_scope() as scope:
        obj = scope.lookup(key)
        if verb == "delete" and obj is not None:
            scope.delete(obj)
        elif verb == "store" and obj is None:
            scope.store(Person(f"{key}{number}"), id=key)
        elif verb == "store":
            obj.name = f"{key}{number}"
        elif verb == "refer" and obj is not None:
            obj.friend = scope.lookup(other)
    if verb == "undo" and directory.exists(key):
        try:
            directory.undo(directory.history(key)[0])
        except CannotUndo:
            return


def picture(scope):
    """Return all that a scope sees."""
    seen = {}
    for key in "abcd":
        obj = scope.lookup(key)
        friend = None if obj is None else getattr(obj, "friend", None)
        seen[key] = obj and (obj.name, scope.is_root(key), friend and scope.object_to_id(friend))
    return seen


# Times and numbers


def test_a_moment_after_the_newest_transaction_is_that_one_whichever_clock_is_ahead():
    now = datetime.now(UTC)
    newest, ahead = (moments.last_tid(now + timedelta(hours=hours)) for hours in (-1, 1))

    assert moments.known(now, newest) == newest
    assert moments.known(now, ahead) < ahead
    assert moments.known(ahead, ahead) == ahead


AWARE = st.datetimes(
    min_value=datetime(1901, 1, 1),
    max_value=datetime(9000, 1, 1),
    timezones=st.sampled_from([UTC, timezone(timedelta(hours=14)), timezone(-timedelta(hours=11, minutes=30))]),
)


@given(AWARE)
def test_a_datetime_includes_its_whole_microsecond_and_no_more(moment):
    tid = moments.last_tid(moment)

    assert moments.time_of(tid) == moment
    parts = struct.unpack(">L", tid[4:])[0]
    if parts < 2**32 - 1:  # else the next number is in the next minute
        assert moments.time_of(p64(u64(tid) + 1)) == moment + timedelta(microseconds=1)


@given(st.binary(min_size=8, max_size=8))
def test_every_number_has_a_time_that_includes_it(tid):
    time = moments.time_of(tid)

    if 1900 < time.year < 9000 and tid[:4] == moments.last_tid(time)[:4]:  # no 31st of February
        assert moments.last_tid(time) >= tid
        assert moments.last_tid(time - timedelta(microseconds=1)) < tid


def test_the_public_name_of_a_revision():
    assert kiokupy.Revision is moments.Revision
