"""Readers: what a connection makes of a record is what ZODB's own reader makes of it, and nothing that it names is run."""

import pickle

import pytest
from BTrees.OOBTree import OOBTree, OOTreeSet
from graph_classes import Person
from graph_stores import CountingStorage, directory_on
from persistent import Persistent
from persistent.mapping import PersistentMapping
from ZODB.POSException import StateLoadError
from ZODB.serialize import ObjectReader, referencesf
from ZODB.utils import z64

from kiokupy.entry import Entry, EntryTree, Record
from kiokupy.errors import NotLoadable, StoreUnreadable

ROOT_OID, ROOT_CLASS = b"C\x08" + z64, b"cpersistent.mapping\nPersistentMapping\n"
SHORT = Record("shop:Cart", None, b"state", (), 0)


@pytest.fixture
def directory():
    with directory_on(CountingStorage()) as opened:
        yield opened


def filled(tree, size, values):
    for number in range(size):
        if isinstance(tree, OOTreeSet):
            tree.insert(f"key {number:04}")
        else:
            tree[f"key {number:04}"] = values[number % len(values)]
    return tree


def things():
    """Return an object of each kind of record, the first one of which it reaches others."""
    mixed = [Entry(SHORT), "text", 5, None, 1.5, b"bytes", True, OOBTree(), OOTreeSet(), PersistentMapping()]
    return {
        "short entry": Entry(SHORT),
        "whole entry": Entry(SHORT._replace(version="2", weak=("w",), refs=("r",))),
        "long entry": Entry(SHORT._replace(state=b"x" * 70_000, head=b"y" * 300)),
        "entry of a Persistent object": Entry(SHORT._replace(state=PersistentMapping(a=1))),
        "empty tree": EntryTree(),
        "tree of one leaf": filled(EntryTree(), 3, [Entry(SHORT)]),
        "tree": filled(EntryTree(), 200, mixed),
        "deep tree": filled(EntryTree(), 5_000, [Entry(SHORT)]),
        "set": filled(OOTreeSet(), 500, mixed),
        "application's tree": filled(OOBTree(), 300, mixed),
    }


def marked(value):
    """Return a state in which what it refers to is told by class and oid."""
    if isinstance(value, dict):
        value = list(value.items())
    if isinstance(value, tuple | list):
        return [marked(part) for part in value]
    return (type(value), value._p_oid, value._p_changed) if isinstance(value, Persistent) else value


def states(connection, reader=None):
    """Return the states of all records of a store by oid, as a reader gives them."""
    reader, found, pending = reader or connection._reader, {}, [z64]
    while pending:
        oid = pending.pop()
        if oid not in found:
            record = connection.raw(oid)
            found[oid] = marked(reader.getState(record))
            pending += referencesf(record)
    return found


@pytest.mark.parametrize("name", things())
def test_a_record_is_read_as_zodb_reads_it(directory, name):
    with directory.new_unit() as unit:
        unit.root["thing"] = things()[name]
        unit.commit()
    with directory.new_unit() as unit:
        connection = unit.connection
        connection.forget()
        found = states(connection)
        assert found == states(connection)  # of objects that are known now
        connection.forget()
        theirs = ObjectReader(connection, connection._cache, connection.db().classFactory)
        assert found == states(connection, theirs)


def test_what_holds_first_class_objects_is_read_too(directory):
    with directory.new_scope() as scope:
        ann = Person("Ann")
        scope.store(ann)
        scope.store(PersistentMapping(ann=ann, tree=OOBTree({"ann": ann})), id="all")
    with directory.new_scope() as scope:
        assert scope.get("all")["tree"]["ann"] is scope.get("all")["ann"]
        assert scope.get("all")["ann"].name == "Ann"


@pytest.mark.parametrize("cls", [Entry, OOBTree])
@pytest.mark.parametrize(
    "reference",
    [
        ROOT_OID + b"Q",
        b"U" + ROOT_OID[1:] + b"Q",
        b"(" + ROOT_OID + ROOT_CLASS + b"tQ",
        b"(U" + ROOT_OID[1:] + ROOT_CLASS + b"tQ",
        b"(" + ROOT_OID + b"(X\x12\0\0\0persistent.mappingX\x11\0\0\0PersistentMappingttQ",
    ],
    ids=["oid", "oid of Python 2", "oid and class", "oid and class of Python 2", "oid and names"],
)
def test_each_form_of_reference_that_zodb_reads_is_read(directory, cls, reference):
    record = pickle.dumps(cls, 3) + b"\x80\x03" + reference + b"."
    for is_known in (False, True):
        with directory.new_unit() as unit:
            unit.connection.forget()
            known = unit.connection.root() if is_known else None
            found = unit.connection._reader.getState(record)
            assert (type(found), found._p_oid, found._p_changed) == (PersistentMapping, z64, None)
            assert found is unit.connection.root()
            assert known in (None, found)


@pytest.mark.parametrize("form", [b"]" + ROOT_OID + b"aQ", b"](X\x01\0\0\0w(" + ROOT_OID + b"teQ"])
def test_each_form_of_weak_reference_that_zodb_reads_is_read(directory, form):
    with directory.new_unit() as unit:
        found = unit.connection._reader.getState(pickle.dumps(OOBTree, 3) + b"\x80\x03" + form + b".")
        assert found() is unit.connection.root()


def test_a_list_of_an_oid_and_a_class_is_no_reference(directory):
    with directory.new_unit() as unit, pytest.raises(StateLoadError):
        unit.connection._reader.getState(pickle.dumps(OOBTree, 3) + b"](" + ROOT_OID + ROOT_CLASS + b"eQ.")


@pytest.fixture
def written(directory):
    """Return what replaces a record that says of itself that it is an entry or an OOBTree, and loads the object then."""

    def write(cls, state):
        with directory.new_unit() as unit:
            unit.root["thing"] = cls() if cls is OOBTree else Entry(SHORT)
            unit.commit()
        with directory.new_unit() as unit:
            oid = unit.root["thing"]._p_oid
            unit.connection.forget()
            unit.connection.put(oid, pickle.dumps(cls, 3) + state, unit.connection.serial(oid))
            unit.commit()
            unit.connection.forget()
        with directory.new_unit() as unit:
            unit.root["thing"]._p_activate()

    return write


@pytest.mark.parametrize("cls", [Entry, OOBTree])
@pytest.mark.parametrize("name", ["os\nsystem", "builtins\neval", "kiokupy.entry\nref", "test_readers\nthings"])
def test_what_a_record_names_is_neither_imported_nor_called(written, tmp_path, cls, name):
    path = str(tmp_path / "was-here").encode()
    argument = b"__import__('os').mkdir(%r)" % path if b"eval" in name.encode() else b"mkdir " + path

    with pytest.raises(NotLoadable):
        written(cls, b"c" + name.encode() + b"\nX" + len(argument).to_bytes(4, "little") + argument + b"\x85R.")
    assert not (tmp_path / "was-here").exists()


@pytest.mark.parametrize(
    "state",
    [
        b"",
        b"\x80\x03(K\x01X\x00",
        b"\x80\x03K\x01.",
        b"\x80\x03(K\x01K\x02t.",
        b"h\x00.",
        b"\x80\x03K\x01K\x02\x86Q.",
        b"\x80\x03]Q.",
        b"\x80\x03X\x01\x00\x00\x00aQ.",
        b"\x80\x03(C\x08\0\0\0\0\0\0\0\x09ckiokupy.entry\nEntry\nK\x00tQ.",
    ],
)
@pytest.mark.parametrize("cls", [Entry, OOBTree])
def test_a_record_that_is_none_cannot_be_read(written, cls, state):
    with pytest.raises(StoreUnreadable):
        written(cls, state)


def test_ctrl_c_in_the_midst_of_a_record_is_not_taken_for_a_fault_of_it(directory):
    interrupts = [KeyboardInterrupt]

    def find_class(module, name):
        while interrupts:
            raise interrupts.pop()
        return PersistentMapping

    with directory.new_unit() as unit:
        unit.connection.find_class = find_class
        with pytest.raises(KeyboardInterrupt):
            unit.connection._reader.getState(pickle.dumps(OOBTree, 3) + b"cshop\nCart\n.")
