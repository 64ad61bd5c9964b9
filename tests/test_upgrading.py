"""Upgrades of a whole store: dry first, then written, beside other work."""

import sys
import types

import pytest
from graph_classes import Account, Person, Reduced, Slotted
from graph_stores import CountingStorage, directory_on

from kiokupy.errors import NotLoadable, UpgradeMissing
from kiokupy.maintenance import upgrade
from kiokupy.rules import first_class

TODAY = first_class(Person, version="2", upgrades={None: ("2", {"age": 1})})


@pytest.fixture
def storage():
    return CountingStorage()


@pytest.fixture
def old(storage):
    """A store that was written before the class had a version."""
    directory = directory_on(storage, [Person, Slotted, Reduced, Account])
    with directory.new_scope() as scope:
        for number in range(7):
            scope.store(Person(str(number), items={1, "a", number}), id=f"p{number}")
        scope.store(Slotted("untouched"), id="slotted")
        scope.store(Account(), id="account")
    return directory


def records(directory):
    with directory.new_unit() as unit:
        return {key: entry.record for key, entry in unit.root["entries"].items()}


def test_a_dry_run_tells_and_writes_nothing(old, storage):
    before, steps = records(old), []
    report = upgrade(directory_on(storage, [TODAY, Slotted, Account]), dry_run=True, batch=4, progress=steps.append)
    assert (report.seen, dict(report.outdated), report.failed) == (9, {("graph_classes:Person", None): 7}, {})
    assert records(old) == before
    assert [(step.task, step.done) for step in steps] == [("upgrade", 4), ("upgrade", 8), ("upgrade", 9)]


def test_an_upgrade_writes_every_outdated_record_once(old, storage):
    directory = directory_on(storage, [TODAY, Slotted, Account])
    assert upgrade(directory, batch=3).outdated.total() == 7
    upgraded = records(old)
    assert {record.version for key, record in upgraded.items() if key[0] == "p"} == {"2"}
    assert {directory.is_root(key) for key in upgraded} == {True}
    plain = directory_on(storage, [Person, Slotted, Account])
    assert [plain.get(f"p{number}").age for number in range(7)] == [1] * 7
    before = directory._database._db.lastTransaction()
    assert upgrade(directory).outdated.total() == 0
    assert directory._database._db.lastTransaction() == before


def test_what_cannot_be_upgraded_is_reported_and_left_as_it_is(old, storage):
    rule = first_class(
        Person, version="2", upgrades={None: ("2", lambda attributes: 1 / int(attributes["name"]) and {})}
    )
    report = upgrade(directory_on(storage, [rule, Account]))
    assert set(report.failed) == {"p0", "slotted"}
    assert isinstance(report.failed["p0"], NotLoadable)
    assert report.outdated.total() == 6
    missing = first_class(Person, version="3", upgrades={})
    assert isinstance(upgrade(directory_on(storage, [missing, Slotted, Account])).failed["p0"], UpgradeMissing)


def test_an_upgrade_takes_an_earlier_name_out_of_the_store(storage):
    module = types.ModuleType("earlier")
    sys.modules["earlier"] = module
    cls = type("Cart", (), {"__module__": "earlier"})
    module.Cart = cls
    directory = directory_on(storage, [Person, Reduced, cls])
    cart = cls()
    cart.owner = Person("owner", friend=cart)
    directory.store(Reduced("holder", cart), id="x")
    del sys.modules["earlier"]
    successor = type("Basket", (), {"__module__": __name__})
    successor.__qualname__ = "Basket"
    directory = directory_on(storage, [Person, Reduced, first_class(successor, aliases=["earlier:Cart"])])
    report = upgrade(directory)
    assert report.outdated.total() == 3
    assert all(b"earlier:Cart" not in (record.head or b"") + record.state for record in records(directory).values())


def test_an_upgrade_goes_on_beside_writers(old, storage):
    directory = directory_on(storage, [TODAY, Slotted, Account])
    writer = directory_on(storage, [Person, Slotted, Account])
    done = []

    def meddle(step):
        done.append(step)
        writer.txn_do(lambda scope: setattr(scope.get("p6"), "name", "changed"))
        if len(done) == 1:
            writer.delete("p5")

    upgrade(directory, batch=2, progress=meddle)
    assert directory.get("p6").name == "changed"
    assert directory.get("p6").age == 1
    assert not directory.exists("p5")


def test_a_conflict_in_a_batch_is_tried_again(old, storage):
    directory = directory_on(storage, [TODAY, Slotted, Account])
    writer = directory_on(storage, [Person, Slotted, Account])
    met = []

    def handler(attributes):
        if attributes["name"] == "3" and not met:
            met.append(1)
            writer.txn_do(lambda scope: setattr(scope.get("p1"), "name", "meanwhile"))
        return {**attributes, "age": 2}

    rule = first_class(Person, version="2", upgrades={None: ("2", handler)})
    upgrade(directory_on(storage, [rule, Slotted, Account]))
    assert directory.get("p1").name == "meanwhile"
    assert met == [1]
