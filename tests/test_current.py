"""Records that File reads in one step, and what it leaves to FileStorage."""

import os
import threading

import pytest
from ZODB.Connection import TransactionMetaData
from ZODB.POSException import POSKeyError
from ZODB.utils import p64, z64

import kiokupy
from kiokupy.maintenance import pack


@pytest.fixture
def path(tmp_path):
    return tmp_path / "store.fs"


@pytest.fixture
def storage(path):
    with kiokupy.connect("File", path=path) as directory:
        yield directory._database._db.storage


def stored(storage, data, *, oid=None, serial=z64):
    """Commit a record of these bytes; return its oid and the transaction's number."""
    transaction, oid = TransactionMetaData(), storage.new_oid() if oid is None else oid
    storage.tpc_begin(transaction)
    storage.store(oid, serial, data, "", transaction)
    storage.tpc_vote(transaction)
    return oid, storage.tpc_finish(transaction)


@pytest.mark.parametrize("length", [1, 4053, 4054, 4055, 5000, 3_000_000])
def test_a_record_of_any_length_is_read(storage, length):
    data = os.urandom(length)
    oid, tid = stored(storage, data)

    assert storage._current.find(oid) == (data, tid)


def test_what_is_not_there_is_not_found(storage):
    assert storage._current.find(p64(1 << 40)) is None
    with pytest.raises(POSKeyError):
        storage.loadBefore(p64(1 << 40), b"\xff" * 8)


@pytest.mark.parametrize("left", [0, 41, 42, 50, 5000])
def test_a_record_that_was_cut_off_is_not_found(storage, path, left):
    oid, _ = stored(storage, bytes(6000))
    os.truncate(path, storage._index[oid] + left)

    assert storage._current.find(oid) is None


def test_a_record_of_another_oid_is_not_found(storage):
    (one, _), (other, _) = stored(storage, b"1"), stored(storage, b"2")
    storage._index[one] = storage._index[other]

    assert storage._current.find(one) is None


def test_a_record_without_data_of_its_own_is_read_by_filestorage(path):
    with kiokupy.connect("File", path=path) as directory:
        directory.insert({"n": 1}, id="x")
        directory.txn_do(lambda scope: scope.get("x").update(n=2))
        directory.undo(directory.history("x")[0])
    with kiokupy.connect("File", path=path) as directory:
        assert directory.get("x") == {"n": 1}


def test_who_reads_while_the_file_is_replaced_has_the_old_one(path):
    with kiokupy.connect("File", path=path) as directory:
        storage = directory._database._db.storage
        oid, tid = stored(storage, b"1")
        before = storage._current
        pack(directory)

        assert before.find(oid) == (b"1", tid)
        assert storage._current.find(oid) is None  # nothing refers to it


def test_descriptors_are_closed_with_the_last_reader(path):
    before = len(os.listdir("/dev/fd"))
    with kiokupy.connect("File", path=path) as directory:
        directory.insert({}, id="x")
        pack(directory)  # both files are open once
        opened = len(os.listdir("/dev/fd"))
        for number in range(3):
            directory.insert({}, id=str(number))
            pack(directory)
        assert len(os.listdir("/dev/fd")) <= opened

    assert len(os.listdir("/dev/fd")) == before


def test_what_others_have_heard_of_waits_until_it_can_be_read(storage, monkeypatch):
    """Between the news of a commit and its place in the index a record's old state would be taken for the new one."""
    oid, first = stored(storage, b"1")
    found, original = [], storage._finish_finish

    def read():
        number = storage.getTid(oid)
        found.append((number, storage.loadBefore(oid, b"\xff" * 8)))

    def finish(tid):
        reader = threading.Thread(target=read)
        reader.start()
        reader.join(0.05)
        assert not found
        original(tid)

    monkeypatch.setattr(storage, "_finish_finish", finish)
    _, second = stored(storage, b"2", oid=oid, serial=first)
    for _ in range(1000):
        if found:
            break
        threading.Event().wait(0.01)

    assert found == [(second, (b"2", second, None))]


def test_without_a_descriptor_to_spare_packing_works_and_filestorage_reads(path, monkeypatch):
    with kiokupy.connect("File", path=path) as directory:
        directory.insert({"n": 1}, id="x")
        with monkeypatch.context() as patch:
            patch.setattr(os, "dup", lambda descriptor: os.open("/nowhere", os.O_RDONLY))
            pack(directory)

        assert directory._database._db.storage._current is None
        assert directory.get("x") == {"n": 1}


def test_of_a_record_that_is_replaced_only_the_head_is_read(storage, monkeypatch):
    oid, first = stored(storage, bytes(100_000))
    storage._recent.clear()
    pread, read = os.pread, []

    def counting(*args):
        found = pread(*args)
        read.append(len(found))
        return found

    monkeypatch.setattr(os, "pread", counting)
    stored(storage, b"2", oid=oid, serial=first)

    assert 0 < sum(read) < 100
