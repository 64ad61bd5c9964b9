"""Packing: every storage forgets what is gone, and nothing else."""

import datetime
import time

import pytest
from BTrees.OOBTree import OOBTree
from graph_classes import Account, Person
from persistent.mapping import PersistentMapping
from ZODB.serialize import referencesf

import kiokupy
from kiokupy.errors import StoreError, StoreReadOnly
from kiokupy.maintenance import Kind, fsck, gc, pack

DAY = datetime.timedelta(days=1)
CLASSES = [Person, Account]


@pytest.fixture
def directory(place):
    with place.connect(allow_classes=CLASSES) as directory:
        yield directory


def test_all_objects_are_there_afterwards_also_those_that_only_persistent_objects_refer_to(directory):
    account = Account(Person("owner"))
    account.tree = OOBTree({n: Person(str(n)) for n in range(100)})
    with directory.new_scope() as scope:
        scope.store(account, id="a")

    pack(directory)

    with directory.new_scope() as scope:
        found = scope.get("a")
        assert (found.owner.name, found.tree[99].name) == ("owner", "99")
    assert fsck(directory).ok


def test_what_was_collected_is_gone_from_the_storage(place, directory):
    directory.store(Account(Account()), id="x", root=False)
    with directory.new_scope() as scope:
        oid = scope.get("x").owner._p_oid
    gc(directory)

    pack(directory)
    if place.outlives_its_directory:  # without what ZEO's client has in its cache
        directory.close()
        directory = place.connect(allow_classes=CLASSES)

    with directory, directory.new_unit() as unit, pytest.raises(StoreError), unit.database.translated():
        unit.connection.raw(oid)


def test_the_size_before_and_after_is_told(file_place):
    with file_place.connect(allow_classes=CLASSES) as directory:
        for n in range(20):
            directory.store(Person("x" * 1000), id=str(n))
            directory.delete(str(n))

        packed = pack(directory)

        assert packed.before > 20_000 > packed.after == file_place.options["path"].stat().st_size


@pytest.mark.parametrize("how", [{"days": 1}, {"keep": DAY}])
def test_the_past_to_keep_is_kept(file_place, how):
    with file_place.connect(allow_classes=CLASSES) as directory:
        directory.store(Person("x"), id="x")
        directory.delete("x")

        packed = pack(directory, **how)

        assert packed.after == packed.before


def test_a_pack_to_an_earlier_time_than_the_last_is_no_error(directory):
    directory.store(Person("x"), id="x")
    pack(directory)
    pack(directory, days=1)

    assert directory.exists("x")


def test_progress_is_told(directory):
    steps = []
    pack(directory, progress=steps.append)
    assert [(step.done, step.total) for step in steps] == [(0, None), (1, 1)]


@pytest.mark.parametrize(
    ("how", "error"),
    [
        ({"days": -1}, ValueError),
        ({"days": float("nan")}, ValueError),
        ({"days": 1e300}, ValueError),
        ({"keep": -DAY}, ValueError),
        ({"days": "1"}, TypeError),
        ({"keep": 7}, TypeError),
    ],
)
def test_what_is_no_time_to_keep_is_refused(file_place, how, error):
    with file_place.connect() as directory, pytest.raises(error, match=r"days="):
        pack(directory, **how)


def test_a_store_that_is_open_for_reading_is_not_packed(file_place):
    file_place.connect().close()
    with file_place.connect(readonly=True) as directory, pytest.raises(StoreReadOnly):
        pack(directory)


def test_a_second_pack_at_the_same_time_is_refused(file_place):
    with file_place.connect(allow_classes=CLASSES) as directory:
        directory.store(Person("x"), id="x")
        storage, packer = directory._database._db.storage, directory._database._db.storage.packer
        problems = []

        def pack_twice(*args):
            with pytest.raises(StoreError) as caught:
                pack(directory)
            problems.append(str(caught.value))
            return packer(*args)

        storage.packer = pack_twice
        pack(directory)

        assert "Already packing" in problems[0]


def test_a_full_disk_is_a_clear_error(file_place, monkeypatch):
    with file_place.connect(allow_classes=CLASSES) as directory:
        directory.store(Person("x"), id="x")
        path = file_place.options["path"]
        path.with_name("store.fs.pack").mkdir()  # as good as a full disk: the new file cannot be made

        with pytest.raises(StoreError, match="the file system refused"):
            pack(directory)

        assert directory.exists("x")
        assert Kind.FILE not in fsck(directory).counts


def test_a_record_that_is_missing_does_not_empty_a_store_in_memory():
    def damage(unit):
        unit.root["damaged"] = PersistentMapping(missing=unit.connection.reference(b"\xff" * 8))

    with kiokupy.connect() as directory:
        directory.store([1], id="a")
        directory.write(damage)
        directory._database._db.storage.pack(time.time(), referencesf)

        assert directory.lookup("a") == [1]
