"""Copying: everything is in the copy, an interrupted one goes on, and nothing else is touched."""

import resource
import subprocess
import sys
from contextlib import ExitStack
from pathlib import Path

import pytest
from conftest import new_place
from graph_classes import Account, Person
from ZODB import DB
from ZODB.Connection import TransactionMetaData
from ZODB.FileStorage import FileStorage
from ZODB.utils import p64

import kiokupy
from kiokupy import Index, ObjectMap, ObjectSet
from kiokupy.errors import (
    ConflictError,
    StoreError,
    StoreNotFound,
    StoreReadOnly,
    StoreUnreadable,
    TargetError,
)
from kiokupy.maintenance import check_indexes, copy, fsck
from kiokupy.sessions.manager import SessionManager

OPTIONS = {
    "allow_classes": [Person, Account],
    "indexes": [Index("age", on=Person), Index("email", on=Person, unique=True)],
}
PAIRS = [
    ("Hash", "File"), ("File", "Hash"), ("File", "SQLite"), ("SQLite", "ZEO"), ("SQLite-history", "PostgreSQL"),
    ("PostgreSQL", "ZEO"), ("PostgreSQL-history", "SQLite-history"), ("ZEO", "PostgreSQL-history"), ("ZEO", "File"),
]  # fmt: skip
MANY = 1500  # more than one transaction of a copy


class Interrupted(Exception):
    pass


@pytest.fixture
def source():
    with kiokupy.connect("Hash", **OPTIONS) as directory:
        yield directory


@pytest.fixture
def path(tmp_path):
    return tmp_path / "copy.fs"


def opened(path, **options):
    return kiokupy.connect("File", path=path, **OPTIONS, **options)


def fill(directory):
    """Store objects of every kind, and return the id of a session."""
    with directory.new_scope() as scope:
        for number in range(50):
            scope.store(Person(f"p{number}", age=number, email=f"{number}@x"), id=f"p{number}")
        one, other = Person("one"), Person("other")
        one.friend, other.friend = other, one
        scope.store(one, id="cycle")
        account = Account(scope.get("p1"))
        account.balance = 7
        scope.store(account, id="account")
        items = {"set": ObjectSet(scope.get(f"p{number}") for number in range(40)), "map": ObjectMap()}
        items["map"].update({f"k{number}": number for number in range(300)})
        scope.store(Person("collector", items=items), id="collector")
    session = SessionManager(directory).create()
    session["cart"] = ["tea"]
    session.flush()
    return session.id


def check(directory, session):
    with directory.new_scope() as scope:
        assert scope.get("cycle").friend.friend is scope.get("cycle")
        assert (scope.get("account").balance, scope.get("account").owner) == (7, scope.get("p1"))
        items = scope.get("collector").items
        assert {person.name for person in items["set"]} == {f"p{number}" for number in range(40)}
        assert dict(items["map"]) == {f"k{number}": number for number in range(300)}
        assert [person.name for person in scope.search(age=17)] == ["p17"]
    assert dict(SessionManager(directory).retrieve(session)) == {"cart": ["tea"]}


def store_more(directory, prefix):
    with directory.new_scope() as scope:
        for number in range(200):
            scope.store(Account(Person(f"{prefix}{number}")), id=f"{prefix}{number}")


def records(directory):
    with directory.new_unit() as unit:
        found = {key: entry.record for key, entry in unit.root["entries"].items()}
        # The state of a Persistent object is the object, another one in each connection.
        return {
            key: record._replace(state=record.state if isinstance(record.state, bytes) else None)
            for key, record in found.items()
        }


def interrupt(task, times=1):
    left = [times]

    def progress(step):
        left[0] -= step.task == task
        if not left[0]:
            raise Interrupted

    return progress


def many(directory, count=MANY):
    with directory.new_scope() as scope:
        for number in range(count):
            scope.store(Person(f"p{number}", age=number), id=f"p{number}")


def names(directory):
    with directory.new_scope() as scope:
        return {person.name for person in scope.all_objects()}


@pytest.mark.parametrize(("kind", "other"), PAIRS)
def test_all_that_a_store_holds_is_in_the_copy_and_new_objects_do_not_collide(kind, other, tmp_path):
    folders = [tmp_path / name for name in "ab"]
    for folder in folders:
        folder.mkdir()
    with ExitStack() as stack:
        places = [stack.enter_context(new_place(*pair)) for pair in zip((kind, other), folders, strict=True)]
        source = stack.enter_context(places[0].connect(**OPTIONS))
        session, steps = fill(source), []
        if other == "Hash":
            target = stack.enter_context(places[1].connect(**OPTIONS))
            copied = copy(source, target, progress=steps.append)
        else:
            copied = copy(source, places[1].target, progress=steps.append, **places[1].options)
            target = stack.enter_context(places[1].connect(**OPTIONS))
        check(target, session)
        assert not fsck(target).findings
        assert check_indexes(target) == []
        store_more(target, "new")
        if other in ("SQLite", "SQLite-history", "PostgreSQL", "PostgreSQL-history", "ZEO"):
            store_more(stack.enter_context(places[1].connect(**OPTIONS)), "second")
        check(target, session)
        check(source, session)
        old, found = records(source), records(target)
        assert {key: found[key] for key in old} == old
    assert copied.records >= copied.written > 100
    assert {(step.task, step.done) for step in steps} == {("copy", copied.records), ("verify", copied.records)}


def test_another_process_can_use_the_copy(source, path):
    session = fill(source)
    copy(source, "File", path=path)
    code = (
        "import kiokupy; from kiokupy import Index; from graph_classes import Account, Person;"
        f"d = kiokupy.connect('File', path={str(path)!r}, allow_classes=[Account, Person], indexes=[Index('age', on=Person), Index('email', on=Person, unique=True)]);"
        "[d.store(Account(), id=f'x{i}') for i in range(50)]; print(d.get('p3').name); d.close()"
    )
    folder = Path(__file__).parent
    found = subprocess.run([sys.executable, "-c", code], cwd=folder, capture_output=True, text=True, check=False)
    assert (found.returncode, found.stdout) == (0, "p3\n"), found.stderr
    with opened(path) as target:
        check(target, session)


def test_the_same_source_gives_the_same_digest_everywhere(source, path, tmp_path):
    fill(source)
    one, two = copy(source, "File", path=path), copy(source, f"sqlite:///{tmp_path}/x.sqlite")
    assert (one.digest, one.records) == (two.digest, two.records)
    with opened(path) as copied, kiokupy.connect("Hash", **OPTIONS) as again:
        assert copy(copied, again).digest == one.digest


def test_an_interrupted_copy_is_refused_and_goes_on_where_it_stopped(source, path):
    many(source)
    with pytest.raises(Interrupted):
        copy(source, "File", path=path, progress=interrupt("copy"))
    with pytest.raises(StoreUnreadable, match=r"a copy of .*memory.* was not finished\. Run the same copy again"):
        opened(path)
    source.delete("p7")
    source.store(Person("added"), id="added")
    with source.new_scope() as scope:
        scope.get("p9").name = "changed"
    copied = copy(source, "File", path=path)
    assert 0 < copied.written < copied.records - 900
    with opened(path) as target:
        assert names(target) == names(source)
        assert target.lookup("p7") is None
        assert (target.get("added").name, target.get("p9").name) == ("added", "changed")
        assert not fsck(target).findings


@pytest.mark.parametrize("task", ["copy", "verify"])
def test_an_interrupted_copy_into_an_open_directory_says_so_and_goes_on(task, source):
    many(source)
    with kiokupy.connect("Hash", **OPTIONS) as target:
        with pytest.raises(Interrupted):
            copy(source, target, progress=interrupt(task))
        with pytest.raises(StoreUnreadable, match="Run the same copy again"):
            target.lookup("p1")
        copied = copy(source, target)
        assert copied.written < copied.records - 900
        assert names(target) == names(source)


@pytest.mark.parametrize("kind", ["Hash", "SQLite", "PostgreSQL", "ZEO", "File"])
def test_connections_that_an_open_directory_had_before_see_the_copy_and_make_no_oid_of_it(kind, source, tmp_path):
    session = fill(source)
    with new_place(kind, tmp_path) as place, place.connect(**OPTIONS) as target:
        with ExitStack() as stack:  # each has looked at all that is there, and has a stock of oids
            for unit in [stack.enter_context(target.new_unit()) for _ in range(3)]:
                for name in ("entries", "roots", "indexes", "sessions"):
                    list(unit.root[name])
                unit.connection.new_oid()
        copy(source, target)
        with ExitStack() as stack:
            units = [stack.enter_context(target.new_unit()) for _ in range(3)]
            assert ["p3" in unit.root["entries"] for unit in units] == [True] * 3
            taken = {unit.connection.new_oid() for unit in units for _ in range(100)}
            assert {units[0].connection.serial(oid) for oid in taken} == {None}
        check(target, session)


def test_what_is_something_else_is_refused_and_untouched(source, path):
    fill(source)
    with opened(path) as target:
        target.store(Person("mine"), id="mine")
    before = path.read_bytes()
    with pytest.raises(StoreError, match=r"nothing was copied.*new place"):
        copy(source, "File", path=path)
    assert path.read_bytes() == before


def test_a_store_with_a_session_is_something_else(source, path):
    with opened(path) as target:
        SessionManager(target).create().flush()
        with pytest.raises(StoreError, match="nothing was copied"):
            copy(source, target)


def test_a_database_of_another_application_is_refused(source, path):
    database = DB(FileStorage(str(path)))
    with database.transaction() as connection:
        connection.root()["app"] = {"a": 1}
    database.close()
    before = path.read_bytes()
    with pytest.raises(StoreError, match="nothing was copied"):
        copy(source, "File", path=path)
    assert path.read_bytes() == before


def test_a_store_is_not_copied_into_itself(path):
    with opened(path) as directory:
        session = fill(directory)
        with pytest.raises(StoreError, match="nothing was copied"):
            copy(directory, directory)
        with pytest.raises(StoreError, match="holds this store"):
            copy(directory, "File", path=path)
        check(directory, session)


def test_a_target_that_is_for_reading_is_refused(source, path):
    opened(path).close()
    with opened(path, readonly=True) as target, pytest.raises(StoreReadOnly):
        copy(source, target)
    with pytest.raises(StoreReadOnly):
        copy(source, "File", path=path, readonly=True)


def test_a_source_that_is_for_reading_is_copied(source, path, tmp_path):
    session = fill(source)
    copy(source, "File", path=path)
    with opened(path, readonly=True) as reading:
        copy(reading, "File", path=tmp_path / "second.fs")
    with opened(tmp_path / "second.fs") as target:
        check(target, session)


def test_wrong_options_are_named(source, path):
    with pytest.raises(TargetError, match="Open it first"):
        copy(source, "Hash")
    with pytest.raises(TargetError, match="does not take these options"):
        copy(source, "File", path=path, colour="red")
    with opened(path) as target, pytest.raises(TargetError, match="takes no options"):
        copy(source, target, path=path)
    with pytest.raises(StoreNotFound):
        copy(source, "File", path=path.with_name("none.fs"), create=0)


def overwrite(unit_of, oid, data):
    """Write a record behind kiokupy's back."""
    with unit_of() as unit:
        storage, change = unit.connection.records, TransactionMetaData()
        serial = storage.load(oid)[1]
        storage.tpc_begin(change)
        storage.store(oid, serial, data, "", change)
        storage.tpc_vote(change)
        storage.tpc_finish(change)


def test_a_record_that_is_read_back_differently_is_noticed(source):
    source.store(Account(Person("x")), id="a")
    with source.new_unit() as unit:
        oid = unit.root["entries"]["a"]._p_oid
        data = unit.connection.raw(oid)
    with kiokupy.connect("Hash", **OPTIONS) as target:

        def spoil(step):
            if step.task == "copy":
                overwrite(target.new_unit, oid, data.replace(b"graph_classes", b"graph_clashes"))

        with pytest.raises(StoreError, match=r"differ from the .* of the source.*run the same copy again"):
            copy(source, target, progress=spoil)
        assert copy(source, target).written == 2
        assert target.get("a").owner.name == "x"


def test_a_record_that_is_missing_in_the_source_is_named(source, path):
    source.store(Account(), id="a")
    with source.new_unit() as unit:
        data, root = unit.connection.raw(p64(0)), p64(0)
        oid = unit.connection.root()["kiokupy"]._p_oid
    overwrite(source.new_unit, root, data.replace(oid, p64(99999)))
    with pytest.raises(StoreUnreadable, match="missing"):
        copy(source, "File", path=path)


def test_a_copy_that_meets_another_writer_fails_and_goes_on_when_it_is_called_again(source):
    many(source)
    with source.new_unit() as unit:
        data = {entry._p_oid: unit.connection.raw(entry._p_oid) for entry in unit.root["entries"].values()}
    with kiokupy.connect("Hash", **OPTIONS) as target:

        def meddle(step):
            with target.new_unit() as unit:
                storage, change = unit.connection.records, TransactionMetaData()
                storage.tpc_begin(change)
                for oid in [oid for oid in data if unit.connection.serial(oid) is None]:
                    storage.store(oid, p64(0), data[oid].replace(b"Person", b"Parson"), "", change)
                storage.tpc_vote(change)
                storage.tpc_finish(change)

        with pytest.raises(ConflictError):
            copy(source, target, progress=meddle)
        copy(source, target)
        assert names(target) == names(source)


def test_a_full_disk_ends_the_copy_with_the_fix_and_it_goes_on(source, path):
    many(source)
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)

    def fill_the_disk(step):
        resource.setrlimit(resource.RLIMIT_FSIZE, (path.stat().st_size + 20_000, limits[1]))

    with opened(path) as target:
        try:
            with pytest.raises(StoreError, match=r"file system refused .*Make room .* run the same copy again"):
                copy(source, target, progress=fill_the_disk)
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        copied = copy(source, target)
        assert copied.written < copied.records
        assert names(target) == names(source)


def test_the_copy_is_the_store_as_it_was_when_the_call_began(source, path):
    many(source)

    def go_on(step):
        source.store(Person("late"), id=f"late-{step.task}-{step.done}")
        with source.new_scope() as scope:
            scope.get("p1490").name = scope.get("p3").name = "late"

    before = names(source)
    copy(source, "File", path=path, progress=go_on)
    with opened(path) as target:
        assert names(target) == before
    assert "late" in names(source)
