"""Links: what stored objects refer to, read without their classes."""

import decimal
import weakref

import pytest
from BTrees.OOBTree import OOBTree
from graph_classes import Account, Money, Person
from graph_stores import CountingStorage, directory_on
from persistent import Persistent
from persistent.wref import WeakRef

import kiokupy
from kiokupy import links
from kiokupy.errors import StoreUnreadable
from kiokupy.links import Link
from kiokupy.rules import intrinsic


class Numbered(Persistent):
    """ZODB writes references to its objects, and its name in their records, in another form than usual."""

    def __new__(cls, number, owner=None):
        return super().__new__(cls)

    def __init__(self, number, owner=None):
        self.number, self.owner = number, owner

    def __getnewargs__(self):
        return (self.number,)


CLASSES = [
    Person,
    Account,
    Numbered,
    intrinsic(WeakRef),
    intrinsic(Money, collapse=Money.collapse, expand=Money.expand),
]


@pytest.fixture
def storage():
    return CountingStorage()


@pytest.fixture
def directory(storage):
    with directory_on(storage, CLASSES) as directory:
        yield directory


def links_of(directory, id):
    with directory.new_unit() as unit:
        return sorted(links.of_entry(unit.connection, unit.root["entries"][id]._p_oid))


def stored(directory, obj, **friends):
    with directory.new_scope() as scope:
        for id, friend in friends.items():
            scope.store(friend, id=id)
        scope.store(obj, id="it")
    return links_of(directory, "it")


def test_a_plain_object_has_the_links_of_its_entry(directory):
    a, b = Person("a"), Person("b")
    assert stored(directory, Person("it", friend=a, items=[a, b]), a=a, b=b) == [Link("a"), Link("b")]


def test_weak_links_are_told_apart(directory):
    a, b = Person("a"), Person("b")
    assert stored(directory, Person("it", friend=a, items=[weakref.ref(b)]), a=a, b=b) == [
        Link("a"),
        Link("b", weak=True),
    ]


def test_a_persistent_object_has_the_links_of_all_records_that_it_consists_of(directory):
    a, b, c = Person("a"), Person("b"), Person("c")
    account = Account(a)
    account.tree = OOBTree(dict.fromkeys(range(100), b))
    account.inner = Account(c)
    account.inner.back = account

    assert set(stored(directory, account, a=a, b=b, c=c)) == {Link("a"), Link("b"), Link("c")}


def test_each_record_is_read_once(directory, storage):
    shared = Account()
    account = Account([Account(shared), Account(shared), shared])
    shared.back = account
    stored(directory, account)
    storage.read.clear()

    links_of(directory, "it")

    read = [oid for oid in storage.read if storage.read.count(oid) > 1]
    assert read == []


def test_zodbs_own_weak_references_are_not_followed(directory):
    weak = Account(Person("a"))
    account = Account(WeakRef(weak))
    account.held = weak
    with directory.new_scope() as scope:
        scope.store(weak, id="weak")
        scope.store(account, id="it")
        del account.held

    assert links_of(directory, "it") == []


def test_a_persistent_object_whose_class_needs_arguments_to_be_made_is_followed(directory):
    a = Person("a")
    assert stored(directory, Numbered(decimal.Decimal(7), a), a=a) == [Link("a")]


def test_links_inside_intrinsic_objects_are_found(directory):
    a = Person("a")
    assert stored(directory, Account({"k": (Money(1, "EUR", note=a),)}), a=a) == [Link("a")]


def test_no_class_of_the_application_is_needed(tmp_path):
    path = tmp_path / "store.fs"
    with kiokupy.connect("File", path=path, allow_classes=CLASSES) as directory:
        stored(directory, Account([Account(Person("a"))]), b=Person("b"))
    with kiokupy.connect("File", path=path) as directory:
        (link,) = links_of(directory, "it")
        assert directory.new_unit().root["entries"][link.target].record.class_name == "graph_classes:Person"


def test_a_record_that_is_missing_is_an_error_of_ours(directory):
    with directory.new_unit() as unit, pytest.raises(StoreUnreadable):
        links.of_record(unit.connection, b"\xff" * 8)
