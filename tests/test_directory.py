"""A directory: its one-shot verbs, transactions with retries, and what connect() is given."""

import pytest
from graph_classes import Person, Thing
from graph_stores import CountingStorage, directory_in, directory_on
from persistent.mapping import PersistentMapping
from transaction.interfaces import TransientError
from ZODB.FileStorage import FileStorage
from ZODB.POSException import ConflictError as WriteConflict
from ZODB.POSException import POSKeyError, ReadConflictError, ReadOnlyError, StorageError
from ZODB.utils import z64

from kiokupy.errors import (
    ConflictError,
    DuplicateId,
    NotStorable,
    StoreError,
    StoreNotFound,
    StoreReadOnly,
    StoreTooNew,
    StoreUnreachable,
    StoreUnreadable,
    TargetError,
)
from kiokupy.opening import connect
from kiokupy.typemap import TypeMap


@pytest.fixture
def memory():
    with directory_on(CountingStorage()) as directory:
        yield directory


def test_what_a_verb_returns_is_loaded_whole(memory):
    chain = None
    for number in range(50):
        chain = Person(str(number), friend=chain)
    memory.store(chain, id="x")
    found = memory.get("x")
    for number in reversed(range(50)):
        assert found.name == str(number)
        found = found.friend
    assert found is None


def test_storing_again_what_a_verb_returned_updates_it_and_keeps_ids(memory):
    memory.store(Person("a", friend=Person("b")), id="x")
    found = memory.get("x")
    found.friend.name = "changed"
    assert memory.store(found) == "x"
    assert memory.get("x").friend.name == "changed"
    with pytest.raises(DuplicateId):
        memory.insert(found)


def test_a_stale_object_conflicts_at_once(memory):
    memory.store(Person("a"), id="x")
    one, other = memory.get("x"), memory.get("x")
    one.name = other.name = "changed"
    memory.store(one)
    with pytest.raises(ConflictError):
        memory.store(other)


def test_txn_do_stores_a_new_object_though_attempts_failed(memory):
    memory.store(Person("a"), id="x")
    new, attempts = Person("new"), []

    def work(scope):
        scope.store(new, id="new")
        scope.get("x").name = "mine"
        attempts.append(scope)
        if len(attempts) == 1:
            with memory.new_scope() as other:
                other.get("x").name = "theirs"

    memory.txn_do(work)
    assert memory.get("new").name == "new"
    assert memory.get("x").name == "mine"


def test_txn_do_gives_up_after_its_retries(memory):
    attempts = []

    def work(scope):
        attempts.append(scope)
        raise ConflictError

    for retries in (0, 2):
        attempts.clear()
        with pytest.raises(ConflictError):
            memory.txn_do(work, retries=retries)
        assert len(attempts) == retries + 1


def test_txn_do_raises_any_other_error_at_once(memory):
    attempts = []

    def work(scope):
        scope.store(Person("a"), id="x")
        attempts.append(scope)
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        memory.txn_do(work)
    assert len(attempts) == 1
    assert not memory.exists("x")


def test_txn_do_can_be_readonly(memory):
    with pytest.raises(StoreReadOnly):
        memory.txn_do(lambda scope: scope.store(Person("a")), readonly=True)


def test_connect_takes_classes_and_a_type_map():
    typemap = TypeMap([Person])
    with connect(typemap=typemap, allow_classes=["graph_classes"]) as directory:
        assert directory.typemap is typemap
        directory.store(Person("a", thing=Thing()), id="x")
        assert directory.get("x").thing.name == "thing"
    with connect() as directory, pytest.raises(NotStorable):
        directory.store(Person("a"))


@pytest.mark.parametrize("allowed", ["shop.models", Person])
def test_allow_classes_is_a_list(allowed):
    with pytest.raises(TargetError, match="allow_classes is a list"):
        connect(allow_classes=allowed)


def test_it_says_where_it_is_and_closes_once_or_twice(tmp_path):
    with connect("File", path=tmp_path / "a.fs") as directory:
        assert repr(directory) == f"<Directory {directory.location}>"
        assert str(tmp_path) in directory.location
        assert not directory.readonly
    directory.close()
    with pytest.raises(StoreError, match=r"was closed\. Open it again"):
        directory.new_scope()
    with pytest.raises(StoreError, match="was closed"):
        directory.exists("x")


def test_a_readonly_directory_reads_and_refuses_to_write(tmp_path):
    with directory_in(tmp_path / "a.fs") as directory:
        directory.store(Person("a"), id="x")
    with directory_in(tmp_path / "a.fs", readonly=True) as directory:
        assert directory.readonly
        assert directory.get("x").name == "a"
        with pytest.raises(StoreReadOnly):
            directory.store(Person("b"))
        with directory.new_unit() as unit:
            unit.root["format"] = 1
            with pytest.raises(StoreReadOnly):
                unit.commit()


def test_a_storage_without_the_root_record_is_not_found_unless_it_may_be_made(tmp_path):
    for options in ({"create": False}, {"readonly": True}):
        storage = CountingStorage()
        with pytest.raises(StoreNotFound):
            directory_on(storage, **options)
        assert not storage.opened()
        assert not storage._data
    storage = FileStorage(str(tmp_path / "a.fs"))
    with directory_on(storage) as directory, directory.new_unit() as unit:
        del unit.connection.root()["kiokupy"]
        unit.commit()
    with pytest.raises(StoreNotFound):
        directory_in(tmp_path / "a.fs", create=False)


def test_a_store_of_a_newer_format_is_refused(tmp_path):
    with directory_in(tmp_path / "a.fs") as directory, directory.new_unit() as unit:
        unit.root["format"] = 99
        unit.commit()
    with pytest.raises(StoreTooNew, match="has format 99; this kiokupy reads up to 1"):
        directory_in(tmp_path / "a.fs")


def test_an_entry_of_a_newer_format_is_refused(memory):
    memory.store(Person("a"), id="x")
    with memory.new_scope() as scope:
        entry = scope._live.entries["x"]
        with pytest.raises(StoreTooNew, match="has format 3"):
            entry.__setstate__((3, *entry.record))


class Failing(CountingStorage):
    """Reads or votes as a storage does that has lost a record, the server, or its mind."""

    failure = None

    def loadBefore(self, oid, tid):  # noqa: N802  # a storage's method
        if self.failure is not None:
            raise self.failure
        return super().loadBefore(oid, tid)


class ClientDisconnected(TransientError):
    """Named as ZEO's."""


@pytest.mark.parametrize(
    ("failure", "error", "text"),
    [
        (POSKeyError(b"\0" * 7 + b"\7"), StoreUnreadable, "the record 0x07 is missing"),
        (StorageError("disk on fire"), StoreError, "disk on fire"),
        (ClientDisconnected(), StoreUnreachable, "has gone away"),
        (ReadConflictError(), ConflictError, "Try again"),
        (ReadOnlyError(), StoreReadOnly, "read-only"),
    ],
    ids=lambda each: type(each).__name__,
)
def test_what_a_storage_raises_becomes_an_error_of_kiokupy_with_its_cause(failure, error, text):
    storage = Failing()
    with directory_on(storage) as directory:
        directory.store(PersistentMapping(p=Person("a")), id="x")
        directory._database._db.cacheMinimize()
        storage.failure = failure
        with directory.new_scope() as scope:
            with pytest.raises(error, match=text) as caught:
                scope.get("x")
            assert caught.value.__cause__ is failure
            storage.failure = None
            mapping = scope.get("x")
            storage.failure = failure
            with pytest.raises(error, match=text):
                mapping["p"]
            storage.failure = None


def test_a_record_that_is_no_pickle_is_unreadable():
    storage = CountingStorage()
    with directory_on(storage) as directory:
        mapping = PersistentMapping(a=1)
        with directory.new_scope() as scope:
            scope.store(mapping, id="x")
            scope.commit()
            oid = mapping._p_oid
        data = storage._data[oid]
        data[data.maxKey()] = data[data.maxKey()].replace(b"data", b"\xff\xff\xff\xff")
        with directory.new_scope() as scope, pytest.raises(StoreUnreadable, match="a record cannot be read"):
            scope.get("x")["a"]


def test_two_directories_that_make_the_same_store_at_once_share_it():
    storage = Racing()
    with directory_on(storage) as directory:
        directory.store(Person("a"), id="x")
        assert directory.get("x").name == "a"
    assert storage.raced


class Racing(CountingStorage):
    """Lets another process make the root record just before this one does."""

    raced = False

    def tpc_vote(self, transaction):
        if self._tdata.get(z64) and not self.raced and len(self._tdata) > 1:
            self.raced = True
            raise WriteConflict
        return super().tpc_vote(transaction)


def test_a_store_whose_making_conflicts_every_time_is_given_up_and_closed():
    storage = Racing()
    Racing.raced = property(lambda self: False, lambda self, value: None)
    try:
        with pytest.raises(ConflictError):
            directory_on(storage)
    finally:
        Racing.raced = False


def test_many_objects_go_in_at_once_or_not_at_all(memory):
    memory.insert_many({"ann": Person("Ann"), "bob": Person("Bob")}, root=False)
    with pytest.raises(DuplicateId):
        memory.insert_many({"cid": Person("Cid"), "ann": Person("Ann")})

    assert [memory.get(id).name for id in ("ann", "bob")] == ["Ann", "Bob"]
    assert not memory.is_root("ann")
    assert not memory.exists("cid")
